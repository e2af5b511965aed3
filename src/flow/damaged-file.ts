/** What is said of a data file that is not what was written: where it is, which events it holds, and what to do. */
import type { DataFile } from "../lake/delta-table.ts";
import type { LakeTable } from "./lake-tables.ts";

export interface DamagedFile {
  readonly table: string;
  /** Below the data folder. */
  readonly file: string;
  readonly reason: string;
  /** The events whose rows it holds, as far as its statistics tell. */
  readonly range: string;
  readonly remedy: string;
}

export function damagedFile({ name, delta, definition }: LakeTable, file: DataFile, reason: string): DamagedFile {
  const { min = {}, max = {}, rowCount } = file.stats ?? {};
  const range =
    min["_offset"] === undefined
      ? `${rowCount ?? "an unknown number of"} rows`
      : `rows of events ${min["_offset"]} to ${max["_offset"]} of partition ${partitions(min["_partition"], max["_partition"])}`;
  const source = definition === undefined ? "from the log, as far back as that is kept" : "from bronze";
  return {
    table: name,
    file: `lake/${delta.location}/${file.path}`,
    reason,
    range,
    remedy: `\`millrace replay ${name}\` builds it again ${source}; or put the file back from a backup.`,
  };
}

function partitions(first: unknown, last: unknown): string {
  return first === last ? String(first) : `${first} to ${last}`;
}
