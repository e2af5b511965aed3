/**
 * What is known of one key of a feature: its clock, when something last came, and the values that windows may still reach, in the order of event time
 * (equal times in the order in which they came).
 *
 * Most keys have few values, which lie in the key's own entry (`times`, `values`). Where they are more, the older ones lie in blocks of at most
 * `MOST_IN_BLOCK`, each an entry of its own, so that an event changes one small entry however many values its key has.
 *
 * As a checkpoint holds a key, little-endian:
 *
 *     f64 clock, f64 arrival, f64 offset, f64 next block's number
 *     u32 n and n f64 numbers of blocks, n f64 first times of blocks
 *     a block
 *
 * and a block: u32 n, n f64 times, then for numbers n f64, for decimals and texts u32 length and a JSON list of texts.
 */
import type { KeyedState, StateCodec } from "../operator.ts";
import { ByteReader, ByteWriter } from "../windows/bytes.ts";
import type { Fold, ValueKind } from "./fold.ts";

export interface Block {
  readonly times: readonly number[];
  readonly values: readonly unknown[];
}

export interface History extends Block {
  /** Microseconds; see `define/feature-sql.ts`. */
  readonly clockUs: number;
  /** When the newest event of the key arrived. */
  readonly arrivedMs: number;
  /** Its offset. What comes again after a crash has been taken already. */
  readonly lastOffset: number;
  readonly nextBlock: number;
  /** Numbers of the blocks, oldest first, and the time of the first value of each. */
  readonly blocks: readonly number[];
  readonly firsts: readonly number[];
}

/** Copied by every event of the key: a few hundred nanoseconds. */
export const MOST_IN_BLOCK = 64;

export class Histories {
  readonly #keys: KeyedState<History>;
  readonly #blocks: KeyedState<Block>;
  readonly #fold: Fold;
  /** Parts of whole blocks. A block is never changed, only replaced. */
  readonly #parts = new WeakMap<Block, unknown>();
  #sweep: IterableIterator<string> | undefined;
  #untilSweep = SWEEP_EVERY;

  constructor(keys: KeyedState<History>, blocks: KeyedState<Block>, fold: Fold) {
    this.#keys = keys;
    this.#blocks = blocks;
    this.#fold = fold;
  }

  get(key: string): History | undefined {
    return this.#keys.get(key);
  }

  /** Begins a key anew. */
  fresh(key: string, known: History | undefined): History {
    for (const block of known?.blocks ?? []) this.#blocks.delete(blockKey(key, block));
    return {
      clockUs: Number.NEGATIVE_INFINITY,
      arrivedMs: 0,
      lastOffset: -1,
      nextBlock: 0,
      blocks: [],
      firsts: [],
      times: [],
      values: [],
    };
  }

  /** Keeps a history as it is now: without what no window reaches any more (times up to `reachedUs`). */
  keep(key: string, history: History, reachedUs: number): void {
    this.#keys.set(key, this.#trimmed(key, history, reachedUs));
    this.#sweepOne();
  }

  /** The history with a value more, behind those of the same time. */
  with(key: string, history: History, us: number, value: unknown): History {
    const { blocks, firsts, times, values } = history;
    if (blocks.length > 0 && us < (times[0] ?? Number.POSITIVE_INFINITY)) {
      const at = Math.max(0, upper(firsts, us) - 1);
      return this.#intoBlock(key, history, at, us, value);
    }
    const own = inserted({ times, values }, us, value, this.#fold.kind);
    if (own.times.length <= MOST_IN_BLOCK) return { ...history, ...own };
    const [older, newer] = halves(own);
    this.#blocks.set(blockKey(key, history.nextBlock), older);
    return {
      ...history,
      ...newer,
      nextBlock: history.nextBlock + 1,
      blocks: [...blocks, history.nextBlock],
      firsts: [...firsts, older.times[0] as number],
    };
  }

  /** The aggregate over what has a time in (`afterUs`, `toUs`]. */
  value(key: string, history: History | undefined, afterUs: number, toUs: number): number | string | boolean | null {
    if (history === undefined) return this.#fold.result(undefined);
    const { blocks, firsts, times, values } = history;
    let part: unknown;
    const add = (more: unknown) => {
      part = part === undefined ? more : this.#fold.join(part, more);
    };
    for (let i = Math.max(0, upper(firsts, afterUs) - 1); i < blocks.length && (firsts[i] as number) <= toUs; i++) {
      const block = this.#block(key, blocks[i] as number);
      const next = firsts[i + 1] ?? times[0] ?? Number.POSITIVE_INFINITY;
      // Parts that are kept must not be joined into: the first one is taken anew.
      const whole = this.#fold.keepsParts && part !== undefined && (firsts[i] as number) > afterUs && next <= toUs;
      if (whole) add(this.#wholePart(block));
      else this.#stretch(block, afterUs, toUs, add);
    }
    this.#stretch({ times, values }, afterUs, toUs, add);
    return this.#fold.result(part);
  }

  #stretch({ times, values }: Block, afterUs: number, toUs: number, add: (part: unknown) => void): void {
    const from = upper(times, afterUs);
    const to = upper(times, toUs);
    if (from < to) add(this.#fold.part(values, from, to));
  }

  #wholePart(block: Block): unknown {
    let part = this.#parts.get(block);
    if (part === undefined) {
      part = this.#fold.part(block.values, 0, block.times.length);
      this.#parts.set(block, part);
    }
    return part;
  }

  #block(key: string, number: number): Block {
    const block = this.#blocks.get(blockKey(key, number));
    if (block === undefined) throw new Error(`block ${number} of a feature's key is missing`);
    return block;
  }

  #intoBlock(key: string, history: History, at: number, us: number, value: unknown): History {
    const number = history.blocks[at] as number;
    const block = inserted(this.#block(key, number), us, value, this.#fold.kind);
    const firsts = history.firsts.with(at, block.times[0] as number);
    if (block.times.length <= MOST_IN_BLOCK) {
      this.#blocks.set(blockKey(key, number), block);
      return { ...history, firsts };
    }
    const [older, newer] = halves(block);
    this.#blocks.set(blockKey(key, number), older);
    this.#blocks.set(blockKey(key, history.nextBlock), newer);
    return {
      ...history,
      nextBlock: history.nextBlock + 1,
      blocks: history.blocks.toSpliced(at + 1, 0, history.nextBlock),
      firsts: firsts.toSpliced(at + 1, 0, newer.times[0] as number),
    };
  }

  #trimmed(key: string, history: History, reachedUs: number): History {
    const { blocks, firsts, times, values } = history;
    let gone = 0;
    while (gone < blocks.length && (firsts[gone + 1] ?? times[0] ?? Number.POSITIVE_INFINITY) <= reachedUs) {
      this.#blocks.delete(blockKey(key, blocks[gone] as number));
      gone++;
    }
    const past = upper(times, reachedUs);
    if (gone === 0 && past === 0) return history;
    return {
      ...history,
      ...(gone > 0 && { blocks: blocks.slice(gone), firsts: firsts.slice(gone) }),
      ...(past > 0 && { times: times.slice(past), values: values.slice(past) }),
    };
  }

  /** A key that expired leaves its blocks behind. They are looked for, one now and then. */
  #sweepOne(): void {
    if (--this.#untilSweep > 0) return;
    this.#untilSweep = SWEEP_EVERY;
    this.#sweep ??= this.#blocks.keys();
    const { value, done } = this.#sweep.next();
    if (done) this.#sweep = undefined;
    else {
      const cut = value.indexOf(SEPARATOR);
      const owner = this.#keys.get(value.slice(cut + 1));
      if (!owner?.blocks.includes(Number(value.slice(0, cut)))) this.#blocks.delete(value);
    }
  }
}

const SWEEP_EVERY = 64;
const SEPARATOR = ":";

function blockKey(key: string, number: number): string {
  return `${number}${SEPARATOR}${key}`;
}

/** How many of the ascending times are at most `us`. */
function upper(times: readonly number[], us: number): number {
  let low = 0;
  let high = times.length;
  // New events mostly are the newest.
  if (high > 0 && (times[high - 1] as number) <= us) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) <= us) low = middle + 1;
    else high = middle;
  }
  return low;
}

function inserted({ times, values }: Block, us: number, value: unknown, kind: ValueKind): Block {
  const at = upper(times, us);
  const into = <T>(list: readonly T[], item: T): T[] => {
    if (at < list.length) return list.toSpliced(at, 0, item);
    const copy = list.slice();
    copy.push(item);
    return copy;
  };
  return { times: into(times, us), values: kind === "none" ? values : into(values, value) };
}

function halves({ times, values }: Block): [Block, Block] {
  const middle = times.length >> 1;
  return [
    { times: times.slice(0, middle), values: values.slice(0, middle) },
    { times: times.slice(middle), values: values.slice(middle) },
  ];
}

export function historyCodec(kind: ValueKind): StateCodec<History> {
  return {
    version: `feature-history-1-${kind}`,
    encode(history) {
      const to = new ByteWriter();
      to.f64(history.clockUs);
      to.f64(history.arrivedMs);
      to.f64(history.lastOffset);
      to.f64(history.nextBlock);
      to.u32(history.blocks.length);
      to.f64s(history.blocks);
      to.f64s(history.firsts);
      writeBlock(to, history, kind);
      return to.bytes();
    },
    decode(bytes) {
      const from = new ByteReader(bytes);
      const times = { clockUs: from.f64(), arrivedMs: from.f64() };
      const head = { ...times, lastOffset: from.f64(), nextBlock: from.f64() };
      const count = from.u32();
      return { ...head, blocks: from.f64s(count), firsts: from.f64s(count), ...readBlock(from, kind) };
    },
  };
}

export function blockCodec(kind: ValueKind): StateCodec<Block> {
  return {
    version: `feature-block-1-${kind}`,
    encode(block) {
      const to = new ByteWriter();
      writeBlock(to, block, kind);
      return to.bytes();
    },
    decode: (bytes) => readBlock(new ByteReader(bytes), kind),
  };
}

function writeBlock(to: ByteWriter, { times, values }: Block, kind: ValueKind): void {
  to.u32(times.length);
  to.f64s(times);
  if (kind === "number") to.f64s(values as number[]);
  else if (kind !== "none") to.text(JSON.stringify(values.map(String)));
}

function readBlock(from: ByteReader, kind: ValueKind): Block {
  const count = from.u32();
  const times = from.f64s(count);
  if (kind === "none") return { times, values: [] };
  if (kind === "number") return { times, values: from.f64s(count) };
  const texts = JSON.parse(from.text()) as string[];
  return { times, values: kind === "decimal" ? texts.map(BigInt) : texts };
}
