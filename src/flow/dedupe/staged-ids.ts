import { arrivalOf, compareHash, copyRecord, offsetOf, RECORD_WORDS } from "./records.ts";
import type { OnFound, Wanted } from "./run-file.ts";

/**
 * Ids that are stored but not committed yet, in memory: records one after the other, found through an open-addressing
 * hash table of their positions. Nothing is allocated per id.
 */
export class StagedIds {
  #records = new Uint32Array(FIRST_CAPACITY * RECORD_WORDS);
  /** Position of a record plus one, 0 where empty; always at least twice as many slots as records. */
  #slots = new Int32Array(FIRST_CAPACITY * 2);
  #count = 0;
  #lastOffset = -1;

  get count(): number {
    return this.#count;
  }

  get memoryBytes(): number {
    return this.#records.byteLength + this.#slots.byteLength;
  }

  /** Takes the records whose offset is above `after`. */
  add(records: Uint32Array, after: number): void {
    const count = records.length / RECORD_WORDS;
    this.#reserve(this.#count + count);
    for (let i = 0; i < count; i++) {
      const offset = offsetOf(records, i);
      if (offset <= after) continue;
      if (offset > this.#lastOffset) this.#lastOffset = offset;
      copyRecord(records, i, this.#records, this.#count);
      this.#link(this.#count++);
    }
  }

  find(wanted: Wanted, onFound: OnFound): void {
    if (this.#count === 0) return;
    const mask = this.#slots.length - 1;
    for (let id = 0; id < wanted.at.length; id++) {
      const at = wanted.at[id] as number;
      for (let slot = slotOf(wanted.records, at) & mask; ; slot = (slot + 1) & mask) {
        const position = (this.#slots[slot] as number) - 1;
        if (position < 0) break;
        if (compareHash(this.#records, position, wanted.records, at) === 0) {
          onFound(id, offsetOf(this.#records, position), arrivalOf(this.#records, position));
        }
      }
    }
  }

  /** The records with an offset of `to` or less, to be used before anything else is called. */
  upTo(to: number): Uint32Array<ArrayBuffer> {
    if (this.#lastOffset <= to) return this.#records.subarray(0, this.#count * RECORD_WORDS);
    return this.#select((offset) => offset <= to);
  }

  /** Forgets the records with an offset of `to` or less. */
  dropUpTo(to: number): void {
    const rest = this.#lastOffset <= to ? new Uint32Array(0) : this.#select((offset) => offset > to);
    this.#count = 0;
    this.#lastOffset = -1;
    this.#records = new Uint32Array(FIRST_CAPACITY * RECORD_WORDS);
    this.#slots = new Int32Array(FIRST_CAPACITY * 2);
    this.add(rest, -1);
  }

  #select(wants: (offset: number) => boolean): Uint32Array<ArrayBuffer> {
    const selected = new Uint32Array(this.#count * RECORD_WORDS);
    let count = 0;
    for (let i = 0; i < this.#count; i++) {
      if (!wants(offsetOf(this.#records, i))) continue;
      copyRecord(this.#records, i, selected, count++);
    }
    return selected.slice(0, count * RECORD_WORDS);
  }

  #reserve(count: number): void {
    let capacity = this.#records.length / RECORD_WORDS;
    if (count <= capacity) return;
    while (capacity < count) capacity *= 2;
    const records = new Uint32Array(capacity * RECORD_WORDS);
    records.set(this.#records.subarray(0, this.#count * RECORD_WORDS));
    this.#records = records;
    this.#slots = new Int32Array(capacity * 2);
    for (let i = 0; i < this.#count; i++) this.#link(i);
  }

  #link(position: number): void {
    const mask = this.#slots.length - 1;
    let slot = slotOf(this.#records, position) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = position + 1;
  }
}

const FIRST_CAPACITY = 1024;

function slotOf(records: Uint32Array, index: number): number {
  return records[index * RECORD_WORDS + 3] as number;
}
