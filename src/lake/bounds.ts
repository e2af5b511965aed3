/**
 * Comparing a bound from a table's log with a value from a query, without knowing the column's type: JSON says of a bound only
 * that it is a number, a boolean or a text, and a partition value is always a text. A text may be read as text, as a number, and
 * as a moment; the column's type is one of these readings, so an order in which all readings agree holds whichever it is.
 */

export type Side = "min" | "max";

/** Where the bound lies, seen from the value. `unsure` when readings disagree, precision does not suffice, or there is no bound. */
export type Order = "below" | "equal" | "above" | "unsure";

export interface Bound {
  readonly value: unknown;
  readonly side: Side;
  /** A partition value is what every row has; a statistic may have been cut or rounded. */
  readonly exact: boolean;
}

export function boundOf(value: unknown, side: Side, exact: boolean): Bound {
  return { value, side, exact };
}

export function compareBound(bound: Bound, value: unknown): Order {
  const { value: stat } = bound;
  if (stat === null || stat === undefined || value === null || value === undefined) return "unsure";
  if (typeof stat === "boolean" || typeof value === "boolean") {
    return typeof stat === typeof value || (bound.exact && isTruth(stat))
      ? compareNumbers(Number(String(stat) === "true"), Number(value === true))
      : "unsure";
  }
  if (typeof stat === "number") return compareNumbers(stat, numberOf(value));
  if (typeof stat !== "string") return "unsure";
  if (typeof value !== "string") return bound.exact ? compareNumbers(numberOf(stat), numberOf(value)) : "unsure";

  const readings = [compareTexts(bound, stat, value)];
  const [statMicros, valueMicros] = [microsOf(stat), microsOf(value)];
  if (statMicros !== undefined && valueMicros !== undefined) {
    readings.push(compareMoments(bound, stat, statMicros, valueMicros));
  } else if (statMicros !== undefined || valueMicros !== undefined) {
    // A moment in a form we do not read (another zone, a year beyond 9999) on one side.
    readings.push("unsure");
  }
  if (bound.exact && numberOf(stat) !== undefined) readings.push(compareNumbers(numberOf(stat), numberOf(value)));
  const [first = "unsure"] = readings;
  return readings.every((reading) => reading === first) ? first : "unsure";
}

/** Doubles nearer to each other than this share of their size may stand for decimals or integers in the other order. */
const ROUNDING = 4 * Number.EPSILON;

function compareNumbers(a: number | bigint | undefined, b: number | bigint | undefined): Order {
  if (a === undefined || b === undefined || Number.isNaN(a) || Number.isNaN(b)) return "unsure";
  const [x, y] = [Number(a), Number(b)];
  if (!isExact(a) || !isExact(b)) {
    if (Math.abs(x - y) <= ROUNDING * Math.max(Math.abs(x), Math.abs(y))) return "unsure";
  }
  return a < b ? "below" : a > b ? "above" : "equal";
}

/** Whether the value can only be itself, and not what is left of one with more digits. */
function isExact(value: number | bigint): boolean {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}

function numberOf(value: unknown): number | bigint | undefined {
  if (typeof value === "number" || typeof value === "bigint") return value;
  if (typeof value !== "string") return undefined;
  if (/^[+-]?\d+$/.test(value)) return BigInt(value);
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(value) ? Number(value) : undefined;
}

function isTruth(value: unknown): boolean {
  return value === "true" || value === "false";
}

/** Bounds at least this long may have been cut: 32 characters is where Spark, delta-rs and we do it. */
const CUT_LENGTH = 32;

function compareTexts({ side, exact }: Bound, stat: string, value: string): Order {
  // Some writers cut a maximum and do not raise it: what begins with it may then be in the file.
  if (!exact && side === "max" && stat.length >= CUT_LENGTH && value.startsWith(stat)) return "unsure";
  const order = compareCodePoints(stat, value);
  return order < 0 ? "below" : order > 0 ? "above" : "equal";
}

/** The order of UTF-8 bytes, in which engines compare texts; that of UTF-16 differs once surrogates meet U+E000 and above. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return lifted(x) - lifted(y);
  }
  return a.length - b.length;
}

function lifted(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Timestamps in statistics are cut to milliseconds: up to a microsecond less than one more is covered by a maximum. */
function compareMoments({ side, exact }: Bound, text: string, stat: bigint, value: bigint): Order {
  const bound = !exact && side === "max" && text.length > "2026-01-31".length ? stat + 999n : stat;
  if (bound < value) return "below";
  if (bound > value) return "above";
  // A rounded maximum may be met or not; either way it is not below the value.
  return "equal";
}

/** Microseconds since the epoch of a date (its first) or an ISO 8601 timestamp in UTC. */
function microsOf(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]00(?::?00)?)?)?$/.exec(text);
  if (!match) return undefined;
  const [, day, time = "00:00:00", fraction = ""] = match;
  const ms = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, "0").slice(0, 6));
}
