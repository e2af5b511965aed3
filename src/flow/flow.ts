/**
 * Everything between the log and the tables: staging, flushes, refreshes, look-ups of what is acknowledged but not yet stored,
 * and the ledger over all of it. The platform opens one of these.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { AppendTable, Project, Stream, Table } from "../define/project.ts";
import type { LocalSql, Relation, RunOptions, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { EventLog } from "../log/event-log.ts";
import { compactTable } from "./compact.ts";
import { ACTION_STREAM, ActionLog, actionStream, actionTable, deadLetterView } from "./dead-letter-actions.ts";
import { DeadLetterDesk } from "./dead-letter-desk.ts";
import {
  DEAD_LETTER_TABLE,
  type DeadLetter,
  deadLetterSink,
  deadLetterStream,
  deadLetterTable,
  isInternal,
} from "./dead-letters.ts";
import { flushChunk } from "./flush.ts";
import { LakeTables } from "./lake-tables.ts";
import { hops, type LedgerEntry, ledgerTable } from "./ledger.ts";
import { committedTo } from "./progress.ts";
import { type Receipt, receipt } from "./receipt.ts";
import { Refresher, type RefreshOutcome } from "./refresh.ts";
import {
  isStreamItself,
  type Reach,
  type Reference,
  Relations,
  type RelationsOptions,
  type Resolved,
  unknownTable,
} from "./relations.ts";
import { replayTable } from "./replay.ts";
import { Staging } from "./staging.ts";
import { StreamIndex } from "./stream-index.ts";

/** How often the flow looks at what there is to do. */
const TICK_MS = 100;
/** While somebody queries, staging keeps up by itself so that no query pays for the whole tail. */
const EAGER_MS = 10_000;
const VACUUM_EVERY_MS = 3_600_000;
/** Flushes' worth of a stream's events that may be in memory when a query asks for all of them. */
const MOST_STAGED = 3;

export interface FlowOptions {
  readonly project: Project;
  readonly log: EventLog;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly store: ObjectStore;
  /** Local folder the store's keys are relative to. */
  readonly lakeRoot: string;
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
}

interface StreamState {
  readonly stream: Stream;
  readonly stagings: readonly Staging[];
  /** True while staging ahead of queries. */
  staging: boolean;
  flushing: Promise<void> | undefined;
  lastFlushMs: number;
  /** Why the last flush failed; undefined when it did not. */
  failure: string | undefined;
}

export class Flow {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly relations: Relations;
  readonly refresher: Refresher;
  readonly deadLetterDesk: DeadLetterDesk;
  readonly #o: FlowOptions;
  /** By `stream/partition`; streams without an id have none. */
  readonly #indexes: ReadonlyMap<string, StreamIndex>;
  readonly #actions: ActionLog;
  readonly #streams = new Map<string, StreamState>();
  readonly #compacting = new Set<string>();
  readonly #background = new Set<Promise<void>>();
  #tick: NodeJS.Timeout | undefined;
  #lastQueryMs = 0;
  #lastVacuumMs: number;
  #lastWorkMs = 0;

  private constructor(o: FlowOptions, project: Project, lake: LakeTables, indexes: ReadonlyMap<string, StreamIndex>) {
    this.#o = o;
    this.#indexes = indexes;
    this.project = project;
    this.lake = lake;
    this.#lastVacuumMs = o.clock();
    const stagings = new Map<string, readonly Staging[]>();
    for (const stream of project.streams.values()) {
      const parts = Array.from({ length: o.log.partitions(stream.name) }, (_, p) => this.#staging(stream, p));
      const idle = { flushing: undefined, staging: false, lastFlushMs: o.clock(), failure: undefined };
      this.#streams.set(stream.name, { stream, stagings: parts, ...idle });
      stagings.set(stream.name, parts);
    }
    const relations: RelationsOptions = {
      project,
      lake,
      stagings,
      virtual: new Map([
        ["system.ledger", ledgerTable(project, lake, o.log)],
        [DEAD_LETTER_TABLE, deadLetterView()],
      ]),
      load: (streams) => this.#load(streams),
    };
    this.relations = new Relations(relations);
    this.refresher = new Refresher({
      project,
      lake,
      engine: o.engine,
      relations,
      debounceMs: o.refreshDebounceMs,
      logger: o.logger,
    });
    this.relations.use(this.refresher);
    this.#actions = new ActionLog(o.log, o.clock);
    this.deadLetterDesk = new DeadLetterDesk({
      project,
      lake,
      log: o.log,
      engine: o.engine,
      relations: this.relations,
      actions: this.#actions,
      deadLetters: (letters) => this.deadLetters(letters),
      flush: (stream) => this.flush([stream]),
      alone: (stream, work) => this.#alone(this.#state(stream), work),
      changed: (tables) => this.#changed(tables),
    });
  }

  /** Opens the log's streams and the tables, recovers what a crash left, and begins to flush and refresh. */
  static async open(o: FlowOptions): Promise<Flow> {
    const project = withPlatformTables(o.project, o.horizonMs);
    await Promise.all(
      [...project.streams.keys()].map((stream) =>
        o.log.open(stream, { partitions: isInternal(stream) ? 1 : o.partitions }),
      ),
    );
    const tempDir = join(o.dataDir, "tmp", "stage");
    await rm(tempDir, { recursive: true, force: true });
    await mkdir(tempDir, { recursive: true });
    await o.engine.local.run("create schema if not exists stage");
    const lake = await LakeTables.open(o.store, o.lakeRoot, o.engine, project, o);
    for (const stream of project.streams.keys()) checkLogReachesLake(o.log, lake, project, stream);
    const flow = new Flow(o, project, lake, await openIndexes(o, project, lake));
    await flow.#releaseStored();
    flow.#tick = setInterval(() => flow.#work(), TICK_MS);
    flow.refresher.changed(lake.names());
    if (o.log.ends(ACTION_STREAM, 0).end > 0) flow.#inBackground(flow.deadLetterDesk.settle(), "settling dead letters");
    return flow;
  }

  /** Relations that show every event acknowledged before the call (or only committed ones). */
  resolve(references: readonly Reference[], reach: Reach = "acknowledged"): Promise<Resolved> {
    this.#lastQueryMs = this.#o.clock();
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
    return receipt({ ...parts, nowMs: clock() }, stream, id, options);
  }

  ledger(): LedgerEntry[] {
    return hops(this.project, this.lake, this.#o.log);
  }

  /** Streams whose last flush failed, with the reason. */
  failures(): Record<string, string> {
    const failed = [...this.#streams.values()].filter((state) => state.failure !== undefined);
    return Object.fromEntries(failed.map((state) => [state.stream.name, state.failure ?? ""]));
  }

  /** Stores every event acknowledged before the call in all tables of its stream. */
  async flush(streams: Iterable<string> = this.#streams.keys()): Promise<void> {
    for (const name of streams) {
      const state = this.#state(name);
      const ends = state.stagings.map((s) => this.#o.log.ends(name, s.partition).end);
      while (state.stagings.some((s, i) => this.#firstUnflushed(s) < (ends[i] ?? 0))) {
        await this.#flush(state);
        if (state.failure !== undefined)
          throw new MillraceError("FLUSH_FAILED", { stream: name, reason: state.failure });
      }
    }
  }

  /** Recomputes a refreshed table now. @throws REFRESH_NOT_POSSIBLE, and what the engine throws. */
  async refresh(table: string, options: RunOptions & { full?: boolean } = {}): Promise<RefreshOutcome> {
    if (!this.project.tables.has(table)) throw unknownTable(table, this.project.tables.keys());
    const outcome = await this.refresher.refresh(table, options);
    if (outcome.kind !== "none") this.refresher.changed([table]);
    return outcome;
  }

  /** Rebuilds a table: append tables from bronze, refreshed ones from their inputs. Resolves to the new version. */
  async replay(name: string, options: RunOptions = {}): Promise<number> {
    const table = this.project.tables.get(name);
    if (!table) throw unknownTable(name, this.project.tables.keys());
    if (table.mode === "refresh") return (await this.refresh(name, { ...options, full: true })).version;
    const state = this.#state(table.stream);
    await this.flush([table.stream]);
    const parts = {
      ...{ project: this.project, lake: this.lake, engine: this.#o.engine, relations: this.relations },
      actions: this.#actions,
      deadLetters: (letters: readonly DeadLetter[]) => this.deadLetters(letters),
      partitions: state.stagings.length,
    };
    const version = await this.deadLetterDesk.inTurn(() =>
      this.#alone(state, () => replayTable(parts, table, options)),
    );
    this.refresher.changed([name]);
    return version;
  }

  /**
   * Ends all work. Unless `drain` is false, what is staged is stored and what depends on it refreshed first; either way nothing
   * acknowledged is lost, since the log has it.
   */
  async close({ drain = true }: { drain?: boolean } = {}): Promise<void> {
    clearInterval(this.#tick);
    await Promise.allSettled([...this.#streams.values()].map((state) => state.flushing));
    try {
      if (drain) {
        await this.flush();
        await this.refresher.settle();
      }
    } finally {
      await this.refresher.close();
      await Promise.allSettled(this.#background);
      for (const index of this.#indexes.values()) await index.close();
      await this.lake.close();
    }
  }

  /** Tells the log what every table has, since it remembers that only while it runs. */
  async #releaseStored(): Promise<void> {
    for (const { stream, stagings } of this.#streams.values()) {
      for (const staging of stagings) await this.#o.log.release(stream.name, staging.partition, staging.end);
    }
  }

  #state(stream: string): StreamState {
    const state = this.#streams.get(stream);
    if (!state) throw new MillraceError("INTERNAL", { what: `looking up stream ${stream}` });
    return state;
  }

  #firstUnflushed(staging: Staging): number {
    return staging.chunks[0]?.from ?? staging.end;
  }

  #work(): void {
    const now = this.#o.clock();
    if (now < this.#lastWorkMs) this.#clockWentBack(now);
    this.#lastWorkMs = now;
    for (const state of this.#streams.values()) {
      const { stagings, stream } = state;
      const waiting = stagings.some((s) => this.#firstUnflushed(s) < this.#o.log.ends(stream.name, s.partition).end);
      if (!waiting) {
        state.lastFlushMs = now;
        continue;
      }
      const bytes = stagings.reduce(
        (sum, staging) => sum + staging.bytesBefore(this.#o.log.ends(stream.name, staging.partition).end),
        0,
      );
      const due = now - state.lastFlushMs >= this.#o.flushIntervalMs || bytes >= this.#o.flushBytes;
      if (due && !state.flushing) void this.#flush(state);
      else if (now - this.#lastQueryMs < EAGER_MS && !state.staging) {
        state.staging = true;
        const work = this.#load(new Set([stream.name])).finally(() => {
          state.staging = false;
        });
        this.#inBackground(work, "staging");
      }
    }
    if (now - this.#lastVacuumMs > VACUUM_EVERY_MS) {
      this.#lastVacuumMs = now;
      this.#inBackground(this.#vacuum(now), "vacuum");
    }
  }

  /** What waits for a moment counts from now: else it would wait until the clock is where it was before it was set back. */
  #clockWentBack(now: number): void {
    for (const state of this.#streams.values()) state.lastFlushMs = Math.min(state.lastFlushMs, now);
    this.#lastQueryMs = Math.min(this.#lastQueryMs, now);
    this.#lastVacuumMs = Math.min(this.#lastVacuumMs, now);
  }

  /**
   * Stages what was acknowledged before the call. A long tail, as after a crash under load, is stored first, so that memory holds
   * only its end.
   */
  async #load(streams: ReadonlySet<string>): Promise<void> {
    await Promise.all(
      [...streams].flatMap((name) => {
        const state = this.#state(name);
        return state.stagings.map(async (staging) => {
          const { end } = this.#o.log.ends(name, staging.partition);
          while (staging.bytesBefore(end) > MOST_STAGED * this.#o.flushBytes && state.failure === undefined) {
            await this.#flush(state);
          }
          await staging.loadTo(end);
        });
      }),
    );
  }

  /** Does work while nothing of the stream is flushed. */
  async #alone<T>(state: StreamState, work: () => Promise<T>): Promise<T> {
    while (state.flushing) await state.flushing;
    const running = work();
    state.flushing = running.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await running;
    } finally {
      state.flushing = undefined;
    }
  }

  #changed(tables: readonly string[]): void {
    this.refresher.changed(tables);
    for (const table of tables) this.#compactLater(table);
  }

  async #flush(state: StreamState): Promise<void> {
    while (state.flushing) await state.flushing;
    state.flushing = this.#flushOnce(state).then(
      () => {
        state.failure = undefined;
      },
      (error: unknown) => {
        state.failure = error instanceof Error ? error.message : String(error);
        this.#o.logger.error({ err: error, stream: state.stream.name }, "flush failed; it is tried again");
      },
    );
    await state.flushing;
    state.flushing = undefined;
    state.lastFlushMs = this.#o.clock();
  }

  async #flushOnce(state: StreamState): Promise<void> {
    const { stream } = state;
    for (const staging of state.stagings) {
      const chunk = await staging.seal();
      if (!chunk) continue;
      // Its failure is that of the next seal, which does the same again and reports it.
      const ahead = staging.stageAhead().catch(() => undefined);
      const tables = await flushChunk(
        { project: this.project, lake: this.lake, local: this.#o.engine.local },
        stream,
        staging,
        chunk,
      );
      await this.#indexes.get(`${stream.name}/${staging.partition}`)?.commit(chunk.to);
      staging.drop(chunk);
      await this.#o.log.release(stream.name, staging.partition, chunk.to + 1);
      this.#changed(tables);
      await ahead;
    }
  }

  async #vacuum(nowMs: number): Promise<void> {
    const removed = await this.lake.vacuum(this.#o.retentionMs, nowMs);
    this.#o.logger.info(removed, "vacuum");
  }

  #compactLater(name: string): void {
    if (this.#compacting.has(name)) return;
    this.#compacting.add(name);
    const work = compactTable(this.lake, this.lake.get(name)).finally(() => this.#compacting.delete(name));
    this.#inBackground(work, "compaction");
  }

  #inBackground(work: Promise<unknown>, what: string): void {
    const watched = work
      .then(
        () => undefined,
        (error: unknown) => this.#o.logger.error({ err: error }, `${what} failed; it is tried again`),
      )
      .finally(() => this.#background.delete(watched));
    this.#background.add(watched);
  }

  #staging(stream: Stream, partition: number): Staging {
    const { log, engine, dataDir, flushBytes } = this.#o;
    const tables = appendTables(this.project, stream.name);
    const snapshots = [`bronze.${stream.name}`, ...tables.map((t) => t.name)].map(
      (name) => this.lake.get(name).snapshot,
    );
    return new Staging({
      stream,
      partition,
      tables: tables.filter((table) => !isStreamItself(table)),
      storedColumns: (table) => this.lake.get(table.name).columns,
      log,
      local: engine.local,
      index: this.#indexes.get(`${stream.name}/${partition}`),
      tempDir: join(dataDir, "tmp", "stage"),
      maxEventBytes: this.#o.maxEventBytes,
      chunkBytes: flushBytes,
      lookups: (table) => this.#lookups(table),
      deadLetters: (letters) => this.deadLetters(letters),
      from: Math.min(...snapshots.map((snapshot) => committedTo(snapshot, stream.name, partition))) + 1,
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

function withPlatformTables(project: Project, horizonMs: number): Project {
  const streams = [deadLetterStream(horizonMs), actionStream(horizonMs)];
  const tables = [deadLetterTable(), actionTable()];
  const named = <T extends { name: string }>(parts: readonly T[]) => parts.map((part) => [part.name, part] as const);
  return {
    ...project,
    streams: new Map([...project.streams, ...named(streams)]),
    tables: new Map<string, Table>([...named(tables), ...project.tables]),
  };
}

/** A log that ends before what the tables hold would give new events offsets that are taken, and they would be skipped. */
function checkLogReachesLake(log: EventLog, lake: LakeTables, project: Project, stream: string): void {
  const tables = [`bronze.${stream}`, ...appendTables(project, stream).map((table) => table.name)];
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    const { end } = log.ends(stream, partition);
    for (const name of tables) {
      const committed = committedTo(lake.get(name).snapshot, stream, partition);
      if (committed >= end) {
        throw new MillraceError("LOG_BEHIND_LAKE", { stream, partition, end, table: name, committed });
      }
    }
  }
}

async function openIndexes(o: FlowOptions, project: Project, lake: LakeTables): Promise<Map<string, StreamIndex>> {
  const indexes = new Map<string, StreamIndex>();
  for (const stream of project.streams.values()) {
    if (stream.id.length === 0) continue;
    for (let partition = 0; partition < o.log.partitions(stream.name); partition++) {
      const dir = join(o.dataDir, "dedupe", stream.name, String(partition));
      const index = await StreamIndex.open({
        dir,
        engine: o.engine,
        lake,
        stream,
        partition,
        filesModule: o.indexFiles,
      });
      indexes.set(`${stream.name}/${partition}`, index);
    }
  }
  return indexes;
}
