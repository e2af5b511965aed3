/** Reads the changes of alerts in their order, each once, from the log or, where that does not have them any more, from their table. */
import { MillraceError } from "../../errors.ts";
import type { DeliveryRecords } from "../../flow/deliveries.ts";
import type { EventLog } from "../../log/event-log.ts";
import { pause } from "./backoff.ts";
import type { Change } from "./sender.ts";

export interface ChangeReaderParts {
  readonly log: EventLog;
  /** The stream of changes, which has one partition. */
  readonly stream: string;
  readonly records: Pick<DeliveryRecords, "changes">;
  /** The newest changes known before: event id -> its first offset. */
  readonly seen: Map<string, number>;
  readonly report: (error: unknown, what: string) => void;
}

export interface ReadChanges {
  readonly changes: readonly Change[];
  /** The offset behind them. */
  readonly next: number;
}

const READ_BYTES = 256 * 1024;
const READ_ROWS = 1000;
/** Ids remembered: a change that was appended a second time, after an append that failed and reached the disk all the same, comes soon after the first. */
export const MOST_SEEN = 20_000;
const RETRY_MS = 1000;

export class ChangeReader {
  readonly #o: ChangeReaderParts;

  constructor(parts: ChangeReaderParts) {
    this.#o = parts;
  }

  /** Changes from `from` on, as soon as there are some; undefined when the signal aborts. */
  async next(from: number, signal: AbortSignal): Promise<ReadChanges | undefined> {
    const { log, stream, report } = this.#o;
    while (!signal.aborted) {
      try {
        const read = await this.#read(from);
        if (read !== undefined) return read;
        await log.wait(stream, 0, from, signal);
      } catch (error) {
        if (signal.aborted || (error instanceof MillraceError && error.code === "SHUTTING_DOWN")) return undefined;
        report(error, "reading changes of alerts; it is tried again");
        await pause(RETRY_MS, signal);
      }
    }
    return undefined;
  }

  /** The change at an offset; undefined where there is none. */
  async at(offset: number): Promise<Change | undefined> {
    const read = await this.#read(offset);
    return read?.changes.find((change) => change.offset === offset);
  }

  async #read(from: number): Promise<ReadChanges | undefined> {
    const { log, stream, records } = this.#o;
    const { start } = log.ends(stream, 0);
    if (from < start) {
      const to = Math.min(start, from + READ_ROWS) - 1;
      return { changes: (await records.changes(from, to)) as unknown as Change[], next: to + 1 };
    }
    try {
      const run = await log.read(stream, 0, from, READ_BYTES);
      return run && { changes: this.#changesOf(run.bytes, run.from), next: run.to + 1 };
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      // Removed in this very moment; its table has it.
      if (error.code === "LOG_OFFSET_GONE") return this.#read(from);
      // What the disk has spoiled becomes a dead letter of the stage `log` where it is stored; those behind it are read.
      if (error.code === "LOG_CORRUPT") return { changes: [], next: (error.details as { to: number }).to + 1 };
      throw error;
    }
  }

  #changesOf(bytes: Uint8Array, from: number): Change[] {
    const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8").trimEnd().split("\n");
    return lines.flatMap((line, index) => {
      const change: Change = { ...JSON.parse(line), offset: from + index };
      return this.#isFirst(change) ? [change] : [];
    });
  }

  #isFirst({ event_id, offset }: Change): boolean {
    const { seen } = this.#o;
    const first = seen.get(event_id);
    if (first !== undefined && first < offset) return false;
    if (first !== offset) seen.set(event_id, offset);
    if (seen.size > MOST_SEEN) seen.delete(seen.keys().next().value as string);
    return true;
  }
}
