/**
 * Conditions that know their own reason: what was measured, what was to be expected, and how that was known. Each is a plain
 * description; `react/alerts/` judges by it.
 */
export type Condition = Threshold | ZScore | Seasonal | RateOfChange;

export interface Threshold {
  readonly condition: "threshold";
  readonly field: string;
  readonly above?: number;
  readonly below?: number;
}

export interface ZScore {
  readonly condition: "zscore";
  readonly field: string;
  readonly above?: number;
  readonly below?: number;
  readonly history: number;
  readonly atLeast: number;
}

export interface Seasonal {
  readonly condition: "seasonal";
  readonly field: string;
  readonly period: string;
  readonly slot: string;
  readonly above?: number;
  readonly below?: number;
  readonly history: number;
  readonly atLeast: number;
}

export interface RateOfChange {
  readonly condition: "rateOfChange";
  readonly field: string;
  readonly per: string;
  readonly over: string;
  readonly above?: number;
  readonly below?: number;
}

interface Bounds {
  readonly above?: number;
  readonly below?: number;
}

/** A value beyond a bound: `threshold("engine_temp", { above: 120 })`. The bounds themselves are within. */
export function threshold(field: string, bounds: Bounds): Threshold {
  return { condition: "threshold", field, ...bounds };
}

/**
 * A value far from what the key's own history has: `zscore("engine_temp", { above: 3.5, history: 100 })`. How far is told by the modified
 * z-score, 0.6745 (x - median) / MAD, which outliers in the history hardly move. `above` and `below` are its bounds (default: above 3.5 and below
 * -3.5), `history` the number of values remembered (default 100, at most 1,000), `atLeast` how many there must be before anything is judged (default 20).
 *
 * A value enters the history once it has been judged, alerts included, so that a level that stays becomes the usual one.
 *
 * Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), whose bound is 3.5. Where more than half of the values are the same
 * (MAD 0), the mean absolute deviation stands in: (x - median) / (1.2533 meanAD).
 */
export function zscore(
  field: string,
  options: Bounds & { readonly history?: number; readonly atLeast?: number } = {},
): ZScore {
  const { history = 100, atLeast = Math.min(20, history), ...given } = options;
  return { condition: "zscore", field, ...bothSides(given), history, atLeast };
}

/**
 * A value far from what the same time of earlier periods had: `seasonal("orders", { period: "1d" })` compares ten o'clock with ten o'clock of the days before.
 * The period is divided into slots (`slot`, default a 24th of it); `history` is how many earlier periods are remembered (default 14, at most 60), `atLeast` how many
 * must have had the slot before anything is judged (default 3). `above` and `below` count standard deviations (default: above 4 and below -4).
 *
 * Expected is the median of the slot's means; the deviation joins their scatter (1.4826 MAD) with the usual scatter within a slot. Slots are of
 * event time, in UTC.
 *
 * Sources: the seasonal naive forecast of Hyndman and Athanasopoulos, "Forecasting: Principles and Practice" (3rd edition, 5.2), with a median in place of
 * the last value; MAD as a robust scale, Rousseeuw and Croux (1993); variance within a slot by Welford (1962).
 */
export function seasonal(
  field: string,
  options: Bounds & {
    readonly period: string;
    readonly slot?: string;
    readonly history?: number;
    readonly atLeast?: number;
  },
): Seasonal {
  const { period, slot = "", history = 14, atLeast = Math.min(3, history), ...given } = options;
  return { condition: "seasonal", field, period, slot, ...bothSides(given, 4), history, atLeast };
}

/**
 * A value that changes too fast: `rateOfChange("fuel_level", { per: "1m", below: -5 })`. The rate is the difference between the newest value and the oldest
 * one within `over` (default: `per`), divided by the time between them and told per `per`. It is judged once the values span half of `over`.
 *
 * Source: the difference quotient over a moving window, as Prometheus' `rate` takes it, without its extrapolation.
 */
export function rateOfChange(
  field: string,
  options: Bounds & { readonly per: string; readonly over?: string },
): RateOfChange {
  const { per, over = per, ...given } = options;
  return { condition: "rateOfChange", field, per, over, ...given };
}

/** Bounds of scores lie on both sides unless one of them is given. */
function bothSides(given: Bounds, bound = 3.5): Bounds {
  return given.above === undefined && given.below === undefined ? { above: bound, below: -bound, ...given } : given;
}
