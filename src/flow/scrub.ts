/**
 * Reads every data file of every table slowly, again and again, and compares it with the checksum it was written with: neither
 * Parquet as the engine reads it nor Delta notices a bit that flipped on the disk, and a query would answer with it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { MillraceError } from "../errors.ts";
import type { DataFile } from "../lake/delta-table.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";

/** A hundredth of what one disk gives, so nobody waits for it: a terabyte takes less than a day. */
const BYTES_PER_MS = 16 * 1024;
/** Many small files cost more than their bytes. */
const LEAST_PAUSE_MS = 5;
/** A start has better things to do. */
const FIRST_AFTER_MS = 60_000;
/** From the start of one round to that of the next, at least. */
const ROUND_MS = 86_400_000;

export interface ScrubParts {
  readonly lake: LakeTables;
  readonly logger: Logger;
  /** Whether this process looks at files by itself. */
  readonly leads: () => boolean;
  /** Told of a table that has a damaged file, once in each round: what was done about it may have failed. */
  readonly damaged: (table: LakeTable) => void;
  /** Told of a table of which a file that was damaged is well again. */
  readonly mended: (table: LakeTable) => void;
}

/** What the system answers for reasons of its own: descriptors, memory and time, a volume that is mounted anew, a disk with no room for a copy. */
const PASSING: ReadonlySet<unknown> = new Set(
  "EMFILE ENFILE ENOMEM EAGAIN EBUSY EINTR ETIMEDOUT ESTALE ENOTCONN ENOSPC".split(" "),
);

const UNKNOWN = Symbol("it could not be looked at");

export class Scrub {
  readonly #o: ScrubParts;
  readonly #end = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: ScrubParts) {
    this.#o = parts;
  }

  start(): void {
    this.#running = this.#rounds().catch((error: unknown) => {
      if (!this.#end.signal.aborted) this.#o.logger.error({ err: error }, "the scrub of data files ended");
    });
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  /** Looks at every file once; at full speed unless `pause` waits after each. */
  async round(pause: (sizeBytes: number) => Promise<void> = async () => undefined): Promise<void> {
    for (const name of this.#o.lake.names()) {
      const table = this.#o.lake.get(name);
      let told = false;
      for (const file of table.snapshot.files) {
        try {
          if ((await this.#isDamaged(table, file)) && !told) {
            told = true;
            this.#o.damaged(table);
          }
        } catch (error) {
          this.#o.logger.error({ err: error, table: name, file: file.path }, "a data file could not be looked at");
        }
        await pause(file.sizeBytes);
      }
    }
  }

  async #rounds(): Promise<void> {
    const wait = (ms: number) => sleep(ms, undefined, { signal: this.#end.signal, ref: false });
    await wait(FIRST_AFTER_MS);
    for (;;) {
      const startedAt = performance.now();
      while (!this.#o.leads()) await wait(FIRST_AFTER_MS);
      await this.round((sizeBytes) => wait(Math.max(LEAST_PAUSE_MS, sizeBytes / BYTES_PER_MS)));
      await wait(Math.max(LEAST_PAUSE_MS, ROUND_MS - (performance.now() - startedAt)));
    }
  }

  async #isDamaged(table: LakeTable, file: DataFile): Promise<boolean> {
    const { lake, logger } = this.#o;
    if (file.checksum === undefined) return false;
    const fault = await this.#fault(table, file, file.checksum);
    if (fault === UNKNOWN) return false;
    // A file may have left its table, and then the disk, while it was read.
    const live = table.snapshot.files.some(({ path }) => path === file.path);
    const reason = live ? fault : undefined;
    const isNews = lake.mark(table, file, reason);
    if (isNews && reason !== undefined)
      logger.error({ table: table.name, file: file.path, reason }, "a data file is damaged");
    if (isNews && live && reason === undefined) this.#o.mended(table);
    return reason !== undefined;
  }

  /** What is wrong with the file; undefined for one that is as it was written. */
  async #fault(table: LakeTable, file: DataFile, expected: string): Promise<string | typeof UNKNOWN | undefined> {
    try {
      const found = await this.#o.lake.checksum(table, file);
      return found === expected ? undefined : `does not match its checksum (${found} instead of ${expected})`;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      // A store that is away, or a process that lacks what it takes to look, says nothing about its files.
      if (error.code.startsWith("STORE_") || PASSING.has(causeOf(error))) return UNKNOWN;
      return error.code === "OBJECT_NOT_FOUND" ? "is gone" : `cannot be read: ${error.message}`;
    }
  }
}

function causeOf({ cause }: Error): unknown {
  return cause instanceof Error && "code" in cause ? cause.code : undefined;
}
