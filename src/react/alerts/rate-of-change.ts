import type { ReadCondition } from "../../define/read-condition.ts";
import { boundsText, range } from "./bounds.ts";
import type { Judgement, Measured } from "./judgement.ts";
import { durationText, numberText } from "./number-text.ts";

/** [time, value], oldest first: the values that a rate may be taken from, thinned. */
type History = readonly (readonly [number, number])[];

/** Values kept of a window: a rate is as good by the oldest of them as by all. */
const MOST_VALUES = 64;

/** Judges by the difference quotient over a moving window; see `rateOfChange` of the definitions for algorithm and source. */
export function rateOfChange({
  field,
  above,
  below,
  perMs,
  overMs,
}: ReadCondition & { readonly kind: "rateOfChange" }): (measured: Measured<unknown>) => Judgement {
  return ({ value, timeMs, late, history: given }) => {
    const earlier = (given as History | undefined) ?? [];
    // A value that comes late says how fast it was then, not how fast it is.
    if (late) return { holds: undefined, reason: undefined, history: earlier };
    const window = earlier.filter(([at]) => at >= timeMs - overMs);
    const newest = window.at(-1);
    const apart = newest === undefined ? Number.POSITIVE_INFINITY : timeMs - newest[0];
    const history = apart >= overMs / MOST_VALUES ? [...window, [timeMs, value] as const] : window;
    const oldest = window[0];
    const spanMs = oldest === undefined ? 0 : timeMs - oldest[0];
    if (oldest === undefined || spanMs === 0 || spanMs < overMs / 2)
      return { holds: undefined, reason: undefined, history };
    const rate = ((value - oldest[1]) / spanMs) * perMs;
    const bound = rate > above ? `above ${numberText(above)}` : rate < below ? `below ${numberText(below)}` : undefined;
    const text =
      `${field} changes by ${numberText(rate)} per ${durationText(perMs)}, ${bound ?? `not ${boundsText(above, below)}`}: ` +
      `from ${numberText(oldest[1])} to ${numberText(value)} within ${durationText(spanMs)}`;
    const reason = {
      ...{ text, condition: "rateOfChange", field, value: rate, expected: 0, ...range(below, above) },
      samples: window.length,
    };
    return { holds: bound !== undefined, reason, history };
  };
}
