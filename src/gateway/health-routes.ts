import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";

export interface Readiness {
  readonly ready: boolean;
  /** Part of the platform -> whether it works, and if not, why. */
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly message?: string }>>;
}

/**
 * `GET /healthz`: the process answers. `GET /readyz`: the whole path can accept and store (200), or why not (503).
 * `GET /metrics`: Prometheus' text format. None of them needs a key: probes and scrapers have none.
 */
export function healthRoutes(
  ready: () => Promise<Readiness>,
  registry: Registry,
): (app: FastifyInstance) => Promise<void> {
  return async (app) => {
    app.get("/healthz", async () => ({ ok: true }));
    app.get("/readyz", async (_request, reply) => {
      const readiness = await ready();
      return reply.code(readiness.ready ? 200 : 503).send(readiness);
    });
    app.get("/metrics", async (_request, reply) => {
      reply.header("Content-Type", registry.contentType);
      return registry.metrics();
    });
  };
}
