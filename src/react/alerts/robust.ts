/** Statistics that a few wild values hardly move. */

/** Of values in ascending order. */
export function sortedMedian(sorted: ArrayLike<number>): number {
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function median(values: readonly number[]): number {
  return sortedMedian(new Float64Array(values).sort());
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
  const sorted = new Float64Array(values).sort();
  const middle = sortedMedian(sorted);
  const mad = sortedMad(sorted, middle);
  if (mad > 0) return { median: middle, deviation: OF_MAD * mad };
  const apart = sorted.reduce((sum, value) => sum + Math.abs(value - middle), 0);
  return { median: middle, deviation: (OF_MEAN * apart) / sorted.length };
}

/** The median of the distances from the middle, nearest first: taken from both sides of it in turn, without another sort. */
function sortedMad(sorted: Float64Array, middle: number): number {
  const { length } = sorted;
  let above = length >> 1;
  let below = above - 1;
  let [last, before] = [0, 0];
  for (let taken = 0; taken <= length >> 1; taken++) {
    const up = above < length ? sorted[above]! - middle : Number.POSITIVE_INFINITY;
    const down = below >= 0 ? middle - sorted[below]! : Number.POSITIVE_INFINITY;
    before = last;
    last = Math.min(up, down);
    if (up <= down) above++;
    else below--;
  }
  return length % 2 === 1 ? last : (before + last) / 2;
}

/** How many deviations a value lies from the middle. Infinite where there is no deviation and yet a difference. */
export function score(value: number, { median: middle, deviation }: Spread): number {
  if (value === middle) return 0;
  return (value - middle) / deviation;
}
