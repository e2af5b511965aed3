/** Whether a series of measurements keeps to a level. */

export interface Point {
  readonly atMs: number;
  readonly value: number;
}

/** How much a series may grow over the time it is judged for: a share of its mean, or an amount if that is more. */
export interface Bound {
  readonly share: number;
  readonly amount: number;
}

export interface Trend {
  readonly first: number;
  readonly last: number;
  readonly most: number;
  /** By the least squares, per hour. */
  readonly perHour: number;
  /** Over the time judged. */
  readonly growth: number;
  readonly allowed: number;
  readonly bounded: boolean;
}

const HOUR_MS = 3_600_000;

/** What comes before is warming up: caches fill, code is compiled, and retention has nothing to remove yet. */
const JUDGED_SHARE = 2 / 3;

/** The trend of the later part of a series. Undefined for fewer than four points in it. */
export function trendOf(series: readonly Point[], bound: Bound): Trend | undefined {
  const end = series.at(-1)?.atMs ?? 0;
  const from = end - (end - (series[0]?.atMs ?? 0)) * JUDGED_SHARE;
  const judged = series.filter(({ atMs }) => atMs >= from);
  if (judged.length < 4) return undefined;
  const meanAt = mean(judged.map(({ atMs }) => atMs));
  const meanValue = mean(judged.map(({ value }) => value));
  const spread = sum(judged.map(({ atMs }) => (atMs - meanAt) ** 2));
  const slope = sum(judged.map(({ atMs, value }) => (atMs - meanAt) * (value - meanValue))) / spread;
  const growth = slope * (end - from);
  const allowed = Math.max(bound.share * meanValue, bound.amount);
  return {
    first: judged[0]!.value,
    last: judged.at(-1)!.value,
    most: Math.max(...judged.map(({ value }) => value)),
    ...{ perHour: slope * HOUR_MS, growth, allowed, bounded: growth <= allowed },
  };
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
