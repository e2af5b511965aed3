import type { Aggregate, AggregateFunction } from "./aggregates.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column, ColumnType } from "./project.ts";
import { quoteIdentifier } from "./sql-text.ts";
import { duckdbType, MAX_DECIMAL_PRECISION } from "./types.ts";

/** An aggregate that has been checked against the contract of its stream. Plain data. */
export interface AggregatePlan {
  readonly function: AggregateFunction;
  /** The column of the result: its name, type, and whether it can be null. */
  readonly column: Column;
  /** The field it reads; undefined for `count()`. */
  readonly field: Column | undefined;
  /** Of a quantile; 0 for the others. */
  readonly fraction: number;
}

const NUMERIC = ["integer", "long", "double", "float", "decimal"];
const SCALAR = [...NUMERIC, "string", "boolean", "timestamp", "date"];
const EXAMPLE = 'aggregates by name, such as { n: count(), speed: mean("speed") }';

/** What each function takes, as messages say it. */
const TAKES: Readonly<Record<AggregateFunction, readonly [kinds: readonly string[] | undefined, allowed: string]>> = {
  count: [undefined, "any field"],
  sum: [NUMERIC, "a number or a decimal"],
  mean: [NUMERIC, "a number or a decimal"],
  stddev: [NUMERIC, "a number or a decimal"],
  quantile: [NUMERIC, "a number or a decimal"],
  min: [SCALAR, "a number, a decimal, a boolean, text, a timestamp or a date"],
  max: [SCALAR, "a number, a decimal, a boolean, text, a timestamp or a date"],
  distinct: [SCALAR, "a number, a decimal, a boolean, text, a timestamp or a date"],
  first: [undefined, "any field"],
  last: [undefined, "any field"],
};

/**
 * The aggregates of a definition by the name of their result, checked against the fields of its stream. What is wrong is added to `problems`, and
 * left out of the result.
 *
 * @param taken names of columns that the results stand beside.
 */
export function readAggregates(
  given: unknown,
  columns: readonly Column[],
  taken: readonly string[],
  subject: string,
  problems: Problem[],
): readonly AggregatePlan[] {
  if (!isRecord(given) || Object.keys(given).length === 0) {
    problems.push(invalidOption(subject, "aggregate", given, EXAMPLE));
    return [];
  }
  const names = new Set(taken.map((name) => name.toLowerCase()));
  return Object.entries(given).flatMap(([name, aggregate]) => {
    const fault = nameFault(name, names);
    names.add(name.toLowerCase());
    if (fault !== undefined) problems.push(problem("FIELD_NAME_INVALID", { subject, path: name, reason: fault }));
    const plan = readAggregate(name, aggregate, columns, subject, problems);
    return plan === undefined ? [] : [plan];
  });
}

function nameFault(name: string, taken: ReadonlySet<string>): string | undefined {
  if (taken.has(name.toLowerCase())) return "there is a column of this name already";
  return /^[a-z][a-z0-9_]{0,99}$/i.test(name)
    ? undefined
    : "a result's name is letters, digits and _, and begins with a letter";
}

/** One aggregate, as `readAggregates` reads each of its list. */
export function readAggregate(
  name: string,
  given: unknown,
  columns: readonly Column[],
  subject: string,
  problems: Problem[],
): AggregatePlan | undefined {
  const option = `aggregate.${name}`;
  if (!isRecord(given) || !Object.hasOwn(TAKES, String(given["aggregate"]))) {
    const functions = Object.keys(TAKES).join(", ");
    problems.push(invalidOption(subject, option, given, `what one of ${functions} gives`));
    return undefined;
  }
  const unknown = unknownOptions(`${option} of ${subject}`, given, ["aggregate", "field", "fraction"]);
  problems.push(...unknown);
  const { aggregate, field, fraction = 0 } = given as unknown as Aggregate;
  if (aggregate === "quantile" && !(typeof fraction === "number" && fraction >= 0 && fraction <= 1)) {
    problems.push(invalidOption(subject, option, fraction, 'a fraction from 0 to 1, as in quantile("speed", 0.95)'));
    return undefined;
  }
  if (field === undefined && aggregate === "count") return plan(name, aggregate, undefined, 0);
  const column = columns.find((c) => c.name === field);
  if (column === undefined) {
    const names = columns.map((c) => c.name);
    const nearest = didYouMean(String(field), names);
    problems.push(problem("FIELD_UNKNOWN", { option, subject, field, nearest, allowed: names.join(", ") }));
    return undefined;
  }
  const [kinds, allowed] = TAKES[aggregate];
  if (kinds !== undefined && !kinds.includes(column.type.kind)) {
    problems.push(problem("FIELD_UNFIT", { option, subject, field, got: duckdbType(column.type), allowed }));
    return undefined;
  }
  return plan(name, aggregate, column, fraction);
}

function plan(name: string, aggregate: AggregateFunction, field: Column | undefined, fraction: number): AggregatePlan {
  const counts = aggregate === "count" || aggregate === "distinct";
  const type = field === undefined ? ({ kind: "long" } as const) : resultType(aggregate, field.type);
  return { function: aggregate, column: { name, type, nullable: !counts }, field, fraction };
}

function resultType(aggregate: AggregateFunction, type: ColumnType): ColumnType {
  switch (aggregate) {
    case "count":
    case "distinct":
      return { kind: "long" };
    case "mean":
    case "stddev":
    case "quantile":
      return { kind: "double" };
    case "sum":
      if (type.kind === "decimal") return { kind: "decimal", precision: MAX_DECIMAL_PRECISION, scale: type.scale };
      return { kind: type.kind === "integer" || type.kind === "long" ? "long" : "double" };
    default:
      return type;
  }
}

/**
 * The same aggregate as SQL over rows of the stream: equal where the aggregate is exact, and what a sketch estimates where it is not.
 *
 * @param order expression that gives the order of events, for `first` and `last`: `(at, _offset)`.
 */
export function aggregateSql({ function: name, field, fraction }: AggregatePlan, order: string): string {
  const x = field === undefined ? "*" : quoteIdentifier(field.name);
  switch (name) {
    case "mean":
      return `avg(${x})`;
    case "stddev":
      return `stddev_samp(${x})`;
    case "distinct":
      return `count(distinct ${x})`;
    case "quantile":
      return `quantile_disc(cast(${x} as double), ${fraction})`;
    case "first":
      return `arg_min(${x}, ${order})`;
    case "last":
      return `arg_max(${x}, ${order})`;
    default:
      return `${name}(${x})`;
  }
}
