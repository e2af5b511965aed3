import type { Column } from "../define/project.ts";
import type { FileStats } from "../lake/delta-table.ts";

/**
 * The port to whatever runs SQL: SQL and input files in, rows or Parquet files with statistics out. Engines compute, the
 * platform commits: an engine never touches a table's log.
 */
export interface SqlEngine {
  readonly name: string;

  /**
   * Runs one SELECT and gives its rows batch by batch.
   * @throws SQL_FAILED with the engine's reason; TABLE_UNKNOWN for a name that is no input; QUERY_TIMEOUT; QUERY_CANCELLED
   * (signal); QUERY_OUT_OF_MEMORY; ENGINE_IO.
   */
  query(statement: Statement, options?: RunOptions): Promise<ResultStream>;

  /**
   * Runs one SELECT and writes its rows as Parquet, in the types of the platform. No rows: no files. A failed call leaves
   * none behind. Same errors as `query`; takes no parameters.
   */
  write(statement: Statement, target: WriteTarget, options?: RunOptions): Promise<WrittenFile[]>;

  close(): Promise<void>;
}

/** A SELECT over named inputs. The SQL names them as the user does: `orders`, `silver.orders`, `"quoted"`. */
export interface Statement {
  readonly sql: string;
  readonly inputs: ReadonlyMap<string, Relation>;
  readonly params?: readonly unknown[];
  /** The same in Spark's own SQL, where somebody has written it, and the columns it gives. */
  readonly spark?: { readonly sql: string; readonly columns: readonly Column[] } | undefined;
}

/** What a name in a statement stands for. */
export type Relation =
  /** Parquet files of one table. Columns missing from a file are null; `partition` gives columns the files do not hold. */
  | { readonly kind: "files"; readonly columns: readonly Column[]; readonly files: readonly FileInput[] }
  /** A statement in its turn. */
  | { readonly kind: "view"; readonly statement: Statement }
  /** SQL in the engine's own dialect over things only this engine holds (staged events). */
  | { readonly kind: "native"; readonly sql: string };

export interface FileInput {
  /** Local path. Where the store is remote the file is there while a statement that names it runs (`InputFiles`). */
  readonly path: string;
  /** How an engine with an access of its own names it (`ObjectStore.uri`); undefined for a file that is only here. */
  readonly uri?: string;
  /** Partition column -> serialised value. */
  readonly partition: Readonly<Record<string, string | null>>;
  /** Where it is known; a hint of how much work the file is. */
  readonly rowCount?: number | undefined;
  /** Where it is known, for whoever chooses an engine by it. */
  readonly sizeBytes?: number | undefined;
}

/** Brings the files that a statement reads to their local paths, where they are not there all the time. */
export interface InputFiles {
  /** The folder below which all such paths lie. */
  readonly root: string;
  /**
   * Resolves when the files are there, to what lets go of them. Until then none of them is removed.
   * @throws ENGINE_IO for a file that there is not; what the signal was aborted with; what the store throws
   */
  hold(paths: readonly string[], signal?: AbortSignal): Promise<() => void>;
}

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Told the share done, 0 to 1, now and then. */
  readonly onProgress?: (share: number) => void;
}

export interface ResultStream {
  readonly columns: readonly Column[];
  /**
   * Rows as arrays of JSON values in column order: integers beyond 2^53 and decimals as strings, timestamps as ISO 8601
   * UTC text, dates as `YYYY-MM-DD`, structs and maps as objects, binary as base64, NaN and infinities as strings.
   * Ending the iteration early cancels the statement.
   */
  readonly batches: AsyncIterable<unknown[][]>;
}

export interface WriteTarget {
  /**
   * Local path for the next file, called once per file; missing folders are made. `partition`: serialised values by
   * column. When there are no rows, the file named for them does not exist.
   */
  readonly path: (partition: Readonly<Record<string, string | null>>) => Promise<string>;
  /** Columns of the statement by whose values rows are split into files; they are left out of the files. */
  readonly partitionColumns?: readonly string[];
  /** zstd level 1 measures fastest and near smallest (`docs/decisions`). */
  readonly compression?: "zstd" | "snappy";
}

export interface WrittenFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly partition: Readonly<Record<string, string | null>>;
  readonly stats: FileStats;
}

/**
 * The embedded engine's own session, for what only happens inside this process: staging the log's newest events in memory.
 * Statements are trusted and in the engine's dialect.
 */
export interface LocalSql {
  run(sql: string): Promise<void>;
  /** All rows as objects of plain values (bigint for 64-bit integers, number, string, boolean, null). */
  rows(sql: string): Promise<Record<string, unknown>[]>;
  /** All rows of non-null fixed-width columns (BIGINT, UBIGINT, DOUBLE), one typed array per column: no object per row. */
  columns(sql: string): Promise<(BigInt64Array | BigUint64Array | Float64Array)[]>;
  /** The text of a statement in this engine's dialect, to be put in parentheses or behind INSERT INTO. */
  compile(statement: Statement): Promise<string>;
  /**
   * Runs a statement once with each value in place of `$1`, several at a time, and gives for each value the error it ended with
   * (as `run` would throw it) or undefined. Its rows are not kept.
   */
  attempts(sql: string, values: readonly number[]): Promise<unknown[]>;
  /**
   * The text of a SELECT that goes on where the given one would end with an error: what fails is null, and the column `failed`
   * tells rows in which something did, equal texts standing for equal reasons; it is null in all others. A hint where to look, no
   * proof, and the text may fail all the same. Undefined where there is no such text.
   */
  tolerant(sql: string, failed: string): Promise<string | undefined>;
}
