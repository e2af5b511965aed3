/**
 * Everything behind the log: tables, reactions, workflows and what is served from them. Processes that only take events have none of it.
 *
 * Each part works where its role is: the others know of it what they read in the log, the lake and the records, and ask who has it.
 */
import type { Logger } from "pino";
import type { Role, Settings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import type { DuckdbEngine } from "../engine/duckdb-engine.ts";
import type { GeoDatabase } from "../engine/geo-database.ts";
import { DEAD_LETTER_STREAM } from "../flow/dead-letters.ts";
import { Flow } from "../flow/flow.ts";
import type { FileSystem } from "../lake/file-system.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LogFs } from "../log/file-system.ts";
import { runTables } from "../orchestrate/run-tables.ts";
import type { Publisher } from "../serve/publisher.ts";
import { LaneRows } from "../state/lane-records.ts";
import type { LeasedWork } from "../state/leases.ts";
import type { State } from "../state/state.ts";
import { Alerting } from "./alerting.ts";
import { FlowCatalogue } from "./catalogue.ts";
import { type Cluster, claimSharedLake } from "./cluster.ts";
import type { ContractDoor } from "./contract-door.ts";
import { alertsUnderLease, Delivering, redelivery } from "./delivering.ts";
import { featureTables } from "./features.ts";
import { functionTable } from "./function-table.ts";
import { type LakeStore, openLakeStore } from "./lake-store.ts";
import { openEngine } from "./means.ts";
import { Orchestration } from "./orchestration.ts";
import { fenceOf, published, publishing, watchPublications } from "./publishing.ts";
import { reactPeers } from "./react-peers.ts";
import { Reacting } from "./reactions.ts";
import { checkpointPlace, Sources, sourceTable } from "./sources.ts";
import { openSpark, type Spark } from "./spark.ts";
import { workerTable } from "./worker-table.ts";

export interface PipelineParts {
  readonly project: Project;
  readonly settings: Settings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dir: string;
  readonly state: Promise<State>;
  readonly log: EventLog;
  readonly geo: GeoDatabase | undefined;
  readonly cluster: Cluster;
  readonly admit: ContractDoor;
  readonly logger: Logger;
  readonly clock: () => number;
  readonly logFs: LogFs;
  readonly lakeFs: FileSystem;
  readonly indexFiles: string | undefined;
  /** Has a part closed in its turn. */
  readonly opened: <T>(part: T, close: (part: T) => Promise<void>) => T;
}

export interface Pipeline {
  readonly lakeStore: LakeStore;
  readonly engine: DuckdbEngine;
  /** Undefined where no server is named. */
  readonly spark: Spark | undefined;
  readonly flow: Flow;
  readonly catalogue: FlowCatalogue;
  readonly reacting: Reacting;
  readonly publisher: Publisher;
  readonly orchestration: Orchestration;
  readonly alerting: Alerting;
  readonly delivery: Delivering;
  readonly sources: Sources;
  /** Begins what nobody asks for, once the process serves. */
  begin(): void;
}

/** @throws SCHEMA_CHANGE_REFUSED, LOG_BEHIND_LAKE, REACT_KEY, DESTINATION_UNSET, STATE_UNAVAILABLE and others of the registry */
export async function openPipeline(parts: PipelineParts): Promise<Pipeline> {
  const { project, settings, env, dir, state, log, cluster, admit, logger, clock, lakeFs, opened } = parts;
  const warn = (error: unknown, what: string) => logger.warn({ err: error }, what);
  const lakeStore = opened(await openLakeStore({ dir, settings, fs: lakeFs, clock }), (part) => part.close());
  const { store } = lakeStore;
  await claimSharedLake(lakeStore, log, dir);
  const engine = opened(await openEngine(settings, dir, project, parts.geo, lakeStore.inputs), (part) => part.close());
  const spark = await openSpark({ settings, project, engine, lakeStore, dir, clock });
  if (spark !== undefined) opened(spark, (part) => part.close());
  const reacting = new Reacting(project);
  const sources = new Sources(project);
  let publisher: Publisher | undefined;
  let delivery: Delivering | undefined;
  const flow = opened(
    await Flow.open({
      ...settings,
      retentionMs: settings.historyMs,
      ...{ project, log, engine, store, dataDir: dir, indexFiles: parts.indexFiles, logger, clock },
      virtual: new Map([
        ...runTables(state),
        ...featureTables(project),
        ...functionTable(() => reacting.functions()),
        ...sourceTable(() => sources.statuses()),
        ...workerTable(async () => (await cluster.workers).list()),
      ]),
      reactions: sources.beside(reacting),
      chooseEngine: spark?.chooseEngine,
      ...(cluster.sharing && { shared: cluster.sharing }),
      published: () => published(publisher),
      async publishAgain(table) {
        // Of what others have committed, the newest.
        if (cluster.sharing !== undefined) (await flow.resolve([{ name: table }], "committed")).release();
        await publisher?.again(table);
      },
      redeliver: redelivery(() => delivery),
    }),
    (part) => part.close(),
  );
  const records = await state;
  const { bi, connection } = records;
  publisher = opened(
    publishing({
      ...{ flow, engine, clock, connection: { ...connection, ...(bi && { database: bi.database }) }, report: warn },
      shared: cluster.sharing !== undefined,
    }),
    (part) => part.close(),
  );
  flow.lake.onCommit((table) => publisher?.committed(table));
  const catalogue = new FlowCatalogue(flow);
  const sql = { engine, inspector: engine.inspector, catalogue };
  const orchestration = opened(
    new Orchestration({
      ...{ project, state: records, flow, ...sql, env, settings, clock },
      report: (error, what) => logger.error({ err: error }, what),
      warn: (finding, what) => logger.warn(finding, what),
    }),
    (part) => part.end(),
  );
  const alerting = opened(
    new Alerting({
      ...{ project, flow, log, ...sql, dataDir: dir, fs: lakeFs, clock, report: warn },
      lanes: () => reacting.lanes(),
      store: cluster.sharing && store,
    }),
    (part) => part.stop(),
  );
  delivery = opened(
    new Delivering(
      {
        shouldDeliver: (change, destination) => alerting.shouldDeliver(change, destination),
        ...{ project, flow, log, admit, env, clock, report: warn },
      },
      cluster.sharing && reactPeers(cluster.peers),
    ),
    (part) => part.stop(),
  );
  if (cluster.roles.includes("react")) await delivery.check();
  opened(reacting, (part) => part.close());
  await reacting.open({
    ...{ flow, engine, log, dataDir: dir, admit, settings, clock, logFs: parts.logFs, lakeFs },
    report: warn,
    shared: cluster.sharing && {
      assignment: cluster.roles.includes("react") ? cluster.assignment : undefined,
      ...{ store, records: new LaneRows(state), peers: reactPeers(cluster.peers), worker: cluster.workerId },
      // The group's own membership is told of as it changes.
      owns: async () => undefined,
    },
  });
  opened(sources, (part) => part.close());
  await sources.open({
    ...{ log, admit, env, maxEventBytes: settings.maxEventBytes, report: warn },
    ...(await checkpointPlace({ lakeStore, log, dir, fs: lakeFs, clock })),
    worker: cluster.workerId,
    deadLetters: (letters) => flow.deadLetters(letters),
  });
  const whole = {
    lakeStore,
    engine,
    spark,
    flow,
    catalogue,
    reacting,
    publisher,
    orchestration,
    alerting,
    delivery,
    sources,
  };
  return {
    ...whole,
    begin() {
      const { leases, roles } = cluster;
      const lead = (role: Role, work: LeasedWork) => {
        if (roles.includes(role)) opened(leases.want(role, work), (wanted) => wanted.end());
      };
      lead("orchestrate", {
        gained: (lease) => whole.orchestration.begin(lease),
        lost: (lease) => whole.orchestration.end(lease.signal.aborted ? "at once" : "orderly"),
      });
      lead("react", alertsUnderLease(whole.alerting, whole.delivery));
      lead("serve", { gained: (lease) => whole.publisher.start(fenceOf(lease)), lost: () => whole.publisher.stop() });
      if (cluster.sharing !== undefined) {
        // Whoever recounted before may have raised alerts of the ledger, or ended them.
        const unwatch = cluster.sharing.lead.onChange((held) => held && flow.alerts.forget());
        opened(unwatch, async () => unwatch());
        const watching = new AbortController();
        const watched = watchPublications(whole.publisher, records, watching.signal);
        opened(watching, async () => {
          watching.abort();
          await watched;
        });
      }
      if (roles.includes("flow")) whole.sources.begin();
    },
  };
}

/** What a process needs of the streams that only takes events for them. @throws LAKE_OF_ANOTHER_LOG, and what the log and the store throw */
export async function openStreams(
  { project, settings, dir, log, clock }: Pick<PipelineParts, "project" | "settings" | "dir" | "log" | "clock">,
  lakeFs: FileSystem,
): Promise<undefined> {
  const lakeStore = await openLakeStore({ dir, settings, fs: lakeFs, clock });
  await claimSharedLake(lakeStore, log, dir).finally(() => lakeStore.close());
  const { partitions } = settings;
  await Promise.all([...project.streams.values()].map(({ name }) => log.open(name, { partitions })));
  await log.open(DEAD_LETTER_STREAM, { partitions: 1 });
}
