/**
 * One stored id is one record of 32 bytes, in memory as on disk: eight 32-bit words, little-endian.
 *
 *     word 0-3  MD5 of the id, most significant word first
 *     word 4    offset, low 32 bits
 *     word 5    offset, high 21 bits | low 11 bits of the check << 21
 *     word 6    arrival in ms since the epoch, low 32 bits
 *     word 7    arrival, high 11 bits (until the year 2248) | high 21 bits of the check << 11
 *
 * The check (32 bits over everything else) is what lets a look-up read one record alone and still never believe a
 * damaged one. Records in memory may carry none (zero) until `seal` fills it in.
 */
export const RECORD_WORDS = 8;
export const RECORD_BYTES = 32;

const TWO_32 = 4_294_967_296;
const MAX_ARRIVAL_MS = 2 ** 43;
const OFFSET_HIGH = 0x1f_ffff;
const ARRIVAL_HIGH = 0x7ff;

/** Ids of consecutive events of one partition: entry i of every array is one event. */
export interface IdBatch {
  /** The two halves of the id's MD5, as `md5Halves` selects them. */
  readonly hashLow: BigUint64Array;
  readonly hashHigh: BigUint64Array;
  readonly offset: ArrayLike<number>;
  /** Never smaller than that of a smaller offset in the partition. */
  readonly receivedAtMs: ArrayLike<number>;
}

/** The batch as records; with `duplicateOf` only the entries that are no duplicate (below 0). */
export function packRecords(batch: IdBatch, duplicateOf?: ArrayLike<number>): Uint32Array<ArrayBuffer> {
  const { hashLow, hashHigh, offset, receivedAtMs } = batch;
  const count = offset.length;
  if (hashLow.length !== count || hashHigh.length !== count || receivedAtMs.length !== count) {
    throw new RangeError(
      `the columns of an id batch differ in length: ${hashLow.length}, ${hashHigh.length}, ${count}`,
    );
  }
  const low = new Uint32Array(hashLow.buffer, hashLow.byteOffset, count * 2);
  const high = new Uint32Array(hashHigh.buffer, hashHigh.byteOffset, count * 2);
  const records = new Uint32Array(count * RECORD_WORDS);
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (duplicateOf !== undefined && (duplicateOf[i] as number) >= 0) continue;
    const o = offset[i] as number;
    const ms = receivedAtMs[i] as number;
    if (!(o >= 0 && o <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`offset ${o} is out of range`);
    if (!(ms >= 0 && ms < MAX_ARRIVAL_MS)) throw new RangeError(`arrival ${ms} ms is out of range`);
    records[at] = high[i * 2 + 1] as number;
    records[at + 1] = high[i * 2] as number;
    records[at + 2] = low[i * 2 + 1] as number;
    records[at + 3] = low[i * 2] as number;
    records[at + 4] = o;
    records[at + 5] = o / TWO_32;
    records[at + 6] = ms;
    records[at + 7] = ms / TWO_32;
    at += RECORD_WORDS;
  }
  return at === records.length ? records : records.slice(0, at);
}

/** Copies record `i` of `from` to place `j` of `to`. Written out, because a loop takes twice as long. */
export function copyRecord(from: Uint32Array, i: number, to: Uint32Array, j: number): void {
  const x = i * RECORD_WORDS;
  const y = j * RECORD_WORDS;
  to[y] = from[x] as number;
  to[y + 1] = from[x + 1] as number;
  to[y + 2] = from[x + 2] as number;
  to[y + 3] = from[x + 3] as number;
  to[y + 4] = from[x + 4] as number;
  to[y + 5] = from[x + 5] as number;
  to[y + 6] = from[x + 6] as number;
  to[y + 7] = from[x + 7] as number;
}

export function offsetOf(records: Uint32Array, index: number): number {
  const at = index * RECORD_WORDS;
  return ((records[at + 5] as number) & OFFSET_HIGH) * TWO_32 + (records[at + 4] as number);
}

export function arrivalOf(records: Uint32Array, index: number): number {
  const at = index * RECORD_WORDS;
  return ((records[at + 7] as number) & ARRIVAL_HIGH) * TWO_32 + (records[at + 6] as number);
}

/** Negative, zero or positive, as the hash of a record of `a` comes before, is, or comes after that of one of `b`. */
export function compareHash(a: Uint32Array, i: number, b: Uint32Array, j: number): number {
  const x = i * RECORD_WORDS;
  const y = j * RECORD_WORDS;
  for (let word = 0; word < 4; word++) {
    const difference = (a[x + word] as number) - (b[y + word] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The order of records in a run: by hash, then by offset. */
export function compareRecords(a: Uint32Array, i: number, b: Uint32Array, j: number): number {
  return compareHash(a, i, b, j) || offsetOf(a, i) - offsetOf(b, j);
}

/** Writes the check into a record. */
export function seal(records: Uint32Array, index: number): void {
  const at = index * RECORD_WORDS;
  const check = checkOf(records, at);
  records[at + 5] = ((records[at + 5] as number) & OFFSET_HIGH) | (check << 21);
  records[at + 7] = ((records[at + 7] as number) & ARRIVAL_HIGH) | ((check >>> 11) << 11);
}

/** True when a sealed record is as it was written. */
export function intact(records: Uint32Array, index: number): boolean {
  const at = index * RECORD_WORDS;
  const check = checkOf(records, at);
  return (records[at + 5] as number) >>> 21 === (check & 0x7ff) && (records[at + 7] as number) >>> 11 === check >>> 11;
}

/**
 * A sum of the words, each times an odd number of its own, then mixed. The sum alone finds every change of one word, and the
 * eight products do not wait for one another, which makes it twice as fast as a chained hash.
 */
function checkOf(records: Uint32Array, at: number): number {
  let h =
    0x6d696c6c + // any number but 0, so that a record of zeros fails
    Math.imul(records[at] as number, 0x9e3779b1) +
    Math.imul(records[at + 1] as number, 0x85ebca77) +
    Math.imul(records[at + 2] as number, 0xc2b2ae3d) +
    Math.imul(records[at + 3] as number, 0x27d4eb2f) +
    Math.imul(records[at + 4] as number, 0x165667b1) +
    Math.imul((records[at + 5] as number) & OFFSET_HIGH, 0xcc9e2d51) +
    Math.imul(records[at + 6] as number, 0x1b873593) +
    Math.imul((records[at + 7] as number) & ARRIVAL_HIGH, 0xe6546b65);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
