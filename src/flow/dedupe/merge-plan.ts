/**
 * Which runs to merge next: neighbours `from` to `to` (exclusive) of runs in the order of their offsets; undefined when all
 * is well.
 *
 * Few runs make look-ups fast, rare rewriting makes commits cheap. The newest runs are merged once four of them or more are each no
 * larger than all that came after them, which keeps runs doubling in size towards the past: their number grows with the
 * logarithm of the ids, and an id is rewritten about five times in all (measured on 100 M ids by 60,000). Two bounds hold:
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
/** 16 M ids: a filter of 36 MB. Below that, memory is no reason to keep runs apart. */
const ALWAYS_MERGED = 16_000_000;

function newest(runs: readonly MergeInput[], first: number, end: number, most: number) {
  let from = end - 1;
  let sum = (runs[from] as MergeInput).count;
  while (from > first) {
    const { count } = runs[from - 1] as MergeInput;
    if (count > sum || sum + count > most) break;
    sum += count;
    from--;
  }
  return end - from >= FEWEST ? { from, to: end } : undefined;
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
