/**
 * Which events of one partition repeat earlier ones, told before the tables have decided it, and just as they will: what reacts to events within
 * milliseconds must not see an event twice that is stored once.
 *
 * Of stored events bronze knows. Above them, ids are compared with those of the duplicate index (committed and staged) and with the ids of the events
 * above bronze that have been asked about, which are few: a flush every few seconds takes them over.
 */
import { hash } from "node:crypto";
import type { Stream } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { LocalSql, SqlEngine } from "../engine/sql-engine.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { EventLog, Run } from "../log/event-log.ts";
import { hashColumns } from "./dedupe/id-hash.ts";
import { eventId } from "./event-id.ts";
import { idText } from "./id-text.ts";
import type { LakeTables } from "./lake-tables.ts";
import { committedTo } from "./progress.ts";
import { quickFields } from "./quick-fields.ts";
import type { StreamIndex } from "./stream-index.ts";

export interface RepetitionsOptions {
  readonly stream: Stream;
  readonly partition: number;
  readonly log: Pick<EventLog, "read">;
  readonly lake: LakeTables;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly index: Pick<StreamIndex, "knows" | "lookup">;
}

/** So many offsets of bronze are asked for at once. */
const STORED_AT_ONCE = 1_000_000;
const READ_BYTES = 4 * 1024 * 1024;

export class Repetitions {
  readonly #o: RepetitionsOptions;
  readonly #text: ReturnType<typeof idText>;
  readonly #fields: ReturnType<typeof quickFields>;
  /** Of bronze: repetitions among `from` to `to`. */
  #stored: { readonly from: number; readonly to: number; readonly offsets: readonly number[] } = NOTHING_STORED;
  /** Bronze and the index decide up to it; undefined before the first question. */
  #base: number | undefined;
  #following = false;
  #failure: unknown;
  /** First offset that is not decided yet, of those above bronze; -1 before the first question. */
  #next = -1;
  /** Repetitions above bronze, ascending. */
  #decided: number[] = [];
  /** The last stored event of each id above bronze, and the ids in the order of their events. */
  readonly #recent = new Map<string, Known>();
  #order: { readonly id: string; readonly offset: number }[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: RepetitionsOptions) {
    this.#o = options;
    this.#text = idText(options.stream);
    this.#fields = quickFields(options.stream.id);
  }

  /** The offsets of a run's events that repeat earlier ones, ascending. @throws what the lake, the log and the index do */
  of(run: Run): Promise<readonly number[]> {
    const turn = this.#queue.then(() => this.#of(run));
    this.#queue = turn.catch(() => undefined); // told to whoever asked
    return turn;
  }

  async #of(run: Run): Promise<readonly number[]> {
    const base = await this.#follow(this.#committed());
    this.#forgetTo(base);
    const stored = run.from <= base ? await this.#fromBronze(run.from, Math.min(run.to, base), base) : [];
    if (run.to <= base) return stored;
    if (this.#next <= base) this.#next = base + 1;
    while (this.#next < run.from) {
      // Asked about before this process began, or by nobody.
      const gap = await this.#o.log.read(this.#o.stream.name, this.#o.partition, this.#next, READ_BYTES);
      if (!gap) break;
      await this.#decide(within(gap, this.#next, run.from - 1));
    }
    if (this.#next <= run.to) await this.#decide(within(run, this.#next, run.to));
    const above = this.#decided.filter((offset) => offset > base && offset >= run.from && offset <= run.to);
    return [...stored, ...above];
  }

  /**
   * The offset up to which bronze decides here: that which is committed, or an earlier one while the index takes up what another process has stored
   * since. Of what lies between, the ids asked about decide, so nobody waits for it.
   */
  async #follow(committed: number): Promise<number> {
    if (this.#failure !== undefined) {
      const failure = this.#failure;
      this.#failure = undefined;
      throw failure;
    }
    const { index } = this.#o;
    if (this.#base === undefined) await index.knows(committed);
    if (this.#base === undefined || committed < this.#base) {
      this.#base = committed;
    } else if (committed > this.#base && !this.#following) {
      this.#following = true;
      index
        .knows(committed)
        .then(
          () => {
            this.#base = committed;
          },
          (error: unknown) => {
            this.#failure = error; // told to who asks next, whose question tries again
          },
        )
        .finally(() => {
          this.#following = false;
        });
    }
    return this.#base;
  }

  #committed(): number {
    const { lake, stream, partition } = this.#o;
    const name = `bronze.${stream.name}`;
    lake.check(name);
    return committedTo(lake.get(name).snapshot, stream.name, partition);
  }

  async #fromBronze(from: number, to: number, base: number): Promise<readonly number[]> {
    if (from < this.#stored.from || to > this.#stored.to) {
      const last = Math.min(base, Math.max(to, from + STORED_AT_ONCE));
      this.#stored = { from, to: last, offsets: await this.#storedRepetitions(from, last) };
    }
    return this.#stored.offsets.filter((offset) => offset >= from && offset <= to);
  }

  async #storedRepetitions(from: number, to: number): Promise<number[]> {
    const { lake, stream, partition, engine } = this.#o;
    const bronze = lake.get(`bronze.${stream.name}`);
    const files = pruneFiles(bronze.snapshot.files, [
      { column: "_offset", op: ">=", value: from },
      { column: "_offset", op: "<=", value: to },
    ]);
    const inputs = new Map([["bronze", lake.relation(bronze, bronze.snapshot, files)]]);
    const sql = `select _offset::double as o from bronze where _partition = ${partition} and _offset between ${from} and ${to}
      and _duplicate_of is not null order by _offset`;
    const [offsets] = await engine.local.columns(await engine.local.compile({ sql, inputs }));
    return Array.from((offsets ?? []) as Float64Array);
  }

  /** Decides about the events of a run that begins at the first undecided one. */
  async #decide(run: Run): Promise<void> {
    const events = await this.#ids(run);
    const repeated: number[] = [];
    // An id that is met again within the run waits until its event before is decided.
    for (let open = events; open.length > 0; ) {
      const seen = new Set<string>();
      const now: Identified[] = [];
      const later: Identified[] = [];
      for (const event of open) {
        (seen.has(event.id) ? later : now).push(event);
        seen.add(event.id);
      }
      await this.#decideEach(now, repeated);
      open = later;
    }
    this.#decided.push(...repeated.sort((a, b) => a - b));
    this.#next = run.to + 1;
  }

  async #decideEach(events: readonly Identified[], repeated: number[]): Promise<void> {
    const { stream } = this.#o;
    const within = (known: Known | undefined, { atMs }: Identified) =>
      known !== undefined && atMs - known.atMs <= stream.horizonMs;
    const unknown = events.filter((event) => !within(this.#recent.get(event.id), event));
    const stored = await this.#lookup(unknown);
    for (const event of events) {
      if (within(this.#recent.get(event.id), event) || stored.has(event.offset)) repeated.push(event.offset);
      else {
        this.#recent.set(event.id, event);
        this.#order.push(event);
      }
    }
  }

  /** Those whose ids the index knows of earlier events. */
  async #lookup(events: readonly Identified[]): Promise<Set<number>> {
    if (events.length === 0) return new Set();
    const [hashLow, hashHigh] = [new BigUint64Array(events.length), new BigUint64Array(events.length)];
    const bytes = Buffer.from(events.map(({ id }) => id).join(""), "latin1");
    for (let i = 0; i < events.length; i++) {
      hashLow[i] = bytes.readBigUInt64LE(i * 16);
      hashHigh[i] = bytes.readBigUInt64LE(i * 16 + 8);
    }
    const offset = events.map((event) => event.offset);
    const found = await this.#o.index.lookup({
      ...{ hashLow, hashHigh, offset, receivedAtMs: events.map(({ atMs }) => atMs) },
    });
    return new Set(events.filter((_, i) => (found[i] as number) >= 0).map(({ offset }) => offset));
  }

  async #ids(run: Run): Promise<Identified[]> {
    const lines = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.byteLength)
      .toString("utf8")
      .split("\n");
    const arrivals = arrivalsOf(run);
    const { partition } = this.#o;
    const text = this.#text;
    const digests =
      text === undefined
        ? await this.#digestsByEngine(run, lines)
        : lines
            .slice(0, run.to - run.from + 1)
            .map((line, i) =>
              hash("md5", text(this.#fields(line) ?? parsed(line), `${partition}-${run.from + i}`), "binary"),
            );
    return digests.map((id, i) => ({ id, offset: run.from + i, atMs: arrivals[i] as number }));
  }

  /** For ids that the engine alone writes as the tables have them. */
  async #digestsByEngine(run: Run, lines: readonly string[]): Promise<string[]> {
    const { stream, partition, engine } = this.#o;
    const digests: string[] = [];
    for (let at = run.from; at <= run.to; at += AT_ONCE) {
      const some = lines.slice(at - run.from, Math.min(at + AT_ONCE, run.to + 1) - run.from);
      const rows = some.map((line, i) => `(${quoteLiteral(line)}, ${at + i})`);
      const structure = quoteLiteral(jsonStructure(stream.columns));
      const id = eventId(stream, "e", `'${partition}-' || o`);
      const [low, high] = await engine.local.columns(
        `select ${hashColumns(id)} from (select from_json(case when json_valid(p) then p end, ${structure}) as e, o
         from (values ${rows.join(", ")}) v(p, o)) order by o`,
      );
      for (let i = 0; i < some.length; i++) {
        const bytes = Buffer.alloc(16);
        bytes.writeBigUInt64LE((low as BigUint64Array)[i] as bigint, 0);
        bytes.writeBigUInt64LE((high as BigUint64Array)[i] as bigint, 8);
        digests.push(bytes.toString("binary"));
      }
    }
    return digests;
  }

  /** Bronze has taken over what is not above it. */
  #forgetTo(base: number): void {
    let gone = 0;
    while (gone < this.#order.length && (this.#order[gone] as Identified).offset <= base) {
      const { id, offset } = this.#order[gone] as Identified;
      if (this.#recent.get(id)?.offset === offset) this.#recent.delete(id);
      gone++;
    }
    if (gone > 0) this.#order = this.#order.slice(gone);
    if ((this.#decided[0] ?? Number.POSITIVE_INFINITY) <= base) {
      this.#decided = this.#decided.filter((offset) => offset > base);
    }
  }
}

interface Known {
  readonly offset: number;
  readonly atMs: number;
}

/** `id`: the MD5 of the event's id, its bytes as characters. */
interface Identified extends Known {
  readonly id: string;
}

const NOTHING_STORED = { from: 0, to: -1, offsets: [] };
const AT_ONCE = 1000;

/** The part of a run from one offset to another. */
function within(run: Run, from: number, to: number): Run {
  if (run.from >= from && run.to <= to) return run;
  const bytes = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.byteLength);
  let start = 0;
  for (let offset = run.from; offset < from; offset++) start = bytes.indexOf(10, start) + 1;
  let end = start;
  const last = Math.min(to, run.to);
  for (let offset = Math.max(from, run.from); offset <= last; offset++) end = bytes.indexOf(10, end) + 1;
  return { from: Math.max(from, run.from), to: last, bytes: bytes.subarray(start, end), spans: run.spans };
}

function arrivalsOf(run: Run): Float64Array {
  const arrivals = new Float64Array(run.to - run.from + 1);
  for (const { from, to, receivedAtMs } of run.spans)
    arrivals.fill(receivedAtMs, Math.max(0, from - run.from), Math.max(0, to - run.from + 1));
  return arrivals;
}

/** What is no event has no id: damage of the disk is found elsewhere. */
function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(line) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}
