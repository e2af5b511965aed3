/**
 * Takes the plain majority of events in one pass over their bytes, without building a value.
 *
 * `accepts` says yes only where the exact way (scanner, parser, validator) would say yes too; for anything it is not
 * sure of it says no, which means "ask the exact way", never "refuse". A property test holds the two together.
 *
 * What it knows: objects whose keys are written without escapes and are all in the schema, in any order; strings of
 * ASCII or plain UTF-8 without escapes; numbers of at most 15 digits without an exponent; booleans, nulls, arrays.
 * The order in which the keys of an object follow each other is learned, so that the usual order costs one comparison.
 */
import { daysOfMonth } from "./formats.ts";
import type { ObjectPlan, ValuePlan } from "./quick-plan.ts";
import { ARRAY, BOOLEAN, DATE_TIME, DECIMAL, NUMBER, OBJECT, STRING } from "./quick-plan.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Every decimal of so many digits survives the way through a double. */
const EXACT_DIGITS = 15;
const POWERS_OF_TEN = Array.from({ length: EXACT_DIGITS + 1 }, (_, power) => 10 ** power);

/** Bytes to scan, and the same bytes seen as words. */
export interface QuickBody {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Scans one value at `at` by its plan. Returns the position after it, or -1 for "ask the exact way". */
export function quickScan(plan: ValuePlan, body: QuickBody, at: number): number {
  const bytes = body.bytes;
  const byte = bytes[at];
  if (byte === 0x6e && plan.nullable) {
    return bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c ? at + 4 : -1;
  }
  switch (plan.kind) {
    case STRING:
      return byte === QUOTE ? quickString(plan, bytes, at) : -1;
    case NUMBER:
      return quickNumber(plan, bytes, at);
    case DATE_TIME:
      return byte === QUOTE ? quickDateTime(bytes, at + 1) : -1;
    case BOOLEAN:
      if (byte === 0x74)
        return bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65 ? at + 4 : -1;
      if (byte !== 0x66 || bytes[at + 1] !== 0x61 || bytes[at + 2] !== 0x6c) return -1;
      return bytes[at + 3] === 0x73 && bytes[at + 4] === 0x65 ? at + 5 : -1;
    case OBJECT:
      return byte === OPEN_OBJECT ? quickObject(plan.object as ObjectPlan, body, at) : -1;
    case DECIMAL:
      return quickDecimal(plan, bytes, at);
    case ARRAY:
      return byte === OPEN_ARRAY ? quickArray(plan, body, at) : -1;
    default:
      return -1;
  }
}

function quickObject(plan: ObjectPlan, body: QuickBody, from: number): number {
  const { bytes, view } = body;
  const { keys, values, follower, words, wordsBefore } = plan;
  const limit = bytes.length;
  let at = from + 1;
  let seen = 0;
  let previous = keys.length;
  while (bytes[at] === 0x20) at++;
  if (bytes[at] === CLOSE_OBJECT) return plan.required === 0 ? at + 1 : -1;
  for (;;) {
    let index = follower[previous] as number;
    const first = wordsBefore[index] as number;
    const last = (wordsBefore[index + 1] as number) - 1;
    const length = (keys[index] as Uint8Array).length;
    let word = first;
    if (at + length <= limit) {
      while (word < last && view.getInt32(at + (word - first) * 4, true) === words[word]) word++;
      if (word === last && view.getInt32(at + length - 4, true) === words[word]) word++;
    }
    if (word > last) {
      at += length;
    } else {
      if (bytes[at] !== QUOTE) return -1;
      index = findKey(keys, bytes, at);
      if (index < 0) return -1;
      follower[previous] = index;
      at += (keys[index] as Uint8Array).length - 1;
      while (bytes[at] === 0x20) at++;
      if (bytes[at] !== COLON) return -1;
      at++;
    }
    const bit = 1 << index;
    if ((seen & bit) !== 0) return -1;
    seen |= bit;
    previous = index;
    while (bytes[at] === 0x20) at++;
    at = quickScan(values[index] as ValuePlan, body, at);
    if (at < 0) return -1;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_OBJECT) return (seen & plan.required) === plan.required ? at : -1;
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

function findKey(keys: readonly Uint8Array[], bytes: Uint8Array, at: number): number {
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] as Uint8Array;
    let i = 0;
    while (i < key.length - 1 && bytes[at + i] === key[i]) i++;
    if (i === key.length - 1) return index;
  }
  return -1;
}

function quickArray(plan: ValuePlan, body: QuickBody, from: number): number {
  const bytes = body.bytes;
  const element = plan.element as ValuePlan;
  let at = from + 1;
  let count = 0;
  while (bytes[at] === 0x20) at++;
  if (bytes[at] === CLOSE_ARRAY) return plan.minLength === 0 ? at + 1 : -1;
  for (;;) {
    at = quickScan(element, body, at);
    if (at < 0) return -1;
    count++;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_ARRAY) return count >= plan.minLength && count <= plan.maxLength ? at : -1;
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

function quickString(plan: ValuePlan, bytes: Uint8Array, from: number): number {
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

function quickNumber(plan: ValuePlan, bytes: Uint8Array, from: number): number {
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
function quickDecimal(plan: ValuePlan, bytes: Uint8Array, from: number): number {
  const quoted = bytes[from] === QUOTE;
  let at = quoted ? from + 1 : from;
  if (bytes[at] === MINUS) at++;
  const first = at;
  while ((bytes[at] as number) >= ZERO && (bytes[at] as number) <= NINE) at++;
  const whole = at - first;
  if (whole === 0 || (whole > 1 && bytes[first] === ZERO)) return -1;
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
function quickDateTime(bytes: Uint8Array, at: number): number {
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
