/**
 * One table per planned event, as Segment's warehouses have it: `app.order_completed` with a typed column for each property. What a
 * property's schema leaves open (several types, objects, arrays) is a JSON column.
 *
 * Names become lower case with `_` between words. Two that would be the same are told apart by a number, and a property with the name of a
 * column that every table has gets `properties_` before it.
 */
import { isRecord } from "./options.ts";
import { COMMON, CONTEXT_COLUMNS } from "./segment-columns.ts";
import { quoteIdentifier, quoteLiteral } from "./sql-text.ts";
import type { PlannedEvent, TrackingPlan } from "./tracking-plan.ts";

/** The names and statements of the plan's tables. `taken`: names in the schema that other tables have. */
export function planTables(
  source: string,
  { events, violations }: TrackingPlan,
  taken: ReadonlySet<string>,
): (readonly [string, string])[] {
  const names = new Set(taken);
  return events.map((event) => {
    const columns = new Set(RESERVED);
    const properties = Object.entries(propertiesOf(event));
    // What is only flagged may not be of its type.
    const cast = violations === "reject" ? "cast" : "try_cast";
    const pointers = properties.map(([name]) => quoteLiteral(pointerTo(name))).join(", ");
    const typed = properties.map(([name, schema], index) => {
      const word = snakeCase(name);
      const column = quoteIdentifier(unique(RESERVED.has(word) ? `properties_${word}` : word, columns));
      const type = sqlType(schema);
      if (type === "json") return `json_extract(properties, ${quoteLiteral(pointerTo(name))}) as ${column}`;
      const text = `json_extract_string(properties, [${pointers}])[${index + 1}]`;
      return `${type === "varchar" ? text : `${cast}(${text} as ${type})`} as ${column}`;
    });
    const list = [...COMMON, "event", ...typed, ...CONTEXT_COLUMNS, "properties", "context", "plan_violation"];
    const table = `${source}.${unique(snakeCase(event.name), names)}`;
    const sql = `select ${list.join(", ")}
from ${quoteIdentifier("silver")}.${quoteIdentifier(source)} where type = 'track' and event = ${quoteLiteral(event.name)}`;
    return [table, sql] as const;
  });
}

/** Columns that every planned event's table has. */
const RESERVED: ReadonlySet<string> = new Set([
  ...COMMON.map((column) => column.replaceAll('"', "")),
  ...CONTEXT_COLUMNS,
  ...["event", "properties", "context", "plan_violation"],
]);

function propertiesOf({ schema }: PlannedEvent): Record<string, unknown> {
  const own = isRecord(schema.properties) ? schema.properties.properties : undefined;
  return isRecord(own) && isRecord(own.properties) ? own.properties : {};
}

/** The type of a property's column. */
function sqlType(schema: unknown): string {
  const { type, format } = isRecord(schema) ? schema : {};
  const types = [type].flat().filter((name) => name !== "null");
  if (types.length !== 1) return "json";
  switch (types[0]) {
    case "string":
      return format === "date-time" ? "timestamptz" : format === "date" ? "date" : "varchar";
    case "integer":
      return "bigint";
    case "number":
      return "double";
    case "boolean":
      return "boolean";
    default:
      return "json";
  }
}

/** `Order Completed` and `orderCompleted` are `order_completed`. */
function snakeCase(name: string): string {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .replaceAll(/^_+|_+$/g, "")
    .slice(0, 60);
  return /^[a-z]/.test(words) ? words : `n_${words}`.replace(/_$/, "");
}

function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let number = 2; taken.has(free); number++) free = `${name}_${number}`;
  taken.add(free);
  return free;
}

/** A JSON pointer (RFC 6901): unlike a path it can say any name. */
function pointerTo(name: string): string {
  return `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
