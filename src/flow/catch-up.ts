/**
 * Tables that lack history, built from bronze beside the flow: one that a definition has just added, one that was away for a while, and
 * those that waited for such a table. The stream's events come from bronze piece by piece, go through the tables' SQL and checks as
 * new ones do, and each piece is committed with the table's progress: a crash costs a piece. When little is left the stream's flushes are
 * held back for a moment, and from then on the table takes events with all others.
 *
 * Until then the table stands still for queries, so that nobody takes a part of its rows for all of them.
 */
import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { AppendTable, Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { DeadLetter } from "./dead-letters.ts";
import { flushTable } from "./flush.ts";
import { causeOf, waitingNoMore } from "./held-tables.ts";
import { committedTo } from "./progress.ts";
import { isStreamItself } from "./relations.ts";
import { type BuildParts, type Failure, withDrivers } from "./replay-build.ts";
import { openSource, type ReplaySource, storedTo } from "./replay-source.ts";
import { type EventLetters, type LetterParts, readLetters, settleReplayed } from "./replayed-letters.ts";
import type { Chunk } from "./staged-events.ts";
import { Staging } from "./staging.ts";

export interface CatchUpParts extends BuildParts, LetterParts {
  readonly lake: BuildParts["lake"];
  readonly engine: BuildParts["engine"];
  /** Lets tables take events again, once what is left is done while nothing of the stream is flushed. */
  readonly readmit: (stream: string, tables: readonly AppendTable[], last: () => Promise<void>) => Promise<boolean>;
  /** Told which tables have new rows. */
  readonly changed: (tables: readonly string[]) => void;
  /** Whether this process builds. */
  readonly leads: () => boolean;
  /** True where it may be the next time that it leads, or that a table turns out to lack events, that there is something to build. */
  readonly shared: boolean;
  readonly logger: Logger;
}

export interface TableBeingBuilt {
  readonly table: string;
  /** Events taken in, of `total` that bronze has. */
  readonly events: number;
  readonly total: number;
  /** The table it waits for. */
  readonly waitsFor: string | undefined;
  /** Why the last try ended; it is tried again. */
  readonly failure: string | undefined;
}

/** A piece is this large at most: it is in memory beside the flow's own chunks, and lost at a crash. */
const PIECE_BYTES = 16 * 1024 * 1024;
/** With fewer events than this to take in, holding the flushes back costs less than another round. */
const FEW_EVENTS = 20_000;
/** Rounds before the flushes are held back however much has come meanwhile. */
const MOST_ROUNDS = 8;
/** Before another try, and between looks at whether what a table waits for is there. */
const PAUSE_MS = 2_000;

export class CatchUp {
  readonly #p: CatchUpParts;
  readonly #end = new AbortController();
  readonly #failures = new Map<string, string>();
  /** Streams whose last build failed, the one that has waited longest first. */
  readonly #late = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(parts: CatchUpParts) {
    this.#p = parts;
  }

  /** Begins with the tables that lack events now. May be called again when more of them do. */
  start(): void {
    this.#running = (this.#running ?? Promise.resolve()).then(() => this.#work());
  }

  /** Ends after the piece under way; the next start goes on behind it. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  /** Resolves once no table is left to be built, or the work was stopped. */
  async settled(): Promise<void> {
    if (!this.#p.shared) return this.#running;
    while (!this.#end.signal.aborted && this.building().length > 0) await this.#pause();
  }

  /** Tables that are not complete yet. */
  building(): TableBeingBuilt[] {
    // Whoever builds now says how it goes.
    const failures = this.#p.leads() ? this.#failures : new Map<string, string>();
    return [...this.#p.lake.unavailable()].flatMap(([table, { builds, waitsFor }]) =>
      builds ? [{ table, ...builds(), waitsFor, failure: failures.get(table) }] : [],
    );
  }

  async #work(): Promise<void> {
    const { signal } = this.#end;
    const { leads, shared } = this.#p;
    while (!signal.aborted && (shared || this.building().length > 0)) {
      this.#forgetFailures();
      const tables = leads() ? this.#next() : [];
      const [first] = tables;
      if (first === undefined) {
        await this.#pause(); // what they wait for has to be mended first
        continue;
      }
      try {
        await this.#build(first.stream, tables);
        for (const { name } of tables) this.#failures.delete(name);
        this.#late.delete(first.stream);
      } catch (error) {
        if (signal.aborted) return;
        const names = tables.map(({ name }) => name);
        for (const name of names) this.#failures.set(name, error instanceof Error ? error.message : String(error));
        this.#late.delete(first.stream);
        this.#late.add(first.stream);
        this.#p.logger.error({ err: error, tables: names }, "building tables from bronze failed; it is tried again");
        await this.#pause();
      }
    }
  }

  async #pause(): Promise<void> {
    await sleep(PAUSE_MS, undefined, { signal: this.#end.signal, ref: false }).catch(() => undefined);
  }

  /** Of tables that somebody else has built meanwhile, or is about to. */
  #forgetFailures(): void {
    const { lake, leads } = this.#p;
    for (const name of this.#failures.keys())
      if (!leads() || lake.held(name)?.builds === undefined) this.#failures.delete(name);
  }

  /** Tables of one stream that can be built now. A stream that failed comes behind the others, which it would hold up otherwise. */
  #next(): AppendTable[] {
    const { project } = this.#p;
    const streams = [...project.streams.keys()].filter((stream) => !this.#late.has(stream));
    for (const stream of [...streams, ...this.#late]) {
      const tables = this.#buildable(stream);
      if (tables.length > 0) return tables;
    }
    return [];
  }

  /** A stream's tables whose inputs are there, or of which one is the driver of another. */
  #buildable(stream: string): AppendTable[] {
    const { project, lake } = this.#p;
    const found: AppendTable[] = [];
    for (const table of project.tables.values()) {
      const held = lake.held(table.name);
      if (table.mode !== "append" || table.stream !== stream || !held?.builds || held.waitsFor !== undefined) continue;
      const together = new Set(found.map(({ name }) => name));
      const missing = (name: string) => lake.held(name) !== undefined && !(name === table.driver && together.has(name));
      if (causeOf(project, table, { has: missing }) === undefined) found.push(table);
    }
    return found;
  }

  async #build(stream: string, tables: readonly AppendTable[]): Promise<void> {
    const { readmit, changed, project, lake, logger } = this.#p;
    const names = tables.map(({ name }) => name);
    logger.info({ stream, tables: names }, "building tables from bronze");
    const pass = await Pass.open(this.#p, stream, tables);
    try {
      for (let round = 0; round === 0 || (round < MOST_ROUNDS && pass.remaining() > FEW_EVENTS); round++)
        await pass.catchUp(this.#end.signal);
      const back = await readmit(stream, tables, () => pass.catchUp(this.#end.signal));
      if (!back) throw new MillraceError("COMMIT_CONFLICT", { table: names.join(", ") });
    } finally {
      await pass.close();
    }
    if (!this.#p.shared) for (const waiting of waitingNoMore(project, lake)) lake.build(waiting);
    changed(names);
    logger.info({ stream, tables: names }, "the tables are complete");
  }
}

/** One way through a stream's bronze, for tables that may be at different places of it. */
class Pass {
  readonly #p: CatchUpParts;
  readonly #stream: Stream;
  readonly #tables: readonly AppendTable[];
  readonly #dir: string;
  readonly #parts: { staging: Staging; source: ReplaySource }[] = [];
  readonly #letters = new Map<string, readonly EventLetters[]>();
  /** Of the pieces under way, by partition, table (empty: every table) and `partition-offset`. */
  readonly #failed = new Map<number, Map<string, Map<string, Failure>>>();
  #limits: readonly number[] = [];

  private constructor(parts: CatchUpParts, stream: Stream, tables: readonly AppendTable[]) {
    this.#p = parts;
    this.#stream = stream;
    this.#tables = tables;
    this.#dir = join(parts.dataDir, "tmp", "build", randomUUID());
  }

  static async open(parts: CatchUpParts, name: string, tables: readonly AppendTable[]): Promise<Pass> {
    const stream = parts.project.streams.get(name);
    if (!stream) throw new MillraceError("INTERNAL", { what: `looking up stream ${name}` });
    const pass = new Pass(parts, stream, tables);
    try {
      await pass.#open();
      return pass;
    } catch (error) {
      await pass.close();
      throw error;
    }
  }

  remaining(): number {
    return this.#parts.reduce(
      (sum, { staging }) => sum + storedTo(this.#p.lake, this.#stream.name, staging.partition) + 1 - staging.end,
      0,
    );
  }

  /** Takes in all that bronze holds at the moment of the call. */
  async catchUp(signal: AbortSignal): Promise<void> {
    this.#limits = this.#parts.map(({ staging }) => storedTo(this.#p.lake, this.#stream.name, staging.partition) + 1);
    for (const { staging, source } of this.#parts) {
      for (;;) {
        signal.throwIfAborted();
        const chunk = await staging.seal();
        if (!chunk) break;
        for (const table of this.#tables) await this.#store(chunk, table);
        this.#failed.delete(chunk.partition);
        staging.drop(chunk);
        await source.passed(chunk.to);
      }
    }
  }

  async close(): Promise<void> {
    for (const { staging, source } of this.#parts) {
      for (const chunk of staging.chunks) staging.drop(chunk);
      await source.close();
    }
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    const { project, lake, log, engine, flushBytes, maxEventBytes, lookups } = this.#p;
    const stream = this.#stream;
    await mkdir(this.#dir, { recursive: true });
    // Letters of an earlier life of a table are settled again instead of written twice.
    for (const table of this.#tables) this.#letters.set(table.name, await readLetters(this.#p, table));
    const label = `build ${randomUUID()} `;
    for (let partition = 0; partition < log.partitions(stream.name); partition++) {
      const from = Math.min(
        ...this.#tables.map(({ name }) => committedTo(lake.get(name).snapshot, stream.name, partition) + 1),
      );
      const limit = () => this.#limits[partition] ?? 0;
      const common = { stream, partition, log, engine, lake, tempDir: this.#dir, label };
      const source = await openSource("bronze", { ...common, from, limit });
      const staging = new Staging({
        ...{ stream, partition, from, label, lookups, maxEventBytes, tempDir: this.#dir },
        tables: withDrivers(project, this.#tables),
        storedColumns: (table) => lake.get(table.name).columns,
        log: source.reader,
        local: engine.local,
        index: source.index,
        chunkBytes: Math.min(flushBytes, PIECE_BYTES),
        deadLetters: async (letters) => this.#putAside(letters),
      });
      this.#parts.push({ staging, source });
    }
  }

  #putAside(letters: readonly DeadLetter[]): void {
    for (const { table = "", partition = 0, offset, stage, code, message } of letters) {
      const tables = this.#failed.get(partition) ?? new Map<string, Map<string, Failure>>();
      const failed = tables.get(table) ?? new Map<string, Failure>();
      this.#failed.set(partition, tables.set(table, failed.set(`${partition}-${offset}`, { stage, code, message })));
    }
  }

  /** Commits a piece to a table, together with what became of its events' dead letters. */
  async #store(chunk: Chunk, table: AppendTable): Promise<void> {
    const { lake, engine, project } = this.#p;
    const { partition, to } = chunk;
    const from = Math.max(chunk.from, committedTo(lake.get(table.name).snapshot, this.#stream.name, partition) + 1);
    if (from > to) return;
    const covers = (event: { partition: number; offset: number }) =>
      event.partition === partition && event.offset >= from && event.offset <= to;
    const letters = (this.#letters.get(table.name) ?? []).filter(covers);
    const here = (name: string) =>
      new Map(
        [...(this.#failed.get(partition)?.get(name) ?? [])].filter(([place]) =>
          covers({ partition, offset: Number(place.split("-")[1]) }),
        ),
      );
    const rows = isStreamItself(table) ? chunk.eventsSql(from, to) : `select * from ${chunk.table(table.name)}`;
    const offsets = letters.map(({ offset }) => offset).join(", ");
    const taken =
      letters.length === 0
        ? []
        : await engine.local.rows(`select distinct _offset::double as o from (${rows}) where _offset in (${offsets})`);
    const settled = await settleReplayed(this.#p, table, letters, {
      ...{ failed: here(table.name), unparsed: here(""), covers, settles: "none" },
      taken: new Set(taken.map(({ o }) => `${partition}-${Number(o)}`)),
    });
    await flushTable({ project, lake, local: engine.local }, table, { partition }, chunk, settled.txn);
    await settled.finish();
  }
}
