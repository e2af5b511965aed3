/**
 * The tables of a Segment source, in the column names of Segment's own warehouse schema, so that what was written against that reads on.
 *
 * `timestamp` is the time of the event by the platform's clock: `received_at - (sent_at - original_timestamp)`. How wrong the device's clock
 * is cancels out, for it gave both; `original_timestamp` and `sent_at` stay as they were said. A message without `sentAt` keeps its own
 * timestamp; one without a timestamp that can be read has the time of its arrival.
 */
import { COMMON, CONTEXT, CONTEXT_COLUMNS, CONTEXT_PATHS } from "./segment-columns.ts";
import { quoteIdentifier, quoteLiteral, quoteName } from "./sql-text.ts";
import type { TrackingPlan } from "./tracking-plan.ts";
import { planTables } from "./tracking-plan-tables.ts";

/** The names and statements of a source's tables, each after those it reads. */
export function segmentTables(source: string, plan: TrackingPlan | undefined): (readonly [string, string])[] {
  const all = `silver.${source}`;
  const kinds = KINDS.map(
    ([type, table, columns]) =>
      [
        `${source}.${table}`,
        `select ${[...COMMON, ...columns, ...CONTEXT_COLUMNS, "context", "integrations", "plan_violation"].join(", ")}
from ${quoteName(all)} where type = '${type}'`,
      ] as const,
  );
  const taken = new Set(KINDS.map(([, table]) => table));
  return [[all, everyMessage(source)], ...kinds, ...(plan === undefined ? [] : planTables(source, plan, taken))];
}

/** Type of message, its table, and the columns that it alone has. */
const KINDS: readonly (readonly [string, string, readonly string[]])[] = [
  ["track", "tracks", ["event", "properties"]],
  ["identify", "identifies", ["traits"]],
  [
    "page",
    "pages",
    ["name", "category", ...fromProperties("path", "referrer", "search", "title", "url"), "properties"],
  ],
  ["screen", "screens", ["name", "category", "properties"]],
  ["group", "groups", ["group_id", "traits"]],
  ["alias", "aliases", ["previous_id"]],
];

function fromProperties(...names: string[]): string[] {
  return names.map((name) => `json_extract_string(properties, '$.${name}') as ${name}`);
}

function everyMessage(source: string): string {
  const paths = CONTEXT_PATHS.map((path) => quoteLiteral(`$.${path}`)).join(", ");
  const contextAt = (index: number) => `json_extract_string(context, [${paths}])[${index + 1}]`;
  const number = (path: string) => `try_cast(${contextAt(CONTEXT_PATHS.indexOf(path))} as double)`;
  const original = moment(`coalesce("originalTimestamp", "timestamp")`);
  const sent = moment(`"sentAt"`);
  return `select "messageId" as id, type, "anonymousId" as anonymous_id, "userId" as user_id, event, name, category,
  "groupId" as group_id, "previousId" as previous_id,
  coalesce(_received_at - (${sent} - ${original}), ${original}, _received_at) as "timestamp",
  ${original} as original_timestamp, ${sent} as sent_at, _received_at as received_at,
  ${CONTEXT.map(([column], index) => `${contextAt(index)} as ${column}`).join(",\n  ")},
  ${number("screen.width")} as context_screen_width, ${number("screen.height")} as context_screen_height,
  ${number("screen.density")} as context_screen_density,
  properties, traits, context, integrations, "planViolation" as plan_violation
from ${quoteIdentifier(source)}`;
}

/** A text as a moment; null where it is none. `infinity` is no moment of an event. */
function moment(text: string): string {
  return `case when isfinite(try_cast(${text} as timestamptz)) then try_cast(${text} as timestamptz) end`;
}
