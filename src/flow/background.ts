/**
 * The flow's work that nobody waits for: flushes when they are due, staging ahead of queries, compaction of what a flush made
 * smaller, vacuum every hour. What a caller asks for (a flush now, a tail in memory) goes through here too, since one stream is
 * flushed once at a time.
 */
import type { Logger } from "pino";
import type { AppendTable, Project, Stream } from "../define/project.ts";
import type { LocalSql } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Owned } from "../log/assignment.ts";
import type { EventLog } from "../log/event-log.ts";
import { compactTable } from "./compact.ts";
import { flushChunk } from "./flush.ts";
import { type Following, storedInAll } from "./following.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { storedByOthers } from "./other-owners.ts";
import type { Ownership } from "./ownership.ts";
import { committedTo } from "./progress.ts";
import type { Refresher } from "./refresh.ts";
import { isStreamItself } from "./relations.ts";
import { Scrub } from "./scrub.ts";
import type { Staging } from "./staging.ts";
import type { StreamIndex } from "./stream-index.ts";

/** How often the flow looks at what there is to do. */
const TICK_MS = 100;
/** While somebody queries, staging keeps up by itself so that no query pays for the whole tail. */
const EAGER_MS = 10_000;
const VACUUM_EVERY_MS = 3_600_000;
/** Flushes' worth of a stream's events that may be in memory when a query asks for all of them. */
const MOST_STAGED = 3;

export interface BackgroundParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly log: EventLog;
  readonly local: LocalSql;
  readonly refresher: Refresher;
  /** By `stream/partition`; streams without an id have none. */
  readonly indexes: ReadonlyMap<string, StreamIndex>;
  /** By stream, one per partition. */
  readonly stagings: ReadonlyMap<string, readonly Staging[]>;
  readonly flushIntervalMs: number;
  readonly flushBytes: number;
  readonly retentionMs: number;
  /** First offset that a consumer beside the flow still needs. */
  readonly floor: (stream: string, partition: number) => number;
  readonly ownership: Ownership;
  /** Whether this process does what one process does for all. */
  readonly leads: () => boolean;
  /** Builds tables that lack events from bronze. */
  readonly build: () => void;
  /** Undefined while this process works alone. */
  readonly following: () => Following | undefined;
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
  /** Why the last flush failed; undefined when it did not, or nothing of it waits any more. */
  failure: string | undefined;
}

export class Background {
  readonly #o: BackgroundParts;
  readonly #streams = new Map<string, StreamState>();
  readonly #compacting = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #scrub: Scrub;
  #tick: NodeJS.Timeout | undefined;
  #lastQueryMs = 0;
  #lastVacuumMs: number;
  #lastWorkMs = 0;

  constructor(o: BackgroundParts) {
    this.#o = o;
    this.#lastVacuumMs = o.clock();
    this.#scrub = new Scrub({
      ...{ lake: o.lake, logger: o.logger, leads: o.leads },
      ...{ damaged: (table) => this.#damaged(table), mended: (table) => this.#mended(table) },
    });
    for (const stream of o.project.streams.values()) {
      const idle = { flushing: undefined, staging: false, lastFlushMs: o.clock(), failure: undefined };
      this.#streams.set(stream.name, { stream, stagings: o.stagings.get(stream.name) ?? [], ...idle });
    }
  }

  /** Begins to look for work. */
  async start(): Promise<void> {
    await this.#releaseStored();
    this.#tick = setInterval(() => this.#work(), TICK_MS);
    this.#scrub.start();
  }

  /** Begins nothing by itself any more, and waits for the flushes under way. */
  async stop(): Promise<void> {
    clearInterval(this.#tick);
    await this.#scrub.stop();
    await Promise.allSettled([...this.#streams.values()].map((state) => state.flushing));
  }

  /** Resolves when what runs in the background has ended. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** Compares every data file with its checksum now. */
  scrub(): Promise<void> {
    return this.#scrub.round();
  }

  /** Somebody queries: staging keeps up by itself for a while. */
  queried(): void {
    this.#lastQueryMs = this.#o.clock();
  }

  /** Streams whose last flush failed, with the reason. */
  failures(): Record<string, string> {
    const failed = [...this.#streams.values()].filter((state) => state.failure !== undefined);
    return Object.fromEntries(failed.map((state) => [state.stream.name, state.failure ?? ""]));
  }

  /**
   * Stores every event acknowledged before the call in all tables of its stream. Of partitions that others store it waits until they have.
   * @throws FLUSH_FAILED, WORKERS_BEHIND
   */
  async flush(streams: Iterable<string> = this.#streams.keys()): Promise<void> {
    const following = this.#o.following();
    const names = [...streams];
    if (following) await this.#o.log.refresh(names);
    for (const name of names) {
      const state = this.#state(name);
      const ends = new Map(state.stagings.map((s) => [s, this.#o.log.ends(name, s.partition).end]));
      while (this.#owned(state).some((s) => firstUnflushed(s) < (ends.get(s) ?? 0))) {
        await this.#flush(state);
        if (state.failure !== undefined)
          throw new MillraceError("FLUSH_FAILED", { stream: name, reason: state.failure });
      }
      const left = state.stagings.filter((s) => firstUnflushed(s) < (ends.get(s) ?? 0));
      if (following && left.length > 0) {
        await storedByOthers(
          { ...this.#o, following },
          name,
          left,
          (s) => this.#storedTo(s, name) >= (ends.get(s) ?? 0),
        );
      }
    }
  }

  /** One past the last offset that every table of the stream has, as far as is known. */
  #storedTo(staging: Staging, stream: string): number {
    return storedInAll(this.#o.project, this.#o.lake, stream, staging.partition) + 1;
  }

  #owned({ stream, stagings }: StreamState): readonly Staging[] {
    const { ownership } = this.#o;
    return stagings.filter((staging) => ownership.owns(stream.name, staging.partition));
  }

  /**
   * Ends what is under way for partitions that go to another process; `last`: what of them waits is stored once more, so that the next owner
   * has little to stage. Nothing of them is flushed from then on.
   */
  async handOver(partitions: readonly Owned[], last: boolean): Promise<void> {
    await Promise.all(
      [...Map.groupBy(partitions, ({ stream }) => stream)].map(async ([stream, gone]) => {
        const state = this.#state(stream);
        await this.alone(stream, async () => {
          if (!last) return;
          const numbers = new Set(gone.map(({ partition }) => partition));
          await this.#flushOnce(
            state,
            state.stagings.filter((staging) => numbers.has(staging.partition)),
          );
        });
      }),
    );
  }

  /**
   * Stages what was acknowledged before the call. A long tail, as after a crash under load, is stored first, so that memory holds
   * only its end.
   */
  async load(streams: ReadonlySet<string>): Promise<void> {
    await Promise.all(
      [...streams].map((name) => {
        const state = this.#state(name);
        return this.#load(state, state.stagings);
      }),
    );
  }

  async #load(state: StreamState, stagings: readonly Staging[]): Promise<void> {
    const { log, ownership, following, flushBytes } = this.#o;
    const { name } = state.stream;
    await Promise.all(
      stagings.map(async (staging) => {
        const { end } = log.ends(name, staging.partition);
        const tooMuch = () => staging.bytesBefore(end) > MOST_STAGED * flushBytes;
        const owns = () => ownership.owns(name, staging.partition);
        while (tooMuch() && state.failure === undefined && owns()) await this.#flush(state);
        const others = following();
        if (others && tooMuch() && !owns())
          await storedByOthers({ ...this.#o, following: others }, name, [staging], () => !tooMuch());
        await staging.loadTo(end);
      }),
    );
  }

  /** Does work while nothing of the stream is flushed. */
  async alone<T>(stream: string, work: () => Promise<T>): Promise<T> {
    const state = this.#state(stream);
    while (state.flushing) await state.flushing;
    const running = work();
    state.flushing = running.then(
      () => undefined,
      () => undefined,
    );
    await this.#free(state, state.flushing);
    return running;
  }

  /**
   * Lets tables of a stream that were built anew take events again, each after its driver; false when one lacks events that were flushed
   * meanwhile. `last` is done before, while nothing is flushed.
   */
  async readmit(stream: string, tables: readonly AppendTable[], last: () => Promise<void> = async () => undefined) {
    const following = this.#o.following();
    if (following) {
      await last();
      await following.reconsider();
      return tables.every(({ name }) => this.#o.lake.held(name) === undefined);
    }
    return this.alone(stream, async () => {
      await last();
      const { lake } = this.#o;
      const { stagings } = this.#state(stream);
      const lacks = ({ name }: AppendTable) =>
        stagings.some((s) => committedTo(lake.get(name).snapshot, stream, s.partition) + 1 < firstUnflushed(s));
      if (tables.some(lacks)) return false;
      for (const table of tables) {
        if (!isStreamItself(table)) for (const staging of stagings) await staging.adopt(table);
      }
      for (const { name } of tables) {
        lake.take(name);
        for (const staging of stagings) staging.admitted(name);
      }
      return true;
    });
  }

  /** Tables have new rows: what depends on them follows, and their small files are put together. */
  changed(tables: readonly string[]): void {
    this.#o.refresher.changed(tables);
    for (const table of tables) this.#compactLater(table);
  }

  /** Watches over work that nobody waits for: its failure is logged, and `ended` waits for it. */
  run(work: Promise<unknown>, what: string): void {
    const watched = work
      .then(
        () => undefined,
        (error: unknown) => this.#o.logger.error({ err: error }, `${what} failed; it is tried again`),
      )
      .finally(() => this.#running.delete(watched));
    this.#running.add(watched);
  }

  /** Tells the log what every table has, since it remembers that only while it runs. */
  async #releaseStored(): Promise<void> {
    for (const { stream, stagings } of this.#streams.values()) {
      for (const staging of stagings) await this.#release(stream.name, staging.partition, firstUnflushed(staging));
    }
  }

  /** A table that stands still may need every event there is; one that is being built has them from bronze. */
  async #release(stream: string, partition: number, offset: number): Promise<void> {
    const { project, lake, log, ownership } = this.#o;
    ownership.progress(stream, partition, offset);
    if (this.#o.following()) return; // of a shared log no process knows every consumer
    for (const table of project.tables.values()) {
      const held = table.mode === "append" && table.stream === stream ? lake.held(table.name) : undefined;
      if (held && !held.builds) return;
    }
    await log.release(stream, partition, Math.min(offset, this.#o.floor(stream, partition)));
  }

  #state(stream: string): StreamState {
    const state = this.#streams.get(stream);
    if (!state) throw new MillraceError("INTERNAL", { what: `looking up stream ${stream}` });
    return state;
  }

  #work(): void {
    const now = this.#o.clock();
    if (now < this.#lastWorkMs) this.#clockWentBack(now);
    this.#lastWorkMs = now;
    for (const state of this.#streams.values()) {
      const { stream } = state;
      const stagings = this.#owned(state);
      const waiting = stagings.some((s) => firstUnflushed(s) < this.#o.log.ends(stream.name, s.partition).end);
      if (!waiting) {
        state.lastFlushMs = now;
        // What failed here has been stored by another process, or is that one's to store.
        if (!state.flushing) state.failure = undefined;
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
        const work = this.#load(state, stagings).finally(() => {
          state.staging = false;
        });
        this.run(work, "staging");
      }
    }
    if (now - this.#lastVacuumMs > VACUUM_EVERY_MS && this.#o.leads()) {
      this.#lastVacuumMs = now;
      this.run(this.#vacuum(now), "vacuum");
    }
  }

  /** What waits for a moment counts from now: else it would wait until the clock is where it was before it was set back. */
  #clockWentBack(now: number): void {
    for (const state of this.#streams.values()) state.lastFlushMs = Math.min(state.lastFlushMs, now);
    this.#lastQueryMs = Math.min(this.#lastQueryMs, now);
    this.#lastVacuumMs = Math.min(this.#lastVacuumMs, now);
  }

  async #flush(state: StreamState): Promise<void> {
    while (state.flushing) await state.flushing;
    state.flushing = this.#flushOnce(state, this.#owned(state)).then(
      () => {
        state.failure = undefined;
      },
      (error: unknown) => {
        state.failure = error instanceof Error ? error.message : String(error);
        this.#o.logger.error({ err: error, stream: state.stream.name }, "flush failed; it is tried again");
      },
    );
    await this.#free(state, state.flushing);
    state.lastFlushMs = this.#o.clock();
  }

  /** Waits for the work that has the stream and lets go of it, unless somebody who waited too has it by now. */
  async #free(state: StreamState, work: Promise<void>): Promise<void> {
    await work;
    if (state.flushing === work) state.flushing = undefined;
  }

  async #flushOnce({ stream }: StreamState, stagings: readonly Staging[]): Promise<void> {
    const { project, lake, local, indexes } = this.#o;
    for (const staging of stagings) {
      const chunk = await staging.seal();
      if (!chunk) continue;
      // Its failure is that of the next seal, which does the same again and reports it.
      const ahead = staging.stageAhead().catch(() => undefined);
      const unpin = chunk.pin(); // others may have stored it before us, and then it is dropped under our hands
      const tables = await flushChunk({ project, lake, local }, stream, staging, chunk).finally(unpin);
      await indexes.get(`${stream.name}/${staging.partition}`)?.commit(chunk.to);
      staging.drop(chunk);
      this.changed(tables); // the next flush would not tell of them
      await this.#release(stream.name, staging.partition, chunk.to + 1);
      await ahead;
    }
  }

  /**
   * A table that is computed is refreshed, which computes all of it while it has a damaged file. One that merges its rows must stand
   * still, or the damage would get into its next file; any other takes events on, and only what reads the damaged file fails.
   */
  #damaged({ name, definition }: LakeTable): void {
    const { project, lake, refresher } = this.#o;
    if (definition?.mode === "refresh") refresher.soon([name]);
    if (definition?.mode !== "append" || definition.key.length === 0) return;
    const [found] = lake.damagedFiles().filter(({ table }) => table === name);
    if (found) lake.hold(project, name, { ...found, reason: `${found.reason}; it holds ${found.range}` });
  }

  /** What a table that stood still and those that wait for it lack since then is built from bronze: the flow is past them. */
  #mended({ name, definition }: LakeTable): void {
    const { project, lake, following, build } = this.#o;
    const held = lake.held(name);
    if (definition?.mode !== "append" || held?.file === undefined || held.waitsFor !== undefined || following()) return;
    if (lake.damagedFiles().some(({ table }) => table === name)) return;
    lake.buildOn(project, definition);
    build();
  }

  async #vacuum(nowMs: number): Promise<void> {
    // A stream that gets no events any more would keep its old segments for ever: nothing else asks the log to look.
    await this.#releaseStored();
    const removed = await this.#o.lake.vacuum(this.#o.retentionMs, nowMs);
    this.#o.logger.info(removed, "vacuum");
  }

  #compactLater(name: string): void {
    if (this.#compacting.has(name) || !this.#o.leads()) return;
    this.#compacting.add(name);
    const work = compactTable(this.#o.lake, this.#o.lake.get(name)).finally(() => this.#compacting.delete(name));
    this.run(work, "compaction");
  }
}

function firstUnflushed(staging: Staging): number {
  return staging.chunks[0]?.from ?? staging.end;
}
