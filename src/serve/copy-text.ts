/**
 * Rows as the lines that PostgreSQL's COPY reads, computed by the SQL engine: a line of Node's own making costs five times as much.
 *
 *     line    := field (TAB field)*
 *     field   := '\N' (null) | PostgreSQL's text of the value, in which \ TAB LF CR are written \\ \t \n \r
 *
 * Arrays of scalars are array literals (`{"a","b",NULL}`), structs, maps and everything nested deeper the text of their JSON.
 */
import type { Column, ColumnType } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import { postgresType } from "../define/types.ts";

/** An expression over a relation that has the columns: the line of a row, without the line's end. */
export function copyLine(columns: readonly Column[]): string {
  const fields = columns.map(({ name, type }) => {
    const text = postgresText(quoteIdentifier(name), type);
    return `coalesce(${isPlain(type) ? text : escaped(text)}, '\\N')`;
  });
  return fields.length === 1 ? (fields[0] as string) : `concat_ws(chr(9), ${fields.join(", ")})`;
}

/**
 * An expression that says why PostgreSQL would refuse a row, null where nothing is known against it: text with U+0000, moments that
 * PostgreSQL's calendar does not reach, keys without a value. What it refuses for other reasons shows when it does.
 */
export function refusal(columns: readonly Column[], key: readonly string[]): string {
  const cases = columns.flatMap(({ name, type, nullable }) => {
    const c = quoteIdentifier(name);
    const found: [string, string][] = [];
    if (key.includes(name) && nullable) found.push([`${c} is null`, "is null, and a key has no nulls"]);
    const nul = "has U+0000, which no text in PostgreSQL has";
    if (type.kind === "string") found.push([`contains(${c}, chr(0))`, nul]);
    else if (postgresType(type) === "jsonb") found.push([escapedNul(c, type), nul]);
    else if (type.kind === "array" && type.element.kind === "string")
      found.push([`contains(array_to_string(${c}, ''), chr(0))`, nul]);
    const outside = (moment: string) => outsideCalendar(moment, type.kind === "array" ? type.element : type);
    const far = "is a moment that PostgreSQL does not have";
    if (["timestamp", "timestamp_ntz", "date"].includes(type.kind)) found.push([outside(c), far]);
    if (type.kind === "array" && ["timestamp", "timestamp_ntz", "date"].includes(type.element.kind))
      found.push([`len(list_filter(${c}, lambda x: ${outside("x")})) > 0`, far]);
    return found.map(([condition, reason]) => `when ${condition} then ${quoteLiteral(`column ${name} ${reason}`)}`);
  });
  return cases.length === 0 ? "null::varchar" : `case ${cases.join(" ")} end`;
}

/** What stands for the value in PostgreSQL's input, null for null. */
function postgresText(value: string, type: ColumnType): string {
  switch (type.kind) {
    case "string":
      return value;
    case "json":
      return `cast(${value} as varchar)`;
    case "timestamp":
    case "timestamp_ntz": {
      const zone = type.kind === "timestamp" ? "+00" : "";
      const text = `cast(make_timestamp(epoch_us(${value})) as varchar)`;
      return `case when epoch_us(${value}) < ${YEAR_1_US} then replace(${text}, ' (BC)', '') || '${zone} BC' else ${text} || '${zone}' end`;
    }
    case "date": {
      const text = `cast(${value} as varchar)`;
      return `case when ${value} < date '0001-01-01' then replace(${text}, ' (BC)', '') || ' BC' else ${text} end`;
    }
    case "binary":
      return `'\\x' || hex(${value})`;
    case "struct":
    case "map":
      return jsonText(value);
    case "array": {
      if (postgresType(type) === "jsonb") return jsonText(value);
      const element = postgresText("x", type.element);
      const quoted = `'"' || replace(replace(${element}, '\\', '\\\\'), '"', '\\"') || '"'`;
      return `'{' || array_to_string(list_transform(${value}, lambda x: coalesce(${quoted}, 'NULL')), ',') || '}'`;
    }
    default:
      return `cast(${value} as varchar)`;
  }
}

function jsonText(value: string): string {
  return `cast(to_json(${value}) as varchar)`;
}

/** Types whose texts have nothing to escape. */
function isPlain(type: ColumnType): boolean {
  return !["string", "json", "struct", "map", "array", "binary"].includes(type.kind);
}

function escaped(text: string): string {
  return `replace(replace(replace(replace(${text}, '\\', '\\\\'), chr(9), '\\t'), chr(10), '\\n'), chr(13), '\\r')`;
}

/** `\u0000` in the text of JSON, where its backslash is not itself escaped. The first condition is the fast one. */
function escapedNul(column: string, type: ColumnType): string {
  const text = postgresText(column, type);
  return `contains(${text}, '\\u0000') and regexp_matches(${text}, '(^|[^\\\\])(\\\\\\\\)*\\\\u0000')`;
}

/** PostgreSQL counts from 4714-11-24 BC on, dates up to the year 5874897. */
function outsideCalendar(value: string, type: ColumnType): string {
  if (type.kind === "date") {
    return `not isfinite(${value}) or ${value} > date '5874897-12-31' or ${value} < date '4714-11-24 (BC)'`;
  }
  return `not isfinite(${value}) or epoch_us(${value}) < ${FIRST_US}`;
}

const YEAR_1_US = -62_135_596_800_000_000n;
const FIRST_US = -210_866_803_200_000_000n;
