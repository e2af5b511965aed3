/** The console: its pages, who is signed in to it, and what it shows that no other client asks for. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { scopeGuard } from "../gateway/auth.ts";
import { SESSION_COOKIE, sessionOf } from "../gateway/credentials.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Administration } from "../serve/admin-route.ts";
import { consoleRoute, readConsole } from "../serve/console-route.ts";
import { ledgerHistoryRoute } from "../serve/ledger-history-route.ts";
import { lineageRoute } from "../serve/lineage-route.ts";
import { mapRoute } from "../serve/map-route.ts";
import { notebooksRoute } from "../serve/notebooks-route.ts";
import type { RunningQueries } from "../serve/running-queries.ts";
import { sessionRoute } from "../serve/session-route.ts";
import { systemRoute } from "../serve/system-route.ts";
import { LedgerMinutes } from "../state/ledger-minutes.ts";
import { Notebooks } from "../state/notebooks.ts";
import type { Sessions } from "../state/sessions.ts";
import type { Workers } from "../state/workers.ts";
import { destinations } from "./delivering.ts";
import { keepLedgerHistory } from "./ledger-history.ts";
import { lineage } from "./lineage.ts";
import { live } from "./live.ts";
import { openLetters } from "./open-letters.ts";
import type { RouteParts } from "./routes.ts";
import { stamps } from "./stamps.ts";
import { openSystem } from "./system.ts";

export interface ConsoleParts extends Omit<RouteParts, "version"> {
  readonly workers: Pick<Workers, "known">;
  readonly report: (error: unknown, what: string) => void;
  readonly administered: Administration;
  readonly sessions: Sessions;
  readonly running: RunningQueries;
}

const WATCH_MS = 60_000;

export async function consoleRoutes({ app, closing }: Gateway, parts: ConsoleParts): Promise<void> {
  const { pipeline, project, state, callers, administered, sessions, registry, workers, clock } = parts;
  const requireScope = scopeGuard(callers);
  const notebooks = new Notebooks(state);
  const { settings } = parts.resolved;
  const system = openSystem({
    ...{ dir: parts.dir, registry, startedAtMs: parts.startedAtMs, clock },
    elsewhere: {
      log: settings.kafkaBrokers !== undefined,
      lake: pipeline.lakeStore.remote !== undefined,
      state: settings.postgresUrl !== undefined,
    },
  });
  app.addHook("onClose", async () => system.close());
  const delivered = destinations(pipeline.delivery, pipeline.flow);
  const watched = live({
    ...{ project, clock, alerts: pipeline.alerting.desk, destinations: async () => delivered.list() },
    status: (hops) => administered.status(hops),
    ledger: () => administered.ledger(),
    queries: () => parts.running.size,
    letters: openLetters({ ...pipeline, relations: pipeline.flow.relations, log: parts.log, clock }),
    process: () => system.process(),
    stamps: stamps({
      log: parts.log,
      state,
      notebooks,
      registry,
      workers: () => workers.known(),
      report: parts.report,
    }),
    heartbeats: () => Object.fromEntries(workers.known().map(({ id, heartbeatAt }) => [id, heartbeatAt.getTime()])),
  });
  // Since when something is not well is known to the minute, whether or not somebody looks.
  const watch = setInterval(() => {
    watched.pulse().catch((error: unknown) => parts.report(error, "looking how everything does failed"));
  }, WATCH_MS).unref();
  app.addHook("onClose", async () => clearInterval(watch));
  app.register(mapRoute, { live: watched, requireScope, closing });
  const minutes = new LedgerMinutes(state);
  const endHistory = keepLedgerHistory({ minutes, ledger: () => administered.ledger(), clock, report: parts.report });
  app.addHook("onClose", endHistory);
  app.register(ledgerHistoryRoute, { history: minutes, requireScope, clock });
  app.register(lineageRoute, {
    lineage: lineage({ project, catalogue: pipeline.catalogue, inspector: pipeline.engine.inspector }),
    requireScope,
  });
  app.register(systemRoute, { system: () => system.view(), requireScope });
  app.register(notebooksRoute, { notebooks, requireScope });
  app.register(sessionRoute, { sessions, cookie: SESSION_COOKIE, tokenOf: sessionOf, clock });
  app.register(consoleRoute, { files: await readConsole(builtConsole()) });
}

/** Beside the sources in a checkout, beside what they were compiled to in a package. */
function builtConsole(): string {
  const [ofCheckout, ofPackage] = ["../../packages/console/dist", "../console"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  ) as [string, string];
  return existsSync(ofPackage) ? ofPackage : ofCheckout;
}
