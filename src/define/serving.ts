import { invalidOption, isNameList, isRecord, isTextRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column } from "./project.ts";

/** How a table is published to PostgreSQL: `serve: { postgres: { … } }`. `serve: "postgres"` is all of it by default. */
export interface PostgresOptions {
  /** Columns whose values no two rows share: the primary key. Default: the table's `key`. With it only what changed is written. */
  readonly key?: readonly string[];
  /** Columns to be found fast, each a column or a list of them. */
  readonly indexes?: readonly (string | readonly string[])[];
  /** What BI tools show beside the table. */
  readonly comment?: string;
  /** What BI tools show beside a column, by column. */
  readonly comments?: Readonly<Record<string, string>>;
  /** Schema in PostgreSQL. Default: the table's own. */
  readonly schema?: string;
}

/** `serve` as the definition has it; what it names is not looked up yet. */
export interface ServingDraft {
  readonly schema: string;
  readonly key: readonly string[] | undefined;
  readonly indexes: readonly (readonly string[])[];
  readonly comment: string | undefined;
  readonly comments: Readonly<Record<string, string>>;
}

/** A table's publication: its columns are those of the table but for the platform's own. */
export interface Serving extends ServingDraft {
  readonly key: readonly string[];
}

/** PostgreSQL cuts longer names off without a word. */
export const POSTGRES_NAME_BYTES = 63;
const SCHEMA_NAME = /^[a-z][a-z0-9_]*$/;
/** Filled by PostgreSQL, by the platform or by its queue. */
const RESERVED_SCHEMAS = /^(pg_.*|information_schema|millrace|millrace_.*|pgboss)$/;
/** Columns that every table of PostgreSQL has already. */
const SYSTEM_COLUMNS = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
const MOST_COLUMNS = 1_600;
const MOST_KEY_COLUMNS = 32;
const OPTIONS = ["key", "indexes", "comment", "comments", "schema"];

/** `serve` of a table; undefined without one, or when something is wrong with it. */
export function readServing(
  serve: unknown,
  name: string,
  subject: string,
  problems: Problem[],
): ServingDraft | undefined {
  if (serve === undefined) return undefined;
  const options =
    serve === "postgres" ? {} : isRecord(serve) && Object.keys(serve).join() === "postgres" && serve.postgres;
  if (!isRecord(options)) {
    problems.push(invalidOption(subject, "serve", serve, '"postgres" or { postgres: { key: […], indexes: […] } }'));
    return undefined;
  }
  const found: Problem[] = unknownOptions(subject, options, OPTIONS);
  const [ownSchema = "", ownName = ""] = name.split(".");
  const { key, indexes = [], comment, comments = {}, schema = ownSchema } = options;
  const refuse = (option: string, value: unknown, allowed: string) =>
    found.push(invalidOption(subject, `serve.postgres.${option}`, value, allowed));
  if (key !== undefined && !(isNameList(key) && key.length > 0)) refuse("key", key, "a list of different columns");
  const lists = Array.isArray(indexes) ? indexes.map((index) => (typeof index === "string" ? [index] : index)) : [];
  if (!Array.isArray(indexes) || !lists.every((list) => isNameList(list) && list.length > 0))
    refuse("indexes", indexes, 'a list of columns or lists of columns: ["day", ["country", "city"]]');
  if (comment !== undefined && !isText(comment)) refuse("comment", comment, "text");
  if (!isTextRecord(comments) || !Object.values(comments).every(isText))
    refuse("comments", comments, 'texts by column: { revenue: "…" }');
  if (typeof schema !== "string" || !SCHEMA_NAME.test(schema)) {
    refuse("schema", schema, "a name in lower-case letters, digits and _");
  } else if (RESERVED_SCHEMAS.test(schema)) {
    refuse("schema", schema, "another name: this one is PostgreSQL's or the platform's own");
  }
  for (const part of [schema, ownName]) {
    if (typeof part === "string" && part.length > POSTGRES_NAME_BYTES)
      refuse("schema and table name", part, `at most ${POSTGRES_NAME_BYTES} characters each in PostgreSQL`);
  }
  problems.push(...found);
  if (found.length > 0) return undefined;
  return {
    schema: schema as string,
    key: key as readonly string[] | undefined,
    indexes: lists as string[][],
    comment: comment as string | undefined,
    comments: comments as Readonly<Record<string, string>>,
  };
}

/** The publication of a table with these columns, or what is wrong with it. */
export function bindServing(
  draft: ServingDraft,
  tableKey: readonly string[],
  columns: readonly Column[],
  subject: string,
  refusals: { unknownColumn(option: string, name: string): void; problem(found: Problem): void },
): Serving {
  const key = draft.key ?? tableKey;
  const serving = { ...draft, key };
  const unfit = (option: string, column: string, got: string, allowed: string) =>
    refusals.problem(problem("COLUMN_UNFIT", { option: `serve.postgres${option}`, subject, column, got, allowed }));
  const ordered = (option: string, names: readonly string[]) => {
    for (const name of names) {
      const column = columns.find((c) => c.name === name);
      if (column === undefined) refusals.unknownColumn(`serve.postgres.${option}`, name);
      else if (["struct", "array", "map", "json"].includes(column.type.kind))
        unfit(`.${option}`, name, "nested", "text, a number, a boolean, a timestamp, a date or binary");
    }
    if (names.length > MOST_KEY_COLUMNS)
      refusals.problem(
        invalidOption(subject, `serve.postgres.${option}`, names, `at most ${MOST_KEY_COLUMNS} columns`),
      );
  };
  ordered("key", key);
  for (const index of draft.indexes) ordered("indexes", index);
  for (const name of Object.keys(draft.comments))
    if (!columns.some((c) => c.name === name)) refusals.unknownColumn("serve.postgres.comments", name);
  const published = publishedColumns(serving, columns);
  for (const { name } of published) {
    if (Buffer.byteLength(name) > POSTGRES_NAME_BYTES)
      unfit(
        "",
        name,
        `${Buffer.byteLength(name)} bytes long`,
        `at most ${POSTGRES_NAME_BYTES} bytes, as PostgreSQL has it`,
      );
    if (SYSTEM_COLUMNS.includes(name))
      unfit("", name, "a column that every table of PostgreSQL has", "another name in the SQL");
  }
  if (published.length > MOST_COLUMNS || published.length === 0)
    refusals.problem(
      invalidOption(
        subject,
        "serve",
        "postgres",
        `given to a table with 1 to ${MOST_COLUMNS} columns of its own, and this one has ${published.length}`,
      ),
    );
  return serving;
}

/** The columns that are published: all but the platform's own (`_offset`), unless a key or an index names them. */
export function publishedColumns(
  serving: Pick<Serving, "key" | "indexes">,
  columns: readonly Column[],
): readonly Column[] {
  const named = new Set([...serving.key, ...serving.indexes.flat()]);
  return columns.filter(({ name }) => !name.startsWith("_") || named.has(name));
}

/** PostgreSQL has no U+0000 in texts. */
function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed() && !value.includes("\0");
}
