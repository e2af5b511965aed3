/**
 * Copies of immutable objects on the local disk, up to a number of bytes: those used longest ago go
 * first, those used once before the others, and none that a reader holds.
 *
 *     objects/<key>   whole copies; they outlive the process, since each was synced before it got its name
 *     staged/<key>    files that the engine writes and that are not uploaded yet; removed at the start
 *     tmp/            copies that are still coming; removed at the start
 */
import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { MillraceError } from "../../errors.ts";

/** Writes an object's bytes into a new file, synced. */
export type Fetch = (key: string, path: string) => Promise<number>;

export interface LocalCopiesOptions {
  readonly dir: string;
  /** Readers that need more than this at once get it; it goes again when they are done. */
  readonly maxBytes: number;
  readonly fetch: Fetch;
}

/** Objects on their way at once. */
const MOST_FETCHES = 16;

/**
 * Share of the room that copies used only once have to themselves: what reads everything a single time, as a check does, must not drive out
 * what queries use again and again (a segmented LRU, Karedla et al. 1994).
 */
const SHARE_OF_FIRST_USE = 0.2;

interface Copy {
  sizeBytes: number;
  holders: number;
  /** The copy, when it is there. */
  there: Promise<void>;
  ready: boolean;
  /** Uses so far, or enough of them. */
  uses: number;
  /** The object was removed from the store: its copy goes with the last reader. */
  gone: boolean;
}

export class LocalCopies {
  readonly #o: LocalCopiesOptions;
  readonly #root: string;
  /** In the order of their last use. */
  readonly #copies = new Map<string, Copy>();
  /** Copies that are being unlinked: whoever fetches one anew waits for that. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #fetching = 0;
  #bytes = 0;
  /** Of those, the bytes of copies that were used once. */
  #firstUseBytes = 0;
  #fetched = { files: 0, bytes: 0 };

  private constructor(options: LocalCopiesOptions) {
    this.#o = options;
    this.#root = this.#folder("objects");
  }

  /** Takes over the copies of an earlier life. */
  static async open(options: LocalCopiesOptions): Promise<LocalCopies> {
    const copies = new LocalCopies(options);
    await rm(copies.#folder("staged"), { recursive: true, force: true });
    await rm(copies.#folder("tmp"), { recursive: true, force: true });
    await mkdir(copies.#folder("tmp"), { recursive: true });
    await mkdir(copies.root, { recursive: true });
    await copies.#takeOver();
    return copies;
  }

  /** The folder below which all copies lie. */
  get root(): string {
    return this.#root;
  }

  /** What has been fetched so far. */
  get fetched(): Readonly<{ files: number; bytes: number }> {
    return this.#fetched;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(key: string): boolean {
    return this.#copies.get(key)?.ready === true;
  }

  /** Where the copy is while it is held. */
  path(key: string): string {
    return `${this.#root}/${key}`;
  }

  /** Where a file is written that will be the copy of an object to come. */
  stagedPath(key: string): string {
    return join(this.#folder("staged"), key);
  }

  /** Brings copies and keeps them until the function it resolves to is called. @throws what fetching throws, or the signal's reason */
  async hold(keys: readonly string[], signal?: AbortSignal): Promise<() => void> {
    const held: [string, Copy][] = [];
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      for (const [key, copy] of held) this.#letGo(key, copy);
    };
    try {
      signal?.throwIfAborted();
      for (const key of new Set(keys)) held.push([key, this.#use(key)]);
      const missing = held.filter(([, copy]) => !copy.ready);
      if (missing.length > 0) await unlessAborted(Promise.all(missing.map(([, copy]) => copy.there)), signal);
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Makes a staged file the copy of the object that it has become. */
  async adopt(key: string, sizeBytes: number): Promise<void> {
    await mkdir(dirname(this.path(key)), { recursive: true });
    await rename(this.stagedPath(key), this.path(key));
    this.#note(key, sizeBytes);
    this.#makeRoom();
  }

  /** The object was removed: its copy goes as well, once nobody reads it. */
  async drop(key: string): Promise<void> {
    const copy = this.#copies.get(key);
    if (copy === undefined) return;
    if (copy.holders > 0 || !copy.ready) copy.gone = true;
    else this.#remove(key, copy);
    await this.#leaving.get(key);
  }

  /** CRC-32 of the copy as it is on the disk now, -1 when it cannot be read; undefined where there is none. */
  async checksum(key: string): Promise<number | undefined> {
    if (!this.has(key)) return undefined;
    const release = await this.hold([key]);
    try {
      let sum = 0;
      for await (const piece of createReadStream(this.path(key))) sum = crc32(piece as Buffer, sum);
      return sum;
    } catch {
      return -1; // gone by somebody's hand, or on a spot of the disk that is broken: as good as different
    } finally {
      release();
    }
  }

  /** Fetches a copy anew and puts it in the place of the one that is there; who reads that one goes on. */
  async replace(key: string): Promise<void> {
    const copy = this.#copies.get(key);
    if (copy === undefined) return;
    const sizeBytes = await this.#fetch(key);
    if (this.#copies.get(key) !== copy) return;
    this.#count(copy, sizeBytes - copy.sizeBytes);
    copy.sizeBytes = sizeBytes;
  }

  /** The copy with one holder more, asked for when it is not there. */
  #use(key: string): Copy {
    const known = this.#copies.get(key);
    if (known !== undefined) {
      this.#copies.delete(key);
      this.#copies.set(key, known);
      known.holders++;
      if (++known.uses === 2 && known.ready) this.#firstUseBytes -= known.sizeBytes;
      return known;
    }
    const copy: Copy = { sizeBytes: 0, holders: 1, ready: false, uses: 1, gone: false, there: Promise.resolve() };
    copy.there = this.#bring(key, copy);
    copy.there.catch(() => undefined); // told to those who wait for it
    this.#copies.set(key, copy);
    return copy;
  }

  async #bring(key: string, copy: Copy): Promise<void> {
    try {
      copy.sizeBytes = await this.#fetch(key);
    } catch (error) {
      if (this.#copies.get(key) === copy) this.#copies.delete(key);
      throw error;
    }
    copy.ready = true;
    this.#count(copy, copy.sizeBytes);
    // Whoever waited for it may have given up.
    if (copy.gone && copy.holders === 0) this.#remove(key, copy);
    this.#makeRoom();
  }

  #letGo(key: string, copy: Copy): void {
    copy.holders--;
    if (copy.holders > 0 || !copy.ready) return;
    if (copy.gone && this.#copies.get(key) === copy) this.#remove(key, copy);
    else this.#makeRoom();
  }

  async #fetch(key: string): Promise<number> {
    const temporary = join(this.#folder("tmp"), randomUUID());
    if (this.#fetching >= MOST_FETCHES) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#fetching++;
    try {
      await this.#leaving.get(key);
      await mkdir(dirname(this.path(key)), { recursive: true });
      const sizeBytes = await this.#fetchInto(key, temporary);
      await rename(temporary, this.path(key));
      this.#fetched = { files: this.#fetched.files + 1, bytes: this.#fetched.bytes + sizeBytes };
      return sizeBytes;
    } catch (cause) {
      await rm(temporary, { force: true });
      if (cause instanceof MillraceError) throw cause;
      const reason = `its local copy cannot be made: ${(cause as Error).message}`;
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "read", key, reason }, { cause, retryAfterS: 1 });
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#fetching--;
    }
  }

  /** A disk that is full may have room when what nobody reads is gone. */
  async #fetchInto(key: string, temporary: string): Promise<number> {
    try {
      return await this.#o.fetch(key, temporary);
    } catch (error) {
      if (!["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      this.#makeRoom(0);
      await Promise.all(this.#leaving.values());
      return await this.#o.fetch(key, temporary);
    }
  }

  #makeRoom(maxBytes = this.#o.maxBytes): void {
    // Twice: when those used once are below their share the others have to give, and when nothing else is free they are not spared.
    for (const spared of [maxBytes * SHARE_OF_FIRST_USE, 0]) {
      for (const firstUse of [true, false]) {
        for (const [key, copy] of this.#copies) {
          if (this.#bytes <= maxBytes) return;
          if (firstUse && this.#firstUseBytes <= spared) break;
          if (copy.holders === 0 && copy.ready && firstUse === copy.uses < 2) this.#remove(key, copy);
        }
      }
    }
  }

  #count(copy: Copy, bytes: number): void {
    this.#bytes += bytes;
    if (copy.uses < 2) this.#firstUseBytes += bytes;
  }

  #remove(key: string, copy: Copy): void {
    this.#copies.delete(key);
    this.#count(copy, -copy.sizeBytes);
    const leaving = unlink(this.path(key))
      .catch(ignoreMissing)
      // One that cannot be unlinked is found again by the next start, and counted.
      .catch(() => undefined)
      .finally(() => {
        if (this.#leaving.get(key) === leaving) this.#leaving.delete(key);
      });
    this.#leaving.set(key, leaving);
  }

  /** Counts a copy that is there, as one that was used once. */
  #note(key: string, sizeBytes: number): void {
    const known = this.#copies.get(key);
    if (known?.ready) this.#count(known, -known.sizeBytes);
    const copy = { sizeBytes, ready: true, gone: false, there: Promise.resolve() };
    this.#copies.delete(key);
    this.#copies.set(key, { ...copy, holders: known?.holders ?? 0, uses: known?.uses ?? 1 });
    this.#count(this.#copies.get(key) as Copy, sizeBytes);
  }

  async #takeOver(): Promise<void> {
    const found: { key: string; sizeBytes: number; usedAtMs: number }[] = [];
    const collect = async (folder: string): Promise<void> => {
      for (const entry of await readdir(join(this.root, folder), { withFileTypes: true })) {
        const key = `${folder}${entry.name}`;
        if (entry.isDirectory()) await collect(`${key}/`);
        else {
          const { size, mtimeMs } = await stat(this.path(key));
          found.push({ key, sizeBytes: size, usedAtMs: mtimeMs });
        }
      }
    };
    await collect("");
    found.sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const { key, sizeBytes } of found) this.#note(key, sizeBytes);
    this.#makeRoom();
  }

  #folder(name: "objects" | "staged" | "tmp"): string {
    return join(this.#o.dir, name);
  }
}

/** Makes what was written durable. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  work.catch(() => undefined); // who gave up is told why, not how the rest went
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
