/** What windows and features compute over the events they hold. Nulls count as in SQL: only `count()` sees an event whose field is null or missing. */

export type AggregateFunction =
  | "count"
  | "sum"
  | "mean"
  | "min"
  | "max"
  | "stddev"
  | "distinct"
  | "quantile"
  | "first"
  | "last";

/** As `count` and the others make it. `Field` holds the field's name, so that it is checked against the stream's contract where it is used. */
export interface Aggregate<Field extends string = string, Name extends AggregateFunction = AggregateFunction> {
  readonly aggregate: Name;
  readonly field?: Field;
  /** Of a quantile: 0 to 1. */
  readonly fraction?: number;
}

/** `count()`: events. `count("fuel")`: events whose field is not null. A whole number, never null. */
export function count(): Aggregate<never, "count">;
export function count<const Field extends string>(field: Field): Aggregate<Field, "count">;
export function count(field?: string): Aggregate<string, "count"> {
  return of("count", field);
}

/**
 * The sum of a numeric field; null when no event has it. Decimals are summed exactly and whole numbers too, up to 2^53 - 1 (a window beyond that is
 * refused by its stream's contract, never rounded); doubles with compensation (Neumaier 1974), so that their order hardly matters.
 */
export function sum<const Field extends string>(field: Field): Aggregate<Field, "sum"> {
  return of("sum", field);
}

/** The arithmetic mean of a numeric field, a double; null when no event has it. */
export function mean<const Field extends string>(field: Field): Aggregate<Field, "mean"> {
  return of("mean", field);
}

/** The least value: of numbers, decimals, booleans (false < true), instants, dates, or texts by their UTF-8 bytes. Null when no event has it. */
export function min<const Field extends string>(field: Field): Aggregate<Field, "min"> {
  return of("min", field);
}

/** The greatest value, compared as `min` compares. */
export function max<const Field extends string>(field: Field): Aggregate<Field, "max"> {
  return of("max", field);
}

/** The standard deviation of a sample (`stddev_samp`), a double; null below two values. Computed after Welford 1962 and Chan, Golub and LeVeque 1979. */
export function stddev<const Field extends string>(field: Field): Aggregate<Field, "stddev"> {
  return of("stddev", field);
}

/**
 * How many different values a field has. Exact up to 256 of them; beyond that HyperLogLog with 4096 registers: a standard error of 1.6 %, and 4 KiB
 * of state.
 */
export function distinct<const Field extends string>(field: Field): Aggregate<Field, "distinct"> {
  return of("distinct", field);
}

/**
 * The least value of a numeric field that at least `fraction` of its values do not exceed (`quantile_disc`), a double; null when no event has
 * it. Exact up to 64 values; beyond that within 1 % of that value (DDSketch), for values that are not 10^17 times smaller than the largest.
 */
export function quantile<const Field extends string>(field: Field, fraction: number): Aggregate<Field, "quantile"> {
  return Object.freeze({ aggregate: "quantile", field, fraction });
}

/** The value that is not null of the earliest event, by event time and among equal times by offset; of any type. */
export function first<const Field extends string>(field: Field): Aggregate<Field, "first"> {
  return of("first", field);
}

/** The value that is not null of the latest event, by event time and among equal times by offset; of any type. */
export function last<const Field extends string>(field: Field): Aggregate<Field, "last"> {
  return of("last", field);
}

function of<Field extends string, Name extends AggregateFunction>(
  aggregate: Name,
  field: Field | undefined,
): Aggregate<Field, Name> {
  return Object.freeze(field === undefined ? { aggregate } : { aggregate, field });
}
