import type { Column } from "../define/project.ts";
import type { ColumnPredicate } from "../define/sql-predicates.ts";
import type { Relation } from "../engine/sql-engine.ts";

/**
 * The tables and streams that can be read, as `serve/` needs them. Names are as SQL writes them (`orders`,
 * `silver.orders`) and are compared without regard to case.
 */
export interface Catalogue {
  /** Every name that a query may use. */
  names(): string[];
  /** Columns as queries see them, or undefined for a name that is not there. */
  columns(name: string): readonly Column[] | undefined;
  /** In the order of their names. */
  list(): Promise<TableSummary[]>;
  /** @throws TABLE_UNKNOWN */
  describe(name: string): Promise<TableDetails>;
  /**
   * What the mentions stand for, in their order, as of one moment: every event acknowledged before the call shows in all of
   * them. The relations can be read until `release` is called, which may be called more than once.
   * @throws TABLE_UNKNOWN; DELTA_VERSION_GONE for a version or moment that is not there.
   */
  resolve(mentions: readonly TableMention[]): Promise<Resolved>;
}

export interface TableMention {
  readonly name: string;
  /** Undefined: now. */
  readonly at?: { readonly version: number } | { readonly timestampMs: number };
  /** Every row that the query takes meets all of these; files that hold no such row may be left out. */
  readonly predicates: readonly ColumnPredicate[];
}

export interface Resolved {
  readonly relations: readonly Relation[];
  release(): void;
}

export interface TableSummary {
  readonly name: string;
  readonly kind: "stream" | "table";
  /** `append` or `refresh` for a table; undefined for a stream's own bronze and silver. */
  readonly mode: "append" | "refresh" | undefined;
  /** Undefined while the table has no commit. */
  readonly version: number | undefined;
  /** Rows in the lake; events that are acknowledged and not flushed yet come on top. Undefined where files lack statistics. */
  readonly rows: number | undefined;
  readonly sizeBytes: number;
  /** Time of the newest event or input that the table shows, milliseconds since the epoch; undefined while it is empty. */
  readonly freshAtMs: number | undefined;
  /** How long it may go without new rows; undefined where its definition does not say. */
  readonly freshnessMs: number | undefined;
}

export interface TableDetails extends TableSummary {
  readonly columns: readonly Column[];
  readonly partitionColumns: readonly string[];
  /** Why the table follows its inputs the way it does. */
  readonly reason: string | undefined;
  readonly sql: string | undefined;
  /** Name -> condition that every row has to meet. */
  readonly checks: Readonly<Record<string, string>>;
  readonly lineage: { readonly inputs: readonly string[]; readonly readers: readonly string[] };
  /** Newest first. */
  readonly history: readonly TableCommit[];
  readonly files: readonly TableFile[];
}

export interface TableCommit {
  readonly version: number;
  readonly timestampMs: number;
  readonly operation: string;
  readonly addedFiles: number;
  readonly removedFiles: number;
  readonly addedRows: number | undefined;
  /** What the commit says of itself, as `docs/http.md` has it. */
  readonly info?: Readonly<Record<string, unknown>>;
}

export interface TableFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly rows: number | undefined;
  readonly modifiedAtMs: number;
  readonly partition: Readonly<Record<string, string | null>>;
}
