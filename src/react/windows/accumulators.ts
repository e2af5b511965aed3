/**
 * One aggregate each: what it keeps, how it takes a value, how two of them become one, and what it gives.
 *
 * What an aggregate keeps are numbers and other values in places of two flat lists, because lists of numbers alone are what a state of millions of
 * windows can afford. Nulls never arrive here, but for `count()`, which asks for no value.
 */
import type { AggregatePlan } from "../../define/read-aggregates.ts";
import { addDistinct, type DistinctSketch, distinctOf, mergeDistinct, NO_VALUES } from "./distinct-sketch.ts";
import { comparableTime } from "./event-time.ts";
import { addQuantile, EMPTY_QUANTILES, mergeQuantiles, type QuantileSketch, quantileOf } from "./quantile-sketch.ts";

export interface Slots {
  numbers: number[];
  values: unknown[];
}

/** What a value other than a number is, so that a checkpoint can hold it. None has a value before the first event. */
export type ValueKind = "json" | "decimal" | "quantiles" | "distinct";

export interface Accumulator {
  /** What stands in its numbers before the first event. */
  readonly numbers: readonly number[];
  readonly values: readonly ValueKind[];
  /** The field's value as `add` takes it. Called for values that are not null. */
  read(value: unknown): unknown;
  /** `n` and `v` are where its numbers and values begin. Values are replaced and never changed. */
  add(into: Slots, n: number, v: number, value: unknown, micros: number, offset: number): void;
  merge(into: Slots, n: number, v: number, from: Slots, fromN: number, fromV: number): void;
  result(from: Slots, n: number, v: number): unknown;
}

export function accumulator({ function: name, field, fraction }: AggregatePlan): Accumulator {
  if (name === "count") return COUNT;
  if (name === "first") return extreme(-1);
  if (name === "last") return extreme(1);
  const type = field!.type;
  const whole = type.kind === "integer" || type.kind === "long";
  switch (name) {
    case "sum":
      return type.kind === "decimal" ? decimalSum(type.scale) : whole ? wholeSum : realSum;
    case "mean":
      return MEAN;
    case "stddev":
      return STDDEV;
    case "quantile":
      return quantiles(fraction);
    case "distinct":
      return distincts(comparable(type));
    case "min":
    case "max": {
      const sign = name === "min" ? -1 : 1;
      if (type.kind === "boolean")
        return bound(
          sign,
          (value) => (value === true ? 1 : 0),
          (value) => value === 1,
        );
      if (whole || type.kind === "double" || type.kind === "float") return bound(sign, Number, (value) => value);
      return valueBound(sign, type.kind === "decimal" ? "decimal" : "json", comparable(type), shown(type));
    }
  }
}

function itself(value: unknown): unknown {
  return value;
}

const COUNT: Accumulator = {
  numbers: [0],
  values: [],
  read: itself,
  add(into, n) {
    into.numbers[n]!++;
  },
  merge(into, n, _v, from, fromN) {
    into.numbers[n]! += from.numbers[fromN]!;
  },
  result: (from, n) => from.numbers[n],
};

/** NaN until the first value: a sum of nothing is null. One that has left the whole numbers a double holds stays beyond them. */
const wholeSum: Accumulator = {
  numbers: [Number.NaN],
  values: [],
  read: itself,
  add(into, n, _v, value) {
    const before = into.numbers[n]!;
    into.numbers[n] = Number.isNaN(before) ? (value as number) : exactSum(before, value as number);
  },
  merge(into, n, _v, from, fromN) {
    const other = from.numbers[fromN]!;
    const before = into.numbers[n]!;
    if (!Number.isNaN(other)) into.numbers[n] = Number.isNaN(before) ? other : exactSum(before, other);
  },
  result: (from, n) => {
    const sum = from.numbers[n]!;
    // A contract of whole numbers refuses it, where an inexact sum would look like an exact one.
    return Number.isNaN(sum) ? null : Number.isFinite(sum) ? sum : Number.MAX_VALUE;
  },
};

function exactSum(a: number, b: number): number {
  const sum = a + b;
  return Number.isSafeInteger(sum) ? sum : Number.POSITIVE_INFINITY;
}

/**
 * Sum and what rounding took from it. NaN until the first value.
 * Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
 */
const realSum: Accumulator = {
  numbers: [Number.NaN, 0],
  values: [],
  read: itself,
  add(into, n, _v, value) {
    if (Number.isNaN(into.numbers[n]!)) into.numbers[n] = value as number;
    else compensatedAdd(into.numbers, n, value as number);
  },
  merge(into, n, _v, from, fromN) {
    const other = from.numbers[fromN]!;
    if (Number.isNaN(other)) return;
    if (Number.isNaN(into.numbers[n]!)) into.numbers[n] = other;
    else compensatedAdd(into.numbers, n, other);
    into.numbers[n + 1]! += from.numbers[fromN + 1]!;
  },
  result: (from, n) => (Number.isNaN(from.numbers[n]!) ? null : compensated(from.numbers, n)),
};

function compensatedAdd(numbers: number[], n: number, value: number): void {
  const before = numbers[n]!;
  const sum = before + value;
  numbers[n] = sum;
  numbers[n + 1]! += Math.abs(before) >= Math.abs(value) ? before - sum + value : value - sum + before;
}

/** What is beyond the doubles is given as their end, for JSON has no infinity. */
function compensated(numbers: readonly number[], n: number): number {
  const sum = numbers[n]!;
  const exact = Number.isFinite(sum) ? sum + numbers[n + 1]! : sum;
  return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, exact));
}

/** Count, sum, and what rounding took from the sum. */
const MEAN: Accumulator = {
  numbers: [0, 0, 0],
  values: [],
  read: Number,
  add(into, n, _v, value) {
    into.numbers[n]!++;
    compensatedAdd(into.numbers, n + 1, value as number);
  },
  merge(into, n, _v, from, fromN) {
    into.numbers[n]! += from.numbers[fromN]!;
    compensatedAdd(into.numbers, n + 1, from.numbers[fromN + 1]!);
    into.numbers[n + 2]! += from.numbers[fromN + 2]!;
  },
  result: (from, n) => (from.numbers[n] === 0 ? null : compensated(from.numbers, n + 1) / from.numbers[n]!),
};

/** Count, mean, and sum of the squared distances from it. */
const STDDEV: Accumulator = {
  numbers: [0, 0, 0],
  values: [],
  read: Number,
  add({ numbers }, n, _v, value) {
    const count = ++numbers[n]!;
    const distance = (value as number) - numbers[n + 1]!;
    numbers[n + 1]! += distance / count;
    numbers[n + 2]! += distance * ((value as number) - numbers[n + 1]!);
  },
  merge({ numbers }, n, _v, from, fromN) {
    const others = from.numbers[fromN]!;
    if (others === 0) return;
    const before = numbers[n]!;
    const count = before + others;
    const distance = from.numbers[fromN + 1]! - numbers[n + 1]!;
    numbers[n] = count;
    numbers[n + 1]! += (distance * others) / count;
    numbers[n + 2]! += from.numbers[fromN + 2]! + (distance * distance * before * others) / count;
  },
  result: ({ numbers }, n) => {
    if (numbers[n]! < 2) return null;
    return Math.min(Number.MAX_VALUE, Math.sqrt(Math.max(0, numbers[n + 2]!) / (numbers[n]! - 1)));
  },
};

/** The least (`sign` -1) or greatest number; infinite until the first. */
function bound(sign: number, read: (value: unknown) => number, shownAs: (value: number) => unknown): Accumulator {
  const none = sign < 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  return {
    numbers: [none],
    values: [],
    read,
    add(into, n, _v, value) {
      if (((value as number) - into.numbers[n]!) * sign > 0) into.numbers[n] = value as number;
    },
    merge(into, n, _v, from, fromN) {
      if (from.numbers[fromN]! * sign > into.numbers[n]! * sign) into.numbers[n] = from.numbers[fromN]!;
    },
    result: (from, n) => (from.numbers[n] === none ? null : shownAs(from.numbers[n]!)),
  };
}

/** The least or greatest of what is no number. */
function valueBound(
  sign: number,
  kind: ValueKind,
  read: (value: unknown) => unknown,
  show: (value: unknown) => unknown,
): Accumulator {
  const take = (into: Slots, v: number, value: unknown) => {
    const before = into.values[v];
    if (before === undefined || compare(value, before) * sign > 0) into.values[v] = value;
  };
  return {
    numbers: [],
    values: [kind],
    read,
    add: (into, _n, v, value) => take(into, v, value),
    merge(into, _n, v, from, _fromN, fromV) {
      if (from.values[fromV] !== undefined) take(into, v, from.values[fromV]);
    },
    result: (from, _n, v) => (from.values[v] === undefined ? null : show(from.values[v])),
  };
}

/** Exact, in units of the last decimal. */
function decimalSum(scale: number): Accumulator {
  const take = (into: Slots, v: number, value: bigint) => {
    into.values[v] = ((into.values[v] as bigint | undefined) ?? 0n) + value;
  };
  return {
    numbers: [],
    values: ["decimal"],
    read: (value) => decimalUnits(value, scale),
    add: (into, _n, v, value) => take(into, v, value as bigint),
    merge(into, _n, v, from, _fromN, fromV) {
      if (from.values[fromV] !== undefined) take(into, v, from.values[fromV] as bigint);
    },
    result: (from, _n, v) => (from.values[v] === undefined ? null : decimalText(from.values[v] as bigint, scale)),
  };
}

function quantiles(fraction: number): Accumulator {
  return {
    numbers: [],
    values: ["quantiles"],
    read: Number,
    add(into, _n, v, value) {
      into.values[v] = addQuantile((into.values[v] as QuantileSketch | undefined) ?? EMPTY_QUANTILES, value as number);
    },
    merge(into, _n, v, from, _fromN, fromV) {
      const other = from.values[fromV] as QuantileSketch | undefined;
      if (other === undefined) return;
      const own = into.values[v] as QuantileSketch | undefined;
      into.values[v] = own === undefined ? other : mergeQuantiles(own, other);
    },
    result: (from, _n, v) => {
      const sketch = from.values[v] as QuantileSketch | undefined;
      return sketch === undefined ? null : quantileOf(sketch, fraction);
    },
  };
}

function distincts(read: (value: unknown) => unknown): Accumulator {
  return {
    numbers: [],
    values: ["distinct"],
    read: (value) => String(read(value)),
    add(into, _n, v, value) {
      into.values[v] = addDistinct((into.values[v] as DistinctSketch | undefined) ?? NO_VALUES, value as string);
    },
    merge(into, _n, v, from, _fromN, fromV) {
      const other = from.values[fromV] as DistinctSketch | undefined;
      if (other === undefined) return;
      const own = into.values[v] as DistinctSketch | undefined;
      into.values[v] = own === undefined ? other : mergeDistinct(own, other);
    },
    result: (from, _n, v) => distinctOf((from.values[v] as DistinctSketch | undefined) ?? NO_VALUES),
  };
}

/** First (`sign` -1) or last value by event time and offset, which are its numbers. */
function extreme(sign: number): Accumulator {
  const none = sign < 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  const take = (into: Slots, n: number, v: number, value: unknown, micros: number, offset: number) => {
    const before = into.numbers[n]!;
    if (micros === before ? (offset - into.numbers[n + 1]!) * sign <= 0 : micros * sign < before * sign) return;
    into.numbers[n] = micros;
    into.numbers[n + 1] = offset;
    into.values[v] = value;
  };
  return {
    numbers: [none, 0],
    values: ["json"],
    read: itself,
    add: take,
    merge(into, n, v, from, fromN, fromV) {
      const micros = from.numbers[fromN]!;
      if (micros !== none) take(into, n, v, from.values[fromV], micros, from.numbers[fromN + 1]!);
    },
    result: (from, n, v) => (from.numbers[n] === none ? null : from.values[v]),
  };
}

/** What a value is compared by: equal in SQL is equal here. */
function comparable(type: { readonly kind: string; readonly scale?: number }): (value: unknown) => unknown {
  if (type.kind === "decimal") return (value) => decimalUnits(value, type.scale ?? 0);
  if (type.kind === "timestamp") return (value) => comparableTime(String(value));
  // A double that is -0 equals 0.
  if (type.kind === "double" || type.kind === "float") return (value) => (value as number) + 0;
  return itself;
}

function shown(type: { readonly kind: string; readonly scale?: number }): (value: unknown) => unknown {
  return type.kind === "decimal" ? (value) => decimalText(value as bigint, type.scale ?? 0) : itself;
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "string") return compareTexts(a, b as string);
  return (a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0;
}

/** By UTF-8 bytes, which is by code points: where one text goes on with a surrogate and the other does not, UTF-16 has them the wrong way round. */
function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const upper = x >= 0xd800 && x <= 0xdfff;
    if (upper !== (y >= 0xd800 && y <= 0xdfff)) return upper ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}

/** A decimal as whole units of its last place. The door has made sure that it fits. */
function decimalUnits(value: unknown, scale: number): bigint {
  const text = typeof value === "number" ? value.toFixed(scale) : String(value);
  const [whole = "0", decimals = ""] = text.split(".");
  const units = BigInt(whole.replace("-", "") + decimals.padEnd(scale, "0"));
  return whole.startsWith("-") ? -units : units;
}

function decimalText(units: bigint, scale: number): string {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, "0");
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return units < 0n ? `-${text}` : text;
}
