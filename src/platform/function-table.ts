import type { Column } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { VirtualTable } from "../flow/relations.ts";
import type { FunctionView } from "../serve/functions-route.ts";

const text = (name: string, nullable = false): Column => ({ name, type: { kind: "string" }, nullable });
const long = (name: string): Column => ({ name, type: { kind: "long" }, nullable: false });

const COLUMNS: readonly Column[] = [
  ...[text("function"), text("stream"), { ...long("partition"), type: { kind: "integer" } as const }],
  ...[long("version"), text("key", true)],
  ...["begun", "position", "pending", "handled", "duplicate", "dead_lettered", "emitted"].map(long),
  ...["state_entries", "state_bytes", "restarts"].map(long),
  { name: "checkpoint_at", type: { kind: "timestamp" }, nullable: true },
  text("problem", true),
];

/** `system.functions`: a row for each function and partition of its stream, as of the moment of the query. */
export function functionTable(functions: () => readonly FunctionView[]): ReadonlyMap<string, VirtualTable> {
  const table: VirtualTable = {
    columns: COLUMNS,
    inputs: [],
    async relation() {
      const rows = functions().flatMap(({ name, stream, version, key, partitions }) =>
        partitions.map(({ deadLettered, stateEntries, stateBytes, checkpointAt, ...counts }) => ({
          ...{ function: name, stream, version, key, ...counts, dead_lettered: deadLettered },
          ...{ state_entries: stateEntries, state_bytes: stateBytes, checkpoint_at: checkpointAt },
        })),
      );
      const parsed = `from_json(${quoteLiteral(JSON.stringify(rows))}, ${quoteLiteral(`[${jsonStructure(COLUMNS)}]`)})`;
      return { kind: "native", sql: `select unnest(r) from (select unnest(${parsed}) as r)` };
    },
  };
  return new Map([["system.functions", table]]);
}
