/**
 * Everything between the log and the tables: staging, flushes, refreshes, look-ups of what is acknowledged but not yet stored,
 * and the ledger over all of it. The platform opens one of these.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { AppendTable, Project, Stream } from "../define/project.ts";
import type { LocalSql, Relation, RunOptions, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { EventLog, Run } from "../log/event-log.ts";
import { AlertRecords } from "./alert-records.ts";
import { ALERT_TABLE, Alerts, alertView } from "./alerts.ts";
import { Background } from "./background.ts";
import { CatchUp, type TableBeingBuilt } from "./catch-up.ts";
import type { ChooseEngine } from "./choose-engine.ts";
import { ACTION_STREAM, ActionLog, deadLetterView } from "./dead-letter-actions.ts";
import { DeadLetterDesk } from "./dead-letter-desk.ts";
import { DEAD_LETTER_TABLE, type DeadLetter, deadLetterSink, isInternal } from "./dead-letters.ts";
import type { Redeliver } from "./deliver-letters.ts";
import { DELIVERY_TABLE, DeliveryRecords, deliveryView } from "./deliveries.ts";
import { Following, storedInAll } from "./following.ts";
import { waitingNoMore } from "./held-tables.ts";
import { LakeTables } from "./lake-tables.ts";
import { hops, type LedgerEntry, ledgerTable, type Published, publishHops, type Recounted } from "./ledger.ts";
import { OWNS_ALL, type Ownership, SharedOwnership } from "./ownership.ts";
import { withPlatformTables } from "./platform-tables.ts";
import { committedPartitions, committedTo } from "./progress.ts";
import { PublishLetters } from "./publish-letters.ts";
import { NO_REACTIONS, type Reactions, reactionHops } from "./reactions.ts";
import { type Receipt, receipt } from "./receipt.ts";
import type { Imbalance } from "./recount/imbalance.ts";
import { Recount, type RecountFigures } from "./recount/recount.ts";
import { Refresher, type RefreshOutcome } from "./refresh.ts";
import { RefreshLetters } from "./refresh-letters.ts";
import {
  isStreamItself,
  type Reach,
  type Reference,
  Relations,
  type RelationsOptions,
  type Resolved,
  unknownTable,
  type VirtualTable,
} from "./relations.ts";
import { Repetitions } from "./repetitions.ts";
import { type ReplayedTable, type ReplayOptions, type ReplayOutcome, type ReplayRequest, Replays } from "./replay.ts";
import type { Sharing } from "./sharing.ts";
import { SILENCE_TABLE, SilenceRecords, silenceView } from "./silences.ts";
import { Staging } from "./staging.ts";
import { withHistory } from "./stream-history.ts";
import type { StreamIndex } from "./stream-index.ts";
import { openIndexes } from "./stream-indexes.ts";

export interface FlowOptions {
  readonly project: Project;
  readonly log: EventLog;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly store: ObjectStore;
  readonly dataDir: string;
  /** URL of the module that is the disk of the duplicate indexes; the real one unless given. */
  readonly indexFiles?: string | undefined;
  readonly flushIntervalMs: number;
  readonly flushBytes: number;
  readonly maxEventBytes: number;
  readonly refreshDebounceMs: number;
  readonly retentionMs: number;
  readonly horizonMs: number;
  readonly partitions: number;
  readonly logger: Logger;
  readonly clock: () => number;
  /** Further relations that are computed when they are read, by name: records that are not in the lake. */
  readonly virtual?: ReadonlyMap<string, VirtualTable>;
  /** How tables stand that are published elsewhere. */
  readonly published?: () => readonly Published[];
  /** What reacts to events beside the flow. */
  readonly reactions?: Reactions;
  /** Publishes a table again, all of its rows. */
  readonly publishAgain?: (table: string) => Promise<void>;
  /** Sends a change of an alert to a destination again. */
  readonly redeliver?: Redeliver;
  /** What this process shares with others; undefined for one that works alone. */
  readonly shared?: Sharing;
  /** Who computes what refreshes store; the embedded engine unless given. */
  readonly chooseEngine?: ChooseEngine | undefined;
}

export class Flow {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly relations: Relations;
  readonly refresher: Refresher;
  readonly deadLetterDesk: DeadLetterDesk;
  readonly alerts: Alerts;
  readonly alertRecords: AlertRecords;
  readonly silences: SilenceRecords;
  readonly deliveries: DeliveryRecords;
  readonly publishLetters: PublishLetters;
  readonly #o: FlowOptions;
  readonly #reactions: Reactions;
  /** By `stream/partition`; streams without an id have none. */
  readonly #indexes: ReadonlyMap<string, StreamIndex>;
  /** By `stream/partition`, once asked for. */
  readonly #repetitions = new Map<string, Repetitions>();
  readonly #actions: ActionLog;
  readonly #background: Background;
  readonly #replays: Replays;
  readonly #catchUp: CatchUp;
  readonly #recount: Recount;
  readonly #ownership: Ownership | SharedOwnership;
  /** Undefined for a process that works alone. */
  readonly #following: Following | undefined;
  #crashing = false;

  private constructor(o: FlowOptions, project: Project, lake: LakeTables, indexes: ReadonlyMap<string, StreamIndex>) {
    this.#o = o;
    this.#reactions = o.reactions ?? NO_REACTIONS;
    this.#indexes = indexes;
    this.project = project;
    this.lake = lake;
    this.#ownership = o.shared ? new SharedOwnership() : OWNS_ALL;
    const ownership = this.#ownership;
    const shared = o.shared !== undefined;
    const leads = () => o.shared?.lead.held() ?? true;
    const stagings = new Map<string, readonly Staging[]>();
    for (const stream of project.streams.values()) {
      const parts = lake.held(`bronze.${stream.name}`)
        ? []
        : Array.from({ length: o.log.partitions(stream.name) }, (_, p) => this.#staging(stream, p));
      stagings.set(stream.name, parts);
    }
    const recounted: Recounted = {
      verified: (hop, partition) => this.#recount.verified(hop, partition),
      imbalances: () => this.#recount.imbalances(),
    };
    const virtual = new Map([
      ...(o.virtual ?? []),
      ["system.ledger", ledgerTable(project, lake, o.log, recounted, this.#reactions, o.published, shared)],
      [DEAD_LETTER_TABLE, deadLetterView()],
      [ALERT_TABLE, alertView()],
      [SILENCE_TABLE, silenceView()],
      [DELIVERY_TABLE, deliveryView()],
    ] as const);
    this.#following =
      o.shared &&
      new Following({
        ...{ project, lake, log: o.log, stagings, virtual, ownership, notices: o.shared.notices, logger: o.logger },
        changed: (tables) => this.#background.changed(tables),
        alone: (stream, work) => this.#background.alone(stream, work),
      });
    const following = this.#following;
    const relations: RelationsOptions = {
      ...{ project, lake, stagings, virtual },
      load: (streams) => this.#background.load(streams),
      bring: following && ((names, streams) => following.bring(names, streams)),
    };
    this.relations = new Relations(relations);
    this.#actions = new ActionLog(o.log, o.clock);
    this.refresher = new Refresher({
      project,
      lake,
      engine: o.engine,
      chooseEngine: o.chooseEngine,
      relations,
      letters: new RefreshLetters({
        ...{ engine: o.engine, relations: this.relations, actions: this.#actions, shared, clock: o.clock },
        deadLetters: (letters) => this.deadLetters(letters),
      }),
      ...{ debounceMs: o.refreshDebounceMs, leads, logger: o.logger },
    });
    this.relations.use(this.refresher);
    this.publishLetters = new PublishLetters({
      ...{ engine: o.engine, relations: this.relations, actions: this.#actions },
      deadLetters: (letters) => this.deadLetters(letters),
    });
    this.#background = new Background({
      ...{ project, lake, log: o.log, local: o.engine.local, indexes, stagings, refresher: this.refresher },
      ...{ flushIntervalMs: o.flushIntervalMs, flushBytes: o.flushBytes, retentionMs: o.retentionMs },
      ...{ ownership, leads, following: () => following, logger: o.logger, clock: o.clock },
      floor: (stream, partition) => this.#reactions.floor(stream, partition),
      build: () => this.#catchUp.start(),
    });
    this.deadLetterDesk = new DeadLetterDesk({
      project,
      lake,
      log: o.log,
      engine: o.engine,
      relations: this.relations,
      actions: this.#actions,
      deadLetters: (letters) => this.deadLetters(letters),
      flush: (stream) => this.flush([stream]),
      alone: (stream, work) => this.#alone(stream, work),
      turn: (work) => o.shared?.turns.inTurn("dead-letters", work) ?? work(),
      refreshAgain: (table, actor) => this.refresher.retry(table, actor),
      publishAgain: async (table) => {
        await o.publishAgain?.(table);
        return this.publishLetters.openLetters(table);
      },
      reactions: this.#reactions,
      redeliver: (destination, offset, change) => {
        if (o.redeliver === undefined) throw new MillraceError("INTERNAL", { what: "sending a change again" });
        return o.redeliver(destination, offset, change);
      },
      changed: (tables) => this.#background.changed(tables),
    });
    const builds = {
      ...{ project, lake, log: o.log, engine: o.engine, dataDir: o.dataDir },
      ...{
        flushBytes: o.flushBytes,
        maxEventBytes: o.maxEventBytes,
        relations: this.relations,
        actions: this.#actions,
      },
      lookups: (table: AppendTable) => this.#lookups(table),
      deadLetters: (letters: readonly DeadLetter[]) => this.deadLetters(letters),
    };
    this.#catchUp = new CatchUp({
      ...builds,
      readmit: (stream, tables, last) => this.#background.readmit(stream, tables, last),
      changed: (tables) => this.#background.changed(tables),
      ...{ leads, shared, logger: o.logger },
    });
    this.#replays = new Replays({
      ...{ ...builds, clock: o.clock, refresher: this.refresher, desk: this.deadLetterDesk },
      held: (table) => lake.held(table) !== undefined,
      flush: (stream) => this.flush([stream]),
      alone: (stream, work) => this.#alone(stream, work),
      changed: (tables) => this.#background.changed(tables),
    });
    const records = { log: o.log, engine: o.engine, relations: this.relations };
    this.alertRecords = new AlertRecords(records);
    this.silences = new SilenceRecords(records);
    this.alerts = new Alerts({ log: o.log, engine: o.engine, relations: this.relations, clock: o.clock });
    this.deliveries = new DeliveryRecords({
      ...{ log: o.log, engine: o.engine, relations: this.relations, clock: o.clock },
    });
    this.#recount = new Recount({
      ...{ project, lake, log: o.log, engine: o.engine, relations: this.relations, alerts: this.alerts },
      ...{ leads, logger: o.logger, clock: o.clock },
      exclusively: (stream, work) => this.deadLetterDesk.inTurn(() => this.#alone(stream, work)),
      fresh: following && (() => following.refresh(lake.names())),
    });
  }

  /** Opens the log's streams and the tables, recovers what a crash left, and begins to flush and refresh. */
  static async open(o: FlowOptions): Promise<Flow> {
    const defined = withPlatformTables(o.project, o.horizonMs);
    await Promise.all(
      [...defined.streams.values()].map(({ name, partitions = o.partitions }) =>
        o.log.open(name, { partitions: isInternal(name) ? 1 : partitions }),
      ),
    );
    const tempDir = join(o.dataDir, "tmp", "stage");
    await rm(tempDir, { recursive: true, force: true });
    await mkdir(tempDir, { recursive: true });
    await o.engine.local.run("create schema if not exists stage");
    const lake = await LakeTables.open(o.store, o.engine, defined, o);
    for (const [table, { file, reason, remedy }] of lake.unavailable()) {
      o.logger.error({ table, file, reason, remedy }, "a table is unavailable");
    }
    const project = await withHistory(defined, lake, o.log, o.dataDir);
    await o.log.refresh(); // behind the tables, which others may have gone on with
    for (const stream of project.streams.keys()) checkLogReachesLake(o.log, lake, project, stream);
    const indexes = await openIndexes({ ...o, project, lake, shared: o.shared !== undefined });
    const flow = new Flow(o, project, lake, indexes);
    await flow.#background.start();
    await flow.#share();
    flow.#catchUp.start();
    flow.#recount.start();
    flow.refresher.changed(lake.names());
    if (o.log.ends(ACTION_STREAM, 0).end > 0) {
      flow.#background.run(flow.deadLetterDesk.settle(), "settling dead letters");
    }
    return flow;
  }

  /** Takes this process's share of what several do, and hears of the others from then on. */
  async #share(): Promise<void> {
    const { shared, logger } = this.#o;
    if (!shared || !(this.#ownership instanceof SharedOwnership)) return;
    this.#following?.start();
    // What became due while another process led is found out by looking at everything once.
    shared.lead.onChange((held) => held && this.refresher.changed(this.lake.names()));
    if (shared.assignment === undefined) return;
    await this.#ownership.join(shared.assignment, {
      streams: [...this.project.streams.keys()],
      gained: async (partitions) => this.#following?.bring([], new Set(partitions.map(({ stream }) => stream))),
      lost: (partitions, last) => this.#background.handOver(partitions, last && !this.#crashing),
      failed: (error, what) => logger.error({ err: error }, `${what} failed`),
    });
  }

  /** Does work while nothing of a stream is flushed here, with all at hand that other processes have committed. */
  #alone<T>(stream: string, work: () => Promise<T>): Promise<T> {
    return this.#background.alone(stream, async () => {
      await this.#following?.bring([], new Set([stream]));
      return work();
    });
  }

  /** Relations that show every event acknowledged before the call (or only committed ones). */
  resolve(references: readonly Reference[], reach: Reach = "acknowledged"): Promise<Resolved> {
    this.#background.queried();
    return this.relations.resolve(references, reach);
  }

  /** Makes dead letters durable; they are in `system.dead_letters` from then on. */
  deadLetters(letters: readonly DeadLetter[]): Promise<void> {
    return deadLetterSink(this.#o.log, this.#o.clock)(letters);
  }

  /** What became of an event, hop by hop. @throws STREAM_UNKNOWN, EVENT_UNKNOWN */
  receipt(stream: string, id: string, options: { older?: boolean } = {}): Promise<Receipt> {
    const { log, engine, clock } = this.#o;
    const index = (partition: number) => this.#indexes.get(`${stream}/${partition}`);
    const parts = { project: this.project, lake: this.lake, relations: this.relations, log, engine, index };
    return receipt({ ...parts, reactions: this.#reactions, nowMs: clock() }, stream, id, options);
  }

  /** Offsets of a run's events that repeat earlier ones, as the tables decide it, stored or not yet; none of a stream without an id. */
  async repetitions(stream: string, partition: number, run: Run): Promise<readonly number[]> {
    const known = this.project.streams.get(stream);
    if (known === undefined || known.id.length === 0) return [];
    const name = `${stream}/${partition}`;
    let repetitions = this.#repetitions.get(name);
    if (repetitions === undefined) {
      this.lake.check(`bronze.${stream}`);
      const index = this.#indexes.get(name);
      if (index === undefined) throw new MillraceError("INTERNAL", { what: `looking up the ids of ${name}` });
      const { log, engine } = this.#o;
      repetitions = new Repetitions({ stream: known, partition, log, lake: this.lake, engine, index });
      this.#repetitions.set(name, repetitions);
    }
    return repetitions.of(run);
  }

  ledger(): LedgerEntry[] {
    return [
      ...hops(this.project, this.lake, this.#o.log, this.#recount, this.#o.shared !== undefined),
      ...reactionHops(this.#reactions, this.#o.log),
      ...publishHops(this.#o.published),
    ];
  }

  /** Brings what this process tells of tables and log (`ledger`) up to what others have done; nothing in a process that works alone. */
  async fresh(): Promise<void> {
    await this.#following?.all();
  }

  /** What the recount has found not to balance: in the hops of the ledger, and in the files of any table. */
  imbalances(): Imbalance[] {
    return this.#recount.imbalances();
  }

  /** How much the recount has counted. */
  recounted(): RecountFigures {
    return this.#recount.figures();
  }

  /** Counts every file of every table now instead of little by little. Resolves to what does not balance. */
  verifyLedger(): Promise<Imbalance[]> {
    return this.#recount.verify();
  }

  /** Streams whose last flush failed, with the reason. */
  failures(): Record<string, string> {
    return this.#background.failures();
  }

  /** Tables that cannot be read, or not all of them, with the reason and what to do. */
  unavailable(): Record<string, string> {
    const held = [...this.lake.unavailable()].flatMap(([table, { file, reason, remedy, builds }]) =>
      builds ? [] : [[table, `${file === undefined ? reason : `${file} ${reason}`}. ${remedy}`]],
    );
    const partly = this.lake
      .damagedFiles()
      .map(({ table, file, reason, range, remedy }) => [table, `${file} ${reason}; it holds ${range}. ${remedy}`]);
    return Object.fromEntries([...partly, ...held]);
  }

  /** Tables that the platform is building from bronze; queries of them end with an error until they are complete. */
  building(): TableBeingBuilt[] {
    return this.#catchUp.building();
  }

  /** Resolves once every table that could be built is complete. */
  built(): Promise<void> {
    return this.#catchUp.settled();
  }

  /** Compares every data file of every table with its checksum now instead of little by little. */
  scrub(): Promise<void> {
    return this.#background.scrub();
  }

  /** Stores every event acknowledged before the call in all tables of its stream. */
  flush(streams?: Iterable<string>): Promise<void> {
    return this.#background.flush(streams);
  }

  /** Refreshed tables that keep older rows since their SQL fails on the data, with the reason. */
  refreshFailures(): Record<string, string> {
    return this.refresher.failures();
  }

  /** Recomputes a refreshed table now. @throws REFRESH_NOT_POSSIBLE, REFRESH_FAILED, and what the engine throws. */
  async refresh(table: string, options: RunOptions & { full?: boolean } = {}): Promise<RefreshOutcome> {
    if (!this.project.tables.has(table)) throw unknownTable(table, this.project.tables.keys());
    return this.refresher.refresh(table, { ...options, failing: true });
  }

  /** Rebuilds a table and what is over it. @throws what `Replays.replay` does */
  async replay(name: string, request: ReplayRequest = {}, options: ReplayOptions = {}): Promise<ReplayOutcome> {
    const table = this.project.tables.get(name);
    if (this.lake.held(name)?.builds) this.lake.check(name);
    const replay = async () => {
      if (table?.mode !== "append" || !this.lake.held(name)) return this.#replays.replay(name, request, options);
      const tables = await this.#bringBack(table, options);
      return { version: this.lake.get(name).snapshot.version, tables };
    };
    return this.#o.shared?.turns.inTurn("replay", replay) ?? replay();
  }

  /**
   * Builds a table that stands still from bronze and lets it take events again, and with it those that waited for it alone. What waits
   * for its stream's bronze must wait on.
   */
  async #bringBack(table: AppendTable, options: ReplayOptions): Promise<ReplayedTable[]> {
    this.lake.get(`bronze.${table.stream}`);
    await this.lake.restart(table);
    let tables: ReplayedTable[] = [];
    let back = false;
    // A flush that comes between the two leaves the table behind once more; the next replay is as right as the first.
    for (let attempt = 0; attempt < 5 && !back; attempt++) {
      tables = [...(await this.#replays.replay(table.name, { only: true }, options)).tables];
      back = await this.#background.readmit(table.stream, [table]);
    }
    if (!back) throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
    for (const waiting of waitingNoMore(this.project, this.lake)) {
      // One that came back may have brought it along.
      if (this.lake.held(waiting.name)) tables.push(...(await this.#bringBack(waiting, options)));
    }
    this.refresher.changed([table.name]);
    return tables;
  }

  /**
   * Ends all work. Unless `drain` is false, what is staged is stored and what depends on it refreshed first; either way nothing
   * acknowledged is lost, since the log has it.
   */
  async close({ drain = true }: { drain?: boolean } = {}): Promise<void> {
    this.#crashing = !drain;
    await this.#recount.stop();
    await this.#catchUp.stop();
    await this.#replays.close();
    await this.#ownership.leave();
    await this.#background.stop();
    try {
      if (drain) {
        if (!this.#o.shared) await this.flush(); // what leaves with the partitions has been stored
        await this.refresher.settle();
      }
    } finally {
      await this.#following?.stop();
      await this.refresher.close();
      await this.#background.ended();
      for (const index of this.#indexes.values()) await index.close();
      await this.lake.close();
    }
  }

  #staging(stream: Stream, partition: number): Staging {
    const { log, engine, dataDir, flushBytes } = this.#o;
    const tables = appendTables(this.project, stream.name).filter((table) => !this.lake.held(table.name));
    return new Staging({
      stream,
      partition,
      tables: tables.filter((table) => !isStreamItself(table)),
      storedColumns: (table) => this.lake.get(table.name).columns,
      held: (table) => this.lake.held(table) !== undefined,
      log,
      local: engine.local,
      index: this.#indexes.get(`${stream.name}/${partition}`),
      tempDir: join(dataDir, "tmp", "stage"),
      maxEventBytes: this.#o.maxEventBytes,
      chunkBytes: flushBytes,
      lookups: (table) => this.#lookups(table),
      deadLetters: (letters) => this.deadLetters(letters),
      stores: () => this.#ownership.owns(stream.name, partition),
      from: storedInAll(this.project, this.lake, stream.name, partition) + 1,
    });
  }

  /**
   * The look-up tables of an append table. Their streams are brought up to date first, so that a look-up row acknowledged before
   * an event is there for it; where two streams look each other up, the one being staged is taken as far as it is.
   */
  #lookups(table: AppendTable): Promise<{ inputs: Map<string, Relation>; release(): void }> {
    const names = table.inputs.filter((input) => input !== table.driver);
    const mutual = names.some((name) => this.#readsStream(name, table.stream));
    return this.relations.resolve(
      names.map((name) => ({ name })),
      mutual ? "committed" : "acknowledged",
    );
  }

  /** True when bringing `name` up to date would stage `stream`. */
  #readsStream(name: string, stream: string, seen = new Set<string>()): boolean {
    if (seen.has(name)) return false;
    seen.add(name);
    const table = this.project.tables.get(name);
    if (!table) return name === stream || name === `bronze.${stream}`;
    if (table.mode === "append" && table.stream === stream) return true;
    const staged = table.mode === "append" ? appendTables(this.project, table.stream).flatMap((t) => t.inputs) : [];
    return [...table.inputs, ...staged].some((input) => this.#readsStream(input, stream, seen));
  }
}

function appendTables(project: Project, stream: string): AppendTable[] {
  return [...project.tables.values()].filter((t): t is AppendTable => t.mode === "append" && t.stream === stream);
}

/** A log that ends before what the tables hold would give new events offsets that are taken, and they would be skipped. */
function checkLogReachesLake(log: EventLog, lake: LakeTables, project: Project, stream: string): void {
  const tables = [`bronze.${stream}`, ...appendTables(project, stream).map((table) => table.name)];
  const has = log.partitions(stream);
  for (const table of tables) {
    const had = lake.has(table) ? committedPartitions(lake.get(table).snapshot, stream) : 0;
    if (had > has) throw new MillraceError("LOG_PARTITIONS_FEWER", { stream, has, had, table });
  }
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    const { end } = log.ends(stream, partition);
    for (const name of tables) {
      if (!lake.has(name)) continue;
      const committed = committedTo(lake.get(name).snapshot, stream, partition);
      if (committed >= end) {
        throw new MillraceError("LOG_BEHIND_LAKE", { stream, partition, end, table: name, committed });
      }
    }
  }
}
