import { didYouMean } from "./nearest.ts";
import { type Problem, problem } from "./problem.ts";

/** What is wrong with options as such, before anything is asked about their values. */
export function unknownOptions(subject: string, options: object, known: readonly string[]): Problem[] {
  return Object.keys(options)
    .filter((option) => !known.includes(option))
    .map((option) =>
      problem("OPTION_UNKNOWN", { subject, option, nearest: didYouMean(option, known), allowed: known.join(", ") }),
    );
}

export function invalidOption(subject: string, option: string, value: unknown, allowed: string): Problem {
  return problem("OPTION_INVALID", { subject, option, got: showValue(value), allowed });
}

/** A value as a message shows it: short, and never a dump. */
export function showValue(value: unknown): string {
  if (typeof value === "function") return "a function";
  const text = value === undefined ? "missing" : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A list of names, each once. */
export function isNameList(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) && value.every((name) => typeof name === "string") && new Set(value).size === value.length
  );
}

/** Name -> SQL text. */
export function isTextRecord(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((text) => typeof text === "string" && text.trim() !== "");
}
