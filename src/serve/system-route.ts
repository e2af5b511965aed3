import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import type { Scope } from "../gateway/auth.ts";

/**
 * `GET /v1/system` (scope query): how the process that answers does, and what it stands on.
 *
 *     {"process": ProcessView, "disk": DiskView, "latencies": [LatencyView]}
 *
 * Durations are milliseconds, sizes bytes. Other processes answer for themselves: `GET /v1/workers` says where they are.
 */
export interface SystemView {
  readonly process: ProcessView;
  readonly disk: DiskView;
  /** `ack`, `query` and `commit`, in this order. */
  readonly latencies: readonly LatencyView[];
}

export interface ProcessView {
  readonly pid: number;
  readonly startedAtMs: number;
  /** Cores kept busy, on average since the look before: 1 is one core. */
  readonly cpu: number;
  readonly memory: {
    readonly residentBytes: number;
    readonly heapUsedBytes: number;
    readonly heapTotalBytes: number;
    /** Outside of JavaScript's heap: buffers, and what libraries of other languages took through Node. */
    readonly externalBytes: number;
    /** Of the machine, or of the container where that has a limit. */
    readonly availableBytes: number;
  };
  /** How late the event loop was with what was due, over the last `overMs`. */
  readonly eventLoop: {
    readonly p50Ms: number;
    readonly p99Ms: number;
    readonly maxMs: number;
    readonly overMs: number;
  };
}

export interface DiskView {
  /** Of the disk with the data folder. */
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What lies in the data folder. Null: it is kept elsewhere (Kafka, a bucket, a PostgreSQL server of its own). */
  readonly used: {
    readonly log: number | null;
    readonly lake: number | null;
    readonly state: number | null;
    /** Copies of a bucket's files, duplicate indexes, what is being staged. */
    readonly other: number;
  };
  /** Folders are counted at most once a minute. */
  readonly measuredAtMs: number;
}

/** A histogram since the start. */
export interface LatencyView {
  readonly name: "ack" | "query" | "commit";
  /** What is measured, in a sentence. */
  readonly doc: string;
  readonly count: number;
  /** Null while nothing was measured. Interpolated within a bucket; beyond the last bound, that bound. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  /** How many took longer than the bucket before and at most `toMs`; null: longer than all bounds. */
  readonly buckets: readonly { readonly toMs: number | null; readonly count: number }[];
}

export interface SystemRouteOptions {
  readonly system: () => Promise<SystemView>;
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

/** A fastify plugin. */
export async function systemRoute(app: FastifyInstance, { system, requireScope }: SystemRouteOptions): Promise<void> {
  app.get("/v1/system", { preHandler: requireScope("query") }, () => system());
}
