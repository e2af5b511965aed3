import type { ReadCondition } from "../../define/read-condition.ts";
import { boundsText, range, rangeText } from "./bounds.ts";
import type { Judgement, Measured } from "./judgement.ts";
import { numberText } from "./number-text.ts";
import { score, spread } from "./robust.ts";

/** Values in the order in which they were judged, newest last. */
type History = readonly number[];

/** Judges by the modified z-score against the key's latest values; see `zscore` of the definitions for algorithm and source. */
export function zscore({
  field,
  above,
  below,
  history: most,
  atLeast,
}: ReadCondition & { readonly kind: "zscore" }): (measured: Measured<unknown>) => Judgement {
  return ({ value, history: given }) => {
    const earlier = (given as History | undefined) ?? [];
    const history = [...earlier.slice(Math.max(0, earlier.length + 1 - most)), value];
    if (earlier.length < atLeast) return { holds: undefined, reason: undefined, history };
    const usual = spread(earlier);
    const z = score(value, usual);
    const holds = z > above || z < below;
    const low = usual.median + below * usual.deviation;
    const high = usual.median + above * usual.deviation;
    const how =
      usual.deviation === 0 && z !== 0 ? "and there was never another value" : `${numberText(z)} deviations away`;
    const text =
      `${field} is ${numberText(value)}, expected about ${numberText(usual.median)}` +
      `${rangeText(low, high)}: ${how}, by the last ${earlier.length} values${holds ? "" : `, not ${boundsText(above, below)}`}`;
    const reason = {
      ...{ text, condition: "zscore", field, value, expected: usual.median, ...range(low, high) },
      ...{ samples: earlier.length, ...(Number.isFinite(z) ? { score: z } : {}) },
    };
    return { holds, reason, history };
  };
}
