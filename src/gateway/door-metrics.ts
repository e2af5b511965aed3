import type { Registry } from "prom-client";
import { Counter, Gauge, Histogram } from "prom-client";

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
  new Gauge({
    name: "millrace_door_inflight_bytes",
    help: "Bytes of requests under way.",
    registers,
    collect() {
      this.set(inflightBytes());
    },
  });
  const duration = new Histogram({
    name: "millrace_door_request_duration_seconds",
    help: "From a request's headers to its answer, by status.",
    labelNames: ["status"],
    buckets: DURATION_BUCKETS_S,
    registers,
  });
  const byStatus = new Map<number, { observe(seconds: number): void }>();
  return {
    stream(name) {
      const counts = streams.get(name) ?? new CountedStream();
      streams.set(name, counts);
      return counts;
    },
    answered(status, seconds) {
      let observer = byStatus.get(status);
      if (observer === undefined) {
        observer = duration.labels(String(status));
        byStatus.set(status, observer);
      }
      observer.observe(seconds);
    },
  };
}

class CountedStream implements StreamCounts {
  accepted = 0;
  bytes = 0;
  readonly byCode = new Map<string, number>();

  rejected(code: string): void {
    this.byCode.set(code, (this.byCode.get(code) ?? 0) + 1);
  }
}
