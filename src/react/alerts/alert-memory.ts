/**
 * What alerts over tables remember from one time to the next, one file each: `DIR/alerts/<name>.json`, or one object each in the store that processes
 * share: `_react/alerts/<name>.json`. Which of them fire is not known from here but from `_alerts`; one that is lost costs what was held so far
 * (`for`, cool-down, earlier values) and nothing else.
 */
import { join } from "node:path";
import { MillraceError } from "../../errors.ts";
import type { FileSystem } from "../../lake/file-system.ts";
import type { ObjectStore } from "../../lake/object-store.ts";
import type { Memory } from "./table-alert.ts";

export interface AlertMemory {
  open(): Promise<void>;
  /** Undefined when there is none, or none that can be read. */
  read(alert: string): Promise<Memory | undefined>;
  /** Resolves when it is durable. */
  write(alert: string, memory: Memory): Promise<void>;
}

/** In the store that processes share. Whoever looks after alerts writes; one that was followed by another may do so once more, at the price of what a lost one costs. */
export class AlertObjects implements AlertMemory {
  readonly #store: Pick<ObjectStore, "get" | "put">;
  readonly #report: (error: unknown, what: string) => void;

  constructor(store: Pick<ObjectStore, "get" | "put">, report: (error: unknown, what: string) => void) {
    this.#store = store;
    this.#report = report;
  }

  async open(): Promise<void> {}

  async read(alert: string): Promise<Memory | undefined> {
    try {
      return memoryOf(await this.#store.get(keyOf(alert)));
    } catch (error) {
      if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
      // What the store does not give now is there the next time.
      if (error instanceof MillraceError) throw error;
      this.#report(error, `reading what the alert "${alert}" remembers; it begins anew`);
      return undefined;
    }
  }

  async write(alert: string, memory: Memory): Promise<void> {
    await this.#store.put(keyOf(alert), Buffer.from(JSON.stringify(memory), "utf8"));
  }
}

/** In a folder of this machine. */
export class AlertFiles implements AlertMemory {
  readonly #dir: string;
  readonly #fs: FileSystem;
  readonly #report: (error: unknown, what: string) => void;
  /** Names that files being written have: no two of one alert are written at once. */
  #number = 0;

  constructor(dir: string, fs: FileSystem, report: (error: unknown, what: string) => void) {
    this.#dir = dir;
    this.#fs = fs;
    this.#report = report;
  }

  /** Removes what a crash left half written. */
  async open(): Promise<void> {
    await this.#fs.makeDirectory(this.#dir);
    for (const entry of await this.#fs.readDirectory(this.#dir))
      if (entry.name.endsWith(UNFINISHED)) await this.#fs.unlink(join(this.#dir, entry.name));
  }

  async read(alert: string): Promise<Memory | undefined> {
    try {
      return memoryOf(await this.#fs.readFile(this.#path(alert)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      this.#report(error, `reading what the alert "${alert}" remembers; it begins anew`);
    }
    return undefined;
  }

  async write(alert: string, memory: Memory): Promise<void> {
    const path = this.#path(alert);
    const unfinished = `${path}.${this.#number++}${UNFINISHED}`;
    try {
      await this.#fs.writeNew(unfinished, Buffer.from(JSON.stringify(memory), "utf8"));
      await this.#fs.rename(unfinished, path);
    } catch (error) {
      await this.#fs.unlink(unfinished).catch(() => undefined); // the next start removes it
      throw error;
    }
    await this.#fs.syncDirectory(this.#dir);
  }

  #path(alert: string): string {
    return join(this.#dir, `${alert}.json`);
  }
}

function memoryOf(bytes: Uint8Array): Memory {
  const memory = JSON.parse(Buffer.from(bytes).toString("utf8")) as Memory;
  if (memory.format !== 1) throw new Error(`format ${memory.format} is not known`);
  return memory;
}

function keyOf(alert: string): string {
  return `_react/alerts/${alert}.json`;
}

const UNFINISHED = ".unfinished";
