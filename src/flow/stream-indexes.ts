import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Project } from "../define/project.ts";
import type { LocalSql, SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import { StreamIndex } from "./stream-index.ts";

export interface IndexesOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly log: Pick<EventLog, "partitions">;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly dataDir: string;
  readonly indexFiles?: string | undefined;
  /** Other processes store events too: an index is opened when a partition is asked for, and is one of the stream's ids as they are now. */
  readonly shared: boolean;
}

/** The duplicate indexes of all partitions, by `stream/partition`; streams without an id have none. */
export async function openIndexes(o: IndexesOptions): Promise<Map<string, StreamIndex>> {
  const indexes = new Map<string, StreamIndex>();
  const { project, lake, log, engine, dataDir, indexFiles: filesModule, shared } = o;
  for (const stream of project.streams.values()) {
    if (stream.id.length === 0 || lake.held(`bronze.${stream.name}`)) continue;
    const folder = join(dataDir, "dedupe", stream.name, ...(shared ? [idsOf(stream.id)] : []));
    for (let partition = 0; partition < log.partitions(stream.name); partition++) {
      const options = { dir: join(folder, String(partition)), engine, lake, stream, partition, filesModule };
      const index = shared ? StreamIndex.later(options) : await StreamIndex.open(options);
      indexes.set(`${stream.name}/${partition}`, index);
    }
  }
  return indexes;
}

/** A folder of its own for each way to identify the events: which worker has noted a change, the others need not learn. */
function idsOf(id: readonly string[]): string {
  return `by-${createHash("sha256").update(JSON.stringify(id)).digest("hex").slice(0, 8)}`;
}
