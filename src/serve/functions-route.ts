import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";

/** A function and how far it is. */
export interface FunctionView {
  readonly name: string;
  readonly stream: string;
  readonly key: string | null;
  /** True when it remembers something of each key. */
  readonly state: boolean;
  readonly version: number;
  readonly from: "now" | "beginning";
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly batch: { readonly size: number; readonly waitMs: number } | null;
  /** Null: any stream. */
  readonly emits: readonly string[] | null;
  readonly file: string;
  readonly partitions: readonly FunctionPartition[];
}

export interface FunctionPartition {
  readonly partition: number;
  /** The first offset it was given. */
  readonly begun: number;
  /** Every event below it is handled, and what it gave is durable. */
  readonly position: number;
  readonly pending: number;
  readonly handled: number;
  /** Events that repeat others, which it did not get. */
  readonly duplicate: number;
  readonly deadLettered: number;
  readonly emitted: number;
  readonly stateEntries: number;
  readonly stateBytes: number;
  /** How often it was begun again from its checkpoint since the start. */
  readonly restarts: number;
  readonly checkpointAt: string | null;
  /** Why it stands still. */
  readonly problem: string | null;
}

export interface FunctionsRouteOptions {
  readonly functions: () => readonly FunctionView[];
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

/** `GET /v1/functions`: `{"functions": [FunctionView]}`, in the order of the project. */
export async function functionsRoute(app: FastifyInstance, { functions, requireScope }: FunctionsRouteOptions) {
  app.get("/v1/functions", { preHandler: requireScope("query") }, async () => ({ functions: functions() }));
}
