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
import type { KeyPlan, ObjectPlan, ValuePlan } from "./quick-plan.ts";
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
  // The event itself is the first object scanned.
  lastEvent = (scans + 1) | 0;
  return scanValue(plan, body, at);
}

let lastEvent = 0;

/** True when a key of the event itself, not of an object within it, was seen in the last scan. */
export function seenInLastScan(key: KeyPlan): boolean {
  return key.seenIn === lastEvent;
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
  const { bytes } = body;
  const firstOther = otherCount;
  scans = (scans + 1) | 0;
  const scan = scans;
  let at = from + 1;
  let missing = plan.requiredCount;
  let previous = plan.start;
  while (bytes[at] === 0x20) at++;
  if (bytes[at] === CLOSE_OBJECT) return missing === 0 ? at + 1 : -1;
  for (;;) {
    let key: KeyPlan | undefined = previous.follower;
    if (startsWith(key, body, at)) {
      at += key.bytes.length;
    } else {
      const end = plainStringEnd(bytes, at);
      if (end < 0) return -1;
      key = findKey(plan.keys, bytes, at, end);
      if (key !== undefined) previous.follower = key;
      else if (plan.others === undefined || !noteOther(bytes, at, end, firstOther)) return -1;
      at = end;
      while (bytes[at] === 0x20) at++;
      if (bytes[at] !== COLON) return -1;
      at++;
    }
    while (bytes[at] === 0x20) at++;
    if (key === undefined) {
      at = scanValue(plan.others as ValuePlan, body, at);
    } else {
      if (key.seenIn === scan) return -1;
      key.seenIn = scan;
      if (key.required) missing--;
      key.valueStart = at;
      at = scanValue(key.value, body, at);
      key.valueEnd = at;
      previous = key;
    }
    if (at < 0) return -1;
    while (bytes[at] === 0x20) at++;
    const next = bytes[at++];
    if (next === CLOSE_OBJECT) {
      otherCount = firstOther;
      return missing === 0 ? at : -1;
    }
    if (next !== COMMA) return -1;
    while (bytes[at] === 0x20) at++;
  }
}

/** Numbers the objects scanned: a key that bears the current number was seen in this one. It may wrap: a chance match only means "ask". */
let scans = 0;

/** True when the key and its colon stand at `at` as they are usually written. */
function startsWith(key: KeyPlan, { bytes, view }: QuickBody, at: number): boolean {
  const { length } = key.bytes;
  // Compared word by word; the last word ends with the key and may overlap the one before.
  if (at + length > bytes.length || view.getInt32(at + length - 4, true) !== key.lastWord) return false;
  if (length > 4 && view.getInt32(at, true) !== key.word0) return false;
  if (length > 8 && view.getInt32(at + 4, true) !== key.word1) return false;
  if (length > 12 && view.getInt32(at + 8, true) !== key.word2) return false;
  for (let i = 12; i < length - 4; i++) if (bytes[at + i] !== key.bytes[i]) return false;
  return true;
}

/** The key that stands, with its quotes, from `start` to `end`; undefined when the contract does not name it. */
function findKey(keys: readonly KeyPlan[], bytes: Uint8Array, start: number, end: number): KeyPlan | undefined {
  for (const key of keys) {
    const length = key.bytes.length - 1;
    if (length !== end - start) continue;
    let i = 0;
    while (i < length && bytes[start + i] === key.bytes[i]) i++;
    if (i === length) return key;
  }
  return undefined;
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
