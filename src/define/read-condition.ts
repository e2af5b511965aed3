import type { Condition } from "./conditions.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";

/** A condition that has been checked, its durations in milliseconds. Plain data. */
export type ReadCondition = { readonly field: string; readonly above: number; readonly below: number } & (
  | { readonly kind: "threshold" }
  | { readonly kind: "zscore"; readonly history: number; readonly atLeast: number }
  | {
      readonly kind: "seasonal";
      readonly periodMs: number;
      readonly slotMs: number;
      readonly history: number;
      readonly atLeast: number;
    }
  | { readonly kind: "rateOfChange"; readonly perMs: number; readonly overMs: number }
);

const OPTIONS: Readonly<Record<Condition["condition"], readonly string[]>> = {
  threshold: [],
  zscore: ["history", "atLeast"],
  seasonal: ["period", "slot", "history", "atLeast"],
  rateOfChange: ["per", "over"],
};
const KINDS = Object.keys(OPTIONS);

/** A day has 24 hours, a week 24 times seven hours. */
const SLOTS = 24;
const MOST_SLOTS = 10_080;
/** What a key's history may hold. */
const MOST_VALUES = 1_000;
const MOST_PERIODS = 60;
const MOST_SEASONAL_VALUES = 20_000;
const DURATION = "a duration such as 30s, 15m or 2h";

/** The condition that an option holds; what is wrong with it is added to `problems`. */
export function readCondition(
  given: unknown,
  option: string,
  subject: string,
  problems: Problem[],
): ReadCondition | undefined {
  if (!isRecord(given) || !KINDS.includes(String(given["condition"]))) {
    problems.push(
      invalidOption(subject, option, given, `a function, or one of ${KINDS.map((kind) => `${kind}(…)`).join(", ")}`),
    );
    return undefined;
  }
  const { condition, field, above, below, ...others } = given as unknown as Condition & {
    above?: number;
    below?: number;
  };
  const owner = `${condition} of ${subject}`;
  const found: Problem[] = [];
  found.push(...unknownOptions(owner, others, OPTIONS[condition]));
  const refuse = (name: string, value: unknown, allowed: string) =>
    found.push(invalidOption(owner, name, value, allowed));
  if (typeof field !== "string" || field === "") refuse("the field", field, "the name of a field");
  for (const [name, bound] of Object.entries({ above, below }))
    if (bound !== undefined && !Number.isFinite(bound)) refuse(name, bound, "a number");
  if (above === undefined && below === undefined)
    found.push(
      problem("OPTION_MISSING", { subject: owner, option: "above or below", why: "one of them is the bound" }),
    );
  const bounds = {
    field,
    above: above ?? Number.POSITIVE_INFINITY,
    below: below ?? Number.NEGATIVE_INFINITY,
  };
  const read = { ...bounds, ...readKind(given as unknown as Condition, refuse) } as ReadCondition;
  problems.push(...found);
  return found.length > 0 ? undefined : read;
}

function readKind(given: Condition, refuse: (name: string, value: unknown, allowed: string) => void): object {
  const whole = (name: string, value: unknown, least: number, most: number) => {
    if (!(Number.isInteger(value) && (value as number) >= least && (value as number) <= most))
      refuse(name, value, `a whole number from ${least} to ${most}`);
    return value as number;
  };
  const duration = (name: string, value: unknown) => {
    const ms = typeof value === "string" ? parseDuration(value) : undefined;
    if (!(ms !== undefined && ms > 0)) refuse(name, value, DURATION);
    return ms ?? 1;
  };
  switch (given.condition) {
    case "threshold":
      return { kind: "threshold" };
    case "zscore": {
      const history = whole("history", given.history, 3, MOST_VALUES);
      return { kind: "zscore", history, atLeast: whole("atLeast", given.atLeast, 3, Math.max(3, history)) };
    }
    case "seasonal": {
      const periodMs = duration("period", given.period);
      const slotMs = given.slot === "" ? Math.ceil(periodMs / SLOTS) : duration("slot", given.slot);
      const slots = Math.ceil(periodMs / slotMs);
      if (slots > MOST_SLOTS || slotMs > periodMs)
        refuse("slot", given.slot, `from a ${MOST_SLOTS}th of the period up to all of it`);
      const history = whole("history", given.history, 2, MOST_PERIODS);
      if (slots * history > MOST_SEASONAL_VALUES)
        refuse(
          "history",
          given.history,
          `such that slots times periods are at most ${MOST_SEASONAL_VALUES} (there are ${slots} slots)`,
        );
      return {
        kind: "seasonal",
        periodMs,
        slotMs,
        history,
        atLeast: whole("atLeast", given.atLeast, 1, Math.max(1, history)),
      };
    }
    case "rateOfChange": {
      const perMs = duration("per", given.per);
      return { kind: "rateOfChange", perMs, overMs: duration("over", given.over) };
    }
  }
}
