/**
 * The rows of a keyed table that is built anew, from changes that come in pieces. A removed key keeps no trace in the table, so the
 * newest change of every key is kept aside until the end, the removals among them: only then it is known what stays.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { AppendTable } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import type { LocalSql, Relation, RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";
import type { DataFile } from "../lake/delta-table.ts";
import { keysOf } from "./flush.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { latestPerKey } from "./merge.ts";

export interface NewestParts {
  readonly lake: LakeTables;
  readonly engine: SqlEngine & { readonly local: LocalSql };
}

export class NewestRows {
  readonly #p: NewestParts;
  /** The table as if nothing were ever removed. */
  readonly #table: AppendTable;
  readonly #tombstone: string | undefined;
  readonly #lakeTable: LakeTable;
  readonly #dir: string;
  #changes: string[] = [];
  readonly #written: DataFile[] = [];
  #base: { readonly files: readonly DataFile[]; readonly removed: readonly string[] } = { files: [], removed: [] };

  constructor(parts: NewestParts, table: AppendTable, lakeTable: LakeTable, dir: string) {
    this.#p = parts;
    this.#table = { ...table, tombstone: undefined };
    this.#tombstone = table.tombstone;
    this.#lakeTable = lakeTable;
    this.#dir = dir;
  }

  /** Keeps the newest of some changes per key, given as SQL. */
  async add(changes: string, run: RunOptions): Promise<void> {
    this.#changes.push(...(await this.#keep(this.#newest({ kind: "native", sql: changes }), run)));
  }

  /** Merges what has come so far, so that the end has little to do. */
  async settle(run: RunOptions): Promise<void> {
    const newest = await this.#keep(this.#newest(this.#kept(this.#changes)), run);
    this.#changes = [];
    const files = await this.#write(this.#alive(this.#kept(newest), true), run);
    const removed = this.#tombstone === undefined ? [] : await this.#keep(this.#alive(this.#kept(newest), false), run);
    this.#base = { files, removed };
  }

  /** The table's files. Those that are not among them any more are vacuum's. */
  async files(run: RunOptions): Promise<readonly DataFile[]> {
    if (this.#changes.length === 0) return this.#base.files;
    const { lake, engine } = this.#p;
    const changes = this.#kept(this.#changes);
    const text = await engine.local.compile({ sql: "select * from changes", inputs: new Map([["changes", changes]]) });
    const touched = (await keysOf(engine.local, this.#table, text))(this.#base.files);
    const stored: Statement = {
      sql: "select * from rows union all by name select * from removed",
      inputs: new Map<string, Relation>([
        ["rows", lake.relation(this.#lakeTable, this.#lakeTable.snapshot, touched)],
        ["removed", this.#kept(this.#base.removed)],
      ]),
    };
    const merged = latestPerKey(this.#table, { kind: "view", statement: stored }, changes);
    const written = await this.#write(this.#alive({ kind: "view", statement: merged }, true), run);
    const gone = new Set(touched);
    return [...this.#base.files.filter((file) => !gone.has(file)), ...written];
  }

  /** Leaves to vacuum what was written and not committed. */
  close(): void {
    this.#p.lake.forget(this.#lakeTable, this.#written);
  }

  async #write(statement: Statement, run: RunOptions): Promise<DataFile[]> {
    const files = await this.#p.lake.write(this.#lakeTable, statement, run);
    this.#written.push(...files);
    return files;
  }

  #newest(changes: Relation): Statement {
    const none: Statement = { sql: "select * from changes where false", inputs: new Map([["changes", changes]]) };
    return latestPerKey(this.#table, { kind: "view", statement: none }, changes);
  }

  #alive(rows: Relation, alive: boolean): Statement {
    const removed = this.#tombstone === undefined ? "false" : `${quoteIdentifier(this.#tombstone)} is true`;
    return { sql: `select * from rows where ${alive ? "not " : ""}(${removed})`, inputs: new Map([["rows", rows]]) };
  }

  async #keep(statement: Statement, run: RunOptions): Promise<string[]> {
    const target = { path: async () => join(this.#dir, `${randomUUID()}.parquet`) };
    return (await this.#p.engine.write(statement, target, run)).map(({ path }) => path);
  }

  #kept(files: readonly string[]): Relation {
    const { columns } = this.#lakeTable;
    return { kind: "files", columns, files: files.map((path) => ({ path, partition: {} })) };
  }
}
