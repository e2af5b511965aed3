/**
 * The composition root: the only place that chooses which adapter stands behind a port, and that knows all parts. It opens them
 * from the ground up, serves, and closes them in the opposite order.
 */
import { stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pino } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import { resolveSettings, type Settings } from "./config/settings.ts";
import { loadProject } from "./define/load-project.ts";
import { openDuckdbEngine } from "./engine/duckdb-engine.ts";
import { openDuckdbInspector } from "./engine/duckdb-inspector.ts";
import { type GeoDatabase, openGeoDatabase } from "./engine/geo-database.ts";
import { MillraceError } from "./errors.ts";
import { Flow } from "./flow/flow.ts";
import { scopeGuard } from "./gateway/auth.ts";
import { createGateway } from "./gateway/gateway.ts";
import { type FileSystem, nodeFileSystem } from "./lake/file-system.ts";
import { FORMAT_VERSION, openDataFolder } from "./log/data-folder.ts";
import { openEmbeddedLog } from "./log/embedded-log.ts";
import { type LogFs, nodeFs } from "./log/file-system.ts";
import { partitionOf } from "./log/partitioner.ts";
import { runTables } from "./orchestrate/run-tables.ts";
import { administration } from "./platform/administration.ts";
import { Alerting } from "./platform/alerting.ts";
import { backups } from "./platform/backups.ts";
import { FlowCatalogue } from "./platform/catalogue.ts";
import { contractDoor } from "./platform/contract-door.ts";
import { deadLetters } from "./platform/dead-letters.ts";
import { delivering, destinations, redelivery } from "./platform/delivering.ts";
import { featureReads, featureTables } from "./platform/features.ts";
import { functionTable } from "./platform/function-table.ts";
import { openLakeStore } from "./platform/lake-store.ts";
import { deliveryMetrics, flowMetrics, publishMetrics, reactionMetrics } from "./platform/metrics.ts";
import { Orchestration } from "./platform/orchestration.ts";
import { biUsers, published, publishing } from "./platform/publishing.ts";
import { Reacting } from "./platform/reactions.ts";
import { readiness } from "./platform/readiness.ts";
import { keepPoolAwake } from "./platform/wake-pool.ts";
import type { Delivery } from "./react/deliver/delivery.ts";
import { adminRoute } from "./serve/admin-route.ts";
import { alertsRoute } from "./serve/alerts-route.ts";
import { backupRoute } from "./serve/backup-route.ts";
import { biUsersRoute } from "./serve/bi-users-route.ts";
import { deadLettersRoute } from "./serve/dead-letters-route.ts";
import { destinationsRoute } from "./serve/destinations-route.ts";
import { featuresRoute } from "./serve/features-route.ts";
import { functionsRoute } from "./serve/functions-route.ts";
import type { Publisher } from "./serve/publisher.ts";
import { receiptsRoute } from "./serve/receipts-route.ts";
import { runsRoute } from "./serve/runs-route.ts";
import { sqlRoute } from "./serve/sql-route.ts";
import { tablesRoute } from "./serve/tables-route.ts";
import { openApiKeys } from "./state/api-keys.ts";
import type { BiAddress } from "./state/embedded-postgres.ts";
import { openState } from "./state/state.ts";
import { StreamTagRecords } from "./state/stream-tags.ts";

export interface Platform {
  /** Where it serves, for example `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly adminKeyFile: string;
  readonly settings: Settings;
  /** Where BI tools connect; undefined while the project serves no table, or the server is one by URL. */
  readonly bi: BiAddress | undefined;
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
  const inspector = await openDuckdbInspector();
  let geo: GeoDatabase | undefined;
  const project = await loadProject(projectDir, inspector, {
    horizonMs: (ofProject) => resolveSettings({ flags, env, project: ofProject }).settings.horizonMs,
    configured: async (ofProject, dir) => {
      const { geoDatabase } = resolveSettings({ flags, env, project: ofProject, projectDir: dir }).settings;
      if (geoDatabase === undefined) return;
      geo = await openGeoDatabase(geoDatabase);
      inspector.locateBy(geo);
    },
  }).finally(() => inspector.close());
  const resolved = resolveSettings({ flags, env, project: project.settings, projectDir: project.dir });
  const { settings } = resolved;
  const logger = pino({ level: settings.logLevel, base: null }, pino.destination({ fd: 2, sync: true }));
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const { dir } = opened(await openDataFolder(settings.dataDir), (folder) => folder.close());
  const serves = [...project.tables.values()].some(({ serve }) => serve !== undefined);
  // The server takes longest to come up, and nothing before the keys needs it.
  const state = openState(
    settings.postgresUrl === undefined
      ? { folder: join(dir, "postgres"), listen: serves ? { host: settings.biHost, port: settings.biPort } : undefined }
      : { url: settings.postgresUrl },
  );
  state.catch(() => undefined); // it may fail while something else is being opened; whoever awaits it is told
  opened(state, async (pending) => (await pending.catch(() => undefined))?.close());
  const log = opened(
    await openEmbeddedLog({
      dir: join(dir, "log"),
      segmentBytes: settings.segmentBytes,
      retentionMs: settings.retentionMs,
      clock,
      fs: logFs,
      report: (finding) => logger.warn(finding, "log: recovery"),
    }),
    (part) => part.close(),
  );
  const lakeStore = opened(await openLakeStore({ dir, settings, fs: lakeFs, clock }), (part) => part.close());
  const { store } = lakeStore;
  const engine = opened(
    await openDuckdbEngine({
      memoryBytes: settings.engineMemoryBytes,
      threads: settings.engineThreads,
      tempDir: join(dir, "tmp"),
      allowedDirs: [dir],
      inputs: lakeStore.inputs,
      geo,
      functions: [...project.sqlFunctions.values()],
    }),
    (part) => part.close(),
  );
  const reacting = new Reacting(project);
  let publisher: Publisher | undefined;
  let delivery: Delivery | undefined;
  const flow = opened(
    await Flow.open({
      ...settings,
      retentionMs: settings.historyMs,
      project,
      log,
      engine,
      store,
      dataDir: dir,
      indexFiles,
      logger,
      clock,
      virtual: new Map([...runTables(state), ...featureTables(project), ...functionTable(() => reacting.functions())]),
      reactions: reacting,
      published: () => published(publisher),
      publishAgain: async (table) => publisher?.again(table),
      redeliver: redelivery(() => delivery),
    }),
    (part) => part.close(),
  );
  const adminKeyFile = join(dir, "admin.key");
  const awsSecretFile = join(dir, "aws.secret");
  const keys = opened(await openApiKeys(await state, { adminKeyFile, awsSecretFile }), (part) => part.close());

  const { bi, connection } = await state;
  publisher = opened(
    publishing({
      ...{ flow, engine, clock, connection: { ...connection, ...(bi && { database: bi.database }) } },
      report: (error, what) => logger.warn({ err: error }, what),
    }),
    (part) => part.close(),
  );
  flow.lake.onCommit((table) => publisher?.committed(table));
  const ready = readiness({ flow, log, dir, publisher, reacting, lakeStore });
  flowMetrics(registry, flow);
  publishMetrics(registry, publisher);
  reactionMetrics(registry, () => reacting.lanes());
  const gateway = createGateway({
    log,
    streams: project.streams,
    keys,
    deadLetters: { record: (entries) => flow.deadLetters(entries) },
    ready,
    registry,
    settings,
    partitionOf,
    kinesis: {
      ...{ accessKeys: keys, tags: new StreamTagRecords(state), retentionMs: settings.retentionMs, clock },
      createdAtMs: (await stat(dir)).birthtimeMs,
    },
    report: (error, what) => logger.error({ err: error }, what),
  });
  const requireScope = scopeGuard(keys);
  const catalogue = new FlowCatalogue(flow);
  gateway.app.register(sqlRoute, { engine, inspector: engine.inspector, catalogue, requireScope, settings });
  gateway.app.register(tablesRoute, { catalogue, requireScope });
  const orchestration = opened(
    new Orchestration({
      ...{ project, state: await state, flow, engine, inspector: engine.inspector, catalogue, env, settings, clock },
      report: (error, what) => logger.error({ err: error }, what),
      warn: (finding, what) => logger.warn(finding, what),
    }),
    (part) => part.close(),
  );
  gateway.app.register(runsRoute, { runs: orchestration.runs, requireScope });
  const alerting = opened(
    new Alerting({
      ...{ project, flow, log, engine, inspector: engine.inspector, catalogue, dataDir: dir, fs: lakeFs, clock },
      lanes: () => reacting.lanes(),
      report: (error, what) => logger.warn({ err: error }, what),
    }),
    (part) => part.close(),
  );
  gateway.app.register(receiptsRoute, {
    receipt: (stream, id, options) => flow.receipt(stream, id, options),
    requireScope,
  });
  const admit = contractDoor({ streams: project.streams, log, partitionOf, limits: settings });
  gateway.app.register(alertsRoute, { alerts: alerting.desk, requireScope });
  delivery = opened(
    await delivering({
      shouldDeliver: (change, destination) => alerting.shouldDeliver(change, destination),
      ...{ project, flow, log, admit, env, clock },
      report: (error, what) => logger.warn({ err: error }, what),
    }),
    (part) => part.close(),
  );
  deliveryMetrics(registry, delivery, clock);
  gateway.app.register(destinationsRoute, { destinations: destinations(delivery, flow), requireScope });
  gateway.app.register(featuresRoute, {
    features: featureReads({
      ...{ project, partitionOf, clock, partitions: (stream) => log.partitions(stream) },
      read: (feature, partition, request) => reacting.read(feature, partition, request),
    }),
    requireScope,
  });
  gateway.app.register(functionsRoute, { functions: () => reacting.functions(), requireScope });
  gateway.app.register(deadLettersRoute, { deadLetters: deadLetters(flow, admit), requireScope });
  const version = createRequire(import.meta.url)("../package.json").version as string;
  gateway.app.register(adminRoute, {
    administration: administration({
      ...{ flow, log, keys, publisher, reacting, resolved, registry, ready, version, startedAtMs },
    }),
    requireScope,
  });
  gateway.app.register(biUsersRoute, { biUsers: biUsers(publisher, { bi, url: settings.postgresUrl }), requireScope });
  gateway.app.register(backupRoute, {
    backups: backups({
      ...{ dataDir: dir, dataFormat: FORMAT_VERSION, project: project.name, millrace: version },
      ...{ log, store, lake: flow.lake, state, clock, remotePlace: lakeStore.remote && lakeStore.place },
    }),
    requireScope,
  });
  opened(reacting, (part) => part.close());
  await reacting.open({
    ...{ flow, engine, log, dataDir: dir, admit, settings, clock, logFs, lakeFs },
    report: (error, what) => logger.warn({ err: error }, what),
  });
  opened(gateway, (part) => part.close());
  const { url } = await gateway.listen();
  orchestration.begin();
  alerting.start();
  publisher.start();
  delivery.begin();
  logger.debug({ url, startMs: clock() - startedAtMs }, "ready");

  let closing: Promise<void> | undefined;
  return {
    url,
    adminKeyFile,
    settings,
    bi,
    close() {
      closing ??= closeAll();
      return closing;
    },
  };
}
