/**
 * What a feature computes over the kept values of a window: from any stretch of them a part, from two parts one, from a part the result. Parts of
 * neighbouring stretches join to the part of both, so that the parts of whole blocks can be kept.
 */
import type { AggregatePlan } from "../../define/read-aggregates.ts";
import { accumulator, type Slots } from "../windows/accumulators.ts";

/** How values are kept: not at all (only their times count), as doubles, or as text in a checkpoint. */
export type ValueKind = "none" | "number" | "decimal" | "text";

export interface Fold<Part = unknown> {
  readonly kind: ValueKind;
  /** Whether parts of blocks are small enough to be kept. */
  readonly keepsParts: boolean;
  /** An event's value as it is kept. Called for values that are not null. */
  read(value: unknown): unknown;
  /** The part of `values[from]` to `values[to - 1]`, at least one. */
  part(values: readonly unknown[], from: number, to: number): Part;
  /** `a` is of the earlier stretch, and may be changed. */
  join(a: Part, b: Part): Part;
  /** Undefined: of nothing. */
  result(part: Part | undefined): number | string | boolean | null;
}

export function fold(plan: AggregatePlan): Fold {
  const { function: name, field } = plan;
  if (field === undefined || name === "count") return COUNT as Fold;
  if (name === "first" || name === "last") return edge(plan) as Fold;
  if (name === "distinct") return distinct(plan) as Fold;
  const whole = field.type.kind === "integer" || field.type.kind === "long";
  return (name === "sum" && whole ? WHOLE_SUM : accumulated(plan)) as Fold;
}

const COUNT: Fold<number> = {
  kind: "none",
  keepsParts: false,
  read: () => undefined,
  part: (_values, from, to) => to - from,
  join: (a, b) => a + b,
  result: (part) => part ?? 0,
};

/** Exact whatever its size: where doubles no longer hold the sum, big integers do. What SQL's BIGINT cannot hold fails there as well. */
const WHOLE_SUM: Fold<number | bigint> = {
  kind: "number",
  keepsParts: true,
  read: (value) => value,
  part(values, from, to) {
    let sum: number | bigint = 0;
    for (let i = from; i < to; i++) sum = exactSum(sum, values[i] as number);
    return sum;
  },
  join: exactSum,
  result: (part) => (part === undefined ? null : typeof part === "bigint" ? String(part) : part),
};

function exactSum(a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  const sum = BigInt(a) + BigInt(b);
  const small = Number(sum);
  return Number.isSafeInteger(small) ? small : sum;
}

/** As windows compute it. */
function accumulated(plan: AggregatePlan): Fold<Slots> {
  const made = accumulator(plan);
  const read = reader(plan);
  const empty = (): Slots => ({ numbers: [...made.numbers], values: made.values.map(() => undefined) });
  return {
    kind: keptKind(plan),
    keepsParts: true,
    read,
    part(values, from, to) {
      const slots = empty();
      for (let i = from; i < to; i++) made.add(slots, 0, 0, values[i], 0, 0);
      return slots;
    },
    join(a, b) {
      made.merge(a, 0, 0, b, 0, 0);
      return a;
    },
    result: (part) => made.result(part ?? empty(), 0, 0) as number | string | boolean | null,
  };
}

/** Values are in the order of time and offset, so the first and the last are the outermost; they are kept as `min` keeps and shows them. */
function edge(plan: AggregatePlan): Fold<{ readonly value: unknown }> {
  const one = accumulated({ ...plan, function: "min" });
  const isFirst = plan.function === "first";
  return {
    kind: one.kind,
    keepsParts: false,
    read: one.read,
    part: (values, from, to) => ({ value: values[isFirst ? from : to - 1] }),
    join: (a, b) => (isFirst ? a : b),
    result: (part) => (part === undefined ? null : one.result(one.part([part.value], 0, 1))),
  };
}

/** Exact, unlike the sketch of windows: the values are there. */
function distinct(plan: AggregatePlan): Fold<Set<unknown>> {
  return {
    kind: "text",
    keepsParts: false,
    read: reader(plan),
    part: (values, from, to) => new Set(values.slice(from, to)),
    join(a, b) {
      for (const value of b) a.add(value);
      return a;
    },
    result: (part) => part?.size ?? 0,
  };
}

/** A column of floats holds the nearest of them. */
function reader(plan: AggregatePlan): (value: unknown) => unknown {
  const { read } = accumulator(plan);
  return plan.field?.type.kind === "float" ? (value) => read(Math.fround(value as number)) : read;
}

function keptKind({ function: name, field }: AggregatePlan): ValueKind {
  if (name === "mean" || name === "stddev") return "number";
  const kind = field!.type.kind;
  if (kind === "decimal") return "decimal";
  return ["integer", "long", "double", "float", "boolean"].includes(kind) ? "number" : "text";
}
