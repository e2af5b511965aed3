import { compareHash, compareRecords, copyRecord, offsetOf, RECORD_WORDS } from "./records.ts";

/** The positions of records in the order of a run: by hash, and by offset where hashes are equal. */
export function hashOrder(records: Uint32Array): Uint32Array {
  const count = records.length / RECORD_WORDS;
  let order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  if (!offsetsAscend(records, count)) order.sort((i, j) => offsetOf(records, i) - offsetOf(records, j));
  order = radixByFirstWord(records, order);
  // Equal first words are equal ids, or about one pair in four thousand million of different ones.
  for (let from = 0; from < count; ) {
    const word = records[(order[from] as number) * RECORD_WORDS];
    let to = from + 1;
    while (to < count && records[(order[to] as number) * RECORD_WORDS] === word) to++;
    if (to - from > 1) sortTies(records, order.subarray(from, to));
    from = to;
  }
  return order;
}

/** The records in the given order. */
export function gather(records: Uint32Array, order: Uint32Array): Uint32Array<ArrayBuffer> {
  const sorted = new Uint32Array(order.length * RECORD_WORDS);
  for (let i = 0; i < order.length; i++) copyRecord(records, order[i] as number, sorted, i);
  return sorted;
}

function offsetsAscend(records: Uint32Array, count: number): boolean {
  for (let i = 1; i < count; i++) if (offsetOf(records, i) < offsetOf(records, i - 1)) return false;
  return true;
}

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;

/** Stable radix sort, least significant digit first; several times as fast as a comparing sort on random words. */
function radixByFirstWord(records: Uint32Array, order: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const count = order.length;
  let keys = new Uint32Array(count);
  for (let i = 0; i < count; i++) keys[i] = records[(order[i] as number) * RECORD_WORDS] as number;
  let spareKeys = new Uint32Array(count);
  let spareOrder = new Uint32Array(count);
  const place = new Uint32Array(DIGITS);
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    place.fill(0);
    for (let i = 0; i < count; i++) (place[((keys[i] as number) >>> shift) & (DIGITS - 1)] as number)++;
    for (let digit = 0, sum = 0; digit < DIGITS; digit++) {
      const size = place[digit] as number;
      place[digit] = sum;
      sum += size;
    }
    for (let i = 0; i < count; i++) {
      const key = keys[i] as number;
      const to = (place[(key >>> shift) & (DIGITS - 1)] as number)++;
      spareKeys[to] = key;
      spareOrder[to] = order[i] as number;
    }
    [keys, spareKeys] = [spareKeys, keys];
    [order, spareOrder] = [spareOrder, order];
  }
  return order;
}

function sortTies(records: Uint32Array, ties: Uint32Array): void {
  for (let i = 1; i < ties.length; i++) {
    if (compareHash(records, ties[i - 1] as number, records, ties[i] as number) > 0) {
      ties.sort((a, b) => compareRecords(records, a, records, b));
      return;
    }
  }
}
