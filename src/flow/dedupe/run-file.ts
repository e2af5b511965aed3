/**
 * A run: an immutable file of records sorted by hash, and its filter in memory.
 *
 *     0       header, 64 bytes, little-endian
 *               0  magic "MRIDRUN1"          8  u32 bucket bits B      12  u32 CRC-32 of fingerprints and directory
 *              16  f64 number of records N  24  f64 latest arrival (none is later; after a merge it may be earlier)
 *              32  zeros                    60  u32 CRC-32 of bytes 0-59
 *     64      N records of 32 bytes (`records.ts`), by hash, then by offset
 *     …       N fingerprints, u16 (`run-filter.ts`); two bytes of padding where N is odd
 *     …       directory, 2^B + 1 times u32
 *
 * Header and filter are checked when the run is opened; each record carries its own check and is checked when it is read.
 */
import { crc32 } from "node:zlib";
import type { IndexFiles } from "./index-files.ts";
import { arrivalOf, compareHash, copyRecord, intact, offsetOf, RECORD_BYTES, RECORD_WORDS, seal } from "./records.ts";
import { RunFilter } from "./run-filter.ts";

/** A run file that is not as it was written. */
export class DamagedRun extends Error {
  readonly path: string;

  constructor(path: string, reason: string) {
    super(`${path} ${reason}`);
    this.name = "DamagedRun";
    this.path = path;
  }
}

/** Different ids to look up, in the order of their hashes. */
export interface Wanted {
  /** The first two words of each hash. */
  readonly word0: Uint32Array;
  readonly word1: Uint32Array;
  readonly records: Uint32Array;
  /** Position in `records` of a record with each id. */
  readonly at: Uint32Array;
}

/** Told of every record with a wanted id: which one of them, and the stored event's offset and arrival. */
export type OnFound = (which: number, offset: number, arrivalMs: number) => void;

interface RunFacts {
  readonly count: number;
  readonly lastArrivalMs: number;
}

export class Run implements RunFacts {
  readonly path: string;
  readonly count: number;
  readonly lastArrivalMs: number;
  readonly #files: IndexFiles;
  readonly #filter: RunFilter;

  constructor(files: IndexFiles, path: string, facts: RunFacts, filter: RunFilter) {
    this.#files = files;
    this.#filter = filter;
    this.path = path;
    this.count = facts.count;
    this.lastArrivalMs = facts.lastArrivalMs;
  }

  /** Opens a run and reads its filter. @throws DamagedRun */
  static open(files: IndexFiles, path: string): Run {
    return withRunFile(files, path, (fd) => {
      const header = new Uint8Array(HEADER_BYTES);
      if (files.read(fd, header, 0) < HEADER_BYTES) throw new DamagedRun(path, "is shorter than its header");
      const { facts, bits, filterCrc } = readHeader(path, header);
      const filter = RunFilter.sized(bits, facts.count);
      const place = placeOf(facts.count, bits);
      const size = files.size(fd);
      if (size !== place.end) throw new DamagedRun(path, `has ${size} bytes instead of ${place.end}`);
      files.read(fd, bytesOf(filter.fingerprints), place.fingerprints);
      files.read(fd, bytesOf(filter.directory), place.directory);
      if (checksum(filter) !== filterCrc) throw new DamagedRun(path, "has a damaged filter");
      return new Run(files, path, facts, filter);
    });
  }

  get memoryBytes(): number {
    return this.#filter.memoryBytes;
  }

  get diskBytes(): number {
    return placeOf(this.count, this.#filter.bits).end;
  }

  /** Finds every record with one of the wanted ids. @throws DamagedRun */
  find(wanted: Wanted, onFound: OnFound): void {
    const which: number[] = [];
    const where: number[] = [];
    this.#filter.candidates(wanted.word0, wanted.word1, which, where);
    if (which.length === 0) return;
    withRunFile(this.#files, this.path, (fd) => {
      const window = new Uint32Array(WINDOW_RECORDS * RECORD_WORDS);
      let from = 0;
      let to = 0;
      for (let i = 0; i < which.length; i++) {
        const position = where[i] as number;
        if (position < from || position >= to) {
          from = position;
          to = windowEnd(where, i);
          this.read(fd, from, window.subarray(0, (to - from) * RECORD_WORDS));
        }
        const id = which[i] as number;
        this.#compare(window, position - from, position, wanted, id, onFound);
      }
    });
  }

  /** Reads records from `first` on until `into` is full or the run ends, and gives their number. @throws DamagedRun */
  read(fd: number, first: number, into: Uint32Array<ArrayBuffer>): number {
    const count = Math.min(this.count - first, into.length / RECORD_WORDS);
    const bytes = new Uint8Array(into.buffer, into.byteOffset, count * RECORD_BYTES);
    if (this.#files.read(fd, bytes, HEADER_BYTES + first * RECORD_BYTES) < bytes.byteLength) {
      throw new DamagedRun(this.path, "ends early");
    }
    for (let i = 0; i < count; i++) {
      if (!intact(into, i)) throw new DamagedRun(this.path, `has a damaged record ${first + i}`);
    }
    return count;
  }

  #compare(window: Uint32Array, i: number, position: number, wanted: Wanted, id: number, onFound: OnFound): void {
    const word0 = window[i * RECORD_WORDS] as number;
    const word1 = window[i * RECORD_WORDS + 1] as number;
    if (!this.#filter.confuses(word0, word1, wanted.word0[id] as number, wanted.word1[id] as number)) {
      throw new DamagedRun(this.path, `holds another record ${position} than its filter says`);
    }
    if (compareHash(window, i, wanted.records, wanted.at[id] as number) !== 0) return;
    onFound(id, offsetOf(window, i), arrivalOf(window, i));
  }
}

/** Writes a run, record by record in order. Nothing of it counts before `finish` has resolved. */
export class RunWriter {
  readonly #files: IndexFiles;
  readonly #path: string;
  readonly #fd: number;
  readonly #filter: RunFilter;
  readonly #buffer: Uint32Array<ArrayBuffer>;
  #buffered = 0;
  #count = 0;

  /** `capacity`: no more records than this will come. */
  constructor(files: IndexFiles, path: string, capacity: number) {
    this.#files = files;
    this.#path = path;
    this.#filter = RunFilter.forRecords(capacity);
    this.#buffer = new Uint32Array(Math.min(capacity, WRITE_RECORDS) * RECORD_WORDS);
    this.#fd = files.open(path, "create");
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a record; its check is written where it has none yet. */
  push(records: Uint32Array, index: number, sealed: boolean): void {
    const at = index * RECORD_WORDS;
    this.#filter.add(records[at] as number, records[at + 1] as number);
    copyRecord(records, index, this.#buffer, this.#buffered);
    if (!sealed) seal(this.#buffer, this.#buffered);
    this.#count++;
    if (++this.#buffered * RECORD_WORDS === this.#buffer.length) this.#flush();
  }

  /** Resolves with the run once it is on the disk. No record of it arrived after `lastArrivalMs`. */
  async finish(lastArrivalMs: number): Promise<Run> {
    this.#flush();
    const filter = this.#filter.finished();
    const facts = { count: this.#count, lastArrivalMs };
    const place = placeOf(this.#count, filter.bits);
    this.#files.write(this.#fd, bytesOf(filter.fingerprints), place.fingerprints);
    if (this.#count % 2 === 1) this.#files.write(this.#fd, new Uint8Array(2), place.directory - 2);
    this.#files.write(this.#fd, bytesOf(filter.directory), place.directory);
    this.#files.write(this.#fd, headerOf(facts, filter), 0);
    await this.#files.sync(this.#fd);
    this.#files.close(this.#fd);
    return new Run(this.#files, this.#path, facts, filter);
  }

  /** Removes what was written; for when `finish` was not called or failed. */
  abandon(): void {
    this.#files.close(this.#fd);
    this.#files.remove(this.#path);
  }

  #flush(): void {
    const bytes = new Uint8Array(this.#buffer.buffer, 0, this.#buffered * RECORD_BYTES);
    this.#files.write(this.#fd, bytes, HEADER_BYTES + (this.#count - this.#buffered) * RECORD_BYTES);
    this.#buffered = 0;
  }
}

/** Opens a run's file, gives it to `use`, and closes it. @throws DamagedRun when it is gone or the disk cannot read it */
export function withRunFile<T>(files: IndexFiles, path: string, use: (fd: number) => T): T {
  try {
    const fd = files.open(path, "read");
    try {
      return use(fd);
    } finally {
      files.close(fd);
    }
  } catch (error) {
    throw asDamage(path, error);
  }
}

/** A run that is gone or that the disk cannot read is as good as damaged: both are repaired by a rebuild. */
export function asDamage(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new DamagedRun(path, "is gone");
  if (code === "EIO") return new DamagedRun(path, "cannot be read from the disk");
  return error;
}

const HEADER_BYTES = 64;
const MAGIC = "MRIDRUN1";
/** Written at a time: 1 MiB. */
const WRITE_RECORDS = 32_768;
/** Read at a time when several wanted records lie close together: 64 KiB. */
const WINDOW_RECORDS = 2048;
/** Reading 4 KiB that nobody wants is cheaper than another call. */
const WINDOW_GAP = 128;

/** One past the last record worth reading together with candidate `i`. */
function windowEnd(where: readonly number[], i: number): number {
  const from = where[i] as number;
  let to = from + 1;
  for (let next = i + 1; next < where.length; next++) {
    const end = (where[next] as number) + 1;
    if (end - to > WINDOW_GAP || end - from > WINDOW_RECORDS) break;
    to = Math.max(to, end);
  }
  return to;
}

function headerOf(facts: RunFacts, filter: RunFilter): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  header.set(Buffer.from(MAGIC, "latin1"));
  view.setUint32(8, filter.bits, true);
  view.setUint32(12, checksum(filter), true);
  view.setFloat64(16, facts.count, true);
  view.setFloat64(24, facts.lastArrivalMs, true);
  view.setUint32(60, crc32(header.subarray(0, 60)), true);
  return header;
}

function readHeader(path: string, header: Uint8Array): { facts: RunFacts; bits: number; filterCrc: number } {
  const view = new DataView(header.buffer, header.byteOffset);
  const magic = Buffer.from(header.subarray(0, MAGIC.length)).toString("latin1");
  if (magic !== MAGIC || crc32(header.subarray(0, 60)) !== view.getUint32(60, true)) {
    throw new DamagedRun(path, "has a damaged header");
  }
  const facts = { count: view.getFloat64(16, true), lastArrivalMs: view.getFloat64(24, true) };
  return { facts, bits: view.getUint32(8, true), filterCrc: view.getUint32(12, true) };
}

function placeOf(count: number, bits: number): { fingerprints: number; directory: number; end: number } {
  const fingerprints = HEADER_BYTES + count * RECORD_BYTES;
  const directory = fingerprints + (count + (count % 2)) * 2;
  return { fingerprints, directory, end: directory + (2 ** bits + 1) * 4 };
}

function checksum(filter: RunFilter): number {
  return crc32(bytesOf(filter.directory), crc32(bytesOf(filter.fingerprints)));
}

function bytesOf(array: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
