/**
 * DuckDB's parse tree as Spark's SQL. What is translated means exactly the same in both; anything else is refused by name, with what to write
 * instead. Both come from the tree alone, without a Spark at hand, so that a project that does not fit is told when it loads.
 *
 * Columns behind `*` are written out, for the two order those of a USING join differently and EXCLUDE, REPLACE and UNION BY NAME have
 * no counterpart. Nulls are sorted as DuckDB sorts them: last, both ways.
 */
import type { Column } from "../../../define/project.ts";
import { type AstNode, isNode, queryOf } from "../../../define/sql-ast.ts";
import type { SqlAst } from "../../../define/sql-inspector.ts";
import { quoteSparkName } from "../../../define/sql-text.ts";
import { VARIANT } from "./casts.ts";
import { Expressions } from "./expressions.ts";
import { type Known, Scope, type Source, same } from "./scope.ts";
import { commonType, type Kind, Refused, type Value } from "./value.ts";

/** What a table in the statement is called in Spark, and which columns it has. */
export interface TranslationInput {
  readonly identifier: string;
  readonly columns: readonly Known[];
}

export interface Refusal {
  readonly what: string;
  readonly instead: string;
  /** Byte offset in the statement's text, where the parser knows it. */
  readonly position: number | undefined;
}

export interface Translation {
  readonly sql: string;
  readonly columns: readonly Known[];
  /** Empty where the text means what the statement means; otherwise the text is of no use. */
  readonly refusals: readonly Refusal[];
}

/** `input` gives the tables by their names in lower case; what it does not know is refused. */
export function translate(ast: SqlAst, input: (name: string) => TranslationInput | undefined): Translation {
  const translator = new Translator(input);
  const { sql, columns } = translator.query(queryOf(ast), new Map(), undefined);
  return { sql, columns, refusals: translator.refusals };
}

/** The columns of an input as a statement sees them. */
export function known(columns: readonly Column[]): Known[] {
  return columns.map(({ name, type }) => ({ name, type }));
}

interface Query {
  readonly sql: string;
  readonly columns: readonly Known[];
}

type Ctes = ReadonlyMap<string, readonly Known[]>;

export class Translator {
  readonly refusals: Refusal[] = [];
  readonly #input: (name: string) => TranslationInput | undefined;

  constructor(input: (name: string) => TranslationInput | undefined) {
    this.#input = input;
  }

  refuse(error: unknown, node: AstNode): void {
    if (!(error instanceof Refused)) throw error;
    const { what, instead } = error;
    const position = typeof node.query_location === "number" ? node.query_location : undefined;
    // What follows from a refusal is not told beside it.
    const follows = what.includes(UNKNOWN_TYPE) && this.refusals.length > 0;
    if (!follows && !this.refusals.some((one) => one.what === what)) this.refusals.push({ what, instead, position });
  }

  query(node: AstNode, outer: Ctes, around: Scope | undefined): Query {
    const ctes = new Map(outer);
    const definitions: string[] = [];
    for (const { key, value } of entries(node)) {
      const { sql, columns } = this.query((value.query as AstNode).node as AstNode, ctes, around);
      const aliases = (value.aliases ?? []) as string[];
      const named = columns.map((column, i) => ({ ...column, name: aliases[i] ?? column.name }));
      ctes.set(key.toLowerCase(), named);
      const list = aliases.length === 0 ? "" : ` (${named.map(({ name }) => quoteSparkName(name)).join(", ")})`;
      definitions.push(`${quoteSparkName(key)}${list} AS (${sql})`);
    }
    const body = this.#body(node, ctes, around);
    const start = definitions.length === 0 ? "" : `WITH ${definitions.join(",\n")}\n`;
    return { sql: start + body.sql, columns: body.columns };
  }

  #body(node: AstNode, ctes: Ctes, around: Scope | undefined): Query {
    switch (node.type) {
      case "SELECT_NODE":
        return this.#select(node, ctes, around);
      case "SET_OPERATION_NODE":
        return this.#setOperation(node, ctes, around);
      default: {
        this.refuse(new Refused("a recursive query", VARIANT), node);
        return { sql: "SELECT NULL", columns: [] };
      }
    }
  }

  #setOperation(node: AstNode, ctes: Ctes, around: Scope | undefined): Query {
    const sides = (isNode(node.left) ? [node.left, node.right] : (node.children as unknown[])) as AstNode[];
    const queries = sides.map((side) => this.query(side, ctes, around));
    const byName = node.setop_type === "UNION_BY_NAME";
    const operator = byName ? "UNION" : String(node.setop_type);
    const all = node.setop_all === true ? " ALL" : "";
    const first = queries[0]?.columns ?? [];
    const names = byName ? unionNames(queries.map(({ columns }) => columns)) : first.map(({ name }) => name);
    const columns = names.map((name, i) => {
      const types = queries.map((query) => {
        const column = byName ? query.columns.find((one) => same(one.name, name)) : query.columns[i];
        return column === undefined ? NULL : { sql: "", type: column.type };
      });
      return { name, type: commonType(types) };
    });
    const parts = queries.map((query) => {
      if (!byName) return `(${query.sql})`;
      const list = names.map((name) => {
        const has = query.columns.find((one) => same(one.name, name));
        return has === undefined ? `NULL AS ${quoteSparkName(name)}` : quoteSparkName(has.name);
      });
      return `(SELECT ${list.join(", ")} FROM (${query.sql}))`;
    });
    const scope = new Scope(around);
    scope.sources.push({ alias: "", qualified: undefined, columns });
    const sql = `${parts.join(`\n${operator}${all}\n`)}${this.#modifiers(node, this.#expressions(scope, ctes))}`;
    return { sql, columns };
  }

  #select(node: AstNode, ctes: Ctes, around: Scope | undefined): Query {
    const scope = new Scope(around);
    const from =
      isNode(node.from_table) && node.from_table.type !== "EMPTY" ? this.#from(node.from_table, scope, ctes) : "";
    const expressions = this.#expressions(scope, ctes);
    const list: string[] = [];
    const columns: Known[] = [];
    for (const item of (node.select_list ?? []) as AstNode[]) {
      for (const { sql, name, type } of this.#selected(item, scope, expressions)) {
        list.push(`${sql} AS ${quoteSparkName(name)}`);
        columns.push({ name, type });
        scope.aliases.set(name.toLowerCase(), type);
      }
    }
    if (isNode(node.sample)) this.refuse(new Refused("a sample", VARIANT), node);
    const modifiers = (node.modifiers ?? []) as AstNode[];
    const distinct = modifiers.find(({ type }) => type === "DISTINCT_MODIFIER");
    if (((distinct?.distinct_on_targets ?? []) as unknown[]).length > 0)
      this.refuse(new Refused("DISTINCT ON", "qualify row_number() over (partition by … order by …) = 1"), node);
    const condition = (word: string, part: unknown) => (isNode(part) ? `\n${word} ${expressions.sql(part)}` : "");
    const where = this.#where(node, scope, condition);
    const sql =
      `SELECT ${distinct === undefined ? "" : "DISTINCT "}${list.join(", ")}${from === "" ? "" : `\nFROM ${from}`}${where}` +
      this.#grouping(node, expressions) +
      condition("HAVING", node.having) +
      condition("QUALIFY", node.qualify) +
      this.#modifiers(node, expressions);
    return { sql, columns };
  }

  /** Spark's WHERE does not know the names that the select list gives. */
  #where(node: AstNode, scope: Scope, condition: (word: string, part: unknown) => string): string {
    const aliases = new Map(scope.aliases);
    scope.aliases.clear();
    const where = condition("WHERE", node.where_clause);
    for (const [name, type] of aliases) scope.aliases.set(name, type);
    return where;
  }

  #grouping(node: AstNode, expressions: Expressions): string {
    const groups = (node.group_expressions ?? []) as AstNode[];
    if (node.aggregate_handling === "FORCE_AGGREGATES") return "\nGROUP BY ALL";
    if (groups.length === 0) return "";
    if (((node.group_sets ?? []) as unknown[]).length > 1)
      this.refuse(new Refused("grouping sets, rollup and cube", "a union of one GROUP BY for each"), node);
    return `\nGROUP BY ${groups.map((group) => expressions.sql(group)).join(", ")}`;
  }

  #modifiers(node: AstNode, expressions: Expressions): string {
    let text = "";
    for (const modifier of (node.modifiers ?? []) as AstNode[]) {
      if (modifier.type === "ORDER_MODIFIER") {
        const orders = modifier.orders as AstNode[];
        text += `\nORDER BY ${orders.map((order) => expressions.order(order)).join(", ")}`;
      } else if (modifier.type === "LIMIT_MODIFIER") {
        if (isNode(modifier.limit)) text += `\nLIMIT ${expressions.sql(modifier.limit)}`;
        if (isNode(modifier.offset)) text += `\nOFFSET ${expressions.sql(modifier.offset)}`;
      } else if (modifier.type !== "DISTINCT_MODIFIER") {
        this.refuse(new Refused("a limit in percent", "a limit in rows"), node);
      }
    }
    return text;
  }

  *#selected(
    item: AstNode,
    scope: Scope,
    expressions: Expressions,
  ): Generator<{ sql: string; name: string; type: Kind }> {
    if (item.class === "STAR") {
      yield* this.#star(item, scope, expressions);
      return;
    }
    const value = expressions.value(item);
    const alias = typeof item.alias === "string" ? item.alias : "";
    const path = item.class === "COLUMN_REF" ? (item.column_names as string[]) : [];
    yield { sql: value.sql, name: alias || path.at(-1) || "column", type: value.type };
  }

  *#star(item: AstNode, scope: Scope, expressions: Expressions): Generator<{ sql: string; name: string; type: Kind }> {
    const of = String(item.relation_name ?? "");
    if (item.columns === true || isNode(item.expr)) {
      this.refuse(new Refused("columns(…)", "name the columns"), item);
      return;
    }
    if (
      ((item.rename_list ?? []) as unknown[]).length > 0 ||
      ((item.qualified_exclude_list ?? []) as unknown[]).length > 0
    )
      this.refuse(new Refused("* with RENAME, or EXCLUDE of a qualified column", "name the columns"), item);
    const excluded = new Set(((item.exclude_list ?? []) as string[]).map((name) => String(name).toLowerCase()));
    const replaced = new Map(
      ((item.replace_list ?? []) as { key: string; value: AstNode }[]).map(({ key, value }) => [
        key.toLowerCase(),
        value,
      ]),
    );
    const seen = new Set<string>();
    for (const { alias, qualified, columns } of scope.sources) {
      if (of !== "" && !same(of, alias) && !(qualified !== undefined && same(of, qualified))) continue;
      for (const { name, type } of columns) {
        const lower = name.toLowerCase();
        const merged = of === "" && scope.joined.has(lower);
        if (excluded.has(lower) || (merged && seen.has(lower))) continue;
        seen.add(lower);
        const replacement = replaced.get(lower);
        const path = merged || alias === "" ? [name] : [alias, name];
        const given = replacement && expressions.value(replacement);
        yield { sql: given?.sql ?? path.map(quoteSparkName).join("."), name, type: given ? given.type : type };
      }
    }
  }

  #from(node: AstNode, scope: Scope, ctes: Ctes): string {
    if (isNode(node.sample)) this.refuse(new Refused("a sample", VARIANT), node);
    switch (node.type) {
      case "BASE_TABLE":
        return this.#table(node, scope, ctes);
      case "SUBQUERY": {
        const { sql, columns } = this.query((node.subquery as AstNode).node as AstNode, ctes, undefined);
        const alias = String(node.alias ?? "") || `__q${scope.sources.length}`;
        return this.#source(node, `(${sql})`, { alias, qualified: undefined, columns }, scope);
      }
      case "JOIN":
        return this.#join(node, scope, ctes);
      default: {
        const call = isNode(node.function)
          ? `the table function ${String(node.function.function_name)}`
          : `${node.type} in FROM`;
        this.refuse(new Refused(call.toLowerCase(), VARIANT), node);
        return "(SELECT 1)";
      }
    }
  }

  #table(node: AstNode, scope: Scope, ctes: Ctes): string {
    const schema = String(node.schema_name ?? "");
    const table = String(node.table_name);
    const name = (schema === "" ? table : `${schema}.${table}`).toLowerCase();
    if (isNode(node.at_clause)) this.refuse(new Refused("an older version of a table (AT)", "read its newest"), node);
    const cte = schema === "" ? ctes.get(name) : undefined;
    const input = cte === undefined ? this.#input(name) : { identifier: table, columns: cte };
    if (input === undefined)
      this.refuse(new Refused(`the table ${name}, which is none of its inputs`, "name an input"), node);
    const { identifier, columns } = input ?? { identifier: table, columns: [] };
    const given = String(node.alias ?? "");
    const clashes = scope.sources.some(({ alias }) => same(alias, table));
    const alias = given || (clashes ? name : table);
    const qualified = given === "" && schema !== "" ? name : undefined;
    return this.#source(node, quoteSparkName(identifier), { alias, qualified, columns }, scope);
  }

  #source(node: AstNode, sql: string, source: Source, scope: Scope): string {
    const names = (node.column_name_alias ?? []) as string[];
    const columns = source.columns.map((column, i) => ({ ...column, name: names[i] ?? column.name }));
    scope.sources.push({ ...source, columns });
    const list = names.length === 0 ? "" : ` (${columns.map(({ name }) => quoteSparkName(name)).join(", ")})`;
    return `${sql} AS ${quoteSparkName(source.alias)}${list}`;
  }

  #join(node: AstNode, scope: Scope, ctes: Ctes): string {
    const left = this.#from(node.left as AstNode, scope, ctes);
    const between = scope.sources.length;
    const right = this.#from(node.right as AstNode, scope, ctes);
    const side = isNode(node.right) && node.right.type === "JOIN" ? `(${right})` : right;
    const word = JOINS[String(node.join_type)];
    const kind = String(node.ref_type);
    if (word === undefined || (kind !== "REGULAR" && kind !== "CROSS")) {
      const what = `a ${(kind === "REGULAR" ? String(node.join_type) : kind).toLowerCase()} join`;
      this.refuse(new Refused(what, "a join with ON or USING"), node);
      return left;
    }
    const using = (node.using_columns ?? []) as string[];
    const expressions = this.#expressions(scope, ctes);
    let on = "";
    if (using.length > 0) on = ` USING (${using.map(quoteSparkName).join(", ")})`;
    else if (isNode(node.condition)) on = ` ON ${expressions.sql(node.condition)}`;
    else if (kind === "CROSS") return `${left}\nCROSS JOIN ${side}`;
    for (const name of using) scope.joined.add(name.toLowerCase());
    // What such a join looks at on its right side gives no columns.
    if (node.join_type === "SEMI" || node.join_type === "ANTI") scope.sources.splice(between);
    return `${left}\n${word} ${side}${on}`;
  }

  #expressions(scope: Scope, ctes: Ctes): Expressions {
    return new Expressions(scope, {
      refuse: (error, node) => this.refuse(error, node),
      query: (node) => this.query(node, ctes, scope),
    });
  }
}

const UNKNOWN_TYPE = "whose type is not known";
const NULL: Value = { sql: "NULL", type: { kind: "null" } };

const JOINS: Readonly<Record<string, string>> = {
  INNER: "INNER JOIN",
  LEFT: "LEFT JOIN",
  RIGHT: "RIGHT JOIN",
  OUTER: "FULL JOIN",
  FULL: "FULL JOIN",
  SEMI: "LEFT SEMI JOIN",
  ANTI: "LEFT ANTI JOIN",
};

function entries(node: AstNode): { key: string; value: AstNode }[] {
  const map = isNode(node.cte_map) ? node.cte_map.map : undefined;
  return Array.isArray(map) ? (map as { key: string; value: AstNode }[]) : [];
}

function unionNames(lists: readonly (readonly Known[])[]): string[] {
  const names: string[] = [];
  for (const { name } of lists.flat()) if (!names.some((one) => same(one, name))) names.push(name);
  return names;
}
