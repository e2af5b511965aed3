import { randomUUID } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { MillraceError } from "../errors.ts";
import { type FileSystem, nodeFileSystem } from "./file-system.ts";
import { listFiles } from "./list-files.ts";
import { checkKey, PLAIN } from "./object-key.ts";
import type { ObjectInfo, ObjectStore, PublishedObject } from "./object-store.ts";

export interface FsStoreOptions {
  readonly fs?: FileSystem;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** Names temporary files. */
  readonly newId?: () => string;
}

/**
 * The lake on a local file system: every object is the file of its key below `rootDir`.
 *
 * Objects are written by one recipe: a temporary file, write, fsync, then its final name, then fsync of the directory. `put`
 * takes the name by rename(2), `putIfAbsent` by link(2), which fails when the name is taken. Temporary files are kept in
 * `rootDir/.tmp`, so no listing ever meets one; those a crash left behind are removed when the store is opened.
 * @throws LAKE_UNAVAILABLE when the disk refuses, from every method.
 */
export async function openFsStore(rootDir: string, options: FsStoreOptions = {}): Promise<ObjectStore> {
  const store = new FsStore(resolve(rootDir), options);
  await store.sweep();
  return store;
}

const TEMPORARY = ".tmp";

/** Writing one object never takes this long: what is older was left by a crash. */
const ABANDONED_AFTER_MS = 3_600_000;

class FsStore implements ObjectStore {
  readonly remote = false;
  readonly #root: string;
  readonly #fs: FileSystem;
  readonly #clock: () => number;
  readonly #newId: () => string;
  /** Directories whose names this process has made durable. */
  readonly #durable = new Set<string>();

  constructor(root: string, options: FsStoreOptions) {
    this.#root = root;
    this.#fs = options.fs ?? nodeFileSystem;
    this.#clock = options.clock ?? Date.now;
    this.#newId = options.newId ?? randomUUID;
  }

  async sweep(): Promise<void> {
    await this.#attempt("open", TEMPORARY, async () => {
      const folder = join(this.#root, TEMPORARY);
      await this.#makeDirectory(folder);
      for (const entry of await this.#fs.readDirectory(folder)) {
        const path = join(folder, entry.name);
        const facts = await unlessGone(this.#fs.stat(path));
        if (facts?.isFile && facts.modifiedAtMs < this.#clock() - ABANDONED_AFTER_MS) {
          await unlessGone(this.#fs.unlink(path));
        }
      }
    });
  }

  async get(key: string): Promise<Uint8Array> {
    return this.#attempt("read", key, () => this.#fs.readFile(this.#path(key)));
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#place(key, bytes, (temporary, path) => this.#fs.rename(temporary, path));
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.#place(key, bytes, async (temporary, path) => {
      const placed = await this.#linked(temporary, path);
      await this.#fs.unlink(temporary);
      return placed;
    });
  }

  async list(prefix: string, options: { after?: string } = {}): Promise<ObjectInfo[]> {
    return this.#attempt("list", prefix, () => listFiles(this.#fs, this.#root, prefix, options.after, TEMPORARY));
  }

  async delete(key: string): Promise<void> {
    await this.#attempt("delete", key, () => unlessGone(this.#fs.unlink(this.#path(key))));
  }

  async stage(key: string): Promise<string> {
    const path = this.#path(key);
    await this.#attempt("write", key, () => this.#makeDirectory(dirname(path)));
    return path;
  }

  async publish(key: string): Promise<PublishedObject> {
    const path = this.#path(key);
    const durable = this.#attempt("write", key, async () => {
      await this.#fs.syncFile(path);
      await this.#fs.syncDirectory(dirname(path));
      const { sizeBytes, modifiedAtMs } = await this.#fs.stat(path);
      return { key, sizeBytes, modifiedAtMs };
    });
    // Read back from memory while the disk is busy with the sync.
    const [info, checksum] = await Promise.all([durable, this.checksum(key)]);
    return { ...info, checksum };
  }

  async checksum(key: string): Promise<string> {
    const path = this.#path(key);
    const sum = await this.#attempt("read", key, () => this.#fs.checksum(path));
    return sum.toString(16).padStart(8, "0");
  }

  localPath(key: string): string {
    return this.#path(key);
  }

  async hold(keys: readonly string[], signal?: AbortSignal): Promise<() => void> {
    for (const key of keys) {
      signal?.throwIfAborted();
      const path = this.#path(key);
      await this.#attempt("read", key, () => this.#fs.stat(path));
    }
    return () => undefined;
  }

  uri(key: string): string {
    return `file://${this.#path(key)}`;
  }

  /** Writes the bytes beside the store's objects and lets `name` give them their place. */
  async #place<T>(key: string, bytes: Uint8Array, name: (temporary: string, path: string) => Promise<T>): Promise<T> {
    const path = this.#path(key);
    const folder = dirname(path);
    const temporary = join(this.#root, TEMPORARY, this.#newId());
    return this.#attempt("write", key, async () => {
      await this.#makeDirectory(folder);
      try {
        await this.#fs.writeNew(temporary, bytes);
        const placed = await name(temporary, path);
        await this.#fs.syncDirectory(folder);
        return placed;
      } catch (error) {
        // A full disk must get its space back at once; should even this fail, the next opening of the store sweeps.
        await this.#fs.unlink(temporary).catch(() => undefined);
        throw error;
      }
    });
  }

  async #linked(from: string, to: string): Promise<boolean> {
    try {
      await this.#fs.link(from, to);
      return true;
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    }
  }

  /**
   * Creates a directory with its parents, durably. The first use in this process makes the whole chain durable even when
   * all of it exists: an earlier process may have died between creating and syncing it.
   */
  async #makeDirectory(folder: string): Promise<void> {
    await this.#fs.makeDirectory(folder);
    for (let made = folder; made !== this.#root && !this.#durable.has(made); made = dirname(made)) {
      await this.#fs.syncDirectory(dirname(made));
      this.#durable.add(made);
    }
  }

  #path(key: string): string {
    checkKey(key);
    if (PLAIN.test(key)) return `${this.#root}/${key}`;
    if (key === TEMPORARY || key.startsWith(`${TEMPORARY}/`)) {
      const reason = `${TEMPORARY} is the store's own`;
      throw new MillraceError("OBJECT_KEY_INVALID", { key: JSON.stringify(key), reason });
    }
    return join(this.#root, key);
  }

  async #attempt<T>(operation: string, key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof MillraceError) throw cause;
      if (operation === "read" && (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR")) {
        throw new MillraceError("OBJECT_NOT_FOUND", { key }, { cause });
      }
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MillraceError("LAKE_UNAVAILABLE", { operation, key, reason }, { cause, retryAfterS: 1 });
    }
  }
}

async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
