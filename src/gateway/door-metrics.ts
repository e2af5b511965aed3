import type { Metric, Registry } from "prom-client";
import { Counter, Gauge } from "prom-client";

/** What the door counts. Counting happens in plain numbers; Prometheus' objects are filled when they are read. */
export interface DoorMetrics {
  /** The counters of one stream. */
  stream(name: string): StreamCounts;
  /** A request that was answered: seconds from its headers to its answer. */
  answered(status: number, seconds: number): void;
}

export interface StreamCounts {
  accepted: number;
  /** Bytes of accepted events. */
  bytes: number;
  rejected(code: string): void;
  /** A request that there was no room for. */
  refused(code: string): void;
}

const DURATION_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export function doorMetrics(registry: Registry, inflightBytes: () => number): DoorMetrics {
  const streams = new Map<string, CountedStream>();
  const registers = [registry];
  new Counter({
    name: "millrace_door_events_accepted_total",
    help: "Events stored and acknowledged.",
    labelNames: ["stream"],
    registers,
    collect() {
      this.reset();
      for (const [stream, counts] of streams) this.inc({ stream }, counts.accepted);
    },
  });
  new Counter({
    name: "millrace_door_event_bytes_total",
    help: "Bytes of the events stored and acknowledged.",
    labelNames: ["stream"],
    registers,
    collect() {
      this.reset();
      for (const [stream, counts] of streams) this.inc({ stream }, counts.bytes);
    },
  });
  new Counter({
    name: "millrace_door_events_rejected_total",
    help: "Events refused, by code.",
    labelNames: ["stream", "code"],
    registers,
    collect() {
      this.reset();
      for (const [stream, counts] of streams) {
        for (const [code, count] of counts.byCode) this.inc({ stream, code }, count);
      }
    },
  });
  new Counter({
    name: "millrace_door_requests_refused_total",
    help: "Requests sent away because there was no room for them, by code.",
    labelNames: ["stream", "code"],
    registers,
    collect() {
      this.reset();
      for (const [stream, counts] of streams) {
        for (const [code, count] of counts.refusals) this.inc({ stream, code }, count);
      }
    },
  });
  new Gauge({
    name: "millrace_door_inflight_bytes",
    help: "Bytes of requests under way.",
    registers,
    collect() {
      this.set(inflightBytes());
    },
  });
  const durations = new DurationHistogram(
    "millrace_door_request_duration_seconds",
    "From a request's headers to its answer, by status.",
  );
  registry.registerMetric(durations as unknown as Metric);
  return {
    stream(name) {
      const counts = streams.get(name) ?? new CountedStream();
      streams.set(name, counts);
      return counts;
    },
    answered: (status, seconds) => durations.observe(status, seconds),
  };
}

/** A histogram by status whose `observe` costs nothing to speak of; prom-client's own hashes its labels every time. */
class DurationHistogram {
  readonly name: string;
  readonly help: string;
  readonly #byStatus = new Map<number, { counts: Float64Array; sum: number }>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  observe(status: number, seconds: number): void {
    let observed = this.#byStatus.get(status);
    if (observed === undefined) {
      observed = { counts: new Float64Array(DURATION_BUCKETS_S.length + 1), sum: 0 };
      this.#byStatus.set(status, observed);
    }
    let bucket = 0;
    while (seconds > (DURATION_BUCKETS_S[bucket] as number)) bucket++;
    observed.counts[bucket] = (observed.counts[bucket] as number) + 1;
    observed.sum += seconds;
  }

  /** What prom-client asks of a metric. Buckets are cumulative there. */
  async get(): Promise<object> {
    const values: object[] = [];
    for (const [status, { counts, sum }] of this.#byStatus) {
      let count = 0;
      counts.forEach((inBucket, bucket) => {
        count += inBucket;
        const le = DURATION_BUCKETS_S[bucket] ?? "+Inf";
        values.push({ metricName: `${this.name}_bucket`, labels: { status, le }, value: count });
      });
      values.push({ metricName: `${this.name}_sum`, labels: { status }, value: sum });
      values.push({ metricName: `${this.name}_count`, labels: { status }, value: count });
    }
    return { name: this.name, help: this.help, type: "histogram", aggregator: "sum", values };
  }
}

class CountedStream implements StreamCounts {
  accepted = 0;
  bytes = 0;
  readonly byCode = new Map<string, number>();
  readonly refusals = new Map<string, number>();

  rejected(code: string): void {
    this.byCode.set(code, (this.byCode.get(code) ?? 0) + 1);
  }

  refused(code: string): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }
}
