/** How long things take, since the start: the quantiles as numbers, and what is behind them drawn. */
import type { LatencyView } from "../../../../../src/serve/system-route.ts";
import { count, duration } from "../../format.ts";
import { Histogram } from "../../ui/charts.tsx";
import { Facts, Panel } from "../../ui/ui.tsx";

const TITLES = { ack: "Acknowledging events", query: "Answering queries", commit: "Committing to tables" };

export function Latencies({ latencies }: { latencies: readonly LatencyView[] }) {
  return (
    <div className="columns latencies">
      {latencies.map(({ name, doc, count: measured, p50Ms, p95Ms, p99Ms, buckets }) => (
        <Panel key={name} title={TITLES[name]}>
          <p className="soft">{doc}</p>
          {measured === 0 ? (
            <p className="faint">Nothing to measure since the start.</p>
          ) : (
            <>
              <Facts
                facts={[
                  ["p50", quantile(p50Ms)],
                  ["p95", quantile(p95Ms)],
                  ["p99", quantile(p99Ms)],
                  ["measured", count(measured)],
                ]}
              />
              <Histogram label={`${TITLES[name]}: how many took how long`} buckets={buckets} />
            </>
          )}
        </Panel>
      ))}
    </div>
  );
}

function quantile(ms: number | null): string {
  return ms === null ? "–" : duration(ms);
}
