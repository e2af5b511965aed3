/** The routes behind the door, over the parts that answer them. */
import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";
import type { ResolvedSettings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { Admit } from "../flow/dead-letter-desk.ts";
import { type KeyVerifier, scopeGuard } from "../gateway/auth.ts";
import type { Readiness } from "../gateway/health-routes.ts";
import { FORMAT_VERSION } from "../log/data-folder.ts";
import type { EventLog } from "../log/event-log.ts";
import { partitionOf } from "../log/partitioner.ts";
import type { ReactAnswers } from "../react/lane-calls.ts";
import { type Administration, adminRoute } from "../serve/admin-route.ts";
import { alertsRoute } from "../serve/alerts-route.ts";
import { backupRoute } from "../serve/backup-route.ts";
import { biUsersRoute } from "../serve/bi-users-route.ts";
import { deadLettersRoute } from "../serve/dead-letters-route.ts";
import { destinationsRoute } from "../serve/destinations-route.ts";
import { featuresRoute } from "../serve/features-route.ts";
import { functionsRoute } from "../serve/functions-route.ts";
import { reactCallsRoute } from "../serve/react-calls-route.ts";
import { receiptsRoute } from "../serve/receipts-route.ts";
import { RunningQueries } from "../serve/running-queries.ts";
import { runsRoute } from "../serve/runs-route.ts";
import { sqlRoute } from "../serve/sql-route.ts";
import { tablesRoute } from "../serve/tables-route.ts";
import type { ApiKeys } from "../state/api-keys.ts";
import type { State } from "../state/state.ts";
import { administration } from "./administration.ts";
import { backups } from "./backups.ts";
import { deadLetters } from "./dead-letters.ts";
import { destinations } from "./delivering.ts";
import { featureReads } from "./features.ts";
import { queryDurations } from "./latencies.ts";
import type { Peers } from "./peers.ts";
import type { Pipeline } from "./pipeline.ts";
import { biUsers } from "./publishing.ts";

export interface RouteParts {
  readonly pipeline: Pipeline;
  readonly project: Project;
  readonly resolved: ResolvedSettings;
  readonly dir: string;
  readonly log: EventLog;
  readonly state: State;
  readonly keys: ApiKeys;
  /** Knows keys, and sessions at the console. */
  readonly callers: KeyVerifier;
  readonly peers: Peers;
  readonly admit: Admit;
  readonly registry: Registry;
  readonly ready: () => Promise<Readiness>;
  readonly version: string;
  readonly startedAtMs: number;
  readonly clock: () => number;
}

/** Runs of workflows: who does not execute them asks who does to begin, end or change one. */
export function runRoutes(
  app: FastifyInstance,
  { pipeline, callers, peers }: Pick<RouteParts, "pipeline" | "callers" | "peers">,
): void {
  const { orchestration } = pipeline;
  app.register(async (scope) => {
    scope.addHook("preHandler", async (request, reply) => {
      if (request.method === "GET" || orchestration.works) return;
      const holder = await peers.holderOf("orchestrate");
      if (holder === undefined) throw new MillraceError("LEASE_FREE", { lease: "orchestrate" }, { retryAfterS: 1 });
      return peers.forward(holder, request, reply);
    });
    scope.register(runsRoute, { runs: orchestration.runs, requireScope: scopeGuard(callers) });
  });
}

/** What other workers ask of the lanes that are here. */
export function reactRoutes(
  app: FastifyInstance,
  { pipeline, callers }: Pick<RouteParts, "pipeline" | "callers">,
): void {
  const { reacting, delivery } = pipeline;
  const answers: ReactAnswers = {
    answer: (call) => (call.to === "lane" ? reacting.answer(call) : delivery.answer(call)),
  };
  app.register(reactCallsRoute, { answers, requireScope: scopeGuard(callers) });
}

/** What people and programs ask a platform for, beside sending events. */
export function serveRoutes(
  app: FastifyInstance,
  parts: RouteParts,
): { readonly administered: Administration; readonly running: RunningQueries } {
  const { pipeline, project, resolved, dir, log, state, keys, registry, ready, clock } = parts;
  const { lakeStore, engine, flow, catalogue, reacting, publisher, alerting, delivery } = pipeline;
  const { settings } = resolved;
  const requireScope = scopeGuard(parts.callers);
  const running = new RunningQueries(clock);
  const took = queryDurations(registry);
  app.register(sqlRoute, { engine, inspector: engine.inspector, catalogue, requireScope, settings, running, took });
  app.register(tablesRoute, { catalogue, requireScope });
  app.register(receiptsRoute, { receipt: (stream, id, options) => flow.receipt(stream, id, options), requireScope });
  app.register(alertsRoute, { alerts: alerting.desk, requireScope });
  app.register(destinationsRoute, { destinations: destinations(delivery, flow), requireScope });
  app.register(featuresRoute, {
    features: featureReads({
      ...{ project, partitionOf, clock, partitions: (stream) => log.partitions(stream) },
      read: (feature, partition, request) => reacting.read(feature, partition, request),
    }),
    requireScope,
  });
  app.register(functionsRoute, { functions: () => reacting.functions(), requireScope });
  app.register(deadLettersRoute, { deadLetters: deadLetters(flow, parts.admit), requireScope });
  const administered = administration({
    ...{ flow, log, keys, publisher, reacting, resolved, registry, ready },
    ...{ version: parts.version, startedAtMs: parts.startedAtMs },
  });
  app.register(adminRoute, { administration: administered, requireScope });
  const { bi } = state;
  app.register(biUsersRoute, { biUsers: biUsers(publisher, { bi, url: settings.postgresUrl }), requireScope });
  app.register(backupRoute, {
    backups: backups({
      ...{ dataDir: dir, dataFormat: FORMAT_VERSION, project: project.name, millrace: parts.version },
      ...{ log, store: lakeStore.store, lake: flow.lake, state: Promise.resolve(state), clock },
      remotePlace: lakeStore.remote && lakeStore.place,
    }),
    requireScope,
  });
  return { administered, running };
}
