/** The console: its pages, who is signed in to it, and what it shows that no other client asks for. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { scopeGuard } from "../gateway/auth.ts";
import { SESSION_COOKIE, sessionOf } from "../gateway/credentials.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { Administration } from "../serve/admin-route.ts";
import { consoleRoute, readConsole } from "../serve/console-route.ts";
import { mapRoute } from "../serve/map-route.ts";
import { notebooksRoute } from "../serve/notebooks-route.ts";
import type { RunningQueries } from "../serve/running-queries.ts";
import { sessionRoute } from "../serve/session-route.ts";
import { Notebooks } from "../state/notebooks.ts";
import type { Sessions } from "../state/sessions.ts";
import { destinations } from "./delivering.ts";
import { live } from "./live.ts";
import type { RouteParts } from "./routes.ts";

export interface ConsoleParts extends Omit<RouteParts, "version" | "startedAtMs"> {
  readonly administered: Administration;
  readonly sessions: Sessions;
  readonly running: RunningQueries;
}

export async function consoleRoutes({ app, closing }: Gateway, parts: ConsoleParts): Promise<void> {
  const { pipeline, project, state, callers, administered, sessions, clock } = parts;
  const requireScope = scopeGuard(callers);
  const delivered = destinations(pipeline.delivery, pipeline.flow);
  app.register(mapRoute, {
    live: live({
      ...{ project, clock, alerts: pipeline.alerting.desk, destinations: async () => delivered.list() },
      status: () => administered.status(),
      ledger: () => administered.ledger(),
      queries: () => parts.running.size,
    }),
    ...{ requireScope, closing },
  });
  app.register(notebooksRoute, { notebooks: new Notebooks(state), requireScope });
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
