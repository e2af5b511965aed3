/**
 * Where a replay reads a stream's events from: bronze, or the log as far as its segments are kept. Either way they come as the log
 * gives them, so that the code that took them in the first time takes them in again.
 *
 * Which events repeat earlier ones was decided when they arrived, and bronze recorded it. From the log it is decided anew, by the same
 * index over the same events.
 */
import { join } from "node:path";
import type { Stream } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import type { LocalSql, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { EventLog, Run, Span } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import { committedTo } from "./progress.ts";
import type { StagingIndex } from "./staging.ts";
import { StreamIndex } from "./stream-index.ts";

export interface ReplaySource {
  readonly reader: Pick<EventLog, "ends" | "read">;
  /** Undefined when the stream has no id. */
  readonly index: StagingIndex | undefined;
  /** Events up to this offset are taken in; nothing about them is asked again. */
  passed(to: number): Promise<void>;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly stream: Stream;
  readonly partition: number;
  /** First offset that is read. */
  readonly from: number;
  /** One past the last offset that may be read now. */
  readonly limit: () => number;
  readonly lake: LakeTables;
  readonly log: EventLog;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  /** A folder of its own, removed by the caller. */
  readonly tempDir: string;
  /** Sets the names of its temporary tables apart. */
  readonly label: string;
}

export async function openSource(kind: "bronze" | "log", o: SourceOptions): Promise<ReplaySource> {
  return kind === "bronze" ? new BronzeSource(o) : openLogSource(o);
}

/** First guess of the size of a stream's events; the first read is small for the case that it is far off. */
const BYTES_PER_EVENT = 4096;

class BronzeSource implements ReplaySource {
  readonly reader: Pick<EventLog, "ends" | "read">;
  readonly index: StagingIndex | undefined;
  readonly #o: SourceOptions;
  readonly #table: string;
  readonly #originals = new Map<number, number>();
  #bytesPerEvent = BYTES_PER_EVENT;

  constructor(o: SourceOptions) {
    this.#o = o;
    this.#table = `stage.${quoteIdentifier(`${o.label} ${o.stream.name} ${o.partition} bronze`)}`;
    this.reader = {
      ends: () => ({ start: 0, end: o.limit() }),
      read: (_stream, _partition, from, maxBytes) => this.#read(from, maxBytes),
    };
    if (o.stream.id.length === 0) return;
    this.index = {
      lookup: async ({ offset }) =>
        Float64Array.from({ length: offset.length }, (_, i) => this.#originals.get(Number(offset[i])) ?? -1),
      stage: () => undefined,
    };
  }

  async passed(to: number): Promise<void> {
    for (const offset of this.#originals.keys()) {
      if (offset > to) return;
      this.#originals.delete(offset);
    }
  }

  async close(): Promise<void> {
    await this.#o.engine.local.run(`drop table if exists ${this.#table}`);
  }

  async #read(from: number, maxBytes: number): Promise<Run | undefined> {
    const end = this.#o.limit();
    if (from >= end) return undefined;
    const { local } = this.#o.engine;
    let last = Math.min(end - 1, from + Math.ceil(maxBytes / this.#bytesPerEvent) - 1);
    let facts: Record<string, unknown> | undefined;
    for (;;) {
      await this.#fetch(from, last);
      [facts] = await local.rows(
        `select count(*)::double as rows, min(o)::double as first, max(o)::double as last, sum(strlen(payload) + 1)::double as bytes,
           min(o) filter (payload = 'null')::double as lost from ${this.#table}`,
      );
      const tooMuch = Number(facts?.["bytes"]) / (2 * maxBytes);
      if (tooMuch <= 1 || last === from) break;
      last = from + Math.floor((last - from) / Math.ceil(tooMuch)); // larger events than those before
    }
    const to = last;
    if (facts?.["first"] !== from || facts["last"] !== to || facts["rows"] !== to - from + 1)
      throw this.#damaged(gap(from, to));
    this.#bytesPerEvent = Math.max(16, Number(facts["bytes"]) / (to - from + 1));
    // What the log had lost to the disk is `null` in bronze, which no event is: it is told as the log tells it.
    const lost = facts["lost"] === null ? undefined : Number(facts["lost"]);
    if (lost === from) throw await this.#lost(from, to);
    return this.#run(from, lost === undefined ? to : lost - 1);
  }

  /** Copies a range of bronze to where it can be looked at more than once. */
  async #fetch(from: number, to: number): Promise<void> {
    const { lake, stream, partition, engine } = this.#o;
    const bronze = lake.get(`bronze.${stream.name}`);
    const files = pruneFiles(bronze.snapshot.files, [
      { column: "_offset", op: ">=", value: from },
      { column: "_offset", op: "<=", value: to },
      { column: "_partition", op: "=", value: partition },
    ]);
    if (files.length === 0) throw this.#damaged(gap(from, to));
    const sql = `select _offset as o, payload, epoch_ms(_received_at) as t, _source as s, _duplicate_of as d
      from bronze where _partition = ${partition} and _offset between ${from} and ${to}`;
    const inputs = new Map([["bronze", lake.relation(bronze, bronze.snapshot, files)]]);
    try {
      await engine.local.run(
        `create or replace table ${this.#table} as ${await engine.local.compile({ sql, inputs })}`,
      );
    } catch (error) {
      if (!(error instanceof MillraceError) || !["SQL_FAILED", "ENGINE_IO"].includes(error.code)) throw error;
      throw this.#damaged(error.message, error);
    }
  }

  async #run(from: number, to: number): Promise<Run> {
    const { local } = this.#o.engine;
    const range = `o between ${from} and ${to}`;
    const [text] = await local.rows(
      `select string_agg(payload, chr(10) order by o) as text from ${this.#table} where ${range}`,
    );
    if (this.index) {
      const repeats = await local.rows(
        `select o::double as o, d::double as d from ${this.#table} where ${range} and d is not null order by o`,
      );
      for (const { o, d } of repeats) this.#originals.set(Number(o), Number(d));
    }
    return { from, to, bytes: Buffer.from(`${text?.["text"]}\n`, "utf8"), spans: await this.#spans(from, to) };
  }

  async #spans(from: number, to: number): Promise<Span[]> {
    const starts = await this.#o.engine.local.rows(
      `select o::double as o, t::double as t, s from ${this.#table} where o between ${from} and ${to}
       qualify lag(o) over (order by o) is null or t <> lag(t) over (order by o) or s <> lag(s) over (order by o)
       order by o`,
    );
    return starts.map((row, i) => ({
      from: Number(row["o"]),
      to: Number(starts[i + 1]?.["o"] ?? to + 1) - 1,
      receivedAtMs: Number(row["t"]),
      source: String(row["s"]),
    }));
  }

  async #lost(from: number, last: number): Promise<MillraceError> {
    const { stream, partition } = this.#o;
    const [row] = await this.#o.engine.local.rows(
      `select (coalesce(min(o) filter (payload <> 'null'), ${last + 1}) - 1)::double as t from ${this.#table} where o <= ${last}`,
    );
    const to = Number(row?.["t"]);
    const [span] = await this.#spans(from, to);
    const details = { to, receivedAtMs: span?.receivedAtMs ?? 0, source: span?.source ?? "" };
    return new MillraceError(
      "LOG_CORRUPT",
      { stream: stream.name, partition, from, to, file: "a segment of the log" },
      { details },
    );
  }

  #damaged(why: string, cause?: unknown): MillraceError {
    const { stream } = this.#o;
    return new MillraceError("REPLAY_SOURCE_DAMAGED", { stream: stream.name, reason: why }, { cause });
  }
}

function gap(from: number, to: number): string {
  return `it lacks events of the offsets ${from} to ${to}`;
}

async function openLogSource(o: SourceOptions): Promise<ReplaySource> {
  const { stream, partition, from, lake, log, engine } = o;
  const dir = join(o.tempDir, `ids-${partition}`);
  const index =
    stream.id.length === 0 ? undefined : await StreamIndex.open({ dir, engine, lake, stream, partition, below: from });
  return {
    reader: {
      ends: (name, p) => ({ start: log.ends(name, p).start, end: o.limit() }),
      async read(name, p, at, maxBytes) {
        try {
          if (at >= o.limit()) return undefined; // events that came since are another flush's
          const run = await log.read(name, p, at, maxBytes);
          return run && cut(run, o.limit());
        } catch (error) {
          throw notOver(name, error);
        }
      },
    },
    index,
    passed: async (to) => index?.commit(to),
    close: async () => index?.close(),
  };
}

/** Events that the log has lost since must not take the place of those that a table still has. */
function notOver(stream: string, error: unknown): unknown {
  if (!(error instanceof MillraceError && error.code === "LOG_CORRUPT")) return error;
  const { to } = error.details as { to: number };
  const hint = `Replay from bronze, or from offset ${to + 1} on.`;
  return new MillraceError("REPLAY_NOT_POSSIBLE", { table: `bronze.${stream}`, reason: error.message, hint });
}

/** The events of a run below an offset, of which there is one at least. */
function cut(run: Run, end: number): Run {
  if (run.to < end) return run;
  let position = 0;
  const bytes = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.byteLength);
  for (let offset = run.from; offset < end; offset++) position = bytes.indexOf(10, position) + 1;
  const spans = run.spans
    .filter((span) => span.from < end)
    .map((span) => ({ ...span, to: Math.min(span.to, end - 1) }));
  return { from: run.from, to: end - 1, bytes: bytes.subarray(0, position), spans };
}

/** Last offset of a partition that a replay has to reach: what bronze has committed. */
export function storedTo(lake: LakeTables, stream: string, partition: number): number {
  return committedTo(lake.get(`bronze.${stream}`).snapshot, stream, partition);
}
