/**
 * Values by key, as many as memory holds, of which each checkpoint writes those that changed.
 *
 * Values lie encoded in pages of memory outside the JavaScript heap, and only those in use lie beside them as objects: a million objects
 * would make each collection of garbage a pause. A page whose values are mostly outdated is emptied, a piece at a time. Keys are strings in a Map.
 */
import type { StateCodec } from "./operator.ts";

/** Takes entries on their way to a checkpoint. `value` is undefined for a key that was deleted; its bytes are only good during the call. */
export type EntrySink = (key: string, setAtMs: number, value: Uint8Array | undefined) => void;

const PAGE_BYTES = 256 * 1024;
/** `slot` and `length` before each value in a page. */
const HEADER_BYTES = 8;
const NONE = 0xffff_ffff;
/** Objects kept beside their encoded form. Some 20 MB of common values. */
const MOST_LIVE = 32_768;

/** The object is newer than what the page holds. */
const UNSAVED = 1;
/** Changed since the last checkpoint began. */
const DIRTY = 2;
/** To be written to the checkpoint under way, as it is now. */
const TAKEN = 4;

export const JSON_CODEC: StateCodec<unknown> = {
  encode: (value) => JSON.stringify(value) ?? "null",
  decode: (bytes) => JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8")),
  version: "json",
};

export class StateStore<V = unknown> {
  readonly name: string;
  #codec: StateCodec<V> = JSON_CODEC as StateCodec<V>;
  #ttlMs = Number.POSITIVE_INFINITY;
  readonly #slots = new Map<string, number>();
  #free: number[] = [];
  #keys: (string | undefined)[] = [];
  #live: (V | undefined)[] = [];
  #flags = new Uint8Array(64);
  #setAtMs = new Float64Array(64);
  #page = new Uint32Array(64).fill(NONE);
  #at = new Uint32Array(64);
  #length = new Uint32Array(64);
  /** By time of `set`, for states that expire: the neighbours of each slot. */
  #older = new Uint32Array(0);
  #newer = new Uint32Array(0);
  #oldest = NONE;
  #newest = NONE;
  readonly #pages: (Page | undefined)[] = [];
  readonly #freePages: number[] = [];
  #open = NONE;
  #liveBytes = 0;
  #pageBytes = 0;
  /** Slots that have an object, in the order in which they got it, from `#coldest` on. */
  #warm: number[] = [];
  #coldest = 0;
  #dirty: number[] = [];
  #deleted = new Set<string>();
  #taking: { slots: number[]; at: number; deleted: Iterator<string>; sink: EntrySink } | undefined;
  #copying: { entries: MapIterator<[string, number]>; sink: EntrySink } | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Says how values are read, and when they expire. What was loaded before stays. */
  attach(codec: StateCodec<V>, ttlMs = Number.POSITIVE_INFINITY): void {
    this.#codec = codec;
    this.#ttlMs = ttlMs;
    if (ttlMs === Number.POSITIVE_INFINITY) return;
    this.#older = new Uint32Array(this.#flags.length).fill(NONE);
    this.#newer = new Uint32Array(this.#flags.length).fill(NONE);
    const slots = Uint32Array.from(this.#slots.values()).sort((a, b) => this.#time(a) - this.#time(b));
    for (const slot of slots) this.#link(slot);
  }

  get version(): string {
    return this.#codec.version;
  }

  /** Bytes of memory that values and keys take, by and large. */
  get bytes(): number {
    return this.#pageBytes + this.#slots.size * KEY_BYTES;
  }

  /** Those that have expired and were not looked for yet included. */
  get entryCount(): number {
    return this.#slots.size;
  }

  size(nowMs: number): number {
    this.expire(nowMs, Number.POSITIVE_INFINITY);
    return this.#slots.size;
  }

  get(key: string, nowMs: number): V | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined || nowMs - this.#time(slot) >= this.#ttlMs) return undefined;
    const live = this.#live[slot];
    if (live !== undefined) return live;
    const value = this.#codec.decode(this.#encoded(slot));
    this.#live[slot] = value;
    this.#warmed(slot);
    return value;
  }

  /** When the key was set; undefined when it is not there. */
  setAt(key: string): number | undefined {
    const slot = this.#slots.get(key);
    return slot === undefined ? undefined : this.#time(slot);
  }

  set(key: string, value: V, atMs: number): void {
    if (value === undefined) throw new TypeError(`state "${this.name}" cannot hold undefined; delete the key instead`);
    const slot = this.#slots.get(key) ?? this.#add(key);
    if (this.#flags[slot]! & TAKEN) this.#takeNow(slot);
    const cold = this.#live[slot] === undefined;
    this.#live[slot] = value;
    this.#setAtMs[slot] = atMs;
    if (!(this.#flags[slot]! & DIRTY)) this.#dirty.push(slot);
    this.#flags[slot]! |= UNSAVED | DIRTY;
    if (this.#older.length > 0) {
      this.#unlink(slot);
      this.#link(slot);
    }
    if (cold) this.#warmed(slot);
  }

  delete(key: string): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    this.#remove(key, slot);
    this.#deleted.add(key);
  }

  *keys(nowMs: number): IterableIterator<string> {
    this.expire(nowMs, Number.POSITIVE_INFINITY);
    yield* this.#slots.keys();
  }

  *entries(nowMs: number): IterableIterator<[string, V]> {
    for (const key of this.keys(nowMs)) {
      const value = this.get(key, nowMs);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Takes an entry of a checkpoint; `value` undefined: it was deleted. Later entries of a key replace earlier ones. */
  load(key: string, setAtMs: number, value: Uint8Array | undefined): void {
    const known = this.#slots.get(key);
    if (value === undefined) {
      if (known !== undefined) this.#remove(key, known);
      return;
    }
    const slot = known ?? this.#add(key);
    this.#setAtMs[slot] = setAtMs;
    this.#store(slot, value);
  }

  /** Drops up to `most` entries that have expired. They need no mention in a checkpoint: they expire there as well. */
  expire(nowMs: number, most: number): void {
    for (let count = 0; count < most && this.#oldest !== NONE; count++) {
      const slot = this.#oldest;
      if (nowMs - this.#time(slot) < this.#ttlMs) return;
      this.#remove(this.#keys[slot] as string, slot);
    }
  }

  /** Begins a checkpoint of what has changed since the last one: as it is now, whatever changes while it is written. */
  beginChanges(sink: EntrySink): void {
    const slots = this.#dirty;
    for (const slot of slots) if (this.#flags[slot]! & DIRTY) this.#flags[slot]! ^= DIRTY | TAKEN;
    this.#dirty = [];
    this.#taking = { slots, at: 0, deleted: this.#deleted.values(), sink };
    this.#deleted = new Set();
  }

  /** Writes about `most` entries; true when there is more. */
  writeChanges(most: number): boolean {
    const taking = this.#taking;
    if (!taking) return false;
    for (let count = 0; count < most; count++) {
      const deleted = taking.deleted.next();
      if (!deleted.done) {
        taking.sink(deleted.value, 0, undefined);
        continue;
      }
      if (taking.at === taking.slots.length) {
        this.#taking = undefined;
        return false;
      }
      const slot = taking.slots[taking.at++] as number;
      if (this.#flags[slot]! & TAKEN) this.#takeNow(slot);
    }
    return true;
  }

  /**
   * Begins a copy of everything. Entries that change before their turn are written as they are then, or not at all: whoever reads the copy reads the
   * changes of the next checkpoint on top of it.
   */
  beginCopy(sink: EntrySink): void {
    this.#copying = { entries: this.#slots.entries(), sink };
  }

  /** Writes about `most` entries; true when there is more. */
  writeCopy(most: number): boolean {
    const copying = this.#copying;
    if (!copying) return false;
    for (let count = 0; count < most; count++) {
      const { value, done } = copying.entries.next();
      if (done) {
        this.#copying = undefined;
        return false;
      }
      const [key, slot] = value;
      if (!(this.#flags[slot]! & DIRTY)) copying.sink(key, this.#time(slot), this.#encoded(slot));
    }
    return true;
  }

  /** Gives back memory of outdated values: one page at a time. True when there may be more. */
  compact(): boolean {
    if (this.#pageBytes < 4 * PAGE_BYTES || this.#liveBytes > this.#pageBytes / 2) return false;
    let worst = NONE;
    for (let i = 0; i < this.#pages.length; i++) {
      const page = this.#pages[i];
      if (!page || i === this.#open || page.live > page.bytes.length / 2) continue;
      if (worst === NONE || page.live < (this.#pages[worst] as Page).live) worst = i;
    }
    if (worst === NONE) return false;
    const { bytes, used } = this.#pages[worst] as Page;
    for (let at = 0; at < used; ) {
      const slot = bytes.readUInt32LE(at);
      const length = bytes.readUInt32LE(at + 4);
      const from = at + HEADER_BYTES;
      if (this.#page[slot] === worst && this.#at[slot] === from) {
        if (this.#flags[slot]! & UNSAVED) this.#dropBytes(slot);
        else this.#store(slot, bytes.subarray(from, from + length));
      }
      at = from + length;
    }
    return true;
  }

  #time(slot: number): number {
    return this.#setAtMs[slot] as number;
  }

  #add(key: string): number {
    const slot = this.#free.pop() ?? this.#keys.length;
    if (slot >= this.#flags.length) this.#grow();
    this.#keys[slot] = key;
    this.#live[slot] = undefined;
    this.#slots.set(key, slot);
    if (this.#deleted.size > 0) this.#deleted.delete(key);
    return slot;
  }

  #remove(key: string, slot: number): void {
    if (this.#flags[slot]! & TAKEN) this.#takeNow(slot);
    this.#slots.delete(key);
    this.#unlink(slot);
    this.#dropBytes(slot);
    this.#flags[slot] = 0;
    this.#keys[slot] = undefined;
    this.#live[slot] = undefined;
    this.#free.push(slot);
  }

  /** Writes a slot to the checkpoint under way before it changes. */
  #takeNow(slot: number): void {
    this.#flags[slot]! &= ~TAKEN;
    this.#taking?.sink(this.#keys[slot] as string, this.#time(slot), this.#encoded(slot));
  }

  #encoded(slot: number): Buffer {
    if (this.#flags[slot]! & UNSAVED) this.#save(slot);
    const page = this.#pages[this.#page[slot] as number] as Page;
    const at = this.#at[slot] as number;
    return page.bytes.subarray(at, at + (this.#length[slot] as number));
  }

  #save(slot: number): void {
    const encoded = this.#codec.encode(this.#live[slot] as V);
    this.#store(slot, typeof encoded === "string" ? Buffer.from(encoded, "utf8") : encoded);
    this.#flags[slot]! &= ~UNSAVED;
  }

  #store(slot: number, value: Uint8Array): void {
    this.#dropBytes(slot);
    const needed = HEADER_BYTES + value.length;
    let page = this.#pages[this.#open];
    if (page === undefined || page.used + needed > page.bytes.length) page = this.#openPage(needed);
    page.bytes.writeUInt32LE(slot, page.used);
    page.bytes.writeUInt32LE(value.length, page.used + 4);
    page.bytes.set(value, page.used + HEADER_BYTES);
    this.#page[slot] = this.#open;
    this.#at[slot] = page.used + HEADER_BYTES;
    this.#length[slot] = value.length;
    page.used += needed;
    page.live += needed;
    this.#liveBytes += needed;
  }

  #openPage(needed: number): Page {
    const former = this.#open;
    this.#open = this.#freePages.pop() ?? this.#pages.length;
    const page = { bytes: Buffer.allocUnsafeSlow(Math.max(PAGE_BYTES, needed)), used: 0, live: 0 };
    this.#pages[this.#open] = page;
    this.#pageBytes += page.bytes.length;
    if (former !== NONE) this.#freeIfEmpty(former);
    return page;
  }

  #dropBytes(slot: number): void {
    const number = this.#page[slot] as number;
    if (number === NONE) return;
    const bytes = HEADER_BYTES + (this.#length[slot] as number);
    (this.#pages[number] as Page).live -= bytes;
    this.#liveBytes -= bytes;
    this.#page[slot] = NONE;
    if (number !== this.#open) this.#freeIfEmpty(number);
  }

  #freeIfEmpty(number: number): void {
    const page = this.#pages[number] as Page;
    if (page.live > 0) return;
    this.#pageBytes -= page.bytes.length;
    this.#pages[number] = undefined;
    this.#freePages.push(number);
  }

  /** An object more: the one that has been there longest goes. */
  #warmed(slot: number): void {
    this.#warm.push(slot);
    if (this.#warm.length - this.#coldest <= MOST_LIVE) return;
    const cooled = this.#warm[this.#coldest++] as number;
    if (this.#coldest === MOST_LIVE) {
      this.#warm = this.#warm.slice(MOST_LIVE);
      this.#coldest = 0;
    }
    if (this.#live[cooled] === undefined) return;
    if (this.#flags[cooled]! & UNSAVED) this.#save(cooled);
    this.#live[cooled] = undefined;
  }

  #link(slot: number): void {
    this.#older[slot] = this.#newest;
    this.#newer[slot] = NONE;
    if (this.#newest === NONE) this.#oldest = slot;
    else this.#newer[this.#newest] = slot;
    this.#newest = slot;
  }

  #unlink(slot: number): void {
    if (this.#older.length === 0) return;
    const older = this.#older[slot] as number;
    const newer = this.#newer[slot] as number;
    if (older === NONE && newer === NONE && this.#oldest !== slot) return;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    this.#older[slot] = NONE;
    this.#newer[slot] = NONE;
  }

  #grow(): void {
    const size = this.#flags.length * 2;
    this.#flags = larger(this.#flags, new Uint8Array(size));
    this.#setAtMs = larger(this.#setAtMs, new Float64Array(size));
    this.#page = larger(this.#page, new Uint32Array(size).fill(NONE));
    this.#at = larger(this.#at, new Uint32Array(size));
    this.#length = larger(this.#length, new Uint32Array(size));
    if (this.#older.length === 0) return;
    this.#older = larger(this.#older, new Uint32Array(size).fill(NONE));
    this.#newer = larger(this.#newer, new Uint32Array(size).fill(NONE));
  }
}

interface Page {
  readonly bytes: Buffer;
  used: number;
  /** Bytes of values that are not outdated, with their headers. */
  live: number;
}

/** A short string, its place in the Map and in the columns of slots. */
const KEY_BYTES = 150;

function larger<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
