import { gather, hashOrder } from "./hash-order.ts";
import { arrivalOf, compareHash, offsetOf, RECORD_WORDS } from "./records.ts";
import type { OnFound, Wanted } from "./run-file.ts";

/**
 * Decides for every record of a batch whether its event is a duplicate: the offset of the stored event it duplicates, or -1.
 *
 * In the order of offsets, an event is a duplicate if the last stored event with its id and a smaller offset arrived at
 * most `horizonMs` before it; otherwise it is stored itself and counts for those after it. `find` tells of every stored
 * event that the index has for the wanted ids; those with the event's own offset or a greater one (known from a load that is
 * being done again) do not count. Arrival never decreases with the offset, so that only the last stored event matters.
 */
export function lookUp(
  records: Uint32Array,
  horizonMs: number,
  find: (wanted: Wanted, onFound: OnFound) => void,
): Float64Array<ArrayBuffer> {
  const order = hashOrder(records);
  const sorted = gather(records, order);
  const wanted = differentIds(sorted);
  const stored = new StoredEvents(wanted.at.length);
  find(wanted, (which, offset, arrivalMs) => stored.add(which, offset, arrivalMs));

  const duplicateOf = new Float64Array(order.length).fill(-1);
  for (let which = 0; which < wanted.at.length; which++) {
    const end = which + 1 < wanted.at.length ? (wanted.at[which + 1] as number) : order.length;
    if (end - (wanted.at[which] as number) === 1 && !stored.has(which)) continue; // a new id, as nearly all are
    let lastOffset = -1; // of the events of this batch that are stored
    let lastArrivalMs = 0;
    for (let i = wanted.at[which] as number; i < end; i++) {
      const offset = offsetOf(sorted, i);
      const arrivalMs = arrivalOf(sorted, i);
      const known = stored.lastBefore(which, offset);
      const knownOffset = known < 0 ? -1 : (stored.offset[known] as number);
      const inBatch = lastOffset > knownOffset && lastOffset < offset;
      const original = inBatch ? lastOffset : knownOffset;
      const originalMs = inBatch ? lastArrivalMs : (stored.arrivalMs[known] ?? 0);
      const duplicate = original >= 0 && arrivalMs - originalMs <= horizonMs;
      if (duplicate) {
        duplicateOf[order[i] as number] = original;
      } else {
        lastOffset = offset;
        lastArrivalMs = arrivalMs;
      }
    }
  }
  return duplicateOf;
}

/** The first record of each id, of records in order. */
function differentIds(sorted: Uint32Array): Wanted {
  const count = sorted.length / RECORD_WORDS;
  const at = new Uint32Array(count);
  const word0 = new Uint32Array(count);
  const word1 = new Uint32Array(count);
  let ids = 0;
  for (let i = 0; i < count; i++) {
    if (i > 0 && compareHash(sorted, i - 1, sorted, i) === 0) continue;
    word0[ids] = sorted[i * RECORD_WORDS] as number;
    word1[ids] = sorted[i * RECORD_WORDS + 1] as number;
    at[ids++] = i;
  }
  return { records: sorted, at: at.subarray(0, ids), word0: word0.subarray(0, ids), word1: word1.subarray(0, ids) };
}

/** What was found: per id a chain of the few stored events that have it. */
class StoredEvents {
  readonly offset: number[] = [];
  readonly arrivalMs: number[] = [];
  readonly #next: number[] = [];
  /** Position of the first event of each id plus one; 0: none. */
  readonly #first: Uint32Array;

  constructor(ids: number) {
    this.#first = new Uint32Array(ids);
  }

  add(which: number, offset: number, arrivalMs: number): void {
    this.#next.push(this.#first[which] as number);
    this.#first[which] = this.offset.push(offset);
    this.arrivalMs.push(arrivalMs);
  }

  has(which: number): boolean {
    return this.#first[which] !== 0;
  }

  /** Position of the event with the greatest offset below `offset`, or -1. */
  lastBefore(which: number, offset: number): number {
    let last = -1;
    let lastOffset = -1;
    for (let event = this.#first[which] as number; event > 0; event = this.#next[event - 1] as number) {
      const candidate = this.offset[event - 1] as number;
      if (candidate >= offset || candidate <= lastOffset) continue;
      last = event - 1;
      lastOffset = candidate;
    }
    return last;
  }
}
