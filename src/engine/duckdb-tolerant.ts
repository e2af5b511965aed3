import { type AstNode, isNode, queryOf, visitNodes } from "../define/sql-ast.ts";
import type { SqlAst, SqlInspector } from "../define/sql-inspector.ts";
import { quoteIdentifier } from "../define/sql-text.ts";

/**
 * The text of a SELECT that goes on where the given one would end with an error: an expression that fails gives null, and the row's
 * column `failed` says which expressions failed on which values. It is null in rows in which nothing did; rows that have the same
 * text there fail for the same reason. A row whose WHERE fails is kept. Undefined for statements that combine rows.
 *
 * It is DuckDB's TRY put around each expression of the select list, each condition of WHERE and each side of a left join's
 * comparisons, in the statement and in a subquery that is all it selects from: `TRY({v: x})` is null only where `x` fails. What TRY
 * cannot hold (subqueries, unnest) stays as it is, so the text may fail all the same. It says where to look and proves nothing:
 * DuckDB is free to evaluate conditions in another order.
 */
async function tolerant(sql: string, failed: string, inspector: SqlInspector): Promise<string | undefined> {
  const ast = await inspector.parse(sql);
  return new Rewrite(ast, inspector).select(queryOf(ast), failed, 0);
}

/** The texts met last: a stream that brings such events brings them again and again. */
export class TolerantTexts {
  readonly #inspector: SqlInspector;
  readonly #texts = new Map<string, Promise<string | undefined>>();

  constructor(inspector: SqlInspector) {
    this.#inspector = inspector;
  }

  get(sql: string, failed: string): Promise<string | undefined> {
    const key = `${failed} ${sql}`;
    const known = this.#texts.get(key) ?? tolerant(sql, failed, this.#inspector);
    this.#texts.delete(key);
    this.#texts.set(key, known);
    if (this.#texts.size > MOST_TEXTS) this.#texts.delete(this.#texts.keys().next().value as string);
    // What failed to be read is tried anew.
    known.catch(() => this.#texts.delete(key));
    return known;
  }
}

const MOST_TEXTS = 100;

class Rewrite {
  readonly #ast: SqlAst;
  readonly #inspector: SqlInspector;

  constructor(ast: SqlAst, inspector: SqlInspector) {
    this.#ast = ast;
    this.#inspector = inspector;
  }

  async select(query: AstNode, failed: string, depth: number): Promise<string | undefined> {
    if (query["type"] !== "SELECT_NODE" || combinesRows(query)) return undefined;
    const marks: string[] = [];
    const from = await this.#from(query["from_table"], marks, `${failed}_${depth + 1}`, depth);
    if (from === undefined) return undefined;
    const items: string[] = [];
    for (const item of query["select_list"] as AstNode[]) items.push(await this.#item(item, marks));
    const conditions: string[] = [];
    for (const condition of conjuncts(query["where_clause"])) conditions.push(await this.#condition(condition, marks));
    const failing = marks.length === 0 ? "null::varchar" : `nullif(concat(${marks.join(", ")}), '')`;
    const shell = await this.#format({
      ...query,
      select_list: [constant(ITEMS)],
      from_table: from.node,
      where_clause: null,
    });
    const where = conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`;
    const list = [...items, `${failing} as ${quoteIdentifier(failed)}`].join(", ");
    const texts = new Map([...from.texts, [ITEMS, list]]);
    return shell.replaceAll(PLACEHOLDER, (literal, name: string) => texts.get(name) ?? literal) + where;
  }

  async #item(item: AstNode, marks: string[]): Promise<string> {
    const text = await this.#expression({ ...item, alias: "" });
    const alias = item["alias"] === "" ? "" : ` as ${quoteIdentifier(String(item["alias"]))}`;
    if (!canBeTried(item)) return `${text}${alias}`;
    marks.push(await this.#mark(item, text, marks.length));
    return `struct_extract(try(struct_pack(v := ${text})), 'v')${alias}`;
  }

  /** Keeps a row of which the condition is true or fails. */
  async #condition(condition: AstNode, marks: string[]): Promise<string> {
    const text = await this.#expression(condition);
    if (!canBeTried(condition)) return `(${text})`;
    marks.push(await this.#mark(condition, text, marks.length));
    const tried = `try(struct_pack(v := ${text}))`;
    return `coalesce(struct_extract(${tried}, 'v'), ${tried} is null)`;
  }

  /** SQL for which expression failed on which values, empty where it did not. */
  async #mark(expression: AstNode, text: string, number: number): Promise<string> {
    const inputs = new Set<string>();
    let hasLambda = false;
    const columns: AstNode[] = [];
    visitNodes(expression, (node) => {
      if (node["class"] === "COLUMN_REF") columns.push(node);
      if (node["class"] === "LAMBDA") hasLambda = true;
    });
    // The parameters of a lambda look like columns; its rows are told apart by all they hold.
    for (const column of columns) inputs.add(await this.#expression({ ...column, alias: "" }));
    // Each value behind its length, so that no two lists of values give one text.
    const value = (sql: string) =>
      `coalesce(concat(length(cast(${sql} as varchar)), ':', cast(${sql} as varchar)), '-')`;
    const values = hasLambda ? ["uuid()"] : [...inputs].map(value);
    const mark = `concat(${[`'${number}|'`, ...values].join(", ")})`;
    return `case when try(struct_pack(v := ${text})) is null then ${mark} else '' end`;
  }

  /** The FROM clause with placeholders for what stands in it, and their texts. */
  async #from(
    from: unknown,
    marks: string[],
    failed: string,
    depth: number,
  ): Promise<{ node: unknown; texts: Map<string, string> } | undefined> {
    const texts = new Map<string, string>();
    if (isNode(from) && from["type"] === "SUBQUERY" && depth < DEEPEST) {
      const inner = isNode(from["subquery"]) ? from["subquery"]["node"] : undefined;
      const text = isNode(inner) ? await this.select(inner, failed, depth + 1) : undefined;
      if (text === undefined) return depth === 0 ? undefined : { node: from, texts };
      texts.set(INNER, text);
      marks.push(`coalesce(${quoteIdentifier(failed)}, '')`);
      const placeholder = {
        ...(inner as AstNode),
        cte_map: NO_CTES,
        select_list: [constant(INNER)],
        from_table: EMPTY,
        where_clause: null,
      };
      return { node: { ...from, subquery: { ...(from["subquery"] as AstNode), node: placeholder } }, texts };
    }
    const node = await this.#joins(from, marks, texts);
    return { node, texts };
  }

  /** Comparisons of a left join whose sides may fail: such a row then finds no partner, and is there to be marked. */
  async #joins(from: unknown, marks: string[], texts: Map<string, string>): Promise<unknown> {
    if (!isNode(from) || from["type"] !== "JOIN") return from;
    const left = await this.#joins(from["left"], marks, texts);
    if (from["join_type"] !== "LEFT" || !isNode(from["condition"])) return { ...from, left };
    const side = async (node: unknown): Promise<unknown> => {
      if (!isNode(node) || !canBeTried(node)) return node;
      const text = await this.#expression(node);
      marks.push(await this.#mark(node, text, marks.length));
      const name = `${OPERAND}${texts.size}`;
      texts.set(name, `try(${text})`);
      return constant(name);
    };
    const compared = async (node: AstNode): Promise<AstNode> => {
      if (node["class"] === "CONJUNCTION") {
        const children: AstNode[] = [];
        for (const child of node["children"] as AstNode[]) children.push(await compared(child));
        return { ...node, children };
      }
      if (node["class"] !== "COMPARISON") return node;
      return { ...node, left: await side(node["left"]), right: await side(node["right"]) };
    };
    return { ...from, left, condition: await compared(from["condition"]) };
  }

  async #expression(expression: AstNode): Promise<string> {
    if (expression["class"] === "COLUMN_REF") {
      return (expression["column_names"] as string[]).map(quoteIdentifier).join(".");
    }
    const texts = new Map<string, string>();
    const node = await this.#withoutErrors(expression, texts);
    const shell = { ...(queryOf(this.#ast) as AstNode), cte_map: NO_CTES, from_table: EMPTY, where_clause: null };
    const text = await this.#format({ ...shell, select_list: [node] });
    return text.slice("SELECT ".length).replaceAll(PLACEHOLDER, (literal, name: string) => texts.get(name) ?? literal);
  }

  /** `error(x)`, which TRY refuses as volatile, becomes a cast that fails for the same rows. */
  async #withoutErrors(value: unknown, texts: Map<string, string>): Promise<unknown> {
    if (Array.isArray(value)) {
      const list: unknown[] = [];
      for (const element of value) list.push(await this.#withoutErrors(element, texts));
      return list;
    }
    if (!isNode(value) || value["class"] === "CONSTANT") return value;
    if (value["class"] === "FUNCTION" && String(value["function_name"]).toLowerCase() === "error") {
      const [message] = value["children"] as AstNode[];
      if (message === undefined) return value;
      const text = await this.#expression({ ...message, alias: "" });
      const name = `${ERROR}${texts.size}`;
      texts.set(name, `case when cast('error: ' || cast(${text} as varchar) as boolean) then null end`);
      return { ...constant(name), alias: value["alias"] };
    }
    const copy: Record<string, unknown> = {};
    for (const [key, child] of Object.entries(value)) copy[key] = await this.#withoutErrors(child, texts);
    return copy;
  }

  #format(query: AstNode): Promise<string> {
    const [statement] = this.#ast["statements"] as AstNode[];
    return this.#inspector.format({ ...this.#ast, statements: [{ ...statement, node: query }] });
  }
}

/** The statements of append tables are three levels deep: the user's, the casts to the stored types, the partition columns. */
const DEEPEST = 3;
const NO_CTES = { map: [] };
const EMPTY = { type: "EMPTY", alias: "", sample: null };
const ITEMS = "millrace items";
const INNER = "millrace inner";
const OPERAND = "millrace operand ";
const ERROR = "millrace error ";
/** A constant that stands for a text. */
const PLACEHOLDER = /(?:SELECT (?='millrace inner'))?'(millrace (?:items|inner|(?:operand|error) \d+))'/g;

function constant(value: string): AstNode {
  const type = { id: "VARCHAR", type_info: null };
  return { class: "CONSTANT", type: "VALUE_CONSTANT", alias: "", value: { type, is_null: false, value } };
}

function combinesRows(query: AstNode): boolean {
  const groups = query["group_expressions"];
  const modifiers = query["modifiers"];
  return (
    (Array.isArray(groups) && groups.length > 0) ||
    (Array.isArray(modifiers) && modifiers.length > 0) ||
    query["aggregate_handling"] === "FORCE_AGGREGATES" ||
    [query["having"], query["qualify"], query["sample"]].some(isNode)
  );
}

function conjuncts(condition: unknown): AstNode[] {
  if (!isNode(condition)) return [];
  if (condition["type"] !== "CONJUNCTION_AND") return [condition];
  return (condition["children"] as AstNode[]).flatMap(conjuncts);
}

/** False for what cannot fail, and for what cannot stand in TRY. */
function canBeTried(expression: AstNode): boolean {
  if (["COLUMN_REF", "CONSTANT", "STAR"].includes(String(expression["class"]))) return false;
  let fits = true;
  visitNodes(expression, (node) => {
    const unnests = node["class"] === "FUNCTION" && String(node["function_name"]).toLowerCase() === "unnest";
    if (node["class"] === "SUBQUERY" || node["class"] === "WINDOW" || node["class"] === "STAR" || unnests) fits = false;
  });
  return fits;
}
