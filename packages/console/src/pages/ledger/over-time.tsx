/** The balance of one hop over time: what became of the events that came in each step, and the steps in which it did not balance. */
import type { LedgerHop } from "../../../../../src/serve/admin-route.ts";
import type { LedgerHistoryView } from "../../../../../src/serve/ledger-history-route.ts";
import { count } from "../../format.ts";
import { type Series, TimeBars } from "../../ui/charts.tsx";
import { Badge } from "../../ui/ui.tsx";
import { FATES, stepsOf } from "./steps.ts";

interface OverTimeProps {
  /** How it stands now, which is the newest point of all. */
  readonly now: LedgerHop;
  readonly history: LedgerHistoryView;
}

export function OverTime({ now, history: { fromMs, stepMs, hops } }: OverTimeProps) {
  const { stream, hop } = now;
  const points = hops.find((one) => one.stream === stream && one.hop === hop)?.points ?? [];
  const nowMs = Date.now();
  const steps = stepsOf([...points, { ...now, atMs: nowMs }], fromMs, stepMs, nowMs);
  const series = FATES.map(
    ([fate, name, colour]): Series => ({ name, colour, values: steps.map(({ became }) => became[fate]) }),
  );
  const marked = steps.map(({ balanced }) => !balanced);
  const wrong = marked.filter(Boolean).length;
  const waited = Math.max(0, ...steps.map(({ pending }) => pending));
  return (
    <div className="over-time">
      <div className="row">
        <h3>{hop} over time</h3>
        {wrong > 0 && <Badge tone="bad">did not balance in {count(wrong)} of the bars</Badge>}
        <span className="soft">at most {count(waited)} on the way</span>
      </div>
      <TimeBars
        label={`What became of the events of ${stream} at ${hop}`}
        {...{ fromMs, stepMs, series, marked, format: count }}
      />
    </div>
  );
}
