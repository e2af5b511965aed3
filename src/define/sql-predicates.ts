import type { Column } from "./project.ts";
import {
  type AstNode,
  fromItems,
  isNode,
  referenceName,
  selectNodes,
  type TableReference,
  tableReferences,
} from "./sql-ast.ts";
import type { SqlAst } from "./sql-inspector.ts";

/**
 * A condition on one column that every row a statement takes from a table meets. Values are JSON values: numbers or
 * bigints, texts, booleans; decimals and dates as text, timestamps as ISO 8601 text in UTC.
 */
export type ColumnPredicate =
  | { readonly column: string; readonly op: "=" | "<" | "<=" | ">" | ">="; readonly value: unknown }
  | { readonly column: string; readonly op: "in"; readonly values: readonly unknown[] }
  | { readonly column: string; readonly op: "is null" | "is not null" };

export interface TablePredicates {
  readonly reference: TableReference;
  readonly predicates: readonly ColumnPredicate[];
}

/**
 * For each mention of a table, the conditions that leave out files without changing the result: comparisons of a column with a constant
 * that WHERE clauses join by AND. Only where the table is not on the optional side of a join, the column is surely the
 * table's, and the constant means the same for the stored values as for the engine (a number is never compared with
 * text). Mentions without such a condition are listed with none.
 *
 * @param columnsOf columns of a table by its name (`orders`, `silver.orders`); undefined when it is not known.
 */
export function conjunctivePredicates(
  ast: SqlAst,
  columnsOf: (name: string) => readonly Column[] | undefined,
): TablePredicates[] {
  const references = new Map(tableReferences(ast).map((reference) => [reference.node, reference]));
  const found = new Map<AstNode, ColumnPredicate[]>([...references.keys()].map((node) => [node, []]));
  for (const select of selectNodes(ast)) {
    const items = fromItems(select.from_table);
    const sources = items.map(({ node, independent }) => {
      const reference = references.get(node);
      const sampled = isNode(node.sample) || isNode(select.sample);
      const columns = reference && !renamesColumns(node) ? columnsOf(referenceName(reference)) : undefined;
      return { node, reference, columns, usable: independent && !sampled && reference?.at === undefined };
    });
    for (const condition of conjuncts(select.where_clause)) {
      const read = readCondition(condition);
      const owner = read && ownerOf(read.path, sources);
      if (!read || !owner?.source.usable) continue;
      const predicate = typedPredicate(owner.column, read);
      if (predicate) found.get(owner.source.node)?.push(predicate);
    }
  }
  return [...found].map(([node, predicates]) => ({ reference: references.get(node)!, predicates }));
}

/**
 * The predicates that hold for everything a statement reads from a table, by the table's name: where it is mentioned several times, those
 * that all mentions share.
 */
export function predicatesByTable(mentions: readonly TablePredicates[]): Map<string, readonly ColumnPredicate[]> {
  const byName = new Map<string, readonly ColumnPredicate[]>();
  for (const { reference, predicates } of mentions) {
    const name = referenceName(reference);
    const before = byName.get(name);
    const keys = new Set(predicates.map(predicateKey));
    byName.set(name, before === undefined ? predicates : before.filter((p) => keys.has(predicateKey(p))));
  }
  return byName;
}

function predicateKey(predicate: ColumnPredicate): string {
  return JSON.stringify(predicate, (_name, value) => (typeof value === "bigint" ? `${value}n` : value));
}

/** `orders as o(a, b)` gives the columns other names. */
function renamesColumns(node: AstNode): boolean {
  return Array.isArray(node.column_name_alias) && node.column_name_alias.length > 0;
}

interface Source {
  readonly node: AstNode;
  readonly reference: TableReference | undefined;
  readonly columns: readonly Column[] | undefined;
  readonly usable: boolean;
}

/** The table whose column a path surely is: `alias.column`, `table.column`, `schema.table.column`, or `column` alone. */
function ownerOf(path: readonly string[], sources: readonly Source[]): { source: Source; column: Column } | undefined {
  const lower = path.map((part) => part.toLowerCase());
  const name = lower.at(-1)!;
  const qualifier = lower.slice(0, -1).join(".");
  const columnIn = (source: Source) => source.columns?.find((column) => column.name.toLowerCase() === name);
  if (qualifier === "") {
    // Something whose columns are not known may have one of that name as well.
    if (sources.some((source) => source.columns === undefined)) return undefined;
    const owners = sources.filter((source) => columnIn(source) !== undefined);
    const [source] = owners;
    return owners.length === 1 && source ? { source, column: columnIn(source)! } : undefined;
  }
  const owners = sources.filter(({ reference }) => {
    if (reference === undefined) return false;
    if (reference.alias !== undefined) return reference.alias.toLowerCase() === qualifier;
    return qualifier === reference.table.toLowerCase() || qualifier === referenceName(reference);
  });
  const [source] = owners;
  const column = owners.length === 1 && source ? columnIn(source) : undefined;
  return source && column && { source, column };
}

function conjuncts(where: unknown): AstNode[] {
  if (!isNode(where)) return [];
  if (where.type === "CONJUNCTION_AND") return (where.children as AstNode[]).flatMap(conjuncts);
  if (where.type === "COMPARE_BETWEEN") {
    const { input, lower, upper } = where;
    return [
      { class: "COMPARISON", type: "COMPARE_GREATERTHANOREQUALTO", left: input, right: lower },
      { class: "COMPARISON", type: "COMPARE_LESSTHANOREQUALTO", left: input, right: upper },
    ];
  }
  return [where];
}

type Operator = "=" | "<" | "<=" | ">" | ">=" | "in" | "is null" | "is not null";

interface Condition {
  readonly path: readonly string[];
  readonly op: Operator;
  readonly constants: readonly Constant[];
}

/** A constant as the statement has it: its type's name and its value. */
interface Constant {
  readonly type: string;
  readonly value: unknown;
}

const COMPARISONS: Readonly<Record<string, { op: Operator; mirrored: Operator }>> = {
  COMPARE_EQUAL: { op: "=", mirrored: "=" },
  COMPARE_LESSTHAN: { op: "<", mirrored: ">" },
  COMPARE_LESSTHANOREQUALTO: { op: "<=", mirrored: ">=" },
  COMPARE_GREATERTHAN: { op: ">", mirrored: "<" },
  COMPARE_GREATERTHANOREQUALTO: { op: ">=", mirrored: "<=" },
};

function readCondition(node: AstNode): Condition | undefined {
  const comparison = COMPARISONS[String(node.type)];
  if (comparison) {
    const [left, right] = [columnPath(node.left), columnPath(node.right)];
    const constant = constantOf(left ? node.right : node.left);
    if (constant === undefined || (left === undefined) === (right === undefined)) return undefined;
    return { path: (left ?? right)!, op: left ? comparison.op : comparison.mirrored, constants: [constant] };
  }
  if (node.class !== "OPERATOR" || !Array.isArray(node.children)) return undefined;
  const [first, ...rest] = node.children as unknown[];
  const path = columnPath(first);
  if (path === undefined) return undefined;
  if (node.type === "OPERATOR_IS_NULL") return { path, op: "is null", constants: [] };
  if (node.type === "OPERATOR_IS_NOT_NULL") return { path, op: "is not null", constants: [] };
  if (node.type !== "COMPARE_IN") return undefined;
  const constants = rest.map(constantOf);
  return constants.every((constant) => constant !== undefined) ? { path, op: "in", constants } : undefined;
}

function columnPath(node: unknown): readonly string[] | undefined {
  return isNode(node) && node.class === "COLUMN_REF" ? (node.column_names as string[]) : undefined;
}

/** A literal, or `date '…'` / `timestamp '…'` / `'…'::date`. NULL is no constant: nothing compares with it. */
function constantOf(node: unknown): Constant | undefined {
  if (!isNode(node)) return undefined;
  if (node.class === "CONSTANT" && isNode(node.value) && node.value.is_null !== true && isNode(node.value.type)) {
    return { type: typeName(node.value.type), value: node.value.value };
  }
  if (node.class === "CAST" && isNode(node.cast_type) && node.try_cast !== true) {
    const child = constantOf(node.child);
    const type = typeName(node.cast_type);
    return child?.type === "VARCHAR" && CASTS.has(type) ? { type, value: child.value } : undefined;
  }
  return undefined;
}

function typeName(type: AstNode): string {
  return String(type.id);
}

const TEMPORAL = new Set(["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"]);
const CASTS = new Set([...TEMPORAL, "BOOLEAN"]);
const WHOLE = new Set(["TINYINT", "SMALLINT", "INTEGER", "BIGINT"]);

function typedPredicate(column: Column, condition: Condition): ColumnPredicate | undefined {
  const { op } = condition;
  if (op === "is null" || op === "is not null") return { column: column.name, op };
  const values = condition.constants.map((constant) => storedValue(column, constant));
  if (!values.every((value) => value !== undefined)) return undefined;
  return op === "in" ? { column: column.name, op, values } : { column: column.name, op, value: values[0] };
}

/** The constant as the column's values are stored, or undefined where the engine would compare them as something else. */
function storedValue(column: Column, { type, value }: Constant): unknown {
  switch (column.type.kind) {
    case "string":
      return type === "VARCHAR" ? value : undefined;
    case "byte":
    case "short":
    case "integer":
    case "long":
    case "double":
      return WHOLE.has(type) ? value : undefined;
    case "boolean":
      return type === "BOOLEAN" ? value === true || value === "t" || value === "true" : undefined;
    case "date":
      return (type === "VARCHAR" || type === "DATE") && isDay(value) ? value : undefined;
    case "timestamp":
      if (type === "DATE" && !isDay(value)) return undefined;
      return type === "VARCHAR" || TEMPORAL.has(type) ? instant(value) : undefined;
    default:
      return undefined;
  }
}

const DAY = /^\d{4}-\d\d-\d\d$/;
const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|[+-]\d\d(?::\d\d)?)?)?$/;

function isDay(value: unknown): value is string {
  return typeof value === "string" && DAY.test(value) && !Number.isNaN(Date.parse(value));
}

/** Text of a moment as ISO 8601 in UTC; without a zone it is UTC already. Undefined for anything less plain. */
function instant(value: unknown): string | undefined {
  const match = typeof value === "string" ? INSTANT.exec(value) : null;
  if (match === null) return undefined;
  const [, day, time = "00:00:00", zone = "Z"] = match;
  const [whole, fraction = ""] = time.split(".");
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone;
  const at = Date.parse(`${day}T${whole}${offset}`);
  if (Number.isNaN(at)) return undefined;
  return `${new Date(at).toISOString().slice(0, 19)}.${fraction.padEnd(6, "0")}Z`;
}
