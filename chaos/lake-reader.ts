/** Reads tables from the files on the disk, with no platform running. */
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Snapshot } from "../src/lake/delta-table.ts";
import { openFsStore } from "../src/lake/fs-store.ts";
import { openDeltaTable } from "../src/lake/open-delta-table.ts";

export class LakeReader {
  readonly #dataDir: string;
  readonly #connection: DuckDBConnection;

  private constructor(dataDir: string, connection: DuckDBConnection) {
    this.#dataDir = dataDir;
    this.#connection = connection;
  }

  static async open(dataDir: string): Promise<LakeReader> {
    const instance = await DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    await connection.run("set TimeZone = 'UTC'; set memory_limit = '1GB'; set threads = 2");
    return new LakeReader(dataDir, connection);
  }

  /** Makes the newest version readable under a name. */
  async view(name: string, table: string, emptyColumns: string): Promise<void> {
    const files = (await neededFiles(this.#dataDir, table)).map(
      (path) => `'${join(this.#dataDir, path).replaceAll("'", "''")}'`,
    );
    const source =
      files.length === 0
        ? `(select ${emptyColumns} where false)`
        : `read_parquet([${files.join(", ")}], union_by_name = true)`;
    await this.#connection.run(`create or replace view ${name} as select * from ${source}`);
  }

  async rows(sql: string): Promise<unknown[][]> {
    return (await this.#connection.runAndReadAll(sql)).getRowsJS() as unknown[][];
  }

  close(): void {
    this.#connection.closeSync();
  }
}

/** Paths of the files of a table's newest version, below the data folder. */
export async function neededFiles(dataDir: string, table: string): Promise<string[]> {
  const files = (await newest(dataDir, table))?.files ?? [];
  return files.map((file) => `lake/${table.replace(".", "/")}/${file.path}`);
}

/** Last offset of a stream's partition that a table holds; -1 for none. */
export async function storedTo(dataDir: string, table: string, stream: string, partition: number): Promise<number> {
  return (await newest(dataDir, table))?.txn.get(`millrace:${stream}:${partition}`) ?? -1;
}

/** The version before a table's newest: its files, below the data folder, and its progress. */
export async function versionBefore(
  dataDir: string,
  table: string,
): Promise<{ files: readonly string[]; txn: ReadonlyMap<string, number> } | undefined> {
  const store = await openFsStore(join(dataDir, "lake"));
  const delta = openDeltaTable(store, table.replace(".", "/"));
  const { version = 0 } = (await delta.snapshot()) ?? {};
  if (version < 2) return undefined;
  const { files, txn } = (await delta.snapshot({ version: version - 1 })) as Snapshot;
  return { files: files.map((file) => `lake/${table.replace(".", "/")}/${file.path}`), txn };
}

async function newest(dataDir: string, table: string): Promise<Snapshot | undefined> {
  const store = await openFsStore(join(dataDir, "lake"));
  return openDeltaTable(store, table.replace(".", "/")).snapshot();
}
