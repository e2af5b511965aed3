import { MillraceError } from "../errors.ts";
import { didYouMean } from "./nearest.ts";
import { isRecord, showValue } from "./options.ts";

/** What is done with a message that is not as the plan has it. */
export type OnViolation = "reject" | "flag";

export interface TrackingPlanOptions {
  /** A planned event that does not keep its schema: a dead letter (`reject`, the default), or stored with `plan_violation` (`flag`). */
  readonly violations?: OnViolation;
  /** An event that the plan does not have: stored as it is (`allow`, the default), `flag` or `reject`. */
  readonly unplanned?: OnViolation | "allow";
}

export interface PlannedEvent {
  readonly name: string;
  /** JSON Schema (draft 7) of the whole message: `properties.properties` is that of its properties. */
  readonly schema: Readonly<Record<string, unknown>>;
}

export interface TrackingPlan {
  readonly violations: OnViolation;
  readonly unplanned: OnViolation | "allow";
  readonly events: readonly PlannedEvent[];
}

/**
 * The contracts of a Segment tracking plan: `segment("app", { plan: trackingPlan(json) })`.
 *
 * `json` is the plan as Segment's APIs and Typewriter have it: `{rules: {events: [{name, rules}]}}`, or the rules of the Public API,
 * `{rules: [{type: "TRACK", key, jsonSchema}]}`. Schemas are JSON Schema, draft 7, of the whole message. Of several versions of an event the
 * newest counts.
 *
 * @throws PLAN_INVALID, which the project shows with the place of the call.
 */
export function trackingPlan(json: unknown, options: TrackingPlanOptions = {}): TrackingPlan {
  const { violations = "reject", unplanned = "allow", ...others } = options;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    const known = ["violations", "unplanned"];
    throw invalid(`there is no option "${unknown}"${didYouMean(unknown, known)}`);
  }
  if (!["reject", "flag"].includes(violations))
    throw invalid(`violations is ${showValue(violations)}; it must be "reject" or "flag"`);
  if (!["reject", "flag", "allow"].includes(unplanned))
    throw invalid(`unplanned is ${showValue(unplanned)}; it must be "allow", "flag" or "reject"`);
  const rules = isRecord(json) ? json.rules : undefined;
  const listed = Array.isArray(rules) ? rules.filter(isTrackRule) : isRecord(rules) ? rules.events : undefined;
  if (!Array.isArray(listed)) throw invalid("it has no list of events under rules.events or rules");
  const newest = new Map<string, PlannedEvent & { version: number }>();
  for (const [index, rule] of (listed as unknown[]).entries()) {
    const event = plannedEvent(rule, index);
    if (event.version >= (newest.get(event.name)?.version ?? -Infinity)) newest.set(event.name, event);
  }
  const events = [...newest.values()].map(({ name, schema }) => ({ name, schema }));
  return { violations, unplanned, events };
}

function isTrackRule(rule: unknown): boolean {
  return isRecord(rule) && String(rule.type).toUpperCase() === "TRACK";
}

function plannedEvent(rule: unknown, index: number): PlannedEvent & { version: number } {
  if (!isRecord(rule)) throw invalid(`its event ${index} is ${showValue(rule)}`);
  const name = rule.name ?? rule.key;
  const schema = rule.rules ?? rule.jsonSchema;
  if (typeof name !== "string" || name === "") throw invalid(`its event ${index} has no name`);
  if (!isRecord(schema)) throw invalid(`its event ${JSON.stringify(name)} has no JSON Schema`);
  const version = typeof rule.version === "number" ? rule.version : 0;
  return { name, version, schema: withoutIds(schema) as Record<string, unknown> };
}

/**
 * Plans carry the `id` of JSON Schema's draft 4 in every schema, which later drafts refuse, and `$schema` and `labels`, which say
 * nothing about messages. Where these are names of properties they stay.
 */
function withoutIds(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutIds);
  if (!isRecord(schema)) return schema;
  const entries = Object.entries(schema).filter(([keyword]) => !["id", "$id", "$schema", "labels"].includes(keyword));
  return Object.fromEntries(
    entries.map(([keyword, value]) => {
      if (VALUES.has(keyword)) return [keyword, value];
      if (!NAMED.has(keyword) || !isRecord(value)) return [keyword, withoutIds(value)];
      return [keyword, Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withoutIds(inner)]))];
    }),
  );
}

/** Keywords that hold schemas by name. */
const NAMED = new Set(["properties", "patternProperties", "definitions", "dependencies"]);
/** Keywords that hold values, not schemas. */
const VALUES = new Set(["enum", "const", "default", "examples"]);

function invalid(reason: string): MillraceError {
  return new MillraceError("PLAN_INVALID", { reason });
}
