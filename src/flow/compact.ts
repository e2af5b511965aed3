import type { Relation } from "../engine/sql-engine.ts";
import { planCompaction } from "../lake/compaction.ts";
import type { DataFile } from "../lake/delta-table.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";

/** Large enough for good compression and few requests, small enough to rewrite in about a second. */
const TARGET_BYTES = 128 * 1024 * 1024;
/** Below this many small files, rewriting costs more than it saves. */
const MIN_FILES = 16;

/** Merges small files of a table; rows and their meaning stay the same. Gives way when a flush or refresh changes those files. */
export async function compactTable(lake: LakeTables, table: LakeTable): Promise<number> {
  let compacted = 0;
  const files = table.snapshot.files.filter((file) => !lake.isDamaged(table, file));
  for (const group of planCompaction({ files }, { targetBytes: TARGET_BYTES, minFiles: MIN_FILES })) {
    const { snapshot } = table;
    if (!(await areWhole(lake, table, group))) continue;
    const relation: Relation = lake.relation(table, snapshot, group);
    const add = await lake.write(table, { sql: "select * from files", inputs: new Map([["files", relation]]) });
    const result = await lake.commit(table, {
      operation: "COMPACT",
      readVersion: snapshot.version,
      add,
      remove: group.map((file) => file.path),
      dataChange: false,
    });
    if (result.kind === "committed") compacted += group.length;
  }
  return compacted;
}

/** Damage must not be copied into a new file with a right checksum. What is wrong with a file is the scrub's to say. */
async function areWhole(lake: LakeTables, table: LakeTable, files: readonly DataFile[]): Promise<boolean> {
  for (const file of files) {
    if (file.checksum !== undefined && (await lake.checksum(table, file)) !== file.checksum) return false;
  }
  return true;
}
