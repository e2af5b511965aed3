import type { Stream } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";

/**
 * SQL for an event's id (`_id`): the one id field as text, or the JSON array of several; `fallback` where the stream has no id or
 * all id fields are null. `event` is the struct (or alias) that holds the fields.
 */
export function eventId(stream: Stream, event: string, fallback: string): string {
  const fields = stream.id.map((name) => `${event}.${quoteIdentifier(name)}::varchar`);
  const [first] = fields;
  if (first === undefined) return fallback;
  if (fields.length === 1) return `coalesce(${first}, ${fallback})`;
  const allNull = fields.map((field) => `${field} is null`).join(" and ");
  return `case when ${allNull} then ${fallback} else to_json([${fields.join(", ")}])::varchar end`;
}
