import type { ErrorObject } from "ajv";
import type { Violation } from "./column-fit.ts";
import { escapePointer } from "./column-fit.ts";

/** The one of a validator's findings that helps the sender most, in words. */
export function keptViolation(errors: readonly ErrorObject[], event: unknown): Violation {
  const either = missingOfEither(errors);
  if (either !== undefined) return { pointer: "", fault: `must have ${either}`, value: undefined };
  const error = mostTelling(errors);
  if (error === undefined) return { pointer: "", fault: "must keep the contract", value: event };
  const params = error.params as Record<string, unknown>;
  const at = (name: unknown) => `${error.instancePath}/${escapePointer(String(name))}`;
  const here = (fault: string): Violation => ({ pointer: error.instancePath, fault, value: error.data });
  switch (error.keyword) {
    case "required":
      return { pointer: at(params.missingProperty), fault: "must be there", value: undefined };
    case "additionalProperties":
      return {
        pointer: at(params.additionalProperty),
        fault: "must not be there: the contract has no such field",
        value: member(error, params.additionalProperty),
      };
    case "unevaluatedProperties":
      return {
        pointer: at(params.unevaluatedProperty),
        fault: "must not be there: the contract has no such field",
        value: member(error, params.unevaluatedProperty),
      };
    case "enum":
      return here(`must be one of ${listed(params.allowedValues as unknown[])}`);
    case "const":
      return here(`must be ${JSON.stringify(params.allowedValue)}`);
    case "type":
      return here(`must be ${typeName(params.type)}`);
    case "format":
      return here(formatFault(String(params.format)));
    case "pattern":
      if (error.parentSchema?.format === "date-time") return here('must be a moment in UTC, ending in "Z"');
      return here(`must match ${String(params.pattern).slice(0, 100)}`);
    case "anyOf":
    case "oneOf":
      return here("must be one of the forms that the contract allows");
    default:
      return here(error.message ?? "must keep the contract");
  }
}

/** `"/amount" must be > 0, got -5`. */
export function violationText({ pointer, fault, value }: Violation): string {
  const subject = pointer === "" ? "the event" : JSON.stringify(pointer);
  return value === undefined ? `${subject} ${fault}` : `${subject} ${fault}, got ${brief(value)}`;
}

/** A value short enough for a message. */
export function brief(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "[]" : `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 80 ? text : `${text.slice(0, 77).toWellFormed()}… (${text.length} characters)`;
}

/** Of the findings within alternatives, the deepest: the alternative that came furthest is the one that was meant. */
function mostTelling(errors: readonly ErrorObject[]): ErrorObject | undefined {
  const last = errors.at(-1);
  if (last?.keyword !== "anyOf" && last?.keyword !== "oneOf") return errors[0];
  const within = errors.filter((error) => error !== last && error.params.type !== "null");
  const depth = (error: ErrorObject) => error.instancePath.split("/").length;
  const deepest = Math.max(...within.map(depth));
  const telling = within.filter(
    (error) => depth(error) === deepest && error.keyword !== "anyOf" && error.keyword !== "oneOf",
  );
  if (deepest > depth(last)) return telling[0] ?? last;
  // All alternatives fail at the value itself: one of them can be named, several cannot.
  return telling.length === 1 ? telling[0] : last;
}

/** Names of which the event must have one, where all that is wrong is that it has none of them. */
function missingOfEither(errors: readonly ErrorObject[]): string | undefined {
  const end = errors.findIndex(({ keyword }) => keyword === "anyOf");
  const alternatives = errors.slice(0, Math.max(end, 0));
  const alike = ({ keyword, instancePath }: ErrorObject) => keyword === "required" && instancePath === "";
  if (alternatives.length < 2 || !alternatives.every(alike)) return undefined;
  return alternatives.map(({ params }) => JSON.stringify(params.missingProperty)).join(" or ");
}

function member(error: ErrorObject, name: unknown): unknown {
  return (error.data as Record<string, unknown> | undefined)?.[String(name)];
}

function listed(values: readonly unknown[]): string {
  const shown = values.slice(0, 10).map((value) => JSON.stringify(value));
  return values.length > shown.length ? `${shown.join(", ")} … (${values.length} in all)` : shown.join(", ");
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  integer: "an integer",
  boolean: "true or false",
  object: "an object",
  array: "an array",
  null: "null",
};

function typeName(type: unknown): string {
  const names = (Array.isArray(type) ? type : String(type).split(",")).map(
    (name) => TYPE_NAMES[String(name)] ?? String(name),
  );
  return names.join(" or ");
}

function formatFault(format: string): string {
  if (format === "date-time")
    return 'must be a moment in RFC 3339 with at most 6 decimals of a second, like "2025-06-30T12:00:00.5Z"';
  if (format === "date") return 'must be a day, like "2025-06-30"';
  return `must be of the format ${format}`;
}
