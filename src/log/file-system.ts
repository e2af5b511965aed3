/**
 * The file system as the log needs it: few operations, each with one meaning, so that a test can make any of them fail.
 * Errors are those of Node (`code: "ENOSPC"`, `"EIO"`, `"ENOENT"`…).
 */
import * as fs from "node:fs";

export interface LogFs {
  /** Names in a directory, in no particular order. */
  list(dir: string): Promise<string[]>;
  /** Creates a directory and its parents; an existing one is fine. */
  makeDir(dir: string): Promise<void>;
  /** Makes the names in a directory durable. */
  syncDir(dir: string): Promise<void>;
  /** `create` fails when the file exists; `read` and `write` fail when it does not. */
  open(path: string, mode: "read" | "write" | "create"): Promise<LogFile>;
  /** Removes a file; one that is not there is fine. */
  remove(path: string): Promise<void>;
  /** Puts `from` in the place of `to` in one step. */
  rename(from: string, to: string): Promise<void>;
}

export interface LogFile {
  /** Writes all chunks one after the other, beginning at `at`. After a failure any part may have been written. */
  write(chunks: readonly Uint8Array[], at: number): Promise<void>;
  /** Fills `into` from `at` on; returns the bytes read, which are fewer only at the end of the file. */
  read(into: Uint8Array, at: number): Promise<number>;
  /** Makes content and size durable. */
  datasync(): Promise<void>;
  truncate(size: number): Promise<void>;
  stat(): Promise<{ size: number; modifiedMs: number }>;
  close(): Promise<void>;
}

/** The real file system. */
export const nodeFs: LogFs = {
  list: (dir) => fs.promises.readdir(dir),
  makeDir: async (dir) => {
    await fs.promises.mkdir(dir, { recursive: true, mode: 0o700 });
  },
  syncDir: async (dir) => {
    const handle = await fs.promises.open(dir, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  open: async (path, mode) => new NodeFile(await done<number>((end) => fs.open(path, FLAGS[mode], 0o600, end))),
  remove: (path) => fs.promises.rm(path, { force: true }),
  rename: (from, to) => fs.promises.rename(from, to),
};

const FLAGS = { read: "r", write: "r+", create: "wx+" } as const;

/** Works on the bare descriptor: the callback functions cost half of what `FileHandle` does per call. */
class NodeFile implements LogFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async write(chunks: readonly Uint8Array[], at: number): Promise<void> {
    let rest = chunks;
    let position = at;
    let written = 0;
    while (rest.length > 0) {
      written += await this.#writeSome(rest, position);
      let done = 0;
      while (done < rest.length && written >= (rest[done] as Uint8Array).length) {
        written -= (rest[done] as Uint8Array).length;
        position += (rest[done] as Uint8Array).length;
        done++;
      }
      if (done === rest.length) return;
      // A short write: go on behind what was taken.
      rest = [(rest[done] as Uint8Array).subarray(written), ...rest.slice(done + 1)];
      position += written;
      written = 0;
    }
  }

  #writeSome(chunks: readonly Uint8Array[], at: number): Promise<number> {
    const [only] = chunks;
    if (chunks.length === 1 && only) return done((end) => fs.write(this.#fd, only, 0, only.length, at, end));
    return done((end) => fs.writev(this.#fd, chunks, at, end));
  }

  async read(into: Uint8Array, at: number): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      const got = await done<number>((end) => fs.read(this.#fd, into, filled, into.length - filled, at + filled, end));
      if (got === 0) break;
      filled += got;
    }
    return filled;
  }

  datasync(): Promise<void> {
    return done((end) => fs.fdatasync(this.#fd, end));
  }

  truncate(size: number): Promise<void> {
    return done((end) => fs.ftruncate(this.#fd, size, end));
  }

  async stat(): Promise<{ size: number; modifiedMs: number }> {
    const { size, mtimeMs } = await done<fs.Stats>((end) => fs.fstat(this.#fd, end));
    return { size, modifiedMs: Math.floor(mtimeMs) };
  }

  close(): Promise<void> {
    return done((end) => fs.close(this.#fd, end));
  }
}

/** A promise of what Node hands to a callback. */
function done<T>(start: (end: (error: NodeJS.ErrnoException | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

/** Lends an open file; undefined when there is none of that name. */
export async function withFile<T>(
  fs: LogFs,
  path: string,
  work: (file: LogFile) => Promise<T>,
): Promise<T | undefined> {
  const file = await openIfPresent(fs, path, "read");
  if (!file) return undefined;
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

export async function openIfPresent(fs: LogFs, path: string, mode: "read" | "write"): Promise<LogFile | undefined> {
  try {
    return await fs.open(path, mode);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
}
