/** Counters that were written down where they had changed, as what became of the events in each step of time. */
import type { LedgerPoint } from "../../../../../src/serve/ledger-history-route.ts";

/** The field, its name for people, and its colour. */
export const FATES = [
  ["stored", "stored", "chart-1"],
  ["duplicate", "duplicate", "chart-3"],
  ["filtered", "filtered", "line-strong"],
  ["deadLettered", "dead letters", "bad"],
] as const;

export interface Step {
  readonly became: Record<(typeof FATES)[number][0], number>;
  readonly pending: number;
  readonly balanced: boolean;
}

/** Where nothing was written down it stood as before. Counters that went back were counted anew, by a replay. */
export function stepsOf(points: readonly LedgerPoint[], fromMs: number, stepMs: number, nowMs: number): Step[] {
  const steps: Step[] = [];
  let at = points.findIndex(({ atMs }) => atMs >= fromMs);
  if (at < 0) at = points.length;
  let before: LedgerPoint | undefined = points[at - 1];
  for (let start = fromMs; start <= nowMs; start += stepMs) {
    let point: LedgerPoint | undefined;
    let balanced = true;
    let pending = 0;
    // What was written down a minute ago and how it stands now may be of the same step.
    for (; at < points.length && (points[at] as LedgerPoint).atMs < start + stepMs; at++) {
      point = points[at] as LedgerPoint;
      // What was there when it was first written down came before.
      before ??= point;
      balanced &&= point.balanced;
      pending = Math.max(pending, point.pending);
    }
    const grew = (fate: (typeof FATES)[number][0]) =>
      point === undefined || before === undefined ? 0 : Math.max(0, point[fate] - before[fate]);
    const became = {
      ...{ stored: grew("stored"), duplicate: grew("duplicate") },
      ...{ filtered: grew("filtered"), deadLettered: grew("deadLettered") },
    };
    const now: LedgerPoint | undefined = point ?? before;
    steps.push(
      point === undefined
        ? { became, pending: now?.pending ?? 0, balanced: now?.balanced ?? true }
        : { became, pending, balanced },
    );
    before = now;
  }
  return steps;
}
