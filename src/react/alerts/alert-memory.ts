/**
 * What alerts over tables remember from one time to the next, one file each: `DIR/alerts/<name>.json`. Which of them fire is not known from here
 * but from `_alerts`; a file that is lost costs what was held so far (`for`, cool-down, earlier values) and nothing else.
 */
import { join } from "node:path";
import type { FileSystem } from "../../lake/file-system.ts";
import type { Memory } from "./table-alert.ts";

export class AlertMemory {
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

  /** Undefined when there is none, or none that can be read. */
  async read(alert: string): Promise<Memory | undefined> {
    try {
      const text = Buffer.from(await this.#fs.readFile(this.#path(alert))).toString("utf8");
      const memory = JSON.parse(text) as Memory;
      if (memory.format === 1) return memory;
      this.#report(
        new Error(`format ${memory.format} is not known`),
        `reading what the alert "${alert}" remembers; it begins anew`,
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      this.#report(error, `reading what the alert "${alert}" remembers; it begins anew`);
    }
    return undefined;
  }

  /** Resolves when it is durable. */
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

const UNFINISHED = ".unfinished";
