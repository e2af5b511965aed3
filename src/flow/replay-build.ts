/**
 * Builds the new rows of tables over one stream, piece by piece, while the stream is flushed into the old ones as ever. A piece is
 * staged as new events are: parsed, taken through the tables' SQL and checks, an event that fails put aside. What comes out is written
 * as files that no table knows of yet, with the counts of what became of the events.
 *
 * Tables that keep the newest row per key cannot be put together from pieces in the end: their changes are kept aside, and merged
 * once all are there, so that the outcome does not depend on where a piece ended.
 */
import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { AppendTable, Project, Stream } from "../define/project.ts";
import type { LocalSql, Relation, RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile } from "../lake/delta-table.ts";
import type { EventLog } from "../log/event-log.ts";
import type { DeadLetter } from "./dead-letters.ts";
import { countFates } from "./flush.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import type { Counts } from "./progress.ts";
import { isStreamItself } from "./relations.ts";
import { NewestRows } from "./replay-newest.ts";
import type { Firsts } from "./replay-range.ts";
import { openSource, type ReplaySource, storedTo } from "./replay-source.ts";
import type { Chunk } from "./staged-events.ts";
import { Staging } from "./staging.ts";

export interface BuildParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly log: EventLog;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly dataDir: string;
  readonly flushBytes: number;
  readonly maxEventBytes: number;
  /** The look-up inputs of a table, as of now. */
  readonly lookups: (table: AppendTable) => Promise<{ inputs: Map<string, Relation>; release(): void }>;
}

export interface BuildOptions {
  readonly stream: Stream;
  /** True to build bronze itself anew. */
  readonly bronze: boolean;
  /** Append tables of the stream, each after its driver. */
  readonly tables: readonly AppendTable[];
  readonly firsts: Firsts;
  /** By partition one past the last event that is wanted; all that bronze holds unless given. */
  readonly ends?: readonly number[];
  readonly source: "bronze" | "log";
  /** By table: places of events whose fate is wanted, since they have a dead letter. */
  readonly watched: () => Promise<ReadonlyMap<string, ReadonlyMap<number, readonly number[]>>>;
}

/** Why an event could not be taken. */
export interface Failure {
  readonly stage: DeadLetter["stage"];
  readonly code: string;
  readonly message: string;
}

/** What the build found out about one table; `table` is undefined for bronze. */
export interface Built {
  readonly table: AppendTable | undefined;
  readonly lakeTable: LakeTable;
  /** Written, not committed. Those of a keyed table come from `newest`. */
  readonly files: DataFile[];
  readonly newest: NewestRows | undefined;
  /** By partition. */
  readonly counts: Map<number, Counts>;
  /** `partition-offset` of events that failed on the way to it. */
  readonly failed: Map<string, Failure>;
  /** Those of the watched events that gave rows. */
  readonly taken: Set<string>;
}

/** A piece is this large at most: some hundred thousand events, whose rows are in memory once. */
const PIECE_BYTES = 16 * 1024 * 1024;

export class Build {
  readonly built: readonly Built[];
  /** Events that could not be parsed, by place. They are in bronze and in no other table. */
  readonly unparsed = new Map<string, Failure>();
  readonly #p: BuildParts;
  readonly #o: BuildOptions;
  readonly #dir: string;
  readonly #label = `replay ${randomUUID()} `;
  readonly #parts: { staging: Staging; source: ReplaySource }[] = [];
  readonly #messages = new Map<string, string>();
  #limits: readonly number[];
  #events = 0;
  #watched: ReadonlyMap<string, ReadonlyMap<number, readonly number[]>> = new Map();

  private constructor(parts: BuildParts, options: BuildOptions) {
    this.#p = parts;
    this.#o = options;
    this.#dir = join(parts.dataDir, "tmp", "replay", randomUUID());
    this.#limits = options.firsts.map((first) => first ?? 0);
    const built = (name: string, table?: AppendTable): Built => ({
      table,
      lakeTable: parts.lake.get(name),
      files: [],
      newest: table && table.key.length > 0 ? new NewestRows(parts, table, parts.lake.get(name), this.#dir) : undefined,
      counts: new Map(),
      failed: new Map(),
      taken: new Set(),
    });
    this.built = [
      ...(options.bronze ? [built(`bronze.${options.stream.name}`)] : []),
      ...options.tables.map((table) => built(table.name, table)),
    ];
  }

  static async open(parts: BuildParts, options: BuildOptions): Promise<Build> {
    const build = new Build(parts, options);
    try {
      await build.#open();
      return build;
    } catch (error) {
      await build.close();
      throw error;
    }
  }

  /** Events that are still to be taken in, of those that bronze holds now. */
  remaining(): number {
    return this.#parts.reduce((sum, { staging }) => sum + Math.max(0, this.#end(staging.partition) - staging.end), 0);
  }

  #end(partition: number): number {
    return this.#o.ends?.[partition] ?? storedTo(this.#p.lake, this.#o.stream.name, partition) + 1;
  }

  get events(): number {
    return this.#events;
  }

  /** One past the last event taken in, by partition; undefined where nothing is replayed. */
  get ends(): (number | undefined)[] {
    return this.#o.firsts.map((_, p) => this.#parts.find(({ staging }) => staging.partition === p)?.staging.end);
  }

  /** Takes in everything that bronze holds at the moment of the call, or held when it was said to go no further. */
  async catchUp(run: RunOptions, onPiece: () => void = () => undefined): Promise<void> {
    this.#limits = this.#o.firsts.map((_, p) => this.#end(p));
    this.#watched = await this.#o.watched();
    for (const { staging, source } of this.#parts) {
      for (;;) {
        if (run.signal?.aborted) throw run.signal.reason;
        const chunk = await staging.seal();
        if (!chunk) break;
        await this.#take(chunk, run);
        this.#events += chunk.to - chunk.from + 1;
        staging.drop(chunk);
        await source.passed(chunk.to);
        onPiece();
      }
    }
  }

  /** Drops what the build has in memory and in temporary files. Files of the tables that were not committed are vacuum's from now on. */
  async close(): Promise<void> {
    for (const { staging, source } of this.#parts) {
      for (const chunk of staging.chunks) staging.drop(chunk);
      await source.close();
    }
    for (const one of this.built) {
      this.#p.lake.forget(one.lakeTable, one.files);
      one.newest?.close();
    }
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    const { stream, firsts, source: kind } = this.#o;
    const { lake, log, engine, maxEventBytes, flushBytes, lookups } = this.#p;
    await mkdir(this.#dir, { recursive: true });
    for (const [partition, from] of firsts.entries()) {
      if (from === undefined) continue;
      const limit = () => this.#limits[partition] ?? 0;
      const common = { stream, partition, log, engine, lake, tempDir: this.#dir, label: this.#label };
      const source = await openSource(kind, { ...common, from, limit });
      const staging = new Staging({
        stream,
        partition,
        tables: withDrivers(this.#p.project, this.#o.tables),
        storedColumns: (table) => lake.get(table.name).columns,
        log: source.reader,
        local: engine.local,
        index: source.index,
        label: this.#label,
        tempDir: this.#dir,
        maxEventBytes,
        chunkBytes: Math.min(flushBytes, PIECE_BYTES),
        lookups,
        deadLetters: async (letters) => this.#putAside(letters),
        from,
      });
      this.#parts.push({ staging, source });
    }
  }

  #putAside(letters: readonly DeadLetter[]): void {
    for (const { table, partition, offset, stage, code, message } of letters) {
      const place = `${partition}-${offset}`;
      // Thousands of events fail with the same words.
      const words = this.#messages.get(message) ?? message;
      if (this.#messages.size < 10_000) this.#messages.set(words, words);
      const failure = { stage, code, message: words };
      if (table === undefined) this.unparsed.set(place, failure);
      else this.built.find((one) => one.table?.name === table)?.failed.set(place, failure);
    }
  }

  async #take(chunk: Chunk, run: RunOptions): Promise<void> {
    const { from, to, partition } = chunk;
    for (const one of this.built) {
      const { table, lakeTable } = one;
      const itself = table !== undefined && isStreamItself(table);
      const rows =
        table === undefined
          ? chunk.bronzeSql(from, to)
          : itself
            ? chunk.eventsSql(from, to)
            : `select * from ${chunk.table(table.name)} where _offset between ${from} and ${to}`;
      const counts =
        table === undefined
          ? { stored: to - from + 1, duplicate: 0, filtered: 0, dead: 0 }
          : await countFates(this.#p.engine, table, chunk, from, to, itself);
      if (counts.stored > 0) {
        if (one.newest) await one.newest.add(rows, run);
        else one.files.push(...(await this.#p.lake.write(lakeTable, native(rows), run)));
      }
      await this.#lookAtWatched(one, chunk, rows);
      one.counts.set(partition, plus(one.counts.get(partition), counts));
    }
  }

  async #lookAtWatched({ table, taken }: Built, chunk: Chunk, rows: string): Promise<void> {
    const offsets = this.#watched.get(table?.name ?? "")?.get(chunk.partition) ?? [];
    const wanted = offsets.filter((offset) => offset >= chunk.from && offset <= chunk.to);
    if (wanted.length === 0) return;
    const found = await this.#p.engine.local.rows(
      `select distinct _offset::double as o from (${rows}) where _offset in (${wanted.join(", ")})`,
    );
    for (const { o } of found) taken.add(`${chunk.partition}-${o}`);
  }
}

/** Tables and those that bring their rows, which are computed from the events too; without those that are the stream itself. */
export function withDrivers(project: Project, tables: readonly AppendTable[]): AppendTable[] {
  const wanted = new Set<string>();
  const visit = (name: string) => {
    const table = project.tables.get(name);
    if (table?.mode !== "append" || isStreamItself(table) || wanted.has(name)) return;
    wanted.add(name);
    visit(table.driver);
  };
  for (const { name } of tables) visit(name);
  return [...project.tables.values()].filter((t): t is AppendTable => t.mode === "append" && wanted.has(t.name));
}

export function plus(a: Counts | undefined, b: Counts): Counts {
  if (a === undefined) return b;
  return {
    stored: a.stored + b.stored,
    duplicate: a.duplicate + b.duplicate,
    filtered: a.filtered + b.filtered,
    dead: a.dead + b.dead,
  };
}

function native(sql: string): Statement {
  return { sql: "select * from rows", inputs: new Map<string, Relation>([["rows", { kind: "native", sql }]]) };
}

/** @throws REPLAY_CANCELLED in place of what the signal made of the work that was under way */
export function cancelledOr(error: unknown, table: string, signal: AbortSignal | undefined): unknown {
  return signal?.aborted ? new MillraceError("REPLAY_CANCELLED", { table }, { cause: error }) : error;
}
