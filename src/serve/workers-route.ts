import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";

/**
 * `GET /v1/workers` (scope query): the processes that share the work, oldest first.
 *
 *     {"workers": [{"id", "roles": ["gateway", …], "url", "version", "format", "startedAt", "heartbeatAt", "live", "self",
 *                   "owns": {"flow": {"orders": [0, 3]}, "react": {…}}}]}
 *
 * `owns`: by group of consumers and stream the partitions that are the worker's. `live`: heard of lately. `self`: who answers. Errors:
 * STATE_UNAVAILABLE.
 */
export async function workersRoute(app: FastifyInstance, options: WorkersRouteOptions): Promise<void> {
  const { workers, requireScope } = options;
  app.get("/v1/workers", { preHandler: requireScope("query") }, async () => ({
    workers: (await workers.list()).map((worker) => ({ ...worker, self: worker.id === workers.id })),
  }));
}

export interface WorkersRouteOptions {
  readonly workers: {
    readonly id: string;
    list(): Promise<readonly WorkerView[]>;
  };
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
}

export interface WorkerView {
  readonly id: string;
  readonly roles: readonly string[];
  readonly url: string;
  readonly version: string;
  readonly format: number;
  readonly owns: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  readonly startedAt: Date;
  readonly heartbeatAt: Date;
  readonly live: boolean;
}
