/**
 * How many different values there are, in little memory: the hashes of all while they are few, then HyperLogLog.
 *
 * Whatever the order in which values come, and however sketches are merged, the same values give the same sketch.
 * Sources: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007; the estimate, which needs no correction by experience, from Ertl, "New
 * cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6. The implementations on npm change their sketches in place,
 * have no exact beginning, and are not kept up.
 */
export type DistinctSketch =
  /** Hashes in order. */
  | readonly number[]
  /** Registers. */
  | Uint8Array;

export const NO_VALUES: DistinctSketch = [];

/** So many different values are counted exactly, but for hashes of 53 bits that are equal (one chance in 10^11). */
export const MOST_EXACT_HASHES = 256;

/** The logarithm of the number of registers: a standard error of 1.04 / sqrt(4096) = 1.6 %. */
const PRECISION = 12;
const REGISTERS = 1 << PRECISION;
/** Bits of a hash that are not the register's number. */
const RANK_BITS = 53 - PRECISION;

/** Gives the sketch itself when the value changes nothing. */
export function addDistinct(sketch: DistinctSketch, value: string): DistinctSketch {
  return addHash(sketch, hash53(value));
}

export function mergeDistinct(a: DistinctSketch, b: DistinctSketch): DistinctSketch {
  if (!(b instanceof Uint8Array)) return b.reduce(addHash, a);
  if (!(a instanceof Uint8Array)) return a.reduce(addHash, b as DistinctSketch);
  return a.map((rank, i) => Math.max(rank, b[i] as number));
}

export function distinctOf(sketch: DistinctSketch): number {
  return sketch instanceof Uint8Array ? Math.round(estimate(sketch)) : sketch.length;
}

function addHash(sketch: DistinctSketch, hash: number): DistinctSketch {
  if (sketch instanceof Uint8Array) {
    const register = Math.floor(hash / 2 ** RANK_BITS);
    const rank = rankOf(hash);
    if ((sketch[register] as number) >= rank) return sketch;
    const registers = sketch.slice();
    registers[register] = rank;
    return registers;
  }
  let low = 0;
  let high = sketch.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sketch[middle] as number) < hash) low = middle + 1;
    else high = middle;
  }
  if (sketch[low] === hash) return sketch;
  if (sketch.length < MOST_EXACT_HASHES) return [...sketch.slice(0, low), hash, ...sketch.slice(low)];
  const registers = new Uint8Array(REGISTERS);
  for (const one of [...sketch, hash]) {
    const register = Math.floor(one / 2 ** RANK_BITS);
    registers[register] = Math.max(registers[register] as number, rankOf(one));
  }
  return registers;
}

/** Place of the first 1 among the bits that are not the register's number, counted from 1. */
function rankOf(hash: number): number {
  const rest = hash % 2 ** RANK_BITS;
  const upper = Math.floor(rest / 2 ** 32);
  const upperBits = RANK_BITS - 32;
  return upper !== 0 ? Math.clz32(upper) - (32 - upperBits) + 1 : upperBits + Math.clz32(rest >>> 0) + 1;
}

function estimate(registers: Uint8Array): number {
  const counts = new Array<number>(RANK_BITS + 2).fill(0);
  for (const rank of registers) counts[rank] = (counts[rank] as number) + 1;
  let z = REGISTERS * tau(1 - (counts[RANK_BITS + 1] as number) / REGISTERS);
  for (let k = RANK_BITS; k >= 1; k--) z = 0.5 * (z + (counts[k] as number));
  z += REGISTERS * sigma((counts[0] as number) / REGISTERS);
  return REGISTERS ** 2 / (2 * Math.LN2 * z);
}

function sigma(x: number): number {
  if (x === 1) return Number.POSITIVE_INFINITY;
  let [y, z, before] = [1, x, Number.NaN];
  for (let power = x; z !== before; y += y) {
    power *= power;
    before = z;
    z += power * y;
  }
  return z;
}

function tau(x: number): number {
  if (x === 0 || x === 1) return 0;
  let [y, z, before] = [1, 1 - x, Number.NaN];
  for (let root = x; z !== before; ) {
    root = Math.sqrt(root);
    before = z;
    y *= 0.5;
    z -= (1 - root) ** 2 * y;
  }
  return z / 3;
}

/**
 * A hash of 53 bits over UTF-16 units, evenly spread. Sketches in checkpoints hold it, so it can never change.
 * Source: cyrb53 (bryc, public domain), whose two halves are mixed by the finalizer of MurmurHash3.
 */
export function hash53(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}
