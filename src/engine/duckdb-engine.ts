import type { SqlInspector } from "../define/sql-inspector.ts";
import { compile } from "./duckdb-compile.ts";
import { Connections, type DuckdbOptions } from "./duckdb-connections.ts";
import { openDuckdbInspector } from "./duckdb-inspector.ts";
import { localSql } from "./duckdb-local.ts";
import { queryRows } from "./duckdb-query.ts";
import { TolerantTexts } from "./duckdb-tolerant.ts";
import { writeFiles } from "./duckdb-write.ts";
import { ParseCache } from "./parse-cache.ts";
import type { LocalSql, SqlEngine, Statement } from "./sql-engine.ts";

export type DuckdbEngine = SqlEngine & {
  readonly local: LocalSql;
  /** Reads SQL for this engine; closed with it. */
  readonly inspector: SqlInspector;
};

/**
 * Opens the embedded engine: DuckDB in this process's memory, confined to the given folders and its settings locked.
 * Each running statement holds a thread of libuv's pool; with more than a few at once, raise UV_THREADPOOL_SIZE.
 */
export async function openDuckdbEngine(options: DuckdbOptions): Promise<DuckdbEngine> {
  const connections = await Connections.open(options);
  const inspector = await openDuckdbInspector();
  if (options.geo !== undefined) inspector.locateBy(options.geo);
  await inspector.define(options.functions ?? []);
  const parsed = new ParseCache((sql) => inspector.parse(sql));
  const tolerated = new TolerantTexts(inspector);
  const text = async (statement: Statement) => {
    connections.assertOpen();
    return await compile(statement, (sql) => parsed.get(sql));
  };
  return {
    name: "duckdb",
    inspector,
    local: localSql(connections, text, (sql, failed) => tolerated.get(sql, failed)),
    query: async (statement, run = {}) => queryRows(connections, await text(statement), statement.params, run),
    async write(statement, target, run = {}) {
      if (statement.params !== undefined) throw new TypeError("a statement that is written takes no parameters");
      return await writeFiles(connections, await text(statement), target, run);
    },
    async close() {
      await connections.close();
      inspector.close();
    },
  };
}
