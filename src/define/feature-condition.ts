/**
 * The conditions a feature may have: so much of SQL as means exactly the same to the SQL engine and to the compiled test that judges each event. A
 * condition is read from its SQL once; both sides are made from what was read, and never from the text.
 *
 *     condition  := field comparison constant | field [not] in (constants) | field between constant and constant
 *                 | field is [not] null | boolean field | condition and|or condition | not condition
 *     comparison := = <> for every type; < <= > >= for numbers
 */
import { didYouMean } from "./nearest.ts";
import type { Column } from "./project.ts";
import { type AstNode, isNode } from "./sql-ast.ts";
import type { SqlAst } from "./sql-inspector.ts";
import { quoteIdentifier, quoteLiteral } from "./sql-text.ts";
import { duckdbType } from "./types.ts";

export type FeatureCondition =
  | { readonly op: "and" | "or"; readonly of: readonly FeatureCondition[] }
  | { readonly op: "not"; readonly of: FeatureCondition }
  | { readonly op: "is null" | "is not null" | "is true"; readonly field: Column }
  | { readonly op: Comparison; readonly field: Column; readonly value: Constant }
  | { readonly op: "in" | "not in"; readonly field: Column; readonly values: readonly Constant[] };

export type Comparison = "=" | "<>" | "<" | "<=" | ">" | ">=";
/** As an event would hold it; a number as its digits were written. */
export type Constant = { readonly digits: string } | string | boolean;

/** Why a condition cannot be a feature's, in words that follow its text. */
export class ConditionFault extends Error {}

/** The condition that `select <text>` selects. @throws ConditionFault */
export function readCondition(ast: SqlAst, columns: readonly Column[]): FeatureCondition {
  const node = (ast["statements"] as AstNode[])[0]?.["node"] as AstNode;
  const list = node["select_list"] as AstNode[] | undefined;
  const from = node["from_table"];
  const bare = node["type"] === "SELECT_NODE" && list?.length === 1 && isNode(from) && from["type"] === "EMPTY";
  const more = ["where_clause", "having", "qualify", "sample"].some((part) => isNode(node[part]));
  if (!bare || more || list[0]?.["alias"]) throw new ConditionFault("it is not one condition");
  return new Reader(columns).read(list[0]!);
}

/** The condition as SQL over the stream's rows. */
export function conditionSql(condition: FeatureCondition): string {
  switch (condition.op) {
    case "and":
    case "or":
      return `(${condition.of.map(conditionSql).join(` ${condition.op} `)})`;
    case "not":
      return `(not ${conditionSql(condition.of)})`;
    case "is null":
    case "is not null":
      return `(${quoteIdentifier(condition.field.name)} ${condition.op})`;
    case "is true":
      return quoteIdentifier(condition.field.name);
    case "in":
    case "not in": {
      const values = condition.values.map((value) => constantSql(value, condition.field));
      return `(${operand(condition.field)} ${condition.op} (${values.join(", ")}))`;
    }
    default:
      return `(${operand(condition.field)} ${condition.op} ${constantSql(condition.value, condition.field)})`;
  }
}

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  COMPARE_EQUAL: "=",
  COMPARE_NOTEQUAL: "<>",
  COMPARE_LESSTHAN: "<",
  COMPARE_LESSTHANOREQUALTO: "<=",
  COMPARE_GREATERTHAN: ">",
  COMPARE_GREATERTHANOREQUALTO: ">=",
};
const MIRRORED: Readonly<Record<Comparison, Comparison>> = {
  "=": "=",
  "<>": "<>",
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
};
const NUMBERS = new Set(["integer", "long", "double", "float", "decimal"]);
/** So many digits every double tells apart. */
const MOST_DIGITS = 15;

class Reader {
  private readonly columns: readonly Column[];

  constructor(columns: readonly Column[]) {
    this.columns = columns;
  }

  read(node: AstNode): FeatureCondition {
    const type = String(node["type"]);
    const children = (Array.isArray(node["children"]) ? node["children"] : []) as AstNode[];
    if (type === "CONJUNCTION_AND" || type === "CONJUNCTION_OR") {
      return { op: type === "CONJUNCTION_AND" ? "and" : "or", of: children.map((child) => this.read(child)) };
    }
    if (type === "OPERATOR_NOT") return { op: "not", of: this.read(children[0]!) };
    if (type === "OPERATOR_IS_NULL") return { op: "is null", field: this.field(children[0]!) };
    if (type === "OPERATOR_IS_NOT_NULL") return { op: "is not null", field: this.field(children[0]!) };
    if (type === "COLUMN_REF") {
      const field = this.field(node);
      if (field.type.kind !== "boolean") throw new ConditionFault(`"${field.name}" alone is no condition`);
      return { op: "is true", field };
    }
    if (type === "COMPARE_IN" || type === "COMPARE_NOT_IN") {
      const [first, ...rest] = children;
      const field = this.comparable(first!);
      const values = rest.map((value) => this.constant(value, field));
      return { op: type === "COMPARE_IN" ? "in" : "not in", field, values };
    }
    if (type === "COMPARE_BETWEEN") {
      const { input, lower, upper } = node as { input: AstNode; lower: AstNode; upper: AstNode };
      return { op: "and", of: [this.comparison(">=", input, lower), this.comparison("<=", input, upper)] };
    }
    const op = COMPARISONS[type];
    if (op !== undefined) return this.comparison(op, node["left"] as AstNode, node["right"] as AstNode);
    throw new ConditionFault(`${told(node)} is more than a feature can compute alike online and in SQL`);
  }

  private comparison(op: Comparison, left: AstNode, right: AstNode): FeatureCondition {
    const mirrored = right["type"] === "COLUMN_REF" && left["type"] !== "COLUMN_REF";
    const field = this.comparable(mirrored ? right : left);
    const value = this.constant(mirrored ? left : right, field);
    if (op !== "=" && op !== "<>" && !NUMBERS.has(field.type.kind)) {
      throw new ConditionFault(`${op} compares numbers, and "${field.name}" is ${duckdbType(field.type)}`);
    }
    return { op: mirrored ? MIRRORED[op] : op, field, value };
  }

  private field(node: AstNode): Column {
    const path = node["type"] === "COLUMN_REF" ? (node["column_names"] as string[]) : undefined;
    if (path === undefined) throw new ConditionFault(`${told(node)} stands where a field belongs`);
    const name = path.join(".");
    const column = this.columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
    if (column !== undefined) return column;
    const names = this.columns.map((c) => c.name);
    throw new ConditionFault(
      `there is no field "${name}"${didYouMean(name, names) || `; fields are ${names.join(", ")}`}`,
    );
  }

  private comparable(node: AstNode): Column {
    const field = this.field(node);
    const { kind } = field.type;
    if (NUMBERS.has(kind) || kind === "string" || kind === "boolean") return field;
    throw new ConditionFault(
      `"${field.name}" is ${duckdbType(field.type)}; numbers, text and booleans can be compared`,
    );
  }

  private constant(node: AstNode, field: Column): Constant {
    const read = readConstant(node);
    const { type } = field;
    const misfit = new ConditionFault(
      `"${field.name}" is ${duckdbType(type)} and is compared with ${told(node)}, which is no constant of that type`,
    );
    if (type.kind === "string" && typeof read === "string") return read;
    if (type.kind === "boolean" && typeof read === "boolean") return read;
    if (!NUMBERS.has(type.kind) || typeof read !== "object") throw misfit;
    const decimals = read.digits.split(".")[1]?.length ?? 0;
    const scale = type.kind === "decimal" ? type.scale : type.kind === "integer" || type.kind === "long" ? 0 : 15;
    if (decimals > scale) throw misfit;
    if (read.digits.replace(/\D/g, "").length > MOST_DIGITS)
      throw new ConditionFault(`${read.digits} has more than ${MOST_DIGITS} digits`);
    return read;
  }
}

function readConstant(node: AstNode): Constant | undefined {
  if (node["class"] === "CAST" && isNode(node["child"]) && isNode(node["cast_type"])) {
    // `true` and `false` are the casts of 't' and 'f'.
    const child = readConstant(node["child"]);
    if (node["cast_type"]["id"] === "BOOLEAN" && (child === "t" || child === "f")) return child === "t";
    return undefined;
  }
  const value = node["class"] === "CONSTANT" ? node["value"] : undefined;
  if (!isNode(value) || value["is_null"] === true || !isNode(value["type"])) return undefined;
  const { id, type_info: info } = value["type"] as { id: unknown; type_info?: { scale?: unknown } };
  const given = value["value"];
  if (id === "VARCHAR") return String(given);
  if (id === "BOOLEAN") return given === true;
  if (id === "INTEGER" || id === "BIGINT") return { digits: String(given) };
  if (id !== "DECIMAL" || !/^-?\d+$/.test(String(given))) return undefined;
  const scale = Number(info?.scale ?? 0);
  const digits = String(given)
    .replace("-", "")
    .padStart(scale + 1, "0");
  const sign = String(given).startsWith("-") ? "-" : "";
  return {
    digits: scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`,
  };
}

/** A float is compared as the double it is. */
function operand(field: Column): string {
  const name = quoteIdentifier(field.name);
  return field.type.kind === "float" ? `cast(${name} as double)` : name;
}

function constantSql(value: Constant, { type }: Column): string {
  if (typeof value === "string") return quoteLiteral(value);
  if (typeof value === "boolean") return String(value);
  const double = type.kind === "double" || type.kind === "float";
  return double ? `cast(${quoteLiteral(value.digits)} as double)` : value.digits;
}

function told(node: AstNode): string {
  const read = readConstant(node);
  if (read !== undefined) return typeof read === "object" ? read.digits : JSON.stringify(read);
  const name = node["function_name"] ?? node["type"] ?? "something";
  return node["class"] === "FUNCTION" ? `${String(name)}(…)` : String(name).toLowerCase().replaceAll("_", " ");
}
