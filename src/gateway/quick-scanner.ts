/**
 * Takes the plain majority of events in one pass over their bytes, without building a value.
 *
 * It says where an event ends only where the exact way (scanner, parser, validator) would take the event too; for anything it
 * is not sure of it says -1, which means "ask the exact way", never "refuse". A property test holds the two together.
 *
 * What it knows: keys written without escapes, in any order; strings of plain UTF-8 without escapes; numbers of at most 15
 * digits without an exponent; booleans, nulls, arrays. The bytes must be valid UTF-8. The order in which the keys of an
 * object follow each other is learned, so that the usual order costs one comparison of words.
 */
import type { ObjectPlan, ValuePlan } from "./quick-plan.ts";
import {
  ANY,
  ANY_NUMBER,
  ARRAY,
  anyPlan,
  BOOLEAN,
  DATE_TIME,
  DECIMAL,
  MAP,
  NUMBER,
  OBJECT,
  STRING,
} from "./quick-plan.ts";
import {
  plainStringEnd,
  quickBoolean,
  quickDateTime,
  quickDecimal,
  quickNull,
  quickNumber,
  quickString,
} from "./quick-scalars.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Bytes to scan, and the same bytes seen as words. */
export interface QuickBody {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Scans the event at `at`. Returns the position after it, or -1 for "ask the exact way". */
export function quickScan(plan: ValuePlan, body: QuickBody, at: number): number {
  otherCount = 0;
  return scanValue(plan, body, at);
}

function scanValue(plan: ValuePlan, body: QuickBody, at: number): number {
  const bytes = body.bytes;
  const byte = bytes[at];
  if (byte === 0x6e && plan.nullable) return quickNull(bytes, at);
  switch (plan.kind) {
    case STRING:
      return byte === QUOTE ? quickString(plan, bytes, at) : -1;
    case NUMBER:
      return quickNumber(plan, bytes, at);
    case DATE_TIME:
      return byte === QUOTE ? quickDateTime(bytes, at + 1) : -1;
    case BOOLEAN:
      return quickBoolean(bytes, at);
    case OBJECT:
      return byte === OPEN_OBJECT ? scanObject(plan.object as ObjectPlan, body, at) : -1;
    case DECIMAL:
      return quickDecimal(plan, bytes, at);
    case ARRAY:
      return byte === OPEN_ARRAY ? scanArray(plan.element as ValuePlan, plan.minLength, plan.maxLength, body, at) : -1;
    case MAP:
      return byte === OPEN_OBJECT ? scanMap(plan.element as ValuePlan, body, at) : -1;
    case ANY:
      return scanAny(plan.nesting, body, at);
    default:
      return -1;
  }
}

function scanObject(plan: ObjectPlan, body: QuickBody, from: number): number {
  const { bytes, view } = body;
  const { keys, values, follower, words, wordsBefore } = plan;
  const limit = bytes.length;
  const firstOther = otherCount;
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
    let value: ValuePlan;
    if (word > last) {
      at += length;
      value = values[index] as ValuePlan;
    } else {
      const end = plainStringEnd(bytes, at);
      if (end < 0) return -1;
      index = findKey(keys, bytes, at, end);
      if (index >= 0) {
        follower[previous] = index;
        value = values[index] as ValuePlan;
      } else {
        if (plan.others === undefined || !noteOther(bytes, at, end, firstOther)) return -1;
        value = plan.others;
      }
      at = end;
      while (bytes[at] === 0x20) at++;
      if (bytes[at] !== COLON) return -1;
      at++;
    }
    if (index >= 0) {
      const bit = 1 << index;
      if ((seen & bit) !== 0) return -1;
      seen |= bit;
      previous = index;
    }
    while (bytes[at] === 0x20) at++;
    at = scanValue(value, body, at);
    if (at < 0) return -1;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_OBJECT) {
      otherCount = firstOther;
      return (seen & plan.required) === plan.required ? at : -1;
    }
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

/** The key that stands, with its quotes, from `start` to `end`; -1 when the contract does not name it. */
function findKey(keys: readonly Uint8Array[], bytes: Uint8Array, start: number, end: number): number {
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] as Uint8Array;
    if (key.length - 1 !== end - start) continue;
    let i = 0;
    while (i < key.length - 1 && bytes[start + i] === key[i]) i++;
    if (i === key.length - 1) return index;
  }
  return -1;
}

function scanMap(value: ValuePlan, body: QuickBody, from: number): number {
  const { bytes } = body;
  const firstOther = otherCount;
  let at = from + 1;
  while (bytes[at] === 0x20) at++;
  if (bytes[at] === CLOSE_OBJECT) return at + 1;
  for (;;) {
    const end = plainStringEnd(bytes, at);
    if (end < 0 || !noteOther(bytes, at, end, firstOther)) return -1;
    at = end;
    while (bytes[at] === 0x20) at++;
    if (bytes[at++] !== COLON) return -1;
    while (bytes[at] === 0x20) at++;
    at = scanValue(value, body, at);
    if (at < 0) return -1;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_OBJECT) {
      otherCount = firstOther;
      return at;
    }
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

/** Every key is compared with those before it in its object, so larger objects take the exact way. */
const MAX_OTHERS = 32;
/** Start and end of each key the contract does not name, of all objects that are open; the innermost come last. */
const others = new Int32Array(16 * MAX_OTHERS);
let otherCount = 0;

/** Remembers a key of the object whose keys begin at `firstOther`. False when it stands there already, or there are too many. */
function noteOther(bytes: Uint8Array, start: number, end: number, firstOther: number): boolean {
  if (otherCount - firstOther >= 2 * MAX_OTHERS || otherCount + 2 > others.length) return false;
  for (let i = firstOther; i < otherCount; i += 2) {
    const otherStart = others[i] as number;
    if ((others[i + 1] as number) - otherStart !== end - start) continue;
    let same = 0;
    while (same < end - start && bytes[start + same] === bytes[otherStart + same]) same++;
    if (same === end - start) return false;
  }
  others[otherCount] = start;
  others[otherCount + 1] = end;
  otherCount += 2;
  return true;
}

function scanArray(element: ValuePlan, least: number, most: number, body: QuickBody, from: number): number {
  const { bytes } = body;
  let at = from + 1;
  let count = 0;
  while (bytes[at] === 0x20) at++;
  if (bytes[at] === CLOSE_ARRAY) return least === 0 ? at + 1 : -1;
  for (;;) {
    at = scanValue(element, body, at);
    if (at < 0) return -1;
    count++;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_ARRAY) return count >= least && count <= most ? at : -1;
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

/** Any value in which at most `nesting` objects and arrays are open at once. */
function scanAny(nesting: number, body: QuickBody, at: number): number {
  const { bytes } = body;
  const byte = bytes[at] as number;
  if (byte === QUOTE) return plainStringEnd(bytes, at);
  if (byte === MINUS || (byte >= ZERO && byte <= NINE)) return quickNumber(ANY_NUMBER, bytes, at);
  if (byte === OPEN_OBJECT) return nesting > 0 ? scanMap(anyPlan(nesting - 1), body, at) : -1;
  if (byte === OPEN_ARRAY) return nesting > 0 ? scanArray(anyPlan(nesting - 1), 0, Infinity, body, at) : -1;
  return byte === 0x6e ? quickNull(bytes, at) : quickBoolean(bytes, at);
}
