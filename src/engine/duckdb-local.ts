import { type DuckDBDataChunk, type DuckDBType, DuckDBTypeId } from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import type { Connections } from "./duckdb-connections.ts";
import { engineError } from "./duckdb-errors.ts";
import { readColumn } from "./duckdb-values.ts";
import type { LocalSql, Statement } from "./sql-engine.ts";

/**
 * The engine's own session. Every call has a connection of its own, so calls under way together run together: what
 * belongs in one transaction goes into one text.
 */
export function localSql(
  connections: Connections,
  compile: (statement: Statement) => Promise<string>,
  tolerant: LocalSql["tolerant"],
): LocalSql {
  const run = async <T>(sql: string, read: (result: Result) => T): Promise<T> => {
    const release = await connections.inputs.hold(sql);
    try {
      return await connections.with(async (connection) => {
        const result = await connection.run(sql);
        return read({
          names: result.columnNames(),
          types: result.columnTypes(),
          chunks: await result.fetchAllChunks(),
        });
      });
    } catch (error) {
      throw engineError(error);
    } finally {
      release();
    }
  };
  return {
    compile,
    tolerant,
    attempts: (sql, values) => attempts(connections, sql, values),
    run: (sql) => run(sql, () => undefined),
    rows: (sql) => run(sql, rowObjects),
    columns: (sql) => run(sql, typedColumns),
  };
}

/** Half of a short statement is spent between threads, so that more of them than there are cores pays. */
const ATTEMPTS_AT_A_TIME = 4;

async function attempts(connections: Connections, sql: string, values: readonly number[]): Promise<unknown[]> {
  const outcomes: unknown[] = new Array(values.length).fill(undefined);
  let next = 0;
  const work = async (): Promise<void> => {
    await connections.with(async (connection) => {
      const statement = await connection.prepare(sql);
      try {
        while (next < values.length) {
          const index = next++;
          statement.bindBigInt(1, BigInt(values[index] ?? 0));
          try {
            await statement.run();
          } catch (error) {
            outcomes[index] = engineError(error);
          }
        }
      } finally {
        statement.destroySync();
      }
    });
  };
  const release = await connections.inputs.hold(sql);
  try {
    await Promise.all(Array.from({ length: Math.min(ATTEMPTS_AT_A_TIME, values.length) }, work));
  } catch (error) {
    throw engineError(error);
  } finally {
    release();
  }
  return outcomes;
}

interface Result {
  readonly names: string[];
  readonly types: DuckDBType[];
  readonly chunks: DuckDBDataChunk[];
}

function rowObjects({ names, types, chunks }: Result): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [];
  for (const chunk of chunks) {
    const columns = types.map((type, index) => readColumn(chunk, index, type, "plain"));
    for (let row = 0; row < chunk.rowCount; row++) {
      rows.push(Object.fromEntries(names.map((name, index) => [name, columns[index]?.[row]])));
    }
  }
  return rows;
}

type TypedColumn = BigInt64Array | BigUint64Array | Float64Array;

function typedColumns({ names, types, chunks }: Result): TypedColumn[] {
  const count = chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0);
  return types.map((type, index) => {
    const column = emptyColumn(type, names[index] ?? "", count);
    const bytes = new Uint8Array(column.buffer);
    let row = 0;
    for (const chunk of chunks) {
      const vector = duckdb.data_chunk_get_vector(chunk.chunk, index);
      bytes.set(duckdb.vector_get_data(vector, chunk.rowCount * 8), row * 8);
      row += chunk.rowCount;
    }
    return column;
  });
}

function emptyColumn(type: DuckDBType, name: string, count: number): TypedColumn {
  switch (type.typeId) {
    case DuckDBTypeId.BIGINT:
      return new BigInt64Array(count);
    case DuckDBTypeId.UBIGINT:
      return new BigUint64Array(count);
    case DuckDBTypeId.DOUBLE:
      return new Float64Array(count);
    default:
      throw new TypeError(`column "${name}" is ${type}; only BIGINT, UBIGINT and DOUBLE come as typed arrays`);
  }
}
