/**
 * Tumbling and hopping windows: they begin at whole multiples of `every` since 1970.
 *
 * An event counts in one pane of the length `every`; the result of a window is that of its panes, merged when it closes. A tumbling window is one
 * pane. The record of a key is
 *
 *     numbers: offset at which it was opened | when it is due | for each pane, in order: start | count of events | numbers of the aggregates
 *     values:  for each pane: values of the aggregates
 *
 * and it is dropped with its last pane, so memory holds panes with events in them that are not final: of a key at most (size + lateness + ahead) / every.
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
const PANES = 2;
/** In a pane. */
const COUNT = 1;
const NUMBERS = 2;

export class AlignedWindows implements Windows {
  readonly #size: number;
  readonly #every: number;
  readonly #aggregates: Aggregates;
  readonly #results: WindowResults;
  readonly #records: KeyedState<Slots>;
  readonly #due = new DueTimes();
  /** Numbers and values of a pane. */
  readonly #width: number;
  readonly #values: number;

  constructor({ aggregates, results, lane }: WindowParts, size: WindowSizePlan & { readonly kind: "aligned" }) {
    this.#size = size.sizeMs * 1000;
    this.#every = size.everyMs * 1000;
    this.#aggregates = aggregates;
    this.#results = results;
    this.#width = NUMBERS + aggregates.numbers;
    this.#values = aggregates.values;
    this.#records = lane.state<Slots>("panes", { codec: aggregates.codec("aligned-1") });
    this.index();
  }

  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined {
    const pane = Math.floor(time / this.#every) * this.#every;
    if (pane + this.#size <= watermark) return "EVENT_LATE";
    const before = this.#settled(key, watermark, out);
    // The end of the first window that the pane is in and that is still open.
    const end = Math.max(pane, Math.floor(watermark / this.#every) * this.#every) + this.#every;
    const record: Slots =
      before === undefined
        ? { numbers: [event.offset, end], values: [] }
        : { numbers: before.numbers.slice(), values: before.values.length === 0 ? NO_VALUES : before.values.slice() };
    const at = this.#paneAt(record, pane);
    const n = PANES + at * this.#width + NUMBERS;
    this.#aggregates.add(record, n, at * this.#values, event.value, time, event.offset);
    record.numbers[n - NUMBERS + COUNT]!++;
    if (before === undefined || end < before.numbers[DUE]!) {
      record.numbers[DUE] = end;
      this.#due.add(end, record.numbers[OPENED]!, key);
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
    const { numbers } = record;
    const last = numbers[numbers.length - this.#width]! + this.#size;
    for (let end = numbers[DUE]!; end <= last; end += this.#every) this.#give(key, record, end, false, out);
  }

  index(): void {
    this.#due.clear();
    for (const [key, { numbers }] of this.#records.entries()) this.#due.add(numbers[DUE]!, numbers[OPENED]!, key);
  }

  openKeys(): Iterable<string> {
    return this.#records.keys();
  }

  /** The key's record once all of its windows that end by the watermark are closed. */
  #settled(key: string, watermark: number, out: Outlet): Slots | undefined {
    for (;;) {
      const record = this.#records.get(key);
      if (record === undefined || record.numbers[DUE]! > watermark) return record;
      this.#closeNext(key, record, out);
    }
  }

  #closeNext(key: string, record: Slots, out: Outlet): void {
    const end = record.numbers[DUE]!;
    this.#give(key, record, end, true, out);
    this.#drop(key, record, end);
  }

  /** Number of the pane, which is added when it is not there. The newest ones are looked at first. */
  #paneAt({ numbers, values }: Slots, pane: number): number {
    let at = (numbers.length - PANES) / this.#width;
    for (; at > 0; at--) {
      const start = numbers[PANES + (at - 1) * this.#width]!;
      if (start === pane) return at - 1;
      if (start < pane) break;
    }
    const added: Slots = { numbers: [pane, 0], values: [] };
    this.#aggregates.append(added);
    if (at * this.#width + PANES === numbers.length) {
      for (const number of added.numbers) numbers.push(number);
    } else numbers.splice(PANES + at * this.#width, 0, ...added.numbers);
    if (this.#values > 0) values.splice(at * this.#values, 0, ...added.values);
    return at;
  }

  /** The result of the window that ends at `end`, where any of its panes has events. */
  #give(key: string, record: Slots, end: number, final: boolean, out: Outlet): void {
    const { numbers } = record;
    const start = end - this.#size;
    const panes: number[] = [];
    let count = 0;
    for (let n = PANES; n < numbers.length && numbers[n]! < end; n += this.#width) {
      if (numbers[n]! < start) continue;
      panes.push((n - PANES) / this.#width);
      count += numbers[n + COUNT]!;
    }
    const first = panes[0];
    if (first === undefined) return;
    if (panes.length === 1) {
      const n = PANES + first * this.#width + NUMBERS;
      this.#results.give(out, key, start, end, count, final, record, n, first * this.#values);
      return;
    }
    const merged = this.#aggregates.empty();
    for (const pane of panes) {
      const n = PANES + pane * this.#width + NUMBERS;
      this.#aggregates.merge(merged, 0, 0, record, n, pane * this.#values);
    }
    this.#results.give(out, key, start, end, count, final, merged, 0, 0);
  }

  /** Drops the panes that are in no window any more that ends after `end`, and says when the key is due next. */
  #drop(key: string, { numbers, values }: Slots, end: number): void {
    let gone = 0;
    for (let n = PANES; n < numbers.length && numbers[n]! + this.#size <= end; n += this.#width) gone++;
    if (PANES + gone * this.#width === numbers.length) {
      this.#records.delete(key);
      return;
    }
    const rest = numbers.slice(gone * this.#width);
    rest[OPENED] = numbers[OPENED]!;
    rest[DUE] = Math.max(rest[PANES]!, end) + this.#every;
    this.#records.set(key, { numbers: rest, values: values.slice(gone * this.#values) });
    this.#due.add(rest[DUE], rest[OPENED], key);
  }
}

/** Never written to: records without values share it. */
const NO_VALUES: unknown[] = [];
