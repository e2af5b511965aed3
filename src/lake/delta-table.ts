import type { Column } from "../define/project.ts";
import type { TableCopy } from "./table-copy.ts";

/**
 * One Delta table (reader 1 / writer 2 for what we write). Implemented in `open-delta-table.ts`.
 * All file paths are relative to the table's folder, `/`-separated and not URL-encoded (the encoding of the
 * protocol is applied when actions are written and undone when they are read).
 */
export interface DeltaTable {
  /** Key prefix of the table in its store, for example `silver/orders`. */
  readonly location: string;

  /**
   * The newest state, or that of a version or of a moment (the last commit at or before it). Undefined when the table has
   * no commit yet. Looks for newer commits each time unless `cached` is set.
   * @throws DELTA_FEATURE_UNSUPPORTED naming the feature; DELTA_CORRUPT naming file and reason; DELTA_VERSION_GONE.
   */
  snapshot(at?: { version: number } | { timestampMs: number } | { cached: true }): Promise<Snapshot | undefined>;

  /**
   * Commits atomically on top of `readVersion` (-1: creates the table; needs `schema`).
   * When another commit came first, it is applied on top of that one if the two do not touch the same things,
   * otherwise a conflict is returned and nothing changed.
   */
  commit(request: CommitRequest): Promise<CommitResult>;

  /** Newest first. */
  history(limit: number): Promise<CommitInfo[]>;

  /**
   * Files whose rows the commits `after+1 .. to` brought in or took out; one that came and went is in both lists. Commits
   * without `dataChange` count for neither. Undefined when the log no longer (or not yet) has all of these commits whole, or was
   * repaired among them.
   */
  changes(after: number, to: number): Promise<{ added: DataFile[]; removed: DataFile[] } | undefined>;

  /** The version whose commit added a file; undefined when the log no longer (or not readily) tells. */
  addedIn(file: DataFile): Promise<number | undefined>;

  /**
   * Removes the data files that no version within `retentionMs` refers to, oldest first, and returns their paths. Files no
   * commit knows are left alone for an hour at least, or for `orphansForMs`: they may be being written. Those that `keep` names stay in any
   * case. `nowMs`: by the clock of the store, where others write there too; this process's own unless given.
   * @throws DELTA_COMMIT_INVALID when `retentionMs` is more than the table's `delta.deletedFileRetentionDuration` (a week)
   */
  vacuum(options: {
    retentionMs: number;
    dryRun?: boolean;
    keep?: (path: string) => boolean;
    nowMs?: number;
    orphansForMs?: number;
  }): Promise<string[]>;

  /** The newest version known, to be written elsewhere; undefined when nothing was read yet or there is no table. */
  copy(): TableCopy | undefined;

  /** Finishes commits under way and the checkpoint that is being written behind them. */
  close(): Promise<void>;
}

export interface Snapshot {
  readonly version: number;
  readonly timestampMs: number;
  readonly tableId: string;
  readonly columns: readonly Column[];
  readonly partitionColumns: readonly string[];
  readonly files: readonly DataFile[];
  /** appId -> version of every `txn` action. */
  readonly txn: ReadonlyMap<string, number>;
  readonly configuration: Readonly<Record<string, string>>;
}

/** A Parquet file of a table as its `add` action describes it. */
export interface DataFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  /** Partition column -> serialised value as in the protocol; null is null. */
  readonly partition: Readonly<Record<string, string | null>>;
  /** Undefined when the writer left none. */
  readonly stats: FileStats | undefined;
  /** CRC-32 of the file when it was written, eight hexadecimal digits; files of other writers have none. */
  readonly checksum?: string | undefined;
}

/** Values are JSON values as in the protocol: timestamps as ISO 8601 text, decimals and numbers as numbers, dates as text. */
export interface FileStats {
  readonly rowCount: number;
  readonly min: Readonly<Record<string, unknown>>;
  readonly max: Readonly<Record<string, unknown>>;
  readonly nullCount: Readonly<Record<string, unknown>>;
}

export interface CommitRequest {
  /** Shown in the history: `FLUSH`, `REFRESH`, `MERGE`, `COMPACT`, `CREATE`, `ALTER`… */
  readonly operation: string;
  readonly readVersion: number;
  readonly add?: readonly DataFile[];
  /** Paths of files to remove. */
  readonly remove?: readonly string[];
  /** Progress of consumers, committed with the data. */
  readonly txn?: ReadonlyMap<string, number>;
  /** Sets or changes the schema (creation, or an additive change). */
  readonly schema?: { readonly columns: readonly Column[]; readonly partitionColumns: readonly string[] };
  readonly configuration?: Readonly<Record<string, string>>;
  /** False when the rows stay the same (compaction). Default true. */
  readonly dataChange?: boolean;
  /** True for a file that would have changed what is committed, had it been there at `readVersion`: one that has come since is a conflict. */
  readonly dependsOn?: (added: DataFile) => boolean;
  /** Further facts for the history, kept in `commitInfo`. */
  readonly info?: Readonly<Record<string, unknown>>;
}

export type CommitResult =
  | { readonly kind: "committed"; readonly version: number }
  /** `txn`: a commit since `readVersion` set one of our appIds; `removed`: it removed one of our files; `added`: it brought rows that the request depends on; `metadata`: it changed the schema; `exists`: the table was created meanwhile. */
  | {
      readonly kind: "conflict";
      readonly reason: "txn" | "removed" | "added" | "metadata" | "exists";
      readonly version: number;
    };

export interface CommitInfo {
  readonly version: number;
  readonly timestampMs: number;
  readonly operation: string;
  readonly addedFiles: number;
  readonly removedFiles: number;
  readonly addedRows: number | undefined;
  readonly info: Readonly<Record<string, unknown>>;
}
