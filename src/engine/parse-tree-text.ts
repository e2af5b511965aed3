import type { SqlAst } from "../define/sql-inspector.ts";

/**
 * The text form of DuckDB's parse trees (`json_serialize_sql`, `json_deserialize_sql`) to and from objects, without losing
 * what plain `JSON.parse` or DuckDB's own formatting would lose.
 *
 * Read:
 * - integers beyond 2^53 (constants, halves of 128-bit values) become `bigint`;
 * - a place that is unknown is written as 2^64-1; it is left out, since an approximation of it would be refused;
 * - a DOUBLE constant becomes a cast of its text: formatted as it is, `1e0` would come back as the DECIMAL `1.0`, and an
 *   infinite one is written as the bare word `Infinity`, which is no JSON.
 *
 * Written:
 * - `bigint`s as numbers, and whole doubles with a point, without which DuckDB takes them for integers and refuses them;
 * - a cross join as an inner join on true: formatted as it is, it becomes a comma, which binds looser than the joins
 *   around it, so that `a CROSS JOIN b LEFT JOIN c ON a.x = c.x` would no longer bind.
 */
export function readTree(text: string): SqlAst {
  // Quotes within strings are escaped, so none of these patterns can match inside one.
  const json = text.replaceAll('"query_location":18446744073709551615,', "").replace(DOUBLE_CONSTANT, castOfText);
  return /\d{16}/.test(json) ? JSON.parse(json, exactNumbers) : JSON.parse(json);
}

export function writeTree(ast: SqlAst): string {
  return JSON.stringify(ast, exactText);
}

declare global {
  interface JSON {
    /** ES proposal "JSON.parse source text access", in V8 since Node 21. */
    rawJSON(text: string): unknown;
  }
}

const DOUBLE_CONSTANT =
  /\{"class":"CONSTANT","type":"VALUE_CONSTANT","alias":"((?:[^"\\]|\\.)*)",("query_location":\d+,)?"value":\{"type":(\{"id":"(?:DOUBLE|FLOAT)","type_info":null\}),"is_null":false,"value":([^}]+)\}\}/g;

function castOfText(_whole: string, alias: string, place: string | undefined, type: string, value: string): string {
  const text = `{"class":"CONSTANT","type":"VALUE_CONSTANT","alias":"","value":{"type":{"id":"VARCHAR","type_info":null},"is_null":false,"value":"${value}"}}`;
  return `{"class":"CAST","type":"OPERATOR_CAST","alias":"${alias}",${place ?? ""}"child":${text},"cast_type":${type},"try_cast":false}`;
}

function exactText(this: { type?: { id?: unknown } }, key: string, value: unknown): unknown {
  if (isCrossJoin(value)) return { ...value, ref_type: "REGULAR", condition: TRUE };
  if (typeof value === "bigint") return JSON.rawJSON(String(value));
  if (key !== "value" || !Number.isInteger(value)) return value;
  const id = this.type?.id;
  if (id !== "DOUBLE" && id !== "FLOAT") return value;
  const text = Object.is(value, -0) ? "-0" : String(value);
  return JSON.rawJSON(text.includes("e") ? text : `${text}.0`);
}

function isCrossJoin(value: unknown): value is SqlAst {
  return typeof value === "object" && value !== null && "ref_type" in value && value.ref_type === "CROSS";
}

const TRUE = {
  class: "CONSTANT",
  type: "VALUE_CONSTANT",
  alias: "",
  value: { type: { id: "BOOLEAN", type_info: null }, is_null: false, value: true },
};

function exactNumbers(this: unknown, _key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}
