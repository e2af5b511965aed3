/**
 * The composition root: the only place that chooses which adapter stands behind a port, and that knows all parts. It opens them
 * from the ground up, serves, and closes them in the opposite order.
 */
import { readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import type { Role, Settings } from "./config/settings.ts";
import { MillraceError } from "./errors.ts";
import { deadLetterSink } from "./flow/dead-letters.ts";
import { scopeGuard } from "./gateway/auth.ts";
import { createGateway } from "./gateway/gateway.ts";
import { type FileSystem, nodeFileSystem } from "./lake/file-system.ts";
import { openDataFolder } from "./log/data-folder.ts";
import { type LogFs, nodeFs } from "./log/file-system.ts";
import { partitionOf } from "./log/partitioner.ts";
import { advertisedUrl, openCluster, refuseLonely, workerIdOf } from "./platform/cluster.ts";
import { consoleRoutes } from "./platform/console.ts";
import { contractDoor } from "./platform/contract-door.ts";
import { loadWithSettings } from "./platform/loaded.ts";
import { openLog, openRecords } from "./platform/means.ts";
import { pipelineMetrics } from "./platform/metrics.ts";
import { openPipeline, openStreams } from "./platform/pipeline.ts";
import { readiness } from "./platform/readiness.ts";
import { elsewhere } from "./platform/roles.ts";
import { reactRoutes, runRoutes, serveRoutes } from "./platform/routes.ts";
import { keepPoolAwake } from "./platform/wake-pool.ts";
import { workersRoute } from "./serve/workers-route.ts";
import { openApiKeys } from "./state/api-keys.ts";
import type { BiAddress } from "./state/embedded-postgres.ts";
import { openSessions } from "./state/sessions.ts";
import { StreamTagRecords } from "./state/stream-tags.ts";

export interface Platform {
  /** Where it serves, for example `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly adminKeyFile: string;
  readonly settings: Settings;
  /** Where BI tools connect; undefined while the project serves no table, or the server is one by URL. */
  readonly bi: BiAddress | undefined;
  /** Aborts when the platform must be closed, with the error that says why: another process runs under its name. */
  readonly mustStop: AbortSignal;
  /** Takes nothing new, stores what was acknowledged, and stops. Calling it again waits for the same end. */
  close(): Promise<void>;
}

export interface StartOptions {
  readonly projectDir: string;
  /** Settings by name, before the environment and the project's own. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly ports?: Ports;
}

/** What the platform stands on. Each is the machine's own unless given. */
export interface Ports {
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** Disk of the event log. */
  readonly logFs?: LogFs;
  /** Disk of the lake. The SQL engine writes the data files themselves; their names, syncs and commits pass through here. */
  readonly lakeFs?: FileSystem;
  /** URL of a module whose export `indexFiles` is the disk of the duplicate indexes: a name, for they have a thread of their own. */
  readonly indexFiles?: string;
}

/**
 * Starts the platform for a project and resolves once it serves.
 * @throws PROJECT_NOT_FOUND, PROJECT_INVALID, SETTING_INVALID, DATA_FOLDER_IN_USE, SCHEMA_CHANGE_REFUSED, STATE_UNAVAILABLE,
 * PORT_IN_USE, DATA_FOLDER_DISK and others of the registry; whatever had been opened is closed again.
 */
export async function startPlatform({ projectDir, flags = {}, env = {}, ports = {} }: StartOptions): Promise<Platform> {
  keepPoolAwake();
  const closers: (() => Promise<void>)[] = [];
  const opened = <T>(part: T, close: (part: T) => Promise<void>): T => {
    closers.push(() => close(part));
    return part;
  };
  const closeAll = async () => {
    const failures: unknown[] = [];
    for (const close of closers.splice(0).reverse()) await close().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  };
  try {
    return await open(projectDir, flags, env, ports, opened, closeAll);
  } catch (error) {
    await closeAll().catch(() => undefined); // the first failure is the one that says why
    throw aboutDisk(error);
  }
}

/** What a disk says that is full, broken or over its quota; what else goes wrong keeps its own name. */
const DISK_CODES = new Set(["ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "ENFILE"]);

function aboutDisk(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof MillraceError || code === undefined || !DISK_CODES.has(code)) return error;
  return new MillraceError("DATA_FOLDER_DISK", { reason: message }, { cause: error });
}

async function open(
  projectDir: string,
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
  { clock = Date.now, logFs = nodeFs, lakeFs = nodeFileSystem, indexFiles }: Ports,
  opened: <T>(part: T, close: (part: T) => Promise<void>) => T,
  closeAll: () => Promise<void>,
): Promise<Platform> {
  const startedAtMs = clock();
  const { project, resolved, geo } = await loadWithSettings(projectDir, flags, env);
  const { settings } = resolved;
  refuseLonely(resolved);
  const logger = pino({ level: settings.logLevel, base: null }, pino.destination({ fd: 2, sync: true }));
  const report = (error: unknown, what: string) => logger.error({ err: error }, what);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const version = createRequire(import.meta.url)("../package.json").version as string;

  const { dir } = opened(await openDataFolder(settings.dataDir), (folder) => folder.close());
  const adminKeyFile = join(dir, "admin.key");
  const workerId = await workerIdOf(settings, dir);
  // The server takes longest to come up, and nothing before the keys needs it.
  const state = openRecords(settings, dir, project);
  state.catch(() => undefined); // it may fail while something else is being opened; whoever awaits it is told
  opened(state, async (pending) => (await pending.catch(() => undefined))?.close());
  const { log, assignment } = await openLog({
    settings,
    project: project.name,
    dir,
    workerId,
    clock,
    fs: logFs,
    logger,
  });
  opened(log, (part) => part.close());
  const mustStop = new AbortController();
  const cluster = opened(
    await openCluster({
      ...{ settings, workerId, version, state, log, assignment },
      ownKey: async () => settings.adminKey ?? (await readFile(adminKeyFile, "utf8")).trim(),
      fenced: (error) => mustStop.abort(error),
      report: (error, what) => logger.warn({ err: error }, what),
    }),
    (part) => part.close(),
  );
  const admit = contractDoor({ streams: project.streams, log, partitionOf, limits: settings });
  const means = { project, settings, geo, env, dir, state, log, cluster, admit, logger, clock };
  const works = settings.role.some((role) => role !== "gateway");
  const pipeline = works
    ? await openPipeline({ ...means, logFs, lakeFs, indexFiles, opened })
    : await openStreams(means, lakeFs);
  const records = await state;
  const keys = opened(
    await openApiKeys(records, {
      ...{ adminKeyFile, adminKey: settings.adminKey, shared: cluster.sharing !== undefined },
      ...{ awsSecretFile: join(dir, "aws.secret"), awsSecret: settings.awsSecret, cacheMs: settings.keyCacheMs },
    }),
    (part) => part.close(),
  );
  const sessions = opened(await openSessions(records, { keys, clock }), (part) => part.close());
  const callers = { verify: (token: string) => keys.verify(token) ?? sessions.verify(token) };
  const workers = await cluster.workers;
  const ready = readiness({
    ...{ dir, log, pipeline, records: () => workers.problem(), keys: () => keys.problem() },
    goesOn: settings.role.some((role) => role !== "orchestrate"),
    stopping: () => (closing ? "the platform is stopping" : undefined),
  });
  const gateway = createGateway({
    ...{ log, streams: project.streams, keys: callers, ready, registry, settings, partitionOf, report },
    doors: settings.role.includes("gateway"),
    elsewhere: elsewhere(settings.role, () => workers.known()),
    deadLetters: { record: deadLetterSink(log, clock) },
    kinesis: {
      ...{ accessKeys: keys, tags: new StreamTagRecords(state), retentionMs: settings.retentionMs, clock },
      createdAtMs: (await stat(dir)).birthtimeMs,
    },
  });
  const peers = await cluster.peers;
  peers.remember(gateway.app);
  gateway.app.register(workersRoute, { workers, requireScope: scopeGuard(callers) });
  if (pipeline !== undefined) {
    pipelineMetrics(registry, pipeline, cluster, clock);
    const parts = {
      ...{ pipeline, project, resolved, dir, log, state: records, keys, callers, peers, admit, registry, ready, clock },
    };
    const has = (role: Role) => settings.role.includes(role);
    if (has("serve")) {
      const served = serveRoutes(gateway.app, { ...parts, version, startedAtMs });
      await consoleRoutes(gateway, { ...parts, ...served, sessions, workers, startedAtMs, report });
    }
    if (has("serve") || has("orchestrate")) runRoutes(gateway.app, parts);
    if (has("react")) reactRoutes(gateway.app, parts);
  }
  opened(gateway, (part) => part.close());
  const { url } = await gateway.listen();
  await workers.serves(advertisedUrl(settings, url));
  pipeline?.begin();
  logger.debug({ url, startMs: clock() - startedAtMs }, "ready");

  let closing: Promise<void> | undefined;
  return {
    ...{ url, adminKeyFile, settings, bi: records.bi, mustStop: mustStop.signal },
    close() {
      closing ??= (async () => {
        gateway.drain();
        // Whose name another process has taken has nothing to wait for.
        await sleep(settings.drainDelayMs, undefined, { signal: mustStop.signal }).catch(() => undefined);
        await closeAll();
      })();
      return closing;
    },
  };
}
