/**
 * Questions about the parse trees that DuckDB's `json_serialize_sql` gives, and small rewrites of them.
 *
 * The shape, as far as it matters here:
 *
 *     { statements: [{ node: Query }] }
 *     Query   SELECT_NODE { cte_map, select_list, from_table, where_clause, group_expressions, having, qualify, sample, modifiers }
 *             SET_OPERATION_NODE { cte_map, left, right | children, modifiers }, RECURSIVE_CTE_NODE { cte_name, left, right }
 *     cte_map { map: [{ key: name, value: { query: { node: Query } } }] }
 *     From    BASE_TABLE { catalog_name, schema_name, table_name, alias, at_clause, sample }, JOIN { left, right, join_type, ref_type },
 *             SUBQUERY { subquery: { node } }, TABLE_FUNCTION { function }, EXPRESSION_LIST, PIVOT, SHOW_REF, EMPTY…
 *     Expr    { class: COLUMN_REF { column_names } | FUNCTION { function_name, schema, children } | WINDOW | SUBQUERY { subquery: { node } } | … }
 *
 * The walks are general (they look into every property), so that a kind of node they do not know cannot hide a table.
 */
import type { SqlAst } from "./sql-inspector.ts";

export type AstNode = Readonly<Record<string, unknown>>;

/** A table or stream that a statement reads: a base table of the tree that no CTE stands for. */
export interface TableReference {
  readonly catalog: string;
  readonly schema: string;
  readonly table: string;
  /** Name by which the rest of the statement speaks of it, when it is not the table's own. */
  readonly alias: string | undefined;
  /** The expression after `AT (VERSION => …)` or `AT (TIMESTAMP => …)`. */
  readonly at: { readonly unit: "VERSION" | "TIMESTAMP"; readonly expression: AstNode } | undefined;
  /** Byte offset in the statement's text, where the parser knows it. */
  readonly position: number | undefined;
  /** The node of the tree itself. */
  readonly node: AstNode;
}

/** `orders` or `silver.orders`, in lower case, as the platform names streams and tables. */
export function referenceName(reference: Pick<TableReference, "catalog" | "schema" | "table">): string {
  const { catalog, schema, table } = reference;
  return [catalog, schema, table]
    .filter((part) => part !== "")
    .join(".")
    .toLowerCase();
}

/** Every table reference of the statement, in the order of the text where that is known. One entry per mention. */
export function tableReferences(ast: SqlAst): TableReference[] {
  const found: TableReference[] = [];
  visitTables(ast, NO_NAMES, (node) => found.push(readReference(node)));
  return found.sort((a, b) => (a.position ?? 0) - (b.position ?? 0));
}

export interface FunctionUse {
  /** In lower case. */
  readonly name: string;
  /** Empty when the statement does not say. */
  readonly schema: string;
  readonly kind: "table" | "window" | "plain";
}

/** Every function the statement calls, operators among them (`+`, `->>`). One entry per name, schema and kind. */
export function functionsUsed(ast: SqlAst): FunctionUse[] {
  const found = new Map<string, FunctionUse>();
  const add = (name: unknown, schema: unknown, kind: FunctionUse["kind"]) => {
    const use = { name: text(name).toLowerCase(), schema: text(schema).toLowerCase(), kind };
    found.set(Object.values(use).join("\0"), use);
  };
  visitNodes(ast, (node) => {
    if (node.type === "TABLE_FUNCTION" && isNode(node.function)) {
      add(node.function.function_name, node.function.schema, "table");
    } else if (node.class === "FUNCTION") {
      add(node.function_name, node.schema, "plain");
    } else if (node.class === "WINDOW") {
      add(node.function_name, node.schema, "window");
    }
  });
  return [...found.values()];
}

/** The kinds of things the statement takes rows from: `BASE_TABLE`, `JOIN`, `TABLE_FUNCTION`, `PIVOT`, `SHOW_REF`… */
export function fromKinds(ast: SqlAst): Set<string> {
  const kinds = new Set<string>();
  visitNodes(ast, (node) => {
    if (typeof node.type === "string" && node.class === undefined && FROM_KINDS.has(node.type)) kinds.add(node.type);
  });
  return kinds;
}

const FROM_KINDS = new Set([
  "BASE_TABLE",
  "JOIN",
  "SUBQUERY",
  "TABLE_FUNCTION",
  "EXPRESSION_LIST",
  "PIVOT",
  "SHOW_REF",
  "COLUMN_DATA",
  "DELIM_GET",
  "BOUND_TABLE_REF",
  "CTE",
]);

/** True when the statement has a `?`, `$1` or `$name` to be filled in. */
export function hasParameters(ast: SqlAst): boolean {
  let found = false;
  visitNodes(ast, (node) => {
    if (node.class === "PARAMETER") found = true;
  });
  return found;
}

/** The query of a tree of one statement. */
export function queryOf(ast: SqlAst): AstNode {
  const [statement] = ast.statements as AstNode[];
  return statement?.node as AstNode;
}

/** Every SELECT of the statement, nested ones included. */
export function selectNodes(ast: SqlAst): AstNode[] {
  const found: AstNode[] = [];
  visitNodes(ast, (node) => {
    if (node.type === "SELECT_NODE") found.push(node);
  });
  return found;
}

export interface FromItem {
  readonly node: AstNode;
  /** The join may give this item's columns as null in rows that the item does not have. */
  readonly optional: boolean;
  /**
   * Every row of the item is judged by itself: leaving out rows that the WHERE clause refuses anyway changes nothing. False for what
   * an outer, ASOF, POSITIONAL, SEMI or ANTI join looks at on its other side.
   */
  readonly independent: boolean;
}

/** What a FROM clause takes rows from, joins taken apart, from left to right. */
export function fromItems(from: unknown): FromItem[] {
  const items: FromItem[] = [];
  const visit = (node: unknown, optional: boolean, independent: boolean) => {
    if (!isNode(node) || node.type === "EMPTY") return;
    if (node.type !== "JOIN") {
      items.push({ node, optional, independent });
      return;
    }
    const [left, right] = JOIN_SIDES[text(node.join_type)] ?? [DEPENDENT, DEPENDENT];
    const positional = node.ref_type === "POSITIONAL";
    const asof = node.ref_type === "ASOF";
    visit(node.left, optional || left.optional, independent && left.independent && !positional);
    visit(node.right, optional || right.optional, independent && right.independent && !positional && !asof);
  };
  visit(from, false, true);
  return items;
}

interface JoinSide {
  readonly optional: boolean;
  readonly independent: boolean;
}
const KEPT: JoinSide = { optional: false, independent: true };
const DEPENDENT: JoinSide = { optional: true, independent: false };
const JOIN_SIDES: Readonly<Record<string, readonly [JoinSide, JoinSide]>> = {
  INNER: [KEPT, KEPT],
  LEFT: [KEPT, DEPENDENT],
  RIGHT: [DEPENDENT, KEPT],
  OUTER: [DEPENDENT, DEPENDENT],
  SEMI: [KEPT, DEPENDENT],
  ANTI: [KEPT, DEPENDENT],
};

/**
 * What makes the outermost query combine rows (`aggregates`, `a window function`, `distinct`…), in words; empty when it takes its
 * FROM row by row. `isAggregate` knows the engine's aggregate functions.
 */
export function combiningParts(ast: SqlAst, isAggregate: (name: string) => boolean): string[] {
  const query = queryOf(ast);
  if (query.type !== "SELECT_NODE") return [SET_OPERATIONS[text(query.setop_type)] ?? "a recursive query"];
  const parts = new Set<string>();
  if (Array.isArray(query.group_expressions) && query.group_expressions.length > 0) parts.add("group by");
  if (query.aggregate_handling === "FORCE_AGGREGATES") parts.add("group by");
  if (isNode(query.having)) parts.add("having");
  if (isNode(query.qualify)) parts.add("qualify");
  if (isNode(query.sample)) parts.add("a sample");
  for (const modifier of (query.modifiers ?? []) as AstNode[]) parts.add(MODIFIERS[text(modifier.type)] ?? "limit");
  const visit = (value: unknown) => {
    if (Array.isArray(value)) value.forEach(visit);
    // A subquery's own aggregates combine its own rows, not those of this FROM.
    if (!isNode(value) || value.class === "CONSTANT" || value.class === "SUBQUERY") return;
    if (value.class === "WINDOW") parts.add(`the window function ${text(value.function_name)}`);
    if (value.class === "FUNCTION" && isAggregate(text(value.function_name).toLowerCase())) {
      parts.add(`the aggregate ${text(value.function_name).replace("count_star", "count")}`);
    }
    Object.values(value).forEach(visit);
  };
  visit(query.select_list);
  for (const item of fromItems(query.from_table)) if (isNode(item.node.sample)) parts.add("a sample");
  return [...parts];
}

const SET_OPERATIONS: Readonly<Record<string, string>> = { UNION: "union", EXCEPT: "except", INTERSECT: "intersect" };
const MODIFIERS: Readonly<Record<string, string>> = {
  ORDER_MODIFIER: "order by",
  DISTINCT_MODIFIER: "distinct",
  LIMIT_MODIFIER: "limit",
  LIMIT_PERCENT_MODIFIER: "limit",
};

/** The tree with columns added to the select list of its outermost query. Each is a path: `["o", "_offset"]`. */
export function appendToSelectList(ast: SqlAst, columns: readonly (readonly string[])[]): SqlAst {
  const copy = structuredClone(ast);
  const query = queryOf(copy);
  if (!Array.isArray(query.select_list)) throw new TypeError("only a SELECT has a select list");
  for (const path of columns) {
    query.select_list.push({ class: "COLUMN_REF", type: "COLUMN_REF", alias: "", column_names: [...path] });
  }
  return copy;
}

const NO_NAMES: ReadonlySet<string> = new Set();

/**
 * Calls `found` for every base table that is not the name of a CTE in scope. A CTE is in scope of the CTEs after it and of the query it
 * belongs to; of itself only in the second half of a recursive one.
 */
function visitTables(value: unknown, ctes: ReadonlySet<string>, found: (node: AstNode) => void): void {
  if (Array.isArray(value)) {
    for (const element of value) visitTables(element, ctes, found);
    return;
  }
  if (!isNode(value) || value.class === "CONSTANT") return;
  if (value.type === "BASE_TABLE" && typeof value.table_name === "string") {
    const bare = text(value.schema_name) === "" && text(value.catalog_name) === "";
    if (!bare || !ctes.has(value.table_name.toLowerCase())) found(value);
  }
  let inner = ctes;
  for (const { key, value: cte } of cteEntries(value)) {
    visitTables(cte, inner, found);
    inner = new Set(inner).add(key.toLowerCase());
  }
  const recursive =
    value.type === "RECURSIVE_CTE_NODE" ? new Set(inner).add(text(value.cte_name).toLowerCase()) : inner;
  for (const [name, child] of Object.entries(value)) {
    if (name === "cte_map") continue;
    visitTables(child, name === "left" ? inner : recursive, found);
  }
}

function cteEntries(node: AstNode): { key: string; value: unknown }[] {
  const map = isNode(node.cte_map) ? node.cte_map.map : undefined;
  return Array.isArray(map) ? (map as { key: string; value: unknown }[]) : [];
}

/** Calls `visit` for every node of the tree but those within constants, which hold what the user wrote as values. */
export function visitNodes(value: unknown, visit: (node: AstNode) => void): void {
  if (Array.isArray(value)) {
    for (const element of value) visitNodes(element, visit);
  } else if (isNode(value)) {
    visit(value);
    if (value.class === "CONSTANT") return;
    for (const child of Object.values(value)) visitNodes(child, visit);
  }
}

function readReference(node: AstNode): TableReference {
  const at = isNode(node.at_clause) ? node.at_clause : undefined;
  return {
    catalog: text(node.catalog_name),
    schema: text(node.schema_name),
    table: text(node.table_name),
    alias: text(node.alias) === "" ? undefined : text(node.alias),
    at: at && { unit: text(at.unit).toUpperCase() as "VERSION" | "TIMESTAMP", expression: at.expr as AstNode },
    position: typeof node.query_location === "number" ? node.query_location : undefined,
    node,
  };
}

export function isNode(value: unknown): value is AstNode {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
