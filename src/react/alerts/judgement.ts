/**
 * What a condition says of a row: whether it holds, and why, in words and numbers. Conditions that compare with earlier values get those of the
 * key and give them back with the new one added.
 */
import type { Predicate } from "../../define/alert.ts";
import type { ReadCondition } from "../../define/read-condition.ts";
import { MillraceError } from "../../errors.ts";
import { boundsText, range } from "./bounds.ts";
import { numberText } from "./number-text.ts";
import { rateOfChange } from "./rate-of-change.ts";
import { seasonal } from "./seasonal.ts";
import { zscore } from "./zscore.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Why a condition holds or does not, as the details of an alert have it. */
export interface Reason {
  /** One sentence. */
  readonly text: string;
  readonly condition: string;
  readonly field?: string;
  readonly value?: number;
  /** What was to be expected, and the range within which nothing is said. */
  readonly expected?: number;
  readonly low?: number;
  readonly high?: number;
  /** How many earlier values that rests on. */
  readonly samples?: number;
  /** How far from expected, in what the condition counts by. */
  readonly score?: number;
}

export interface Judgement {
  /** Undefined: nothing can be said of this row, because the value is missing or too little is known. */
  readonly holds: boolean | undefined;
  readonly reason: Reason | undefined;
  /** Earlier values with this one; undefined for conditions without. */
  readonly history?: unknown;
}

export interface Moment {
  /** By the clock of the key: only differences mean anything. */
  readonly timeMs: number;
  /** By the calendar. */
  readonly momentMs: number;
  /** True when newer values of the key have been judged before. */
  readonly late: boolean;
}

/** A value, its moment, and what is remembered of earlier ones. */
export interface Measured<History> extends Moment {
  readonly value: number;
  readonly history: History | undefined;
}

export interface Judge {
  judge(row: Row, at: Moment, history: unknown): Judgement;
  /** True for conditions that compare with earlier values. */
  readonly remembers: boolean;
}

/** @throws ALERT_CONDITION from `judge` when a function gives a promise; what the function throws */
export function judgeOf(condition: ReadCondition | Predicate<never>, alert: string): Judge {
  if (typeof condition === "function") return judgeByFunction(condition as Predicate<Row>, alert);
  const { field } = condition;
  const measure = measureOf(condition);
  return {
    remembers: condition.kind !== "threshold",
    judge(row, at, history) {
      const value = numberAt(row, field);
      if (value === undefined) return { holds: undefined, reason: undefined, history };
      return measure({ ...at, value, history });
    },
  };
}

function measureOf(condition: ReadCondition): (measured: Measured<unknown>) => Judgement {
  switch (condition.kind) {
    case "threshold": {
      const { field, above, below } = condition;
      return ({ value }) => {
        const bound =
          value > above ? `above ${numberText(above)}` : value < below ? `below ${numberText(below)}` : undefined;
        const within = bound ?? `not ${boundsText(above, below)}`;
        const text = `${field} is ${numberText(value)}, ${within}`;
        const reason = { text, condition: "threshold", field, value, ...range(below, above) };
        return { holds: bound !== undefined, reason };
      };
    }
    case "zscore":
      return zscore(condition);
    case "seasonal":
      return seasonal(condition);
    case "rateOfChange":
      return rateOfChange(condition);
  }
}

function judgeByFunction(holds: Predicate<Row>, alert: string): Judge {
  return {
    remembers: false,
    judge(row) {
      const said = holds(row);
      if (typeof (said as { then?: unknown } | null | undefined)?.then === "function") {
        // Nobody waits for it, and its failure must not end the process.
        (said as Promise<unknown>).then(undefined, () => undefined);
        throw new MillraceError("ALERT_CONDITION", { alert, reason: "it gave a promise" });
      }
      const text = typeof said === "string" && said !== "" ? said : "its condition holds";
      return {
        holds: Boolean(said),
        reason: { text: said ? text : "its condition does not hold", condition: "function" },
      };
    },
  };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** The number at a field or at a path of fields; undefined where there is none. Decimals are text in JSON. */
export function numberAt(row: Row, path: string): number | undefined {
  const value = valueAt(row, path);
  if (typeof value === "string" && !NUMBER.test(value)) return undefined;
  const number = typeof value === "number" ? value : typeof value === "string" ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : undefined;
}

export function valueAt(row: Row, path: string): unknown {
  if (Object.hasOwn(row, path)) return row[path];
  const dot = path.indexOf(".");
  const outer = dot < 0 ? undefined : row[path.slice(0, dot)];
  if (typeof outer !== "object" || outer === null || Array.isArray(outer)) return undefined;
  return valueAt(outer as Row, path.slice(dot + 1));
}
