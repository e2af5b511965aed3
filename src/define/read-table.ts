import type { Definition } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isNameList, isRecord, isTextRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { SessionsRole } from "./read-sessions.ts";
import { sqlTokens } from "./replace-tables.ts";
import { readServing, type ServingDraft } from "./serving.ts";

/** A table definition whose options have the right shape; nothing is known yet about its SQL. */
export interface TableDraft {
  readonly name: string;
  readonly sql: string;
  readonly checks: Readonly<Record<string, string>>;
  /** Name of the partition column -> expression; a bare column has its own name. */
  readonly partitionBy: Readonly<Record<string, string>>;
  readonly refresh: "full" | { readonly by: Readonly<Record<string, string>> } | undefined;
  readonly key: readonly string[];
  readonly latest: string | undefined;
  readonly tombstone: string | undefined;
  readonly serve: ServingDraft | undefined;
  readonly freshnessMs?: number | undefined;
  readonly engine?: "duckdb" | "spark" | undefined;
  readonly spark?: string | undefined;
  readonly file: string;
  /** Where the table is one of those that sessions are made of. */
  readonly sessions?: SessionsRole;
}

const OPTIONS = [
  "sql",
  "checks",
  "partitionBy",
  "refresh",
  "key",
  "latest",
  "tombstone",
  "serve",
  "freshness",
  "engine",
  "spark",
];
const TABLE_NAME = /^([a-z][a-z0-9_]{0,99})\.([a-z][a-z0-9_]{0,99})$/;

/** Schemas that tables of users cannot be in: the platform fills them, or the engine does. */
const RESERVED_SCHEMAS = ["bronze", "features", "system", "main", "temp", "information_schema", "pg_catalog"];

/** The draft of a table, or everything that is wrong with its options. */
export function readTable(definition: Definition, file: string): TableDraft | readonly Problem[] {
  const { name, options } = definition;
  const subject = `table "${name}"`;
  const problems = nameProblems(name);
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));

  const { sql, checks = {}, partitionBy = [], refresh, key = [], latest, tombstone } = options;
  if (typeof sql !== "string" || sql.trim() === "")
    problems.push(invalidOption(subject, "sql", sql, "a SELECT statement"));
  if (!isTextRecord(checks))
    problems.push(invalidOption(subject, "checks", checks, 'conditions by name: { name: "…" }'));
  const partitions = readPartitions(partitionBy, subject, problems);
  const by = isRecord(refresh) && Object.keys(refresh).join() === "by" ? refresh.by : undefined;
  if (refresh !== undefined && refresh !== "full" && !(isTextRecord(by) && Object.keys(by).length > 0)) {
    problems.push(
      invalidOption(subject, "refresh", refresh, '"full" or { by: { column: "expression over an input" } }'),
    );
  }
  if (!isNameList(key)) problems.push(invalidOption(subject, "key", key, "a list of different columns"));
  for (const [option, value] of [
    ["latest", latest],
    ["tombstone", tombstone],
  ] as const) {
    if (value !== undefined && typeof value !== "string")
      problems.push(invalidOption(subject, option, value, "a column"));
  }
  const keyed = isNameList(key) && key.length > 0;
  const missing = (option: string, why: string) => problems.push(problem("OPTION_MISSING", { subject, option, why }));
  if (keyed && latest === undefined)
    missing("latest", "it says which row of a key is the newest (_offset: the last to arrive)");
  if (!keyed && latest !== undefined) missing("key", "latest chooses among the rows of one key");
  if (!keyed && tombstone !== undefined) missing("key", "tombstone removes a key");
  if (keyed && refresh !== undefined) {
    problems.push(problem("KEY_NOT_APPEND", { subject, reason: "the definition asks for a refresh" }));
  }
  const { engine, spark, freshness } = options;
  const freshnessMs = typeof freshness === "string" ? parseDuration(freshness) : undefined;
  if (freshness !== undefined && !(freshnessMs !== undefined && freshnessMs > 0))
    problems.push(invalidOption(subject, "freshness", freshness, 'a time such as "15m", "2h" or "1d"'));
  if (engine !== undefined && engine !== "duckdb" && engine !== "spark")
    problems.push(invalidOption(subject, "engine", engine, '"duckdb" or "spark"'));
  if (spark !== undefined && (typeof spark !== "string" || spark.trim() === ""))
    problems.push(invalidOption(subject, "spark", spark, "a SELECT statement in Spark's SQL"));
  const serve = readServing(options.serve, name, subject, problems);
  if (problems.length > 0) return problems;
  return {
    name,
    sql: withoutEnd(sql as string),
    checks: checks as Readonly<Record<string, string>>,
    partitionBy: partitions,
    refresh: refresh as TableDraft["refresh"],
    key: key as readonly string[],
    latest: latest as string | undefined,
    tombstone: tombstone as string | undefined,
    serve,
    freshnessMs,
    engine: engine as TableDraft["engine"],
    // Closing semicolons would end the statement that it becomes a part of.
    spark: (spark as string | undefined)?.replace(/[\s;]+$/, ""),
    file,
  };
}

/** The statement without closing semicolons and comments, so that it can stand in parentheses. */
function withoutEnd(sql: string): string {
  let end = 0;
  for (const token of sqlTokens(sql)) if (sql[token.start] !== ";") end = token.end;
  return sql.slice(0, end);
}

export function nameProblems(name: unknown): Problem[] {
  const refuse = (allowed: string) => [problem("NAME_INVALID", { subject: "a table", got: name, allowed })];
  const [, schema] = TABLE_NAME.exec(String(name)) ?? [];
  if (schema === undefined) {
    return refuse(
      'a name is "schema.table" in lower-case letters, digits and _, for example silver.orders or gold.sales_daily',
    );
  }
  if (RESERVED_SCHEMAS.includes(schema)) {
    return refuse(`the schema ${schema} is the platform's own; use silver, gold or one of yours`);
  }
  return [];
}

/**
 * `["country", "date(placed_at)", { day: "date(placed_at)" }]` or `{ day: "date(placed_at)" }` as column name -> expression. A function of
 * one column is named after both: `placed_at_date`.
 */
function readPartitions(option: unknown, subject: string, problems: Problem[]): Record<string, string> {
  const found: Record<string, string> = {};
  const add = (name: string, expression: string) => {
    if (name in found) problems.push(invalidOption(subject, "partitionBy", option, `without "${name}" twice`));
    found[name] = expression;
  };
  for (const item of Array.isArray(option) ? option : [option]) {
    if (isTextRecord(item)) {
      for (const [name, expression] of Object.entries(item)) add(name, expression);
      continue;
    }
    const text = typeof item === "string" ? item.trim() : "";
    const call = /^(\w+)\(\s*(\w+)\s*\)$/.exec(text);
    if (/^\w+$/.test(text)) add(text, text);
    else if (call) add(`${call[2]}_${call[1]}`.toLowerCase(), text);
    else {
      const allowed = 'columns, functions of one column such as date(placed_at), or named expressions: { day: "…" }';
      problems.push(invalidOption(subject, "partitionBy", item, allowed));
    }
  }
  return found;
}
