/** The platform's own streams: in the same log as everybody's, each with a table in `system` that stores its events as they come. */
import { type AppendTable, type Column, META_COLUMNS, type Stream } from "../define/project.ts";

const FILE = "(platform)";

export interface InternalStream {
  /** Begins with `_`, which no user's stream can. */
  readonly name: string;
  readonly columns: readonly Column[];
  readonly id: readonly string[];
  readonly time: string;
}

export function internalStream({ name, columns, id, time }: InternalStream, horizonMs: number): Stream {
  return { name, columns, jsonSchema: {}, id, key: undefined, time, horizonMs, file: FILE };
}

/** The table that stores a stream's events; `reason` is what the platform says of it. */
export function internalTable(name: string, { name: stream, columns }: InternalStream, reason: string): AppendTable {
  const sql = `select * from ${stream}`;
  return {
    name,
    mode: "append",
    sql,
    storedSql: sql,
    inputs: [stream],
    stream,
    driver: stream,
    columns: [...columns, ...META_COLUMNS],
    checks: {},
    partitionBy: {},
    key: [],
    latest: undefined,
    tombstone: undefined,
    reason,
    file: FILE,
  };
}
