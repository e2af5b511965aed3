import { nearestMatch } from "../define/nearest.ts";
import { replaceTables, sqlTokens } from "../define/replace-tables.ts";
import { type AstNode, referenceName, type TableReference, tableReferences, visitNodes } from "../define/sql-ast.ts";
import type { SqlAst, SqlInspector } from "../define/sql-inspector.ts";
import { type ColumnPredicate, conjunctivePredicates } from "../define/sql-predicates.ts";
import type { SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Catalogue, TableMention } from "./catalogue.ts";
import { checkQuery } from "./sql-sandbox.ts";

export interface BoundQuery {
  readonly statement: Statement;
  /** Must be called once the statement has been read to its end. */
  release(): void;
}

/**
 * Makes a user's SQL a statement over relations: checked against the sandbox, every table found in the catalogue, at the
 * version or moment that `at (version => …)` or `at (timestamp => …)` asks for.
 * @throws SQL_SYNTAX, SQL_NOT_A_QUERY, SQL_FORBIDDEN, TABLE_UNKNOWN, SQL_FAILED (a bad AT), DELTA_VERSION_GONE
 */
export async function bindQuery(
  sql: string,
  params: readonly unknown[],
  parts: { engine: SqlEngine; inspector: SqlInspector; catalogue: Catalogue },
): Promise<BoundQuery> {
  const { engine, inspector, catalogue } = parts;
  const ast = await inspector.parse(sql);
  checkQuery(ast, inspector.functions);
  const known = new Map(catalogue.names().map((name) => [name.toLowerCase(), name]));
  const predicates = new Map<AstNode, readonly ColumnPredicate[]>(
    conjunctivePredicates(ast, (name) => columnsOf(catalogue, known, name)).map((found) => [
      found.reference.node,
      found.predicates,
    ]),
  );
  const mentions = new Map<string, TableMention>();
  const names = new Map<AstNode, string>();
  for (const reference of tableReferences(ast)) {
    const name = known.get(referenceName(reference));
    if (name === undefined) throw unknownTable(reference, known.values());
    const at = reference.at === undefined ? {} : { at: await pointInTime(reference.at, params, engine, inspector) };
    const mention = { name, ...at, predicates: predicates.get(reference.node) ?? [] };
    // Mentions that stand for the same rows share a relation.
    const key = JSON.stringify(mention, (_key, value) => (typeof value === "bigint" ? String(value) : value));
    mentions.set(key, mention);
    names.set(reference.node, key);
  }
  const keys = [...mentions.keys()];
  const text = replaceTables(sql, ast, ({ node }) => inputName(keys.indexOf(names.get(node) ?? "")));
  const { relations, release } = await catalogue.resolve([...mentions.values()]);
  const inputs = new Map(relations.map((relation, index) => [inputName(index), relation]));
  return { statement: { ...withoutAtParams(sql, text, ast, params), inputs }, release };
}

/** Inputs are numbered: one table can be there at several versions. */
function inputName(index: number): string {
  return `input ${index}`;
}

function columnsOf(catalogue: Catalogue, known: ReadonlyMap<string, string>, name: string) {
  const written = known.get(name.toLowerCase());
  return written === undefined ? undefined : catalogue.columns(written);
}

function unknownTable({ catalog, schema, table }: TableReference, known: Iterable<string>): MillraceError {
  const name = [catalog, schema, table].filter((part) => part !== "").join(".");
  const nearest = nearestMatch(name, known);
  return new MillraceError(
    "TABLE_UNKNOWN",
    { table: name, nearest: nearest === undefined ? "" : `; did you mean "${nearest}"?` },
    { details: { name, ...(nearest === undefined ? {} : { candidates: [nearest] }) } },
  );
}

type At = NonNullable<TableReference["at"]>;

async function pointInTime(
  { unit, expression }: At,
  params: readonly unknown[],
  engine: SqlEngine,
  inspector: SqlInspector,
): Promise<{ version: number } | { timestampMs: number }> {
  const value = await evaluate(expression, unit, params, engine, inspector);
  if (typeof value !== "number" || !Number.isInteger(value)) {
    const wanted = unit === "VERSION" ? "a version number" : "a timestamp";
    throw new MillraceError("SQL_FAILED", { reason: `AT takes ${wanted}, got ${JSON.stringify(value)}`, place: "" });
  }
  return unit === "VERSION" ? { version: value } : { timestampMs: value };
}

/** Has the engine compute the expression: it may be any that names no column. */
async function evaluate(
  expression: AstNode,
  unit: At["unit"],
  params: readonly unknown[],
  engine: SqlEngine,
  inspector: SqlInspector,
): Promise<unknown> {
  const own = parameterNumbers(expression);
  if (own.some((number) => number > params.length)) {
    throw new MillraceError("SQL_FAILED", {
      reason: `AT uses parameter ${Math.max(...own)}, got ${params.length}`,
      place: "",
    });
  }
  const tree = structuredClone(await inspector.parse("select 0"));
  const [statement] = tree.statements as { node: { select_list: unknown[] } }[];
  if (statement !== undefined) statement.node.select_list = [expression];
  // Formatted, every parameter has its number; here they are counted anew.
  const used = [...new Set(own)].sort((a, b) => a - b);
  const text = renumbered(await inspector.format(tree), (number) => used.indexOf(number) + 1);
  const cast = unit === "VERSION" ? "SELECT try_cast(v AS BIGINT)" : "SELECT epoch_ms(try_cast(v AS TIMESTAMPTZ))";
  const sql = `${cast} FROM (${text}) AS t(v)`;
  const { batches } = await engine.query(
    { sql, inputs: new Map(), params: used.map((number) => params[number - 1]) },
    { timeoutMs: AT_TIMEOUT_MS },
  );
  for await (const [row] of batches) return row?.[0];
  return undefined;
}

const AT_TIMEOUT_MS = 1000;

function parameterNumbers(node: unknown): number[] {
  const numbers: number[] = [];
  visitNodes(node, ({ class: kind, identifier }) => {
    if (kind === "PARAMETER" && /^\d+$/.test(String(identifier))) numbers.push(Number(identifier));
  });
  return numbers;
}

/**
 * The text without `at (…)`, and the parameters without those that only AT used. The engine wants them without gaps: a `?`
 * counts its place by itself, `$2` is numbered anew.
 */
function withoutAtParams(
  sql: string,
  text: string,
  ast: SqlAst,
  params: readonly unknown[],
): { sql: string; params: readonly unknown[] } {
  const expressions = tableReferences(ast).flatMap(({ at }) => at?.expression ?? []);
  const inAt = new Set(expressions.flatMap(parameterNumbers));
  if (inAt.size === 0) return { sql: text, params };
  if ([...sqlTokens(sql)].some(({ start }) => sql[start] === "?")) {
    return { sql: text, params: params.filter((_, index) => !inAt.has(index + 1)) };
  }
  const outside = new Set<number>();
  renumbered(text, (number) => outside.add(number) && number);
  const kept = params.map((_, index) => index + 1).filter((number) => !inAt.has(number) || outside.has(number));
  // One that was not given comes after those that were, for the engine to miss it.
  const place = (number: number) => (kept.includes(number) ? kept.indexOf(number) : kept.length) + 1;
  return { sql: renumbered(text, place), params: kept.map((number) => params[number - 1]) };
}

function renumbered(text: string, place: (number: number) => number): string {
  let result = "";
  let at = 0;
  for (const { start, end } of sqlTokens(text)) {
    const digits = text.slice(start, end);
    if (text[start - 1] !== "$" || !/^\d+$/.test(digits)) continue;
    result += text.slice(at, start) + place(Number(digits));
    at = end;
  }
  return result + text.slice(at);
}
