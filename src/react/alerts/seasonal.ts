import type { ReadCondition } from "../../define/read-condition.ts";
import { range, rangeText } from "./bounds.ts";
import type { Judgement, Measured } from "./judgement.ts";
import { durationText, numberText } from "./number-text.ts";
import { median, spread } from "./robust.ts";

/** By slot of the period its occurrences, oldest first: [number of the period, values, their mean, sum of squared differences from it]. */
type History = Readonly<Record<string, readonly Occurrence[]>>;
type Occurrence = readonly [period: number, count: number, mean: number, m2: number];

/** Judges against the same slot of earlier periods; see `seasonal` of the definitions for algorithm and sources. */
export function seasonal({
  field,
  above,
  below,
  periodMs,
  slotMs,
  history: most,
  atLeast,
}: ReadCondition & { readonly kind: "seasonal" }): (measured: Measured<unknown>) => Judgement {
  return ({ value, momentMs, history: given }) => {
    const known = (given as History | undefined) ?? {};
    const period = Math.floor(momentMs / periodMs);
    const slot = String(Math.floor((momentMs - period * periodMs) / slotMs));
    const occurrences = known[slot] ?? [];
    const added = withValue(occurrences, period, value, most);
    const history = added === occurrences ? known : { ...known, [slot]: added };
    const earlier = occurrences.filter(([at]) => at < period).slice(-most);
    if (earlier.length < atLeast) return { holds: undefined, reason: undefined, history };

    const means = spread(earlier.map(([, , mean]) => mean));
    const variances = earlier.map(([, count, , m2]) => (count > 1 ? m2 / (count - 1) : 0));
    const deviation = Math.hypot(means.deviation, Math.sqrt(median(variances)));
    const z = value === means.median ? 0 : (value - means.median) / deviation;
    const low = means.median + below * deviation;
    const high = means.median + above * deviation;
    const holds = z > above || z < below;
    const when = `the same ${durationText(slotMs)} of the last ${earlier.length} periods of ${durationText(periodMs)}`;
    const how = deviation === 0 && z !== 0 ? "which never had another value" : `${numberText(z)} deviations away`;
    const text = `${field} is ${numberText(value)}, expected about ${numberText(means.median)}${rangeText(low, high)} by ${when}: ${how}`;
    const samples = earlier.reduce((sum, [, count]) => sum + count, 0);
    const reason = {
      ...{ text, condition: "seasonal", field, value, expected: means.median, ...range(low, high) },
      ...{ samples, ...(Number.isFinite(z) ? { score: z } : {}) },
    };
    return { holds, reason, history };
  };
}

/** Occurrences with a value added to that of its period; the same where the period is too old to be kept. */
function withValue(
  occurrences: readonly Occurrence[],
  period: number,
  value: number,
  most: number,
): readonly Occurrence[] {
  const at = occurrences.findLastIndex(([one]) => one <= period);
  const found = occurrences[at];
  if (found?.[0] === period) return occurrences.with(at, grown(found, value));
  // The present period is kept beside the `most` that it is compared with.
  if (at < 0 && occurrences.length > most) return occurrences;
  return occurrences.toSpliced(at + 1, 0, [period, 1, value, 0]).slice(-(most + 1));
}

/** Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products" (1962). */
function grown([period, count, mean, m2]: Occurrence, value: number): Occurrence {
  const next = mean + (value - mean) / (count + 1);
  return [period, count + 1, next, m2 + (value - mean) * (value - next)];
}
