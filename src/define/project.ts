/**
 * What a loaded project is: definitions checked, bound against each other, and frozen. Everything below `define/` works
 * from these shapes and never from what the user wrote.
 */

import type { AlertRoute } from "./alert-routes.ts";
import type { Alert } from "./bind-alerts.ts";
import type { Destination } from "./read-destination.ts";
import type { Feature } from "./read-feature.ts";
import type { StreamFunction } from "./read-function.ts";
import type { TopicSource } from "./read-kafka-topic.ts";
import type { SessionsRole } from "./read-sessions.ts";
import type { SqlFunction } from "./read-sql-function.ts";
import type { Window } from "./read-window.ts";
import type { Workflow } from "./read-workflow.ts";
import type { Serving } from "./serving.ts";
import type { TrackingPlan } from "./tracking-plan.ts";

/** A column's type, named as the platform names it; `types.ts` maps it to JSON Schema, Delta, DuckDB and PostgreSQL. */
export type ColumnType =
  | {
      readonly kind:
        | "string"
        | "integer"
        | "long"
        | "double"
        | "float"
        | "boolean"
        | "timestamp"
        | "date"
        | "json"
        | "binary";
    }
  /** Types met only in tables that others wrote. */
  | { readonly kind: "byte" | "short" | "timestamp_ntz" }
  | { readonly kind: "decimal"; readonly precision: number; readonly scale: number }
  | { readonly kind: "struct"; readonly fields: readonly Column[] }
  | { readonly kind: "array"; readonly element: ColumnType; readonly elementNullable: boolean }
  | { readonly kind: "map"; readonly value: ColumnType; readonly valueNullable: boolean };

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
}

/** The columns every stream offers beside its fields, in this order. */
export const META_COLUMNS = [
  { name: "_id", type: { kind: "string" }, nullable: false },
  { name: "_partition", type: { kind: "integer" }, nullable: false },
  { name: "_offset", type: { kind: "long" }, nullable: false },
  { name: "_received_at", type: { kind: "timestamp" }, nullable: false },
  { name: "_source", type: { kind: "string" }, nullable: false },
] as const satisfies readonly Column[];

/** What `bronze.<stream>` holds: every event as received, duplicates with the offset of the event they repeat. */
export const BRONZE_COLUMNS = [
  { name: "payload", type: { kind: "string" }, nullable: false },
  ...META_COLUMNS,
  { name: "_duplicate_of", type: { kind: "long" }, nullable: true },
] as const satisfies readonly Column[];

export interface Stream {
  readonly name: string;
  /** The fields of an event, in the order of the schema. Meta columns are not among them. */
  readonly columns: readonly Column[];
  /** The contract: JSON Schema (draft 2020-12) of one event. */
  readonly jsonSchema: Readonly<Record<string, unknown>>;
  /**
   * Fields whose values together are the event's id; empty when every event is its own. Two nulls are the same value, but
   * an event in which all of these fields are missing or null has no id and is its own too.
   */
  readonly id: readonly string[];
  /** Field that decides the partition; undefined: the id, or any partition. */
  readonly key: string | undefined;
  /** Field that holds the event time. */
  readonly time: string | undefined;
  /** Two arrivals of one id within this time are one event. */
  readonly horizonMs: number;
  /** Field -> by partition the first offset from which events have it, of fields that the contract did not always require. */
  readonly requiredSince?: Readonly<Record<string, readonly number[]>>;
  /** True when the events that are stored were not all stored by `id`. */
  readonly reidentified?: boolean;
  /** Number of partitions, where the definition says one; otherwise the setting decides. */
  readonly partitions?: number;
  /** A source of Segment's messages: the Segment door takes them, and holds them to the tracking plan where there is one. */
  readonly segment?: { readonly plan?: TrackingPlan };
  /** A topic of others that is read into it. */
  readonly from?: TopicSource;
  /** Where it was defined, relative to the project's folder. */
  readonly file: string;
}

export interface TableBase {
  /** `schema.name`, for example `silver.orders`. */
  readonly name: string;
  readonly sql: string;
  /** Names of the streams and tables the SQL reads, as `orders` or `silver.fx`. */
  readonly inputs: readonly string[];
  /**
   * Columns of the stored table, bound by the engine. Append tables hold `_partition` and `_offset` as well, and columns
   * made by `partitionBy` come last.
   */
  readonly columns: readonly Column[];
  /** Check name -> SQL condition over the table's columns. A row fails when the condition is false. */
  readonly checks: Readonly<Record<string, string>>;
  /** Partition column name -> SQL expression over the table's columns (a bare column: its own name twice). */
  readonly partitionBy: Readonly<Record<string, string>>;
  /** Which data `locate_ip` gave it, where its SQL uses that: other data makes other rows, so it is part of what the table is. */
  readonly geoDatabase?: string;
  /** Functions of the project that its SQL calls, with the hash of each: another function makes other rows. */
  readonly functions?: Readonly<Record<string, string>>;
  /** How it is published to PostgreSQL, where it is. */
  readonly serve?: Serving;
  /** How long it may go without new rows, where it says so. */
  readonly freshnessMs?: number;
  /** Which engine it asks for. */
  readonly engine?: "duckdb" | "spark";
  /** Its statement in Spark's own SQL, where it has one. */
  readonly spark?: string;
  /** Why the table follows its inputs the way it does, in one sentence. */
  readonly reason: string;
  readonly file: string;
}

/** Each event is transformed once, as it comes. */
export interface AppendTable extends TableBase {
  readonly mode: "append";
  /** The stream whose events drive the table. */
  readonly stream: string;
  /** The input that brings the events: the stream itself, or an append table over it. All other inputs are look-ups. */
  readonly driver: string;
  /** The statement as stored: `sql` with `_partition` and `_offset` added to its select list when it lacked them. */
  readonly storedSql: string;
  /** Columns of the key when the table keeps only the newest row per key; empty otherwise. */
  readonly key: readonly string[];
  /** Column that decides which row is newest; ties go to the higher offset. */
  readonly latest: string | undefined;
  /** Boolean column: a newest row in which it is true removes the key. */
  readonly tombstone: string | undefined;
}

/** Anything that combines rows: recomputed after its inputs change. */
export interface RefreshTable extends TableBase {
  readonly mode: "refresh";
  /** Output column -> expression over an input; empty: every refresh recomputes the whole table. */
  readonly by: Readonly<Record<string, string>>;
  /** Inputs whose rows carry every `by` expression. A change in any other input recomputes the whole table. */
  readonly byInputs: readonly string[];
  /** Where the table is one of those that sessions are made of, which have a way of their own to compute only what events touch. */
  readonly sessions?: SessionsRole;
}

export type Table = AppendTable | RefreshTable;

export interface Project {
  readonly name: string;
  /** Absolute path of the project's folder. */
  readonly dir: string;
  /** Its module files, relative to the folder: whoever needs the definitions' own functions in another thread loads them again. */
  readonly modules: readonly string[];
  readonly streams: ReadonlyMap<string, Stream>;
  /** In an order in which every table comes after its inputs. */
  readonly tables: ReadonlyMap<string, Table>;
  readonly workflows: ReadonlyMap<string, Workflow>;
  /** By the name of the stream of their results, which is among `streams`. */
  readonly windows: ReadonlyMap<string, Window>;
  /** Functions that are called for each event of a stream. */
  readonly functions: ReadonlyMap<string, StreamFunction>;
  /** Values per key that are the same online and in SQL; `features.<name>` is the table of each. */
  readonly features: ReadonlyMap<string, Feature>;
  /** Functions that SQL can call. */
  readonly sqlFunctions: ReadonlyMap<string, SqlFunction>;
  readonly destinations: ReadonlyMap<string, Destination>;
  /** Where alerts go that do not say it themselves; the first that fits counts. */
  readonly alertRoutes: readonly AlertRoute[];
  readonly alerts: ReadonlyMap<string, Alert>;
  /** Settings from `millrace.config.ts`, not yet resolved against flags and environment. */
  readonly settings: Readonly<Record<string, unknown>>;
}
