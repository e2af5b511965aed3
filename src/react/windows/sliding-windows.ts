/**
 * Sliding windows: one for each event, from `size` before it to it, both included. Events of one key and time have the same one. It is final, and its result given,
 * when the watermark is beyond the event, for then every event in it is there; an event before the watermark is late.
 *
 * The events of a key are kept in slices of `size / 32`, each with the aggregates over all of it, so that a result is merged of at most 32 slices and the
 * events of the two at its ends. States are
 *
 *     heads, by key     numbers: offset at which it was opened | when it is due | time up to which results were given, or -Infinity | for each slice, in
 *                       order: its number | count of its events
 *     slices, by number and key, as "17:truck-1"
 *                       numbers: numbers of the aggregates | for each event, by time and offset: time | offset | numbers of its own aggregates
 *                       values:  values of the aggregates | for each event: values of its own
 *
 * A slice is dropped when no window that is to come reaches into it. So memory holds the events of (size + lateness + ahead), of a key at most `most`; what is more
 * is refused (WINDOW_FULL).
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
const GIVEN = 2;
const SLICES = 3;
const HEAD_WIDTH = 2;
/** Of an event in a slice. */
const TIME = 0;
const NUMBERS = 2;
/** More slices cost more merges, fewer cost more events to go through at the ends. */
const SLICES_OF_SIZE = 32;

export class SlidingWindows implements Windows {
  readonly #size: number;
  readonly #slice: number;
  readonly #most: number;
  readonly #aggregates: Aggregates;
  readonly #results: WindowResults;
  readonly #heads: KeyedState<Slots>;
  readonly #slices: KeyedState<Slots>;
  readonly #due = new DueTimes();
  /** Numbers and values of an event, and of the aggregates over a slice, which stand before its events. */
  readonly #width: number;
  readonly #values: number;
  readonly #events: number;

  constructor({ aggregates, results, lane }: WindowParts, size: WindowSizePlan & { readonly kind: "sliding" }) {
    this.#size = size.sizeMs * 1000;
    this.#slice = Math.ceil(this.#size / SLICES_OF_SIZE);
    this.#most = size.most;
    this.#aggregates = aggregates;
    this.#results = results;
    this.#width = NUMBERS + aggregates.numbers;
    this.#values = aggregates.values;
    this.#events = aggregates.numbers;
    this.#heads = lane.state<Slots>("heads", { codec: aggregates.codec("sliding-heads-1") });
    this.#slices = lane.state<Slots>("slices", { codec: aggregates.codec("sliding-slices-1") });
    this.index();
  }

  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined {
    if (time < watermark) return "EVENT_LATE";
    const before = this.#settled(key, watermark, out);
    const head = before?.numbers.slice() ?? [event.offset, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    if (countOf(head) >= this.#most) return "WINDOW_FULL";
    const number = Math.floor(time / this.#slice);
    let at = head.length;
    while (at > SLICES && head[at - HEAD_WIDTH]! > number) at -= HEAD_WIDTH;
    if (at > SLICES && head[at - HEAD_WIDTH] === number) head[at - 1]!++;
    else head.splice(at, 0, number, 1);
    const slice = sliceKey(number, key);
    this.#slices.set(slice, this.#added(this.#slices.get(slice), event, time));
    if (time + 1 < head[DUE]!) {
      head[DUE] = time + 1;
      this.#due.add(time + 1, head[OPENED]!, key);
    }
    this.#heads.set(key, { numbers: head, values: [] });
    return undefined;
  }

  close(watermark: number, most: number, out: Outlet): void {
    for (let count = 0; this.#due.next <= watermark && count < most; count++) {
      const due = this.#due.next;
      const key = this.#due.take();
      const head = this.#heads.get(key);
      if (head?.numbers[DUE] === due) this.#closeNext(key, head, watermark, out);
    }
  }

  index(): void {
    this.#due.clear();
    for (const [key, { numbers }] of this.#heads.entries()) this.#due.add(numbers[DUE]!, numbers[OPENED]!, key);
  }

  /** Sliding windows are not shown early: each is of one event, and final as soon as it is whole. */
  show(): void {}

  openKeys(): Iterable<string> {
    return this.#heads.keys();
  }

  /** The key's head once all results that the watermark allows are given. */
  #settled(key: string, watermark: number, out: Outlet): Slots | undefined {
    for (;;) {
      const head = this.#heads.get(key);
      if (head === undefined || head.numbers[DUE]! > watermark) return head;
      this.#closeNext(key, head, watermark, out);
    }
  }

  #closeNext(key: string, before: Slots, watermark: number, out: Outlet): void {
    const head = before.numbers.slice();
    let next = this.#nextTime(key, head);
    if (next === head[DUE]! - 1) {
      this.#give(key, head, next, out);
      head[GIVEN] = next;
      next = this.#nextTime(key, head);
    }
    this.#dropUntil(Math.min(next, watermark) - this.#size, key, head);
    if (head.length === SLICES) {
      this.#heads.delete(key);
      return;
    }
    // Without a result to give, the key is due when its last slice can go.
    head[DUE] = next < Number.POSITIVE_INFINITY ? next + 1 : (head.at(-HEAD_WIDTH)! + 1) * this.#slice + this.#size;
    this.#heads.set(key, { numbers: head, values: [] });
    this.#due.add(head[DUE], head[OPENED]!, key);
  }

  /** The slice with an event more, which comes after all of its time that are there. */
  #added(before: Slots | undefined, event: EventView, time: number): Slots {
    const slice =
      before === undefined
        ? this.#aggregates.empty()
        : { numbers: before.numbers.slice(), values: before.values.slice() };
    this.#aggregates.add(slice, 0, 0, event.value, time, event.offset);
    const own = this.#aggregates.empty();
    this.#aggregates.add(own, 0, 0, event.value, time, event.offset);
    const at = this.#firstAfter(slice.numbers, time);
    slice.numbers.splice(this.#events + at * this.#width, 0, time, event.offset, ...own.numbers);
    if (this.#values > 0) slice.values.splice((at + 1) * this.#values, 0, ...own.values);
    return slice;
  }

  /** Number of the first event of a slice that is later than `time`. */
  #firstAfter(numbers: readonly number[], time: number): number {
    let low = 0;
    let high = (numbers.length - this.#events) / this.#width;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[this.#events + middle * this.#width + TIME]! <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The time of the first event for which no result was given; infinite when there is none. */
  #nextTime(key: string, head: readonly number[]): number {
    const given = head[GIVEN]!;
    for (let at = SLICES; at < head.length; at += HEAD_WIDTH) {
      if ((head[at]! + 1) * this.#slice <= given) continue;
      const { numbers } = this.#slices.get(sliceKey(head[at]!, key))!;
      const n = this.#events + this.#firstAfter(numbers, given) * this.#width;
      if (n < numbers.length) return numbers[n + TIME]!;
    }
    return Number.POSITIVE_INFINITY;
  }

  #give(key: string, head: readonly number[], time: number, out: Outlet): void {
    const from = time - this.#size;
    const merged = this.#aggregates.empty();
    let count = 0;
    for (let at = SLICES; at < head.length && head[at]! * this.#slice <= time; at += HEAD_WIDTH) {
      if ((head[at]! + 1) * this.#slice <= from) continue;
      const slice = this.#slices.get(sliceKey(head[at]!, key))!;
      const { numbers } = slice;
      const last = numbers[numbers.length - this.#width + TIME]!;
      if (numbers[this.#events + TIME]! >= from && last <= time) {
        this.#aggregates.merge(merged, 0, 0, slice, 0, 0);
        count += head[at + 1]!;
        continue;
      }
      const end = this.#firstAfter(numbers, time);
      // Times are whole microseconds.
      for (let i = this.#firstAfter(numbers, from - 1); i < end; i++, count++) {
        const n = this.#events + i * this.#width + NUMBERS;
        this.#aggregates.merge(merged, 0, 0, slice, n, (i + 1) * this.#values);
      }
    }
    this.#results.give(out, key, from, time, count, true, merged, 0, 0);
  }

  /** Drops the slices that end by `time`. */
  #dropUntil(time: number, key: string, head: number[]): void {
    let gone = 0;
    for (let at = SLICES; at < head.length && (head[at]! + 1) * this.#slice <= time; at += HEAD_WIDTH) {
      this.#slices.delete(sliceKey(head[at]!, key));
      gone += HEAD_WIDTH;
    }
    if (gone > 0) head.splice(SLICES, gone);
  }
}

function sliceKey(number: number, key: string): string {
  return `${number}:${key}`;
}

function countOf(head: readonly number[]): number {
  let count = 0;
  for (let at = SLICES + 1; at < head.length; at += HEAD_WIDTH) count += head[at]!;
  return count;
}
