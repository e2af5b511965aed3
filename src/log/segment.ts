/**
 * A segment: consecutive events of one partition in a file of their own, with the side index beside it.
 *
 *     DIR/<stream>/<partition>/00000000000000001200.ndjson         the events, byte for byte, one per line
 *     DIR/<stream>/<partition>/00000000000000001200.index.ndjson   one line per commit span, see index-line.ts
 *
 * The number is the offset of the first event. Only the last segment of a partition is written to; when the next one
 * begins it is sealed and never changes again.
 */
import { join } from "node:path";
import type { LogFile, LogFs } from "./file-system.ts";

const DATA_SUFFIX = ".ndjson";
const INDEX_SUFFIX = ".index.ndjson";
/** Of files that are written beside another one to take its place. */
export const TEMPORARY_SUFFIX = ".tmp";

export class Segment {
  readonly first: number;
  readonly dataPath: string;
  readonly indexPath: string;
  readonly #fs: LogFs;
  #file: Promise<LogFile> | undefined;
  #readers = 0;
  #active = false;

  constructor(fs: LogFs, dir: string, first: number) {
    this.#fs = fs;
    this.first = first;
    this.dataPath = join(dir, fileName(first) + DATA_SUFFIX);
    this.indexPath = join(dir, fileName(first) + INDEX_SUFFIX);
  }

  /** Bytes of the data file; fewer than `length` when the file ends before. */
  async read(at: number, length: number): Promise<Buffer> {
    return this.withFile(async (file) => {
      const buffer = Buffer.allocUnsafeSlow(length);
      const got = await file.read(buffer, at);
      return got === length ? buffer : buffer.subarray(0, got);
    });
  }

  /** Lends the open data file; a sealed segment keeps it open only while someone reads. */
  async withFile<T>(work: (file: LogFile) => Promise<T>): Promise<T> {
    this.#readers++;
    try {
      this.#file ??= this.#fs.open(this.dataPath, "read");
      return await work(await this.#file);
    } finally {
      this.#readers--;
      if (!this.#active && this.#readers === 0) await this.#letGo();
    }
  }

  /** Takes the writer's open file for reading as well. */
  activate(file: LogFile): void {
    this.#active = true;
    this.#file = Promise.resolve(file);
  }

  /** Nothing is written any more: the file closes once the last reader is done. */
  async seal(): Promise<void> {
    this.#active = false;
    if (this.#readers === 0) await this.#letGo();
  }

  async remove(): Promise<void> {
    // Data first: an index without data is recognised as a leftover, data without an index would be taken up again.
    await this.#fs.remove(this.dataPath);
    await this.#fs.remove(this.indexPath);
  }

  async #letGo(): Promise<void> {
    const opening = this.#file;
    this.#file = undefined;
    const file = await opening?.catch(() => undefined); // whoever asked for the file has been told why it did not open
    await file?.close();
  }
}

/**
 * What the names in a partition's folder say: the first offsets of its segments in order, and leftovers to be removed.
 * A segment whose data file is gone still counts, so that the loss is seen and its offsets are not given out again.
 */
export function listSegments(names: readonly string[]): { firsts: number[]; leftovers: string[] } {
  const withData = new Set<number>();
  const all = new Set<number>();
  const leftovers: string[] = [];
  for (const name of names) {
    if (/^\d{20}(\.index)?\.ndjson$/.test(name)) {
      const first = Number(name.slice(0, 20));
      all.add(first);
      if (!name.endsWith(INDEX_SUFFIX)) withData.add(first);
    } else if (name.endsWith(TEMPORARY_SUFFIX)) {
      leftovers.push(name);
    }
  }
  const oldest = Math.min(...withData);
  const firsts: number[] = [];
  for (const first of all) {
    // Retention removes the data before the index: an index alone at the old end was interrupted there.
    if (withData.size > 0 && first < oldest) leftovers.push(fileName(first) + INDEX_SUFFIX);
    else firsts.push(first);
  }
  return { firsts: firsts.sort((a, b) => a - b), leftovers };
}

function fileName(first: number): string {
  return String(first).padStart(20, "0");
}
