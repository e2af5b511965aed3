/**
 * Sessions: events of a key that are at most `gap` apart. A session is from its first event to its last one and the gap; it closes when the watermark is beyond that, for
 * then no event that counts can be of it. An event between two open sessions makes them one.
 *
 * An event is late when a session of it alone would be final, or when it would be of a session that is: so what is final are the sessions of all events that
 * count, each whole, and how long a final session must be remembered has a bound.
 *
 * The record of a key is
 *
 *     numbers: offset at which it was opened | when it is due | end of its newest final session, or -Infinity |
 *              for each open session, in order: first event | last event | count of events | numbers of the aggregates
 *     values:  for each open session: values of the aggregates
 *
 * and it is dropped when the watermark is another gap beyond its last session: until then an event could be of that one. Sessions of a key do not overlap and are kept until they
 * close, so a key has at most (lateness + ahead) / gap of them, and a session takes the same memory however long it is.
 */
import type { WindowSizePlan } from "../../define/read-window.ts";
import type { ErrorCode } from "../../errors.ts";
import type { EventView, KeyedState, Outlet } from "../operator.ts";
import type { Aggregates, Slots } from "./aggregates.ts";
import { DueTimes } from "./due-times.ts";
import type { WindowResults } from "./window-results.ts";
import type { WindowParts, Windows } from "./windows.ts";

const OPENED = 0;
const DUE = 1;
const FINAL = 2;
const SESSIONS = 3;
/** In a session. */
const FIRST = 0;
const LAST = 1;
const COUNT = 2;
const NUMBERS = 3;

export class SessionWindows implements Windows {
  readonly #gap: number;
  readonly #aggregates: Aggregates;
  readonly #results: WindowResults;
  readonly #retracts: boolean;
  readonly #records: KeyedState<Slots>;
  readonly #due = new DueTimes();
  /** Numbers and values of a session. */
  readonly #width: number;
  readonly #values: number;

  constructor({ plan, aggregates, results, lane }: WindowParts, size: WindowSizePlan & { readonly kind: "session" }) {
    this.#gap = size.gapMs * 1000;
    this.#aggregates = aggregates;
    this.#results = results;
    this.#retracts = plan.retracts;
    this.#width = NUMBERS + aggregates.numbers;
    this.#values = aggregates.values;
    this.#records = lane.state<Slots>("sessions", { codec: aggregates.codec("sessions-1") });
    this.index();
  }

  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined {
    if (time + this.#gap < watermark) return "EVENT_LATE";
    const before = this.#settled(key, watermark, out);
    if (before !== undefined && time <= before.numbers[FINAL]!) return "EVENT_LATE";
    const numbers = before?.numbers.slice() ?? [event.offset, 0, Number.NEGATIVE_INFINITY];
    const record: Slots = { numbers, values: before?.values.slice() ?? [] };
    // The first session that does not end before the event, and whether the event is of it.
    let at = 0;
    let n = SESSIONS;
    while (n < numbers.length && numbers[n + LAST]! + this.#gap < time) n = SESSIONS + ++at * this.#width;
    const joins = n < numbers.length && numbers[n + FIRST]! - this.#gap <= time;
    if (!joins) {
      const added: Slots = { numbers: [time, time, 0], values: [] };
      this.#aggregates.append(added);
      numbers.splice(n, 0, ...added.numbers);
      record.values.splice(at * this.#values, 0, ...added.values);
    }
    const next = n + this.#width;
    const bridges = joins && next < numbers.length && numbers[next + FIRST]! - this.#gap <= time;
    if (bridges) {
      this.#retract(key, record, at + 1, out);
      this.#aggregates.merge(record, n + NUMBERS, at * this.#values, record, next + NUMBERS, (at + 1) * this.#values);
      numbers[n + LAST] = numbers[next + LAST]!;
      numbers[n + COUNT]! += numbers[next + COUNT]!;
      numbers.splice(next, this.#width);
      record.values.splice((at + 1) * this.#values, this.#values);
    }
    if (time < numbers[n + FIRST]!) {
      this.#retract(key, record, at, out);
      numbers[n + FIRST] = time;
    }
    numbers[n + LAST] = Math.max(numbers[n + LAST]!, time);
    this.#aggregates.add(record, n + NUMBERS, at * this.#values, event.value, time, event.offset);
    numbers[n + COUNT]!++;
    const due = this.#dueOf(numbers);
    // One that is due later than it was is found out when its former time comes.
    if (before === undefined || due < numbers[DUE]!) {
      numbers[DUE] = due;
      this.#due.add(due, numbers[OPENED]!, key);
    }
    this.#records.set(key, record);
    return undefined;
  }

  close(watermark: number, most: number, out: Outlet): void {
    for (let count = 0; this.#due.next <= watermark && count < most; count++) {
      const due = this.#due.next;
      const key = this.#due.take();
      const record = this.#records.get(key);
      if (record?.numbers[DUE] === due) this.#closeNext(key, record, out);
    }
  }

  show(key: string, out: Outlet): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    for (let at = 0; SESSIONS + at * this.#width < record.numbers.length; at++) this.#give(key, record, at, false, out);
  }

  index(): void {
    this.#due.clear();
    for (const [key, { numbers }] of this.#records.entries()) this.#due.add(numbers[DUE]!, numbers[OPENED]!, key);
  }

  openKeys(): Iterable<string> {
    return this.#records.keys();
  }

  /** The key's record once all of its sessions that the watermark is beyond are closed. */
  #settled(key: string, watermark: number, out: Outlet): Slots | undefined {
    for (;;) {
      const record = this.#records.get(key);
      if (record === undefined || record.numbers[DUE]! > watermark) return record;
      this.#closeNext(key, record, out);
    }
  }

  #closeNext(key: string, record: Slots, out: Outlet): void {
    const actual = this.#dueOf(record.numbers);
    if (actual > record.numbers[DUE]!) this.#postpone(key, record, actual);
    else this.#closeFirst(key, record, out);
  }

  /** The first moment at which the watermark is beyond the earliest session, or beyond the need for the record. */
  #dueOf(numbers: readonly number[]): number {
    const last = numbers.length > SESSIONS ? numbers[SESSIONS + LAST]! : numbers[FINAL]!;
    return last + this.#gap + 1;
  }

  #postpone(key: string, { numbers, values }: Slots, due: number): void {
    const next = numbers.slice();
    next[DUE] = due;
    this.#records.set(key, { numbers: next, values });
    this.#due.add(due, next[OPENED]!, key);
  }

  #closeFirst(key: string, record: Slots, out: Outlet): void {
    const { numbers, values } = record;
    if (numbers.length === SESSIONS) {
      this.#records.delete(key);
      return;
    }
    this.#give(key, record, 0, true, out);
    const rest = numbers.slice();
    rest[FINAL] = rest[SESSIONS + LAST]! + this.#gap;
    rest.splice(SESSIONS, this.#width);
    rest[DUE] = this.#dueOf(rest);
    this.#records.set(key, { numbers: rest, values: values.slice(this.#values) });
    this.#due.add(rest[DUE], rest[OPENED]!, key);
  }

  #give(key: string, record: Slots, at: number, final: boolean, out: Outlet): void {
    const n = SESSIONS + at * this.#width;
    const { numbers } = record;
    const end = numbers[n + LAST]! + this.#gap;
    const v = at * this.#values;
    this.#results.give(out, key, numbers[n + FIRST]!, end, numbers[n + COUNT]!, final, record, n + NUMBERS, v);
  }

  /** A session that begins elsewhere from now on may have been shown under its former beginning. */
  #retract(key: string, record: Slots, at: number, out: Outlet): void {
    if (!this.#retracts) return;
    const n = SESSIONS + at * this.#width;
    const { numbers } = record;
    const end = numbers[n + LAST]! + this.#gap;
    this.#results.retract(
      out,
      key,
      numbers[n + FIRST]!,
      end,
      numbers[n + COUNT]!,
      record,
      n + NUMBERS,
      at * this.#values,
    );
  }
}
