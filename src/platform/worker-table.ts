/** `system.workers`: the processes that share the work, as the registry has them when a query names the table. */
import type { Column } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { VirtualTable } from "../flow/relations.ts";
import type { Worker } from "../state/workers.ts";

const text = (name: string): Column => ({ name, type: { kind: "string" }, nullable: false });
const at = (name: string): Column => ({ name, type: { kind: "timestamp" }, nullable: false });
const COLUMNS: readonly Column[] = [
  ...[
    text("id"),
    text("roles"),
    text("url"),
    text("version"),
    { ...text("format"), type: { kind: "integer" } } as Column,
  ],
  ...[at("started_at"), at("heartbeat_at"), { ...text("live"), type: { kind: "boolean" } } as Column],
  { name: "owns", type: { kind: "json" }, nullable: false },
];

export function workerTable(list: () => Promise<readonly Worker[]>): ReadonlyMap<string, VirtualTable> {
  const table: VirtualTable = {
    columns: COLUMNS,
    inputs: [],
    async relation() {
      const rows = (await list()).map(({ roles, startedAt, heartbeatAt, ...rest }) => ({
        ...{ ...rest, roles: roles.join(","), started_at: startedAt, heartbeat_at: heartbeatAt },
      }));
      const parsed = `from_json(${quoteLiteral(JSON.stringify(rows))}, ${quoteLiteral(`[${jsonStructure(COLUMNS)}]`)})`;
      return { kind: "native", sql: `select unnest(r) from (select unnest(${parsed}) as r)` };
    },
  };
  return new Map([["system.workers", table]]);
}
