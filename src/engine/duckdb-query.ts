import { type DuckDBDataChunk, type DuckDBResult, type DuckDBType, ResultReturnType } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";
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
  const run = await Run.begin(connections, sql, options);
  try {
    const result = await stream(run, sql, params);
    const types = result.columnTypes();
    const columns = types.map((type, index) => shownColumn(result.columnName(index), type));
    const batches = new Batches(run, result, types, () => failure(run, sql, params));
    return { columns, batches };
  } catch (error) {
    run.end(false);
    throw error;
  }
}

async function stream(run: Run, sql: string, params: readonly unknown[] | undefined): Promise<DuckDBResult> {
  const prepared = await run.step(() => run.connection.prepare(sql));
  try {
    bindParams(prepared, params ?? []);
    return await run.step(() => prepared.stream());
  } finally {
    prepared.destroySync();
  }
}

/**
 * Why a statement failed behind its first rows. The client library shows such a failure as the end of the rows and keeps the
 * reason to itself, so the statement runs once more, for its reason alone.
 */
async function failure(run: Run, sql: string, params: readonly unknown[] | undefined): Promise<never> {
  const again = await stream(run, `SELECT count(hash(r)) FROM (${sql}\n) AS r`, params);
  await run.step(() => again.fetchChunk());
  const reason = "it failed while its rows were read, and did not fail when it was tried again";
  throw new MillraceError("SQL_FAILED", { reason, place: "" });
}

/** A batch per chunk of the engine (2,048 rows), so that converting one never holds up the event loop for long. */
class Batches implements AsyncIterable<unknown[][]> {
  readonly #run: Run;
  readonly #result: DuckDBResult;
  readonly #types: readonly DuckDBType[];
  readonly #failure: () => Promise<never>;

  constructor(run: Run, result: DuckDBResult, types: readonly DuckDBType[], failure: () => Promise<never>) {
    this.#failure = failure;
    this.#run = run;
    this.#result = result;
    this.#types = types;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<unknown[][]> {
    let clean = false;
    try {
      for (;;) {
        const chunk = await this.#run.step(() => this.#result.fetchChunk());
        if (chunk === null || chunk.rowCount === 0) {
          if (this.#result.returnType === ResultReturnType.INVALID) await this.#failure();
          break;
        }
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
