/** A disk in memory that a test may take the power from. */
import { basename, dirname } from "node:path";
import type { LogFile, LogFs } from "../../src/log/file-system.ts";

interface Content {
  now: Buffer;
  synced: Buffer;
}

export class MemoryDisk implements LogFs {
  #names = new Map<string, Content>();
  #syncedNames = new Map<string, Content>();
  /** Told before each operation that changes something; what it throws, the operation fails with. */
  before: (operation: string, file: string) => void = () => undefined;
  /** Awaited by each sync of a file, after which what was written is durable. */
  syncing: (file: string) => Promise<void> | undefined = () => undefined;

  /** All that was not synced is lost, or everything stays, as after the end of the process alone. */
  crash(power: boolean): void {
    if (!power) return;
    this.#names = new Map(this.#syncedNames);
    for (const content of this.#names.values()) content.now = Buffer.from(content.synced);
  }

  files(): string[] {
    return [...this.#names.keys()].sort();
  }

  /** The bytes of a file, to be changed by the test. */
  damage(path: string, change: (bytes: Buffer) => Buffer): void {
    const content = this.#content(path);
    content.now = change(content.now);
    content.synced = Buffer.from(content.now);
  }

  async list(dir: string): Promise<string[]> {
    const names = [...this.#names.keys()].filter((path) => dirname(path) === dir).map((path) => basename(path));
    if (names.length === 0) throw missing(dir);
    return names;
  }

  async makeDir(): Promise<void> {}

  async syncDir(dir: string): Promise<void> {
    this.before("syncDir", dir);
    for (const path of [...this.#names.keys(), ...this.#syncedNames.keys()]) {
      if (dirname(path) !== dir) continue;
      const content = this.#names.get(path);
      if (content) this.#syncedNames.set(path, content);
      else this.#syncedNames.delete(path);
    }
  }

  async open(path: string, mode: "read" | "write" | "create"): Promise<LogFile> {
    if (mode === "create") {
      this.before("create", path);
      if (this.#names.has(path)) throw Object.assign(new Error(`EEXIST: ${path}`), { code: "EEXIST" });
      this.#names.set(path, { now: Buffer.alloc(0), synced: Buffer.alloc(0) });
    }
    const content = this.#content(path);
    const { before } = this;
    return {
      write: async (chunks, at) => {
        const bytes = Buffer.concat(chunks);
        const write = (length: number) => {
          const larger = Buffer.alloc(Math.max(content.now.length, at + length));
          larger.set(content.now);
          larger.set(bytes.subarray(0, length), at);
          content.now = larger;
        };
        try {
          this.before("write", path);
        } catch (error) {
          write(bytes.length >> 1); // some of it has gone to the disk
          throw error;
        }
        write(bytes.length);
      },
      read: async (into, at) => content.now.copy(into, 0, at),
      datasync: async () => {
        this.before("datasync", path);
        await this.syncing(path);
        content.synced = Buffer.from(content.now);
      },
      truncate: async (size) => {
        before("truncate", path);
        content.now = Buffer.from(content.now.subarray(0, size));
      },
      stat: async () => ({ size: content.now.length, modifiedMs: 0 }),
      close: async () => undefined,
    };
  }

  async remove(path: string): Promise<void> {
    if (!this.#names.has(path)) return;
    this.before("remove", path);
    this.#names.delete(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.before("rename", to);
    const content = this.#content(from);
    this.#names.delete(from);
    this.#names.set(to, content);
  }

  #content(path: string): Content {
    const content = this.#names.get(path);
    if (!content) throw missing(path);
    return content;
  }
}

function missing(path: string): Error {
  return Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
}
