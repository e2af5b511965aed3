import type { SqlAst } from "../define/sql-inspector.ts";

/**
 * The text form of DuckDB's parse trees (`json_serialize_sql`, `json_deserialize_sql`) to and from objects, without losing
 * what plain `JSON.parse` would lose:
 *
 * - integers beyond 2^53 (constants, halves of 128-bit values) become `bigint`, and are written as numbers again;
 * - a place that is unknown is written as 2^64-1; it is left out, since an approximation of it would be refused;
 * - infinite double constants are written as the bare word `Infinity`, which is no JSON and which DuckDB itself cannot
 *   read back: they become a cast of text, which means the same.
 */
export function readTree(text: string): SqlAst {
  // Quotes within strings are escaped, so none of these patterns can match inside one.
  let json = text.replaceAll('"query_location":18446744073709551615,', "");
  if (/:-?(?:Infinity|NaN)\b/.test(json)) json = json.replace(NON_FINITE, castOfText);
  return /\d{16}/.test(json) ? JSON.parse(json, exactNumbers) : JSON.parse(json);
}

export function writeTree(ast: SqlAst): string {
  return JSON.stringify(ast, (_key, value) => (typeof value === "bigint" ? JSON.rawJSON(String(value)) : value));
}

declare global {
  interface JSON {
    /** ES proposal "JSON.parse source text access", in V8 since Node 21. */
    rawJSON(text: string): unknown;
  }
}

const NON_FINITE =
  /\{"class":"CONSTANT","type":"VALUE_CONSTANT","alias":"((?:[^"\\]|\\.)*)",(?:"query_location":\d+,)?"value":\{"type":(\{"id":"(?:DOUBLE|FLOAT)","type_info":null\}),"is_null":false,"value":(-?(?:Infinity|NaN))\}\}/g;

function castOfText(_whole: string, alias: string, type: string, value: string): string {
  const text = `{"class":"CONSTANT","type":"VALUE_CONSTANT","alias":"","value":{"type":{"id":"VARCHAR","type_info":null},"is_null":false,"value":"${value}"}}`;
  return `{"class":"CAST","type":"OPERATOR_CAST","alias":"${alias}","child":${text},"cast_type":${type},"try_cast":false}`;
}

function exactNumbers(this: unknown, _key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
}
