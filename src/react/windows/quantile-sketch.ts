/**
 * Quantiles of numbers in little memory: all values while they are few, then a DDSketch.
 *
 * A DDSketch counts values in bins that grow by a constant factor, so that any value of a bin is within 1 % of all others. Whatever the order
 * in which values come, and however sketches are merged, the same values give the same sketch.
 * Source: Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019.
 *
 * The implementation on npm (@datadog/sketches-js) changes its sketches in place and reserves bins in blocks; here a sketch is a value of an
 * operator's state, of which there are millions, mostly with a few numbers in them, and which is never changed.
 */
export interface QuantileSketch {
  readonly count: number;
  /** All values in order, while they are few. */
  readonly exact: readonly number[] | undefined;
  /** Bin, count, bin, count…, in the order of the bins; empty while `exact` is there. */
  readonly bins: readonly number[];
}

export const EMPTY_QUANTILES: QuantileSketch = { count: 0, exact: [], bins: [] };

/** So many values are kept as they are: the bins of a hundred values take as much room. */
export const MOST_EXACT_VALUES = 64;

/** Any value that the sketch gives is within this part of a value it was given. */
export const RELATIVE_ERROR = 0.01;

const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR);
const LOG_GAMMA = Math.log(GAMMA);
/** Makes the bin of the least positive double positive: 0 is the bin of zero, and negative values have the bin of their amount, negated. */
const BIN_OF_ONE = 40_000;
/** The bins of one sign reach over a factor of 10^17; what is nearer to zero than the largest by more is counted in the nearest bin kept. */
const MOST_BINS = 2048;

export function addQuantile(sketch: QuantileSketch, value: number): QuantileSketch {
  const { count, exact, bins } = sketch;
  if (exact !== undefined && exact.length < MOST_EXACT_VALUES) {
    const values = exact.slice();
    let at = values.length;
    values.push(value);
    for (; at > 0 && (values[at - 1] as number) > value; at--) values[at] = values[at - 1] as number;
    values[at] = value;
    return { count: count + 1, exact: values, bins };
  }
  const counted = exact === undefined ? bins.slice() : binned(exact);
  addToBin(counted, binOf(value), 1);
  collapse(counted);
  return { count: count + 1, exact: undefined, bins: counted };
}

export function mergeQuantiles(a: QuantileSketch, b: QuantileSketch): QuantileSketch {
  const count = a.count + b.count;
  if (a.exact !== undefined && b.exact !== undefined && count <= MOST_EXACT_VALUES) {
    return { count, exact: [...a.exact, ...b.exact].sort((x, y) => x - y), bins: [] };
  }
  const bins = a.exact === undefined ? a.bins.slice() : binned(a.exact);
  const others = b.exact === undefined ? b.bins : binned(b.exact);
  for (let i = 0; i < others.length; i += 2) addToBin(bins, others[i] as number, others[i + 1] as number);
  collapse(bins);
  return { count, exact: undefined, bins };
}

/** The value of rank `ceil(fraction * count)`, counted from 1; null of an empty sketch. */
export function quantileOf({ count, exact, bins }: QuantileSketch, fraction: number): number | null {
  if (count === 0) return null;
  const rank = Math.max(1, Math.ceil(fraction * count));
  if (exact !== undefined) return exact[rank - 1] as number;
  let seen = 0;
  let i = 0;
  for (; i < bins.length - 2; i += 2) {
    seen += bins[i + 1] as number;
    if (seen >= rank) break;
  }
  return middleOf(bins[i] as number);
}

function binned(values: readonly number[]): number[] {
  const bins: number[] = [];
  for (const value of values) addToBin(bins, binOf(value), 1);
  collapse(bins);
  return bins;
}

function binOf(value: number): number {
  if (value === 0) return 0;
  const bin = Math.ceil(Math.log(Math.abs(value)) / LOG_GAMMA) + BIN_OF_ONE;
  return value > 0 ? bin : -bin;
}

/** The value of a bin that is nearest, in relation, to all of it. */
function middleOf(bin: number): number {
  if (bin === 0) return 0;
  const amount = Math.min((2 * GAMMA ** (Math.abs(bin) - BIN_OF_ONE)) / (GAMMA + 1), Number.MAX_VALUE);
  return bin > 0 ? amount : -amount;
}

function addToBin(bins: number[], bin: number, count: number): void {
  let low = 0;
  let high = bins.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((bins[2 * middle] as number) < bin) low = middle + 1;
    else high = middle;
  }
  if (bins[2 * low] === bin) bins[2 * low + 1] = (bins[2 * low + 1] as number) + count;
  else bins.splice(2 * low, 0, bin, count);
}

/** Which bins are left depends on the outermost bin of each sign alone, so not on the order of values. */
function collapse(bins: number[]): void {
  if (bins.length <= 2 * MOST_BINS) return;
  const outer = bins[bins.length - 2] as number;
  const least = bins[0] as number;
  const kept: number[] = [];
  for (let i = 0; i < bins.length; i += 2) {
    const bin = bins[i] as number;
    addToBin(
      kept,
      bin > 0 ? Math.max(bin, outer - MOST_BINS) : bin < 0 ? Math.min(bin, least + MOST_BINS) : 0,
      bins[i + 1] as number,
    );
  }
  bins.splice(0, bins.length, ...kept);
}
