/** Statistics that a few wild values hardly move. */

/** Of values in ascending order. */
export function sortedMedian(sorted: ArrayLike<number>): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function median(values: readonly number[]): number {
  return sortedMedian(Float64Array.from(values).sort());
}

export interface Spread {
  readonly median: number;
  /**
   * What stands for one standard deviation: 1.4826 times the median absolute deviation, or where that is 0, 1.2533 times the mean absolute
   * deviation. 0 where all values are the same.
   */
  readonly deviation: number;
}

/** MAD and mean absolute deviation of a normal distribution, as shares of its standard deviation, turned around. */
const OF_MAD = 1.4826;
const OF_MEAN = Math.sqrt(Math.PI / 2);

/**
 * Middle and spread of values, at least one. Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993); Rousseeuw and Croux,
 * "Alternatives to the Median Absolute Deviation" (1993). 1 / 1.4826 is their 0.6745.
 */
export function spread(values: readonly number[]): Spread {
  const middle = median(values);
  const apart = values.map((value) => Math.abs(value - middle));
  const mad = median(apart);
  const deviation = mad > 0 ? OF_MAD * mad : (OF_MEAN * apart.reduce((sum, one) => sum + one, 0)) / apart.length;
  return { median: middle, deviation };
}

/** How many deviations a value lies from the middle. Infinite where there is no deviation and yet a difference. */
export function score(value: number, { median: middle, deviation }: Spread): number {
  if (value === middle) return 0;
  return (value - middle) / deviation;
}
