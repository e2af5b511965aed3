import type { DuckDBDataChunk, DuckDBResult, DuckDBType } from "@duckdb/node-api";
import type { Connections } from "./duckdb-connections.ts";
import { bindParams } from "./duckdb-params.ts";
import { Run } from "./duckdb-run.ts";
import { shownColumn } from "./duckdb-types.ts";
import { readColumn } from "./duckdb-values.ts";
import type { ResultStream, RunOptions } from "./sql-engine.ts";

/** Runs a statement and gives its rows as they are computed; at most a few chunks are held at a time. */
export async function queryRows(
  connections: Connections,
  sql: string,
  params: readonly unknown[] | undefined,
  options: RunOptions,
): Promise<ResultStream> {
  const run = await Run.begin(connections, options);
  try {
    const prepared = await run.step(run.connection.prepare(sql));
    bindParams(prepared, params ?? []);
    const result = await run.step(prepared.stream());
    prepared.destroySync();
    const types = result.columnTypes();
    const columns = types.map((type, index) => shownColumn(result.columnName(index), type));
    return { columns, batches: new Batches(run, result, types) };
  } catch (error) {
    run.end(false);
    throw error;
  }
}

/** A batch per chunk of the engine (2,048 rows), so that converting one never holds up the event loop for long. */
class Batches implements AsyncIterable<unknown[][]> {
  readonly #run: Run;
  readonly #result: DuckDBResult;
  readonly #types: readonly DuckDBType[];

  constructor(run: Run, result: DuckDBResult, types: readonly DuckDBType[]) {
    this.#run = run;
    this.#result = result;
    this.#types = types;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<unknown[][]> {
    let clean = false;
    try {
      for (;;) {
        const chunk = await this.#run.step(this.#result.fetchChunk());
        if (chunk === null || chunk.rowCount === 0) break;
        yield rowsOf(chunk, this.#types);
      }
      clean = true;
    } finally {
      this.#run.end(clean);
    }
  }
}

function rowsOf(chunk: DuckDBDataChunk, types: readonly DuckDBType[]): unknown[][] {
  const columns = types.map((type, index) => readColumn(chunk, index, type, "json"));
  const rows = new Array<unknown[]>(chunk.rowCount);
  for (let i = 0; i < rows.length; i++) {
    const row = new Array<unknown>(columns.length);
    for (let c = 0; c < columns.length; c++) row[c] = (columns[c] as unknown[])[i];
    rows[i] = row;
  }
  return rows;
}
