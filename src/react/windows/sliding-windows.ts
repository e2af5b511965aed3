/**
 * Sliding windows: one for each event, from `size` before it to it, both included. Events of one key and time have the same one. It is final, and its result given,
 * when the watermark is beyond the event, for then every event in it is there; an event before the watermark is late.
 *
 * The events of a key lie in order of time and offset in chunks of at most 64, each with the aggregates over all of it, so that a result is merged of the
 * chunks that are in its window and of the events of the two at its ends. States are
 *
 *     heads, by key     numbers: offset at which it was opened | when it is due | time up to which results were given, or -Infinity | number of the next chunk |
 *                       for each chunk, in order: number | time of its first event | of its last one | count of its events
 *     chunks, by number and key, as "17:truck-1"
 *                       numbers: numbers of the aggregates | for each event: time | numbers of its own aggregates
 *                       values:  values of the aggregates | for each event: values of its own
 *
 * A chunk is dropped when no window that is to come reaches into it. So memory holds the events of (size + lateness + ahead), of a key at most `most`; what is more
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
const NEXT = 3;
const CHUNKS = 4;
/** Of a chunk in a head. */
const NUMBER = 0;
const FIRST = 1;
const LAST = 2;
const COUNT = 3;
const HEAD_WIDTH = 4;
/** Larger chunks cost more to copy for each event and to go through at the ends of a window, smaller ones more merges. */
const MOST_IN_CHUNK = 64;

export class SlidingWindows implements Windows {
  readonly #size: number;
  readonly #most: number;
  readonly #aggregates: Aggregates;
  readonly #results: WindowResults;
  readonly #heads: KeyedState<Slots>;
  readonly #chunks: KeyedState<Slots>;
  readonly #due = new DueTimes();
  /** Where events begin in a chunk, and numbers and values of one. */
  readonly #events: number;
  readonly #width: number;
  readonly #values: number;

  constructor({ aggregates, results, lane }: WindowParts, size: WindowSizePlan & { readonly kind: "sliding" }) {
    this.#size = size.sizeMs * 1000;
    this.#most = size.most;
    this.#aggregates = aggregates;
    this.#results = results;
    this.#events = aggregates.numbers;
    this.#width = 1 + aggregates.numbers;
    this.#values = aggregates.values;
    this.#heads = lane.state<Slots>("heads", { codec: aggregates.codec("sliding-heads-1") });
    this.#chunks = lane.state<Slots>("chunks", { codec: aggregates.codec("sliding-chunks-1") });
    this.index();
  }

  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined {
    if (time < watermark) return "EVENT_LATE";
    const before = this.#settled(key, watermark, out);
    const head = before?.numbers.slice() ?? [event.offset, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
    if (countOf(head) >= this.#most && !this.#madeRoom(key, head, watermark)) return "WINDOW_FULL";
    this.#insert(key, head, event, time);
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
    this.#dropBefore(Math.min(next, watermark) - this.#size, key, head);
    if (head.length === CHUNKS) {
      this.#heads.delete(key);
      return;
    }
    // Without a result to give, the key is due when its last events can go.
    head[DUE] = (next < Number.POSITIVE_INFINITY ? next : head[head.length - HEAD_WIDTH + LAST]! + this.#size) + 1;
    this.#heads.set(key, { numbers: head, values: [] });
    this.#due.add(head[DUE], head[OPENED]!, key);
  }

  /** Puts an event behind all of its time that are there. */
  #insert(key: string, head: number[], event: EventView, time: number): void {
    let at = head.length - HEAD_WIDTH;
    while (at > CHUNKS && head[at + FIRST]! > time) at -= HEAD_WIDTH;
    const full = at >= CHUNKS && head[at + COUNT]! >= MOST_IN_CHUNK;
    if (full && time < head[at + LAST]!) {
      this.#split(key, head, at);
      if (time >= head[at + HEAD_WIDTH + FIRST]!) at += HEAD_WIDTH;
    }
    if (at < CHUNKS || (full && time >= head[at + LAST]!)) {
      at = Math.max(CHUNKS, at + HEAD_WIDTH);
      head.splice(at, 0, head[NEXT]!, time, time, 0);
      head[NEXT]!++;
    }
    const name = chunkKey(head[at + NUMBER]!, key);
    const before = head[at + COUNT] === 0 ? undefined : this.#chunks.get(name);
    this.#chunks.set(name, this.#added(before, event, time));
    head[at + FIRST] = Math.min(head[at + FIRST]!, time);
    head[at + LAST] = Math.max(head[at + LAST]!, time);
    head[at + COUNT]!++;
  }

  #added(before: Slots | undefined, event: EventView, time: number): Slots {
    const chunk =
      before === undefined
        ? this.#aggregates.empty()
        : { numbers: before.numbers.slice(), values: before.values.slice() };
    this.#aggregates.add(chunk, 0, 0, event.value, time, event.offset);
    const own = this.#aggregates.empty();
    this.#aggregates.add(own, 0, 0, event.value, time, event.offset);
    const at = this.#firstAfter(chunk.numbers, time);
    chunk.numbers.splice(this.#events + at * this.#width, 0, time, ...own.numbers);
    if (this.#values > 0) chunk.values.splice((at + 1) * this.#values, 0, ...own.values);
    return chunk;
  }

  /** Makes two of a chunk. */
  #split(key: string, head: number[], at: number): void {
    const chunk = this.#chunks.get(chunkKey(head[at + NUMBER]!, key))!;
    const count = head[at + COUNT]!;
    const half = count >> 1;
    const number = head[NEXT]!++;
    head.splice(at + HEAD_WIDTH, 0, number, 0, 0, 0);
    this.#put(key, head, at, this.#part(chunk, 0, half), half);
    this.#put(key, head, at + HEAD_WIDTH, this.#part(chunk, half, count), count - half);
  }

  /** The events `from` to `to` of a chunk, as a chunk. */
  #part(chunk: Slots, from: number, to: number): Slots {
    const part = this.#aggregates.empty();
    for (let i = from; i < to; i++) this.#mergeEvent(part, chunk, i);
    const { numbers, values } = chunk;
    for (let n = this.#events + from * this.#width; n < this.#events + to * this.#width; n++)
      part.numbers.push(numbers[n]!);
    for (let v = (from + 1) * this.#values; v < (to + 1) * this.#values; v++) part.values.push(values[v]);
    return part;
  }

  #put(key: string, head: number[], at: number, chunk: Slots, count: number): void {
    head[at + FIRST] = chunk.numbers[this.#events]!;
    head[at + LAST] = chunk.numbers[chunk.numbers.length - this.#width]!;
    head[at + COUNT] = count;
    this.#chunks.set(chunkKey(head[at + NUMBER]!, key), chunk);
  }

  #mergeEvent(into: Slots, chunk: Slots, i: number): void {
    const n = this.#events + i * this.#width + 1;
    this.#aggregates.merge(into, 0, 0, chunk, n, (i + 1) * this.#values);
  }

  /** Number of the first event of a chunk that is later than `time`. */
  #firstAfter(numbers: readonly number[], time: number): number {
    let low = 0;
    let high = (numbers.length - this.#events) / this.#width;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[this.#events + middle * this.#width]! <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The time of the first event for which no result was given; infinite when there is none. */
  #nextTime(key: string, head: readonly number[]): number {
    const given = head[GIVEN]!;
    for (let at = CHUNKS; at < head.length; at += HEAD_WIDTH) {
      if (head[at + LAST]! <= given) continue;
      if (head[at + FIRST]! > given) return head[at + FIRST]!;
      const { numbers } = this.#chunks.get(chunkKey(head[at + NUMBER]!, key))!;
      return numbers[this.#events + this.#firstAfter(numbers, given) * this.#width]!;
    }
    return Number.POSITIVE_INFINITY;
  }

  #give(key: string, head: readonly number[], time: number, out: Outlet): void {
    const from = time - this.#size;
    const merged = this.#aggregates.empty();
    let count = 0;
    for (let at = CHUNKS; at < head.length && head[at + FIRST]! <= time; at += HEAD_WIDTH) {
      if (head[at + LAST]! < from) continue;
      const chunk = this.#chunks.get(chunkKey(head[at + NUMBER]!, key))!;
      if (head[at + FIRST]! >= from && head[at + LAST]! <= time) {
        this.#aggregates.merge(merged, 0, 0, chunk, 0, 0);
        count += head[at + COUNT]!;
        continue;
      }
      const end = this.#firstAfter(chunk.numbers, time);
      // Times are whole microseconds.
      for (let i = this.#firstAfter(chunk.numbers, from - 1); i < end; i++, count++) this.#mergeEvent(merged, chunk, i);
    }
    this.#results.give(out, key, from, time, count, true, merged, 0, 0);
  }

  /** Drops the chunks whose events are all before `time`. */
  #dropBefore(time: number, key: string, head: number[]): void {
    let gone = 0;
    for (let at = CHUNKS; at < head.length && head[at + LAST]! < time; at += HEAD_WIDTH) {
      this.#chunks.delete(chunkKey(head[at + NUMBER]!, key));
      gone += HEAD_WIDTH;
    }
    if (gone > 0) head.splice(CHUNKS, gone);
  }

  /** Drops the single events that no window to come reaches, where there are any. */
  #madeRoom(key: string, head: number[], watermark: number): boolean {
    const time = Math.min(this.#nextTime(key, head), watermark) - this.#size;
    this.#dropBefore(time, key, head);
    if (head.length > CHUNKS && head[CHUNKS + FIRST]! < time) {
      const chunk = this.#chunks.get(chunkKey(head[CHUNKS + NUMBER]!, key))!;
      const from = this.#firstAfter(chunk.numbers, time - 1);
      const count = head[CHUNKS + COUNT]!;
      this.#put(key, head, CHUNKS, this.#part(chunk, from, count), count - from);
    }
    return countOf(head) < this.#most;
  }
}

function chunkKey(number: number, key: string): string {
  return `${number}:${key}`;
}

function countOf(head: readonly number[]): number {
  let count = 0;
  for (let at = CHUNKS; at < head.length; at += HEAD_WIDTH) count += head[at + COUNT]!;
  return count;
}
