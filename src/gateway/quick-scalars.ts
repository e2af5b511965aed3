/** Strings, numbers and moments as the quick scanner takes them: position after the value, or -1 for "ask the exact way". */
import { daysOfMonth } from "./formats.ts";
import type { ValuePlan } from "./quick-plan.ts";

const QUOTE = 0x22;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;

/** Every decimal of so many digits survives the way through a double. */
const EXACT_DIGITS = 15;
const POWERS_OF_TEN = Array.from({ length: EXACT_DIGITS + 1 }, (_, power) => 10 ** power);

/** The end of a string without escapes, or -1. */
export function plainStringEnd(bytes: Uint8Array, from: number): number {
  if (bytes[from] !== QUOTE) return -1;
  let at = from + 1;
  for (;;) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at + 1;
    if (!(byte >= 0x20) || byte === BACKSLASH) return -1;
    at++;
  }
}

export function quickBoolean(bytes: Uint8Array, at: number): number {
  if (bytes[at] === 0x74)
    return bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65 ? at + 4 : -1;
  if (bytes[at] !== 0x66 || bytes[at + 1] !== 0x61 || bytes[at + 2] !== 0x6c) return -1;
  return bytes[at + 3] === 0x73 && bytes[at + 4] === 0x65 ? at + 5 : -1;
}

export function quickNull(bytes: Uint8Array, at: number): number {
  return bytes[at] === 0x6e && bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c ? at + 4 : -1;
}

export function quickString(plan: ValuePlan, bytes: Uint8Array, from: number): number {
  const start = from + 1;
  let at = start;
  let continuations = 0;
  let ascii = true;
  for (;;) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) break;
    if (!(byte >= 0x20) || byte === BACKSLASH) return -1;
    if (byte >= 0x80) {
      ascii = false;
      if (byte < 0xc0) continuations++;
    }
    at++;
  }
  const length = at - start - continuations;
  if (length < plan.minLength || length > plan.maxLength) return -1;
  if (plan.choices !== undefined && !isOneOf(plan.choices, bytes, start, at)) return -1;
  if (plan.tests !== undefined) {
    if (!ascii) return -1;
    const text = (bytes as Buffer).toString("latin1", start, at);
    for (const test of plan.tests) if (!test(text)) return -1;
  }
  return at + 1;
}

function isOneOf(choices: readonly Uint8Array[], bytes: Uint8Array, start: number, end: number): boolean {
  for (const choice of choices) {
    if (choice.length !== end - start) continue;
    let i = 0;
    while (i < choice.length && choice[i] === bytes[start + i]) i++;
    if (i === choice.length) return true;
  }
  return false;
}

export function quickNumber(plan: ValuePlan, bytes: Uint8Array, from: number): number {
  let at = from;
  const negative = bytes[at] === MINUS;
  if (negative) at++;
  const first = at;
  let byte = bytes[at] as number;
  let mantissa = 0;
  while (byte >= ZERO && byte <= NINE) {
    mantissa = mantissa * 10 + (byte - ZERO);
    byte = bytes[++at] as number;
  }
  let digits = at - first;
  if (digits === 0 || (digits > 1 && bytes[first] === ZERO)) return -1;
  let value = mantissa;
  if (byte === DOT) {
    if (plan.integer) return -1;
    const point = at;
    byte = bytes[++at] as number;
    while (byte >= ZERO && byte <= NINE) {
      mantissa = mantissa * 10 + (byte - ZERO);
      byte = bytes[++at] as number;
    }
    const decimals = at - point - 1;
    digits += decimals;
    if (decimals === 0 || digits > EXACT_DIGITS) return -1;
    value = mantissa / (POWERS_OF_TEN[decimals] as number);
  } else if (digits > EXACT_DIGITS) return -1;
  if ((byte | 0x20) === 0x65) return -1;
  if (negative) value = -value;
  if (value < plan.minimum || value > plan.maximum) return -1;
  if (value <= plan.exclusiveMinimum || value >= plan.exclusiveMaximum) return -1;
  return at;
}

/** A decimal as a number, or as a string of digits. */
export function quickDecimal(plan: ValuePlan, bytes: Uint8Array, from: number): number {
  const quoted = bytes[from] === QUOTE;
  let at = quoted ? from + 1 : from;
  if (bytes[at] === MINUS) at++;
  const first = at;
  while ((bytes[at] as number) >= ZERO && (bytes[at] as number) <= NINE) at++;
  const digits = at - first;
  if (digits === 0 || (digits > 1 && bytes[first] === ZERO)) return -1;
  const whole = bytes[first] === ZERO ? 0 : digits;
  let decimals = 0;
  if (bytes[at] === DOT) {
    const point = at++;
    while ((bytes[at] as number) >= ZERO && (bytes[at] as number) <= NINE) at++;
    decimals = at - point - 1;
    if (decimals === 0) return -1;
  }
  if (decimals > plan.scale || whole > plan.precision - plan.scale) return -1;
  if (quoted) return bytes[at] === QUOTE ? at + 1 : -1;
  // A number passes through a double on its way into the table, so it must stay exact when scaled.
  if (whole + plan.scale > EXACT_DIGITS || ((bytes[at] as number) | 0x20) === 0x65) return -1;
  return at;
}

/** `YYYY-MM-DDTHH:MM:SS[.f{1,6}]Z"`, from the first digit on. */
export function quickDateTime(bytes: Uint8Array, at: number): number {
  const year = two(bytes, at) * 100 + two(bytes, at + 2);
  const month = two(bytes, at + 5);
  const day = two(bytes, at + 8);
  const hour = two(bytes, at + 11);
  const minute = two(bytes, at + 14);
  const second = two(bytes, at + 17);
  // Any part that is not made of digits is NaN, and no comparison with NaN holds.
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1 && hour <= 23 && minute <= 59 && second <= 59)) return -1;
  if (day > 28 && day > daysOfMonth(year, month)) return -1;
  if (bytes[at + 4] !== MINUS || bytes[at + 7] !== MINUS || bytes[at + 10] !== 0x54) return -1;
  if (bytes[at + 13] !== COLON || bytes[at + 16] !== COLON) return -1;
  let end = at + 19;
  if (bytes[end] === DOT) {
    const first = ++end;
    while ((bytes[end] as number) >= ZERO && (bytes[end] as number) <= NINE) end++;
    if (end === first || end - first > 6) return -1;
  }
  return bytes[end] === 0x5a && bytes[end + 1] === QUOTE ? end + 2 : -1;
}

/** The value of two digits, or NaN. */
function two(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] as number) - ZERO;
  const ones = (bytes[at + 1] as number) - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}
