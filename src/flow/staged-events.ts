/**
 * The unflushed tail of one partition, typed and deduplicated, in the embedded engine's memory. Queries and flushes both
 * read it, so what a query saw is what gets stored and each event is transformed once.
 *
 * A tail is a list of chunks of consecutive events, oldest first. Each chunk has a table of events, and one more for every append
 * table that is not simply the stream itself. Only the last chunk grows; a flush seals it and, once all tables have committed,
 * drops it, unless a query still reads it.
 *
 * The table of events holds the fields and the payload, in the order of the log and nothing else: an event's offset is its
 * row's number plus the chunk's first offset, and arrival and source are looked up in the chunk's spans by that number.
 * Storing them per row would double the cost of a load.
 */
import type { Stream } from "../define/project.ts";
import { META_COLUMNS } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import type { Span } from "../log/event-log.ts";
import type { DeadLetter } from "./dead-letters.ts";
import { eventId } from "./event-id.ts";

export class Chunk {
  readonly stream: Stream;
  readonly partition: number;
  readonly name: string;
  readonly from: number;
  /** Last offset whose rows are complete; readers never look past it. `from - 1` while empty. */
  to: number;
  payloadBytes = 0;
  sealed = false;
  /** Second arrivals among the events; their table is there when there are any. */
  duplicates = 0;
  /** Events that could not be parsed, by offset. They are in bronze and nowhere else. */
  readonly faults: number[] = [];
  /** Table -> offsets of events that were dead-lettered on the way to it. */
  readonly deadLettered = new Map<string, number[]>();
  /** Dead letters that are not written yet: they are before the chunk is stored here, and go with it when somebody else stores it. */
  readonly letters: DeadLetter[] = [];
  readonly #spans: Span[] = [];
  #readers = 0;
  #drop: (() => void) | undefined;

  constructor(stream: Stream, partition: number, number: string, from: number) {
    this.stream = stream;
    this.partition = partition;
    this.name = `${stream.name} ${partition} ${number}`;
    this.from = from;
    this.to = from - 1;
  }

  /** The engine's table that holds the chunk's events, or its rows for an append table. */
  table(appendTable?: string): string {
    return `stage.${quoteIdentifier(appendTable === undefined ? this.name : `${this.name} ${appendTable}`)}`;
  }

  /** The engine's table of second arrivals: `r`, the row, and `original`, the offset it repeats. */
  get duplicateTable(): string {
    return `stage.${quoteIdentifier(`${this.name} duplicates`)}`;
  }

  addSpans(spans: readonly Span[]): void {
    for (const span of spans) {
      const last = this.#spans.at(-1);
      if (last && last.receivedAtMs === span.receivedAtMs && last.source === span.source) {
        this.#spans[this.#spans.length - 1] = { ...last, to: span.to };
      } else this.#spans.push(span);
    }
  }

  /** Undoes what a load that broke off had noted about events after `offset`. Its rows stay, unseen. */
  forgetAfter(offset: number): void {
    const kept = (other: number) => other <= offset;
    this.faults.splice(0, this.faults.length, ...this.faults.filter(kept));
    for (const [table, offsets] of this.deadLettered) this.deadLettered.set(table, offsets.filter(kept));
  }

  /** SQL for the id of the event in a row of the table, which has the alias `c`. */
  get idSql(): string {
    return eventId(this.stream, "c", `'${this.partition}-' || (c.rowid + ${this.from})`);
  }

  /** The condition that picks the rows of some offsets (inclusive). */
  rows(from: number, to: number): string {
    return `c.rowid between ${from - this.from} and ${to - this.from}`;
  }

  /** The events as bronze holds them: payload, and whether they are second arrivals. */
  bronzeSql(from: number, to: number): string {
    const original = this.duplicates > 0 ? "d.original" : "null::bigint";
    const join = this.duplicates > 0 ? ` left join ${this.duplicateTable} d on d.r = c.rowid` : "";
    return `select c._payload as payload, ${this.#meta(from, to)}, ${original} as _duplicate_of
      from ${this.table()} c${join} where ${this.rows(from, to)}`;
  }

  /** The events as the stream's name shows them: parsed, without second arrivals and without what could not be parsed. */
  eventsSql(from: number, to: number): string {
    const fields = this.stream.columns.map((column) => `c.${quoteIdentifier(column.name)}`).join(", ");
    const first = this.duplicates > 0 ? ` and c.rowid not in (select r from ${this.duplicateTable})` : "";
    const faults = this.faults.map((offset) => offset - this.from).join(", ");
    const parsed = faults === "" ? "" : ` and c.rowid not in (${faults})`;
    return `select ${fields}, ${this.#meta(from, to)} from ${this.table()} c where ${this.rows(from, to)}${first}${parsed}`;
  }

  /** The meta columns, in the order of META_COLUMNS. */
  #meta(from: number, to: number): string {
    const spans = this.#spans.filter((span) => span.to >= from && span.from <= to);
    const values: Record<(typeof META_COLUMNS)[number]["name"], string> = {
      _id: this.idSql,
      _partition: `${this.partition}::integer`,
      _offset: `c.rowid + ${this.from}::bigint`,
      _received_at: this.#bySpan(spans, (span) => `make_timestamptz(${span.receivedAtMs * 1000})`),
      _source: this.#bySpan(spans, (span) => quoteLiteral(span.source)),
    };
    return META_COLUMNS.map(({ name }) => `${values[name]} as ${name}`).join(", ");
  }

  /** A value that each span has one of, found by halving: as many comparisons per row as the number of spans has digits in binary. */
  #bySpan(spans: readonly Span[], value: (span: Span) => string): string {
    const pieces: { from: number; sql: string }[] = [];
    for (const span of spans) {
      const sql = value(span);
      if (pieces.at(-1)?.sql !== sql) pieces.push({ from: span.from, sql });
    }
    const choose = (low: number, high: number): string => {
      if (high - low <= 1) return pieces[low]?.sql ?? "null";
      const middle = (low + high) >> 1;
      const row = (pieces[middle]?.from ?? 0) - this.from;
      return `case when c.rowid < ${row} then ${choose(low, middle)} else ${choose(middle, high)} end`;
    };
    return choose(0, pieces.length);
  }

  /** Holds the chunk's tables until the returned function is called. */
  pin(): () => void {
    this.#readers++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#readers--;
      if (this.#readers === 0) this.#drop?.();
    };
  }

  /** Calls `drop` once nobody reads the chunk any more. */
  whenUnread(drop: () => void): void {
    if (this.#readers === 0) drop();
    else this.#drop = drop;
  }
}
