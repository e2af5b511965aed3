/**
 * Loads the log's newest events of one partition into the engine's memory: parsed, typed, duplicates found, and taken
 * through every append table of the stream. It runs when a query or a flush needs it, never per event.
 *
 * An event that cannot be parsed, transformed or that fails a check becomes a dead letter and does not hold up the others.
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AppendTable, Column, Stream } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import { duckdbType, jsonStructure } from "../define/types.ts";
import type { LocalSql, Relation } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog, Run, Span } from "../log/event-log.ts";
import type { DeadLetter } from "./dead-letters.ts";
import { hashColumns } from "./dedupe/id-hash.ts";
import { failedChecks } from "./failed-checks.ts";
import { type EventFailure, insertEvents, isAboutData } from "./insert-events.ts";
import { shaped } from "./shaped.ts";
import { Chunk } from "./staged-events.ts";
import type { StreamIndex } from "./stream-index.ts";

export interface StagingOptions {
  readonly stream: Stream;
  readonly partition: number;
  /** Append tables over the stream in an order in which each comes after its driver, without those that are the stream itself. */
  readonly tables: readonly AppendTable[];
  /** Columns of each append table as stored. */
  readonly storedColumns: (table: AppendTable) => readonly Column[];
  /** Tables that take nothing now. */
  readonly held?: (table: string) => boolean;
  readonly log: Pick<EventLog, "ends" | "read">;
  readonly local: LocalSql;
  /** Finds duplicates; undefined when the stream has no id. */
  readonly index: StagingIndex | undefined;
  /** Tells its tables from those of another staging of the partition; empty for the one that flushes and queries read. */
  readonly label?: string;
  readonly tempDir: string;
  readonly maxEventBytes: number;
  /** A chunk is sealed when its events are this many bytes. */
  readonly chunkBytes: number;
  /** The look-up inputs of a table, as of now. */
  readonly lookups: (table: AppendTable) => Promise<{ inputs: Map<string, Relation>; release(): void }>;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
  /** False while another process is to store these events and writes their dead letters; always true unless given. */
  readonly stores?: () => boolean;
  /** First offset that is not in every table yet. */
  readonly from: number;
}

/** Of an index that another process may have to be followed with, what it knows is asked and told as well. */
export type StagingIndex = Pick<StreamIndex, "lookup" | "stage"> &
  Partial<Pick<StreamIndex, "knows" | "staged" | "commit">>;

export class Staging {
  readonly #o: StagingOptions;
  readonly #structure: string;
  readonly #tables: AppendTable[];
  /** Taken in; they are held until every partition has them, and the events that come meanwhile are theirs too. */
  readonly #adopted = new Set<string>();
  #chunks: Chunk[] = [];
  /** One past the last staged offset. */
  #end: number;
  #bytesPerEvent = 300;
  #chunkNumber = 0;
  #queue: Promise<void> = Promise.resolve();

  constructor(options: StagingOptions) {
    this.#o = options;
    this.#end = options.from;
    this.#tables = [...options.tables];
    this.#structure = quoteLiteral(jsonStructure(options.stream.columns));
  }

  get partition(): number {
    return this.#o.partition;
  }

  get end(): number {
    return this.#end;
  }

  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  /** An estimate of the bytes below `end` that wait for a flush, in the log and in memory. */
  bytesBefore(end: number): number {
    const staged = this.#chunks.reduce((sum, chunk) => sum + chunk.payloadBytes, 0);
    return staged + Math.max(0, end - this.#end) * this.#bytesPerEvent;
  }

  /** Resolves once every event below `end` is staged. */
  async loadTo(end: number): Promise<void> {
    if (this.#end >= end) return;
    const turn = this.#queue.then(async () => {
      while (this.#end < end) await this.#loadOnce();
    });
    this.#queue = turn.catch(() => undefined); // the caller sees the failure; the next load starts afresh
    await turn;
  }

  /** Loads at most what fills the oldest chunk, seals it and gives it out for a flush; undefined when nothing is there. */
  async seal(): Promise<Chunk | undefined> {
    const turn = this.#queue.then(async () => {
      const chunk = await this.#fillOldest();
      // Whoever stores events has written their letters before.
      if (chunk) await this.#writeLetters(chunk);
      return chunk;
    });
    this.#queue = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }

  async #fillOldest(): Promise<Chunk | undefined> {
    const oldest = this.#chunks[0];
    if (oldest?.sealed) return oldest;
    const { end } = this.#o.log.ends(this.#o.stream.name, this.#o.partition);
    while (this.#end < end && !this.#chunks[0]?.sealed) await this.#loadOnce();
    const chunk = this.#chunks[0];
    if (!chunk || chunk.to < chunk.from) return undefined;
    chunk.sealed = true;
    return chunk;
  }

  /** Begins to load a further chunk when one is full already: parsing then overlaps with the writing of the chunk before. */
  async stageAhead(): Promise<void> {
    const { end } = this.#o.log.ends(this.#o.stream.name, this.#o.partition);
    if ((end - this.#end) * this.#bytesPerEvent < this.#o.chunkBytes) return;
    const turn = this.#queue.then(async () => {
      if (this.#chunks.length < 2) await this.#loadOnce();
    });
    this.#queue = turn.catch(() => undefined);
    await turn;
  }

  /**
   * Moves on behind the events that every table has by now, whoever stored them: chunks up to `stored` are dropped, and the index takes
   * them over. What has been staged beyond stays; with nothing beyond, staging goes on behind `stored`.
   */
  async follow(stored: number): Promise<void> {
    if (stored < (this.#chunks[0]?.from ?? this.#end)) return;
    const turn = this.#queue.then(async () => {
      if (stored < this.#end) await this.#o.index?.commit?.(stored);
      for (const chunk of this.#chunks) {
        if (chunk.to <= stored) this.drop(chunk);
        else if (chunk.from <= stored) chunk.sealed = true; // so that it goes before long
      }
      this.#end = Math.max(this.#end, stored + 1);
    });
    this.#queue = turn.catch(() => undefined); // the caller sees the failure
    await turn;
  }

  /** Forgets what is staged and begins again at an offset, for tables too that were not taken in before. */
  async restart(from: number, tables: readonly AppendTable[]): Promise<void> {
    const turn = this.#queue.then(() => {
      for (const chunk of this.#chunks) this.drop(chunk);
      for (const table of tables) {
        if (!this.#tables.some(({ name }) => name === table.name)) this.#tables.push(table);
        this.#adopted.add(table.name);
      }
      this.#end = from;
    });
    this.#queue = turn;
    await turn;
  }

  /** Takes in a table that has every event before the first chunk, and gives it the rows of the chunks there are. */
  async adopt(table: AppendTable): Promise<void> {
    const turn = this.#queue.then(async () => {
      for (const chunk of this.#chunks) {
        chunk.deadLettered.delete(table.name);
        await this.#createTable(chunk, table);
        const letters: DeadLetter[] = [];
        if (chunk.to >= chunk.from) await this.#transform(chunk, table, chunk.from, chunk.to, letters);
        await this.#tell(chunk, letters);
      }
      if (!this.#tables.some(({ name }) => name === table.name)) this.#tables.push(table);
      this.#adopted.add(table.name);
    });
    this.#queue = turn.catch(() => undefined); // the caller sees the failure, and loads go on without the table
    await turn;
  }

  /** A table that was taken in gets events as all others do from now on, and none while it stands still another time. */
  admitted(table: string): void {
    this.#adopted.delete(table);
  }

  /** Forgets a chunk whose events are in every table now; its memory goes when the last query has read it. */
  drop(chunk: Chunk): void {
    this.#chunks = this.#chunks.filter((other) => other !== chunk);
    const names = [chunk.table(), chunk.duplicateTable, ...this.#tables.map((table) => chunk.table(table.name))];
    chunk.whenUnread(() => {
      // Only an engine that is closing refuses, and its memory goes with it.
      this.#o.local.run(names.map((name) => `drop table if exists ${name}`).join("; ")).catch(() => undefined);
    });
  }

  async #loadOnce(): Promise<void> {
    const { chunkBytes, index } = this.#o;
    await index?.knows?.((this.#chunks[0]?.from ?? this.#end) - 1);
    const chunk = await this.#openChunk();
    const run = await this.#read(chunkBytes - chunk.payloadBytes);
    // Until the load is complete, a chunk with half-loaded rows behind `to` takes no more.
    chunk.sealed = true;
    const letters: DeadLetter[] = [];
    try {
      if (run.lost === undefined) await this.#loadEvents(chunk, run, letters);
      else await this.#keepLost(chunk, run, run.lost, letters);
      for (const table of this.#tables) {
        if (!this.#o.held?.(table.name) || this.#adopted.has(table.name))
          await this.#transform(chunk, table, run.from, run.to, letters);
      }
      await this.#tell(chunk, letters);
    } catch (error) {
      chunk.forgetAfter(chunk.to);
      if (chunk.to < chunk.from) this.drop(chunk);
      throw error;
    }
    chunk.to = run.to;
    const bytes = run.parts.reduce((sum, part) => sum + part.byteLength, 0);
    chunk.payloadBytes += bytes;
    chunk.sealed = chunk.payloadBytes >= chunkBytes;
    this.#bytesPerEvent = bytes / (run.to - run.from + 1);
    this.#end = run.to + 1;
    index?.staged?.(run.to);
  }

  /** Writes dead letters of a chunk, or keeps them with it until this process is to store it. */
  async #tell(chunk: Chunk, letters: readonly DeadLetter[]): Promise<void> {
    if (this.#o.stores?.() ?? true) await this.#o.deadLetters(letters);
    else chunk.letters.push(...letters);
  }

  async #writeLetters(chunk: Chunk): Promise<void> {
    if (chunk.letters.length === 0) return;
    await this.#o.deadLetters(chunk.letters);
    chunk.letters.splice(0);
  }

  /**
   * The next events, up to about `bytes`. All that there is goes to the engine at once: it then works on every core, and
   * keeps what it parsed where it is, whereas small pieces are copied once more.
   */
  async #read(bytes: number): Promise<Load> {
    const { log, stream, partition } = this.#o;
    const parts: Uint8Array[] = [];
    const spans: Span[] = [];
    let next = this.#end;
    for (let left = bytes; left > 0; ) {
      let run: Run | undefined;
      try {
        run = await log.read(stream.name, partition, next, left);
      } catch (error) {
        const lost = lostEvents(error, next);
        if (!lost) throw error;
        if (parts.length > 0) break; // what is whole comes first
        return lost;
      }
      if (!run) break;
      parts.push(run.bytes);
      for (const span of run.spans) spans.push(span);
      left -= run.bytes.byteLength;
      next = run.to + 1;
    }
    if (parts.length === 0) throw new MillraceError("INTERNAL", { what: `reading ${stream.name} at ${this.#end}` });
    return { from: this.#end, to: next - 1, parts, spans };
  }

  async #openChunk(): Promise<Chunk> {
    const last = this.#chunks.at(-1);
    if (last && !last.sealed) return last;
    const { stream, partition, local } = this.#o;
    const chunk = new Chunk(stream, partition, `${this.#o.label ?? ""}${++this.#chunkNumber}`, this.#end);
    const events = [...columnList(stream.columns), "_payload VARCHAR"];
    await local.run(`create or replace table ${chunk.table()} (${events.join(", ")})`);
    for (const table of this.#tables) await this.#createTable(chunk, table);
    this.#chunks.push(chunk);
    return chunk;
  }

  async #createTable(chunk: Chunk, table: AppendTable): Promise<void> {
    const columns = columnList(this.#o.storedColumns(table)).join(", ");
    await this.#o.local.run(`create or replace table ${chunk.table(table.name)} (${columns})`);
  }

  /** Parses a run into the chunk's table of events, halving it when the engine refuses it. */
  async #loadEvents(chunk: Chunk, run: Load, letters: DeadLetter[]): Promise<void> {
    try {
      await this.#parse(chunk, run, letters);
    } catch (error) {
      if (!isAboutData(error)) throw error;
      if (run.from === run.to) return this.#keepUnparsed(chunk, run, error, letters);
      for (const half of halves(run)) await this.#loadEvents(chunk, half, letters);
    }
  }

  async #parse(chunk: Chunk, run: Load, letters: DeadLetter[]): Promise<void> {
    const { local, stream, partition, tempDir, maxEventBytes } = this.#o;
    const file = join(tempDir, `${stream.name}-${partition}-${run.from}.ndjson`);
    try {
      await this.#writeTemporary(file, run.parts);
      // The engine divides a file among its threads in pieces of twice the largest object.
      await local.run(
        `insert into ${chunk.table()} select e.*, payload from (
           select json::varchar as payload, from_json(json, ${this.#structure}) as e
           from read_ndjson_objects(${quoteLiteral(file)}, maximum_object_size = ${maxEventBytes + 1024}))`,
      );
    } finally {
      await rm(file, { force: true });
    }
    await this.#checkRows(chunk, run);
    chunk.addSpans(run.spans);
    await this.#findDuplicates(chunk, run);
    const required = requiredPresent(stream, `(c.rowid + ${chunk.from})`, String(partition));
    if (required === "true") return;
    // A second arrival has that for its fate already.
    const first = chunk.duplicates > 0 ? ` and c.rowid not in (select r from ${chunk.duplicateTable})` : "";
    const faults = await local.rows(
      `select (c.rowid + ${chunk.from})::double as o, _payload as payload from ${chunk.table()} c
       where ${chunk.rows(run.from, run.to)} and not (${required})${first}`,
    );
    for (const { o, payload } of faults) {
      chunk.faults.push(Number(o));
      const message = "a required field could not be read as its type";
      letters.push(this.#letter("parse", "EVENT_NOT_STORABLE", message, String(payload), run.spans, Number(o)));
    }
  }

  /** @throws LAKE_UNAVAILABLE (retryable), as a full disk is no fault of the query that needs the events staged. */
  async #writeTemporary(file: string, parts: readonly Uint8Array[]): Promise<void> {
    try {
      await writeFile(file, parts);
    } catch (cause) {
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: file, reason: reason(cause) }, { cause });
    }
  }

  /**
   * Rows are numbered in the order of the log, and none is ever taken out of a chunk's table, so that their number tells whether
   * each offset has its row: everything about a staged event hangs on that.
   */
  async #checkRows(chunk: Chunk, run: Load): Promise<void> {
    const [{ rows } = {}] = await this.#o.local.rows(`select count(*)::double as rows from ${chunk.table()}`);
    const wanted = run.to - chunk.from + 1;
    if (rows === wanted) return;
    throw new MillraceError("INTERNAL", {
      what: `staging ${run.from}..${run.to} gave ${rows} rows of ${wanted}, which`,
    });
  }

  async #findDuplicates(chunk: Chunk, run: Load): Promise<void> {
    const { index, local } = this.#o;
    if (!index) return;
    const [low, high] = await local.columns(
      `select ${hashColumns("id")} from (select ${chunk.idSql} as id from ${chunk.table()} c where ${chunk.rows(run.from, run.to)})`,
    );
    const count = run.to - run.from + 1;
    const offset = Float64Array.from({ length: count }, (_, row) => run.from + row);
    const receivedAtMs = new Float64Array(count);
    for (const span of run.spans) receivedAtMs.fill(span.receivedAtMs, span.from - run.from, span.to - run.from + 1);
    const batch = { hashLow: low as BigUint64Array, hashHigh: high as BigUint64Array, offset, receivedAtMs };
    const duplicateOf = await index.lookup(batch);
    const rows: string[] = [];
    const originals: string[] = [];
    for (let row = 0; row < count; row++) {
      if ((duplicateOf[row] as number) < 0) continue;
      rows.push(String(run.from - chunk.from + row));
      originals.push(String(duplicateOf[row]));
    }
    if (rows.length > 0) {
      await local.run(`create table if not exists ${chunk.duplicateTable} (r BIGINT, original BIGINT);
        insert into ${chunk.duplicateTable} select unnest([${rows}]), unnest([${originals}]::BIGINT[])`);
      chunk.duplicates += rows.length;
    }
    index.stage(batch, duplicateOf);
  }

  /** An event the engine cannot read at all: its text is kept, its fields are null, and it is dead-lettered. */
  async #keepUnparsed(chunk: Chunk, run: Load, cause: unknown, letters: DeadLetter[]): Promise<void> {
    const payload = Buffer.concat(run.parts).toString("utf8").trimEnd();
    await this.#o.local.run(`insert into ${chunk.table()} by name select ${quoteLiteral(payload)} as _payload`);
    await this.#checkRows(chunk, run);
    chunk.addSpans(run.spans);
    chunk.faults.push(run.from);
    letters.push(this.#letter("parse", "EVENT_NOT_STORABLE", reason(cause), payload, run.spans, run.from));
  }

  /**
   * Events whose bytes the disk has damaged keep their offsets: as `null`, which no event is, and a dead letter each that names
   * file and range. Those after them go on.
   */
  async #keepLost(chunk: Chunk, load: Load, message: string, letters: DeadLetter[]): Promise<void> {
    const count = load.to - load.from + 1;
    await this.#o.local.run(`insert into ${chunk.table()} by name select 'null' as _payload from range(${count})`);
    await this.#checkRows(chunk, load);
    chunk.addSpans(load.spans);
    for (let offset = load.from; offset <= load.to; offset++) {
      chunk.faults.push(offset);
      letters.push(this.#letter("log", "LOG_CORRUPT", message, "null", load.spans, offset));
    }
  }

  /** Gives the events `from..to` to an append table; those on which its SQL or a check's SQL fails are dead-lettered. */
  async #transform(chunk: Chunk, table: AppendTable, from: number, to: number, letters: DeadLetter[]): Promise<void> {
    const { local } = this.#o;
    const { inputs, release } = await this.#o.lookups(table);
    let failures: EventFailure[];
    try {
      failures = await insertEvents(local, {
        target: chunk.table(table.name),
        sql: shaped(table, table.storedSql),
        driver: table.driver,
        events: { kind: "native", sql: this.#driverSql(chunk, table, from, to) },
        inputs,
      });
    } finally {
      release();
    }
    await this.#keepFailed(chunk, table, failures, letters);
    await this.#check(chunk, table, from, to, letters);
  }

  async #keepFailed(
    chunk: Chunk,
    table: AppendTable,
    failures: readonly EventFailure[],
    letters: DeadLetter[],
  ): Promise<void> {
    if (failures.length === 0) return;
    const code = "TRANSFORM_FAILED";
    const entries = failures.map(({ offset, reason }) => ({
      offset,
      code,
      message: new MillraceError(code, { table: table.name, reason }).message,
    }));
    await this.#deadLetter(chunk, table, entries, "transform", letters);
  }

  #driverSql(chunk: Chunk, table: AppendTable, from: number, to: number): string {
    const driver = this.#tables.find((other) => other.name === table.driver);
    if (!driver) return chunk.eventsSql(from, to);
    return `select * from ${chunk.table(driver.name)} where _offset between ${from} and ${to}`;
  }

  /** Takes out the events of which a row fails a check. A check that gives null passes, as in SQL's own CHECK. */
  async #check(chunk: Chunk, table: AppendTable, from: number, to: number, letters: DeadLetter[]): Promise<void> {
    const { local } = this.#o;
    const target = chunk.table(table.name);
    const rows = `select * from ${target} where _offset between ${from} and ${to}`;
    const { failed, broken } = await failedChecks(local, table, { kind: "native", sql: rows });
    const offsets = [...failed, ...broken].map(({ offset }) => offset);
    if (offsets.length === 0) return;
    await local.run(`delete from ${target} where _offset in (${offsets.join(", ")})`);
    await this.#keepFailed(chunk, table, broken, letters);
    if (failed.length === 0) return;
    const entries = failed.map(({ offset, check }) => ({
      offset,
      code: "CHECK_FAILED",
      message: new MillraceError("CHECK_FAILED", {
        table: table.name,
        check,
        condition: table.checks[check],
      }).message,
    }));
    await this.#deadLetter(chunk, table, entries, "check", letters);
  }

  async #deadLetter(
    chunk: Chunk,
    table: AppendTable,
    entries: readonly { offset: number; code: string; message: string }[],
    stage: DeadLetter["stage"],
    letters: DeadLetter[],
  ): Promise<void> {
    const offsets = entries.map((entry) => entry.offset);
    chunk.deadLettered.set(table.name, [...(chunk.deadLettered.get(table.name) ?? []), ...offsets]);
    const rows = await this.#o.local.rows(
      `select _offset::double as o, payload, _source from (${chunk.bronzeSql(chunk.from, Math.max(...offsets))})
       where _offset in (${offsets.join(", ")})`,
    );
    const events = new Map(rows.map((row) => [Number(row["o"]), row]));
    for (const { offset, code, message } of entries) {
      const event = events.get(offset);
      const spans = [{ from: offset, to: offset, receivedAtMs: 0, source: String(event?.["_source"]) }];
      const letter = this.#letter(stage, code, message, String(event?.["payload"]), spans, offset);
      letters.push({ ...letter, table: table.name });
    }
  }

  #letter(
    stage: DeadLetter["stage"],
    code: string,
    message: string,
    payload: string,
    spans: readonly Span[],
    offset: number,
  ): DeadLetter {
    const source = spans.find((span) => span.from <= offset && offset <= span.to)?.source ?? "";
    return { stream: this.#o.stream.name, stage, code, message, payload, source, partition: this.#o.partition, offset };
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function columnList(columns: readonly Column[]): string[] {
  return columns.map((column) => `${quoteIdentifier(column.name)} ${duckdbType(column.type)}`);
}

/** SQL condition that every field the contract required when the event came has a value. */
export function requiredPresent(stream: Stream, offset: string, partition: string): string {
  const required = stream.columns.filter((column) => !column.nullable);
  const conditions = required.map(({ name }) => {
    const since = stream.requiredSince?.[name];
    const present = `${quoteIdentifier(name)} is not null`;
    // A partition that came later has no earlier events.
    return since ? `(${present} or ${offset} < coalesce([${since.join(", ")}][${partition} + 1], 0))` : present;
  });
  return conditions.join(" and ") || "true";
}

/** Consecutive events on their way into the engine: NDJSON in pieces. */
interface Load {
  readonly from: number;
  readonly to: number;
  readonly parts: readonly Uint8Array[];
  readonly spans: readonly Span[];
  /** Why there are no bytes: the log has lost these events. */
  readonly lost?: string;
}

/** The events from `from` on that an error of the log says are damaged. */
function lostEvents(error: unknown, from: number): Load | undefined {
  if (!(error instanceof MillraceError && error.code === "LOG_CORRUPT")) return undefined;
  const { to, receivedAtMs, source } = error.details as { to: number; receivedAtMs: number; source: string };
  return { from, to, parts: [], spans: [{ from, to, receivedAtMs, source }], lost: error.message };
}

/** The two halves of at least two events. */
function halves(load: Load): [Load, Load] {
  const bytes = Buffer.concat(load.parts);
  const middle = Math.floor((load.from + load.to) / 2);
  let position = 0;
  for (let offset = load.from; offset <= middle; offset++) position = bytes.indexOf(10, position) + 1;
  const half = (from: number, to: number, part: Uint8Array): Load => ({
    from,
    to,
    parts: [part],
    spans: load.spans
      .filter((span) => span.from <= to && span.to >= from)
      .map((span) => ({ ...span, from: Math.max(span.from, from), to: Math.min(span.to, to) })),
  });
  return [half(load.from, middle, bytes.subarray(0, position)), half(middle + 1, load.to, bytes.subarray(position))];
}
