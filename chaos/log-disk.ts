/**
 * The log's disk, with named points and faults. When the plan says that unsynced bytes are lost, writes stay here until the file
 * is synced, so a process that dies takes them with it, as a machine without power would.
 */
import { type LogFile, type LogFs, nodeFs } from "../src/log/file-system.ts";
import { endsAt, losesUnsynced, meet, pass } from "./faults.ts";

export const logDisk: LogFs = {
  list: (dir) => nodeFs.list(dir),
  async makeDir(dir) {
    meet("log", "write", dir);
    await nodeFs.makeDir(dir);
  },
  async syncDir(dir) {
    pass("log fsync folder: before");
    meet("log", "sync", dir);
    await nodeFs.syncDir(dir);
    pass("log fsync folder: after");
  },
  async open(path, mode) {
    const kind = kindOf(path);
    if (mode === "create") {
      pass(`log create ${kind}: before`);
      meet("log", "write", path);
    }
    const file = await nodeFs.open(path, mode);
    if (mode === "create") pass(`log create ${kind}: after`);
    if (mode === "read") return file;
    return losesUnsynced ? new VolatileFile(new PointedFile(file, path)) : new PointedFile(file, path);
  },
  async remove(path) {
    const kind = kindOf(path);
    pass(`log remove ${kind}: before`);
    meet("log", "write", path);
    await nodeFs.remove(path);
    pass(`log remove ${kind}: after`);
  },
  async rename(from, to) {
    pass("log rename: before");
    meet("log", "write", to);
    await nodeFs.rename(from, to);
    pass("log rename: after");
  },
};

type Kind = "data" | "index" | "checkpoint";

/** Checkpoints of reactions are on the same disk. */
function kindOf(path: string): Kind {
  return /[\\/]react[\\/]/.test(path) ? "checkpoint" : path.includes(".index.") ? "index" : "data";
}

class PointedFile implements LogFile {
  readonly #file: LogFile;
  readonly #path: string;
  readonly #kind: Kind;

  constructor(file: LogFile, path: string) {
    this.#file = file;
    this.#path = path;
    this.#kind = kindOf(path);
  }

  async write(chunks: readonly Uint8Array[], at: number): Promise<void> {
    pass(`log write ${this.#kind}: before`);
    meet("log", "write", this.#path);
    if (endsAt(`log write ${this.#kind}: middle`)) {
      const bytes = Buffer.concat(chunks);
      await this.#file.write([bytes.subarray(0, bytes.length >> 1)], at);
    }
    pass(`log write ${this.#kind}: middle`);
    await this.#file.write(chunks, at);
    pass(`log write ${this.#kind}: after`);
  }

  read(into: Uint8Array, at: number): Promise<number> {
    return this.#file.read(into, at);
  }

  async datasync(): Promise<void> {
    pass(`log fsync ${this.#kind}: before`);
    meet("log", "sync", this.#path);
    await this.#file.datasync();
    pass(`log fsync ${this.#kind}: after`);
  }

  async truncate(size: number): Promise<void> {
    pass(`log truncate ${this.#kind}: before`);
    meet("log", "write", this.#path);
    await this.#file.truncate(size);
    pass(`log truncate ${this.#kind}: after`);
  }

  stat(): Promise<{ size: number; modifiedMs: number }> {
    return this.#file.stat();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Keeps what is written in memory until it is synced. */
class VolatileFile implements LogFile {
  readonly #file: LogFile;
  #unsynced: { bytes: Buffer; at: number }[] = [];

  constructor(file: LogFile) {
    this.#file = file;
  }

  async write(chunks: readonly Uint8Array[], at: number): Promise<void> {
    this.#unsynced.push({ bytes: Buffer.concat(chunks), at });
  }

  async read(into: Uint8Array, at: number): Promise<number> {
    let filled = await this.#file.read(into, at);
    for (const { bytes, at: start } of this.#unsynced) {
      const from = Math.max(at, start);
      const to = Math.min(at + into.length, start + bytes.length);
      if (from >= to) continue;
      into.set(bytes.subarray(from - start, to - start), from - at);
      filled = Math.max(filled, to - at);
    }
    return filled;
  }

  async datasync(): Promise<void> {
    for (const { bytes, at } of this.#unsynced) await this.#file.write([bytes], at);
    this.#unsynced = [];
    await this.#file.datasync();
  }

  async truncate(size: number): Promise<void> {
    this.#unsynced = this.#unsynced.flatMap(({ bytes, at }) =>
      at >= size ? [] : [{ bytes: bytes.subarray(0, size - at), at }],
    );
    await this.#file.truncate(size);
  }

  async stat(): Promise<{ size: number; modifiedMs: number }> {
    const { size, modifiedMs } = await this.#file.stat();
    return { size: Math.max(size, ...this.#unsynced.map(({ bytes, at }) => at + bytes.length)), modifiedMs };
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
