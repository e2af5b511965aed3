/**
 * Which runs to merge next: neighbours `from` to `to` (exclusive) of runs in the order of their offsets; undefined when all
 * is well.
 *
 * Few runs make look-ups fast, rare rewriting makes commits cheap. Runs are merged once four neighbours or more are each not
 * much larger than all those after them together. That keeps runs doubling in size towards the past: their number grows with
 * the logarithm of the ids, and an id is written about five times in all (100 M ids that come by 60,000). Two bounds hold:
 * - Time: a horizon has eight slices and runs of different slices stay apart, so that a whole run expires at a time. A
 *   slice that is over is merged into as few runs as the second bound allows.
 * - Memory: a merge holds the filter of its result beside those of its inputs, so a result has an eighth of all ids at most.
 */
export function planMerge(runs: readonly MergeInput[], horizonMs: number): { from: number; to: number } | undefined {
  const sliceMs = Math.max(1, horizonMs / SLICES);
  const slice = (run: MergeInput | undefined) => Math.floor((run?.lastArrivalMs ?? 0) / sliceMs);
  const most = Math.max(ALWAYS_MERGED, runs.reduce((sum, run) => sum + run.count, 0) / SLICES);
  // The newest first: many small runs are the cheapest to do away with.
  for (let from = runs.length, to = from; to > 0; to = from) {
    while (from > 0 && slice(runs[from - 1]) === slice(runs[to - 1])) from--;
    const plan = to === runs.length ? newest(runs, from, to, most) : neighbours(runs, from, to, most);
    if (plan) return plan;
  }
  return undefined;
}

export interface MergeInput {
  readonly count: number;
  readonly lastArrivalMs: number;
}

const SLICES = 8;
const FEWEST = 4;
/** With 1, flushes that shrink by a little each time would never be merged; with 2, ids are rewritten once more. */
const LARGER = 1.5;
/** 16 M ids: a filter of 36 MB. Below that, memory is no reason to keep runs apart. */
const ALWAYS_MERGED = 16_000_000;

function newest(runs: readonly MergeInput[], first: number, end: number, most: number) {
  // A run that came after a larger one must not keep those before it from being merged, so every run may be the last.
  for (let to = end; to - first >= FEWEST; to--) {
    let from = to - 1;
    let sum = (runs[from] as MergeInput).count;
    while (from > first) {
      const { count } = runs[from - 1] as MergeInput;
      if (count > LARGER * sum || sum + count > most) break;
      sum += count;
      from--;
    }
    if (to - from >= FEWEST) return { from, to };
  }
  return undefined;
}

function neighbours(runs: readonly MergeInput[], first: number, end: number, most: number) {
  for (let from = first; from < end - 1; from++) {
    let sum = (runs[from] as MergeInput).count;
    let to = from + 1;
    while (to < end && sum + (runs[to] as MergeInput).count <= most) sum += (runs[to++] as MergeInput).count;
    if (to - from > 1) return { from, to };
  }
  return undefined;
}
