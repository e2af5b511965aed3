import { createHash } from "node:crypto";
import { MillraceError } from "../errors.ts";

/** Most bytes of JSON that a step may give, a run may take and a signal may bring: all of it is loaded when a run goes on. */
export const MOST_VALUE_BYTES = 1_048_576;

/**
 * A value as it will be read back: what JSON makes of it, so that the first time and every replay see the same. Undefined becomes null.
 * @throws STEP_INVALID when JSON or PostgreSQL cannot hold it
 */
export function recordable(step: string, value: unknown): unknown {
  const refuse = (reason: string) => new MillraceError("STEP_INVALID", { step, reason });
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw refuse(`gave something that JSON cannot say: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined) {
    if (value === undefined) return null;
    throw refuse(`gave a ${typeof value}, which JSON cannot say`);
  }
  if (text.length > MOST_VALUE_BYTES)
    throw refuse(`gave ${text.length} bytes of JSON; ${MOST_VALUE_BYTES} are allowed: store it, and give its name`);
  // Only then can there be such a character; the escapes themselves may also be text.
  if (/\\u(0000|d[89a-f])/i.test(text)) refuseCharacters(JSON.parse(text), refuse);
  return JSON.parse(text) as unknown;
}

/** Text that PostgreSQL holds: no NUL, and no half of a surrogate pair. */
export function storableText(text: string): string {
  return text.replaceAll("\0", "\uFFFD").toWellFormed();
}

/** The same for values that are the same whatever the order of their keys. */
export function valueHash(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("hex").slice(0, 16);
}

function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${canonical(item)}`).join()}}`;
}

function refuseCharacters(value: unknown, refuse: (reason: string) => MillraceError): void {
  if (typeof value === "string") {
    if (value.includes("\0") || !value.isWellFormed())
      throw refuse("gave text with U+0000 or half of a surrogate pair, which PostgreSQL cannot hold");
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      refuseCharacters(name, refuse);
      refuseCharacters(item, refuse);
    }
  }
}
