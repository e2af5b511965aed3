/** How long things take, as histograms: measured where they happen, told in `/metrics` and to the console. */
import { Histogram, type Registry } from "prom-client";
import type { Flow } from "../flow/flow.ts";
import type { LatencyView } from "../serve/system-route.ts";

const ACK = "millrace_door_request_duration_seconds";
const QUERY = "millrace_query_duration_seconds";
const COMMIT = "millrace_commit_duration_seconds";
const BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Takes the seconds of each query. */
export function queryDurations(registry: Registry): (seconds: number) => void {
  const histogram = new Histogram({
    ...{ name: QUERY, help: "From a query's arrival to its last row, those that failed or were cancelled too." },
    ...{ buckets: BUCKETS_S, registers: [registry] },
  });
  return (seconds) => histogram.observe(seconds);
}

export function commitDurations(registry: Registry, { lake }: Pick<Flow, "lake">): void {
  const histogram = new Histogram({
    ...{ name: COMMIT, help: "Commits of tables by this process, of data files that are written." },
    ...{ buckets: BUCKETS_S, registers: [registry] },
  });
  lake.onCommit((_table, _by, seconds) => {
    if (seconds !== undefined) histogram.observe(seconds);
  });
}

const DOCS = {
  ack: "From a request's headers at the door to the answer that its events are on disk.",
  query: "From a query's arrival at POST /v1/sql to its last row.",
  commit: "Committing data files that are written to a table.",
};

export async function latencies(registry: Registry): Promise<LatencyView[]> {
  return [
    // What is refused is quick, and no acknowledgement.
    view("ack", await counted(registry, ACK, ({ status }) => Number(status) < 300)),
    view("query", await counted(registry, QUERY)),
    view("commit", await counted(registry, COMMIT)),
  ];
}

type Labels = Readonly<Partial<Record<string, string | number>>>;

/** Upper bound in seconds -> how many took at most as long; the sum over all series that are wanted. */
async function counted(
  registry: Registry,
  name: string,
  wanted: (labels: Labels) => boolean = () => true,
): Promise<ReadonlyMap<number, number>> {
  const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {};
  const counts = new Map<number, number>();
  for (const { metricName, labels, value } of values as readonly {
    metricName?: string;
    labels: Labels;
    value: number;
  }[]) {
    if (metricName !== `${name}_bucket` || !wanted(labels)) continue;
    const bound = labels["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels["le"]);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

function view(name: LatencyView["name"], counts: ReadonlyMap<number, number>): LatencyView {
  const bounds = [...counts].sort(([a], [b]) => a - b);
  let before = 0;
  const buckets = bounds.map(([bound, upTo]) => {
    const count = upTo - before;
    before = upTo;
    return { toMs: Number.isFinite(bound) ? bound * 1000 : null, count };
  });
  const quantiles = { p50Ms: quantile(buckets, 0.5), p95Ms: quantile(buckets, 0.95), p99Ms: quantile(buckets, 0.99) };
  return { name, doc: DOCS[name], count: before, ...quantiles, buckets };
}

/** By linear interpolation within the bucket, as Prometheus' histogram_quantile has it. */
export function quantile(buckets: LatencyView["buckets"], share: number): number | null {
  const rank = share * buckets.reduce((sum, { count }) => sum + count, 0);
  if (rank === 0) return null;
  let below = 0;
  let fromMs = 0;
  for (const { toMs, count } of buckets) {
    if (toMs === null) break;
    if (count > 0 && below + count >= rank) return fromMs + ((toMs - fromMs) * (rank - below)) / count;
    below += count;
    fromMs = toMs;
  }
  return fromMs;
}
