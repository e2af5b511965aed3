/**
 * Casts that mean in Spark what they mean in DuckDB. A fraction that becomes a whole number is rounded by DuckDB and cut by Spark; a double
 * becomes a decimal by its binary value here and by its shortest text there; numbers and instants are written differently as text.
 */
import type { ColumnType } from "../../../define/project.ts";
import { quoteSparkLiteral } from "../../../define/sql-text.ts";
import { sparkType } from "../../../define/types.ts";
import { isFloating, isInstant, isInteger, isNull, isText, kindOf, Refused, type Value } from "./value.ts";

/**
 * Always a cast, also to the type that the value is thought to have: what is stored is exactly of its column's type, and one to the same type costs
 * nothing.
 * @throws Refused
 */
export function castTo(value: Value, to: ColumnType): Value {
  const plain = { sql: `CAST(${value.sql} AS ${sparkType(to)})`, type: to };
  if (isNull(value)) return plain;
  if (value.type === undefined) throw new Refused("a cast of something whose type is not known here", VARIANT);
  if (typeof value.constant === "string" && isText(value)) return ofText(value.constant, to);
  const from = kindOf(value);
  const refuse = (why: string, instead = VARIANT) => new Refused(`a cast from ${from} to ${to.kind}, ${why},`, instead);
  switch (to.kind) {
    case "byte":
    case "short":
    case "integer":
    case "long":
      if (isInteger(value) || from === "boolean") return plain;
      if (from === "decimal") return { sql: `CAST(round(${value.sql}) AS ${sparkType(to)})`, type: to };
      if (isFloating(value)) return { sql: `CAST(rint(${value.sql}) AS ${sparkType(to)})`, type: to };
      break;
    case "float":
    case "double":
      if (isInteger(value) || isFloating(value) || from === "decimal") return plain;
      break;
    case "decimal":
      if (isInteger(value) || from === "decimal") return plain;
      if (isFloating(value)) return doubleToDecimal(value, to);
      break;
    case "string":
    case "json":
      if (isText(value)) return plain;
      if (isInteger(value) || ["decimal", "boolean", "date"].includes(from)) return plain;
      if (isFloating(value)) throw refuse("which the two write differently", "round it to a decimal first");
      if (isInstant(value)) throw refuse("which the two write differently", "strftime(x, '%Y-%m-%d %H:%M:%S')");
      break;
    case "boolean":
      if (from === "boolean" || isInteger(value)) return plain;
      break;
    case "date":
      if (from === "date" || isInstant(value)) return plain;
      break;
    case "timestamp":
    case "timestamp_ntz":
      if (from === "date" || isInstant(value))
        return { sql: `CAST(${value.sql} AS TIMESTAMP)`, type: { kind: "timestamp" } };
      break;
    case "binary":
      if (from === "binary") return plain;
      break;
    case "struct":
    case "array":
    case "map":
      // What is the same needs no cast. Others match fields by name in one engine and by place in the other.
      if (sparkType(value.type as ColumnType) === sparkType(to)) return { ...value, type: to };
      throw refuse("where the parts differ");
  }
  if (isText(value)) throw refuse("where the two read different texts as the same");
  throw refuse("which means different things");
}

export const VARIANT = "say what it is in Spark's own SQL, with `spark:` in the table's definition";

/** DuckDB moves the point by a product of doubles and rounds that. */
function doubleToDecimal(value: Value, to: Extract<ColumnType, { kind: "decimal" }>): Value {
  const whole = `CAST(round(CAST(${value.sql} AS DOUBLE) * 1E${to.scale}D) AS DECIMAL(38,0))`;
  const moved = to.scale === 0 ? whole : `${whole} * CAST(1E-${to.scale}BD AS DECIMAL(38,${to.scale}))`;
  return { sql: `CAST(${moved} AS ${sparkType(to)})`, type: to };
}

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const INSTANT = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?))?(Z|[+-]00(?::?00)?)?$/;

/** A text that stands in the statement is read here, so that both engines get the same value. */
function ofText(text: string, to: ColumnType): Value {
  const literal = (sql: string): Value => ({ sql, type: to });
  const refuse = () => new Refused(`the text ${JSON.stringify(text.slice(0, 40))} as ${to.kind}`, VARIANT);
  switch (to.kind) {
    case "string":
    case "json":
      return { sql: quoteSparkLiteral(text), type: to, constant: text };
    case "boolean":
      if (/^(t|true|1)$/i.test(text)) return { ...literal("TRUE"), constant: true };
      if (/^(f|false|0)$/i.test(text)) return { ...literal("FALSE"), constant: false };
      throw refuse();
    case "date":
      if (!DATE.test(text) || Number.isNaN(Date.parse(text))) throw refuse();
      return literal(`DATE'${text}'`);
    case "timestamp":
    case "timestamp_ntz": {
      const [, day, clock] = INSTANT.exec(text) ?? [];
      if (day === undefined || Number.isNaN(Date.parse(day))) throw refuse();
      const time = clock === undefined ? "00:00:00" : clock.length === 5 ? `${clock}:00` : clock;
      return { sql: `TIMESTAMP'${day} ${time}Z'`, type: { kind: "timestamp" } };
    }
    case "double":
    case "float": {
      const number = Number(text);
      if (text.trim() === "" || (Number.isNaN(number) && !/^nan$/i.test(text))) throw refuse();
      const type = sparkType(to);
      return { ...literal(`CAST('${Number.isFinite(number) ? text.trim() : number}' AS ${type})`), constant: number };
    }
    case "byte":
    case "short":
    case "integer":
    case "long":
      if (!/^-?\d+$/.test(text)) throw refuse();
      return { ...literal(`CAST(${text} AS ${sparkType(to)})`), constant: BigInt(text) };
    case "decimal":
      if (!/^-?\d+(\.\d+)?$/.test(text)) throw refuse();
      return literal(`CAST('${text}' AS ${sparkType(to)})`);
    default:
      throw refuse();
  }
}
