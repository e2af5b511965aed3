import { hashId } from "../../../src/flow/dedupe/id-hash.ts";
import type { IdBatch } from "../../../src/flow/dedupe/records.ts";

export interface TestEvent {
  readonly offset: number;
  readonly id: string;
  readonly receivedAtMs: number;
}

export function batchOf(events: readonly TestEvent[]): IdBatch {
  const hashes = events.map(({ id }) => hashId(id));
  return {
    hashLow: BigUint64Array.from(hashes, ({ low }) => low),
    hashHigh: BigUint64Array.from(hashes, ({ high }) => high),
    offset: Float64Array.from(events, ({ offset }) => offset),
    receivedAtMs: Float64Array.from(events, ({ receivedAtMs }) => receivedAtMs),
  };
}

/** What the index must say, by the definition and in the slowest way: every event is compared with every stored one. */
export function duplicatesByDefinition(log: readonly TestEvent[], horizonMs: number): number[] {
  const stored: TestEvent[] = [];
  return log.map((event) => {
    const earlier = stored.filter(
      (other) => other.id === event.id && event.receivedAtMs - other.receivedAtMs <= horizonMs,
    );
    if (earlier.length === 0) stored.push(event);
    return earlier.at(-1)?.offset ?? -1;
  });
}

/** A seeded source of numbers below `limit` (mulberry32), so that a failure can be run again. */
export function random(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * limit);
  };
}

/** A log in which ids come again after all kinds of times. */
export function randomLog(seed: number, length: number, ids: number, mostMsApart: number): TestEvent[] {
  const next = random(seed);
  let receivedAtMs = 1_700_000_000_000;
  return Array.from({ length }, (_, offset) => {
    if (next(3) === 0) receivedAtMs += next(mostMsApart);
    return { offset, id: `id-${next(ids)}`, receivedAtMs };
  });
}
