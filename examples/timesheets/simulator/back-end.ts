import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createTracker, type Drop } from "../../../packages/tracker/src/node.ts";
import type * as streams from "../streams.ts";
import { SendingError } from "./access.ts";
import type { BackendRecord } from "./happening.ts";

/** So many records wait at most for their acknowledgement; fewer than the tracker's queue holds. */
const MOST_UNDER_WAY = 2_000;
/** A job of the back end that is started again tells each so many-th record once more. */
const TOLD_TWICE_EVERY = 40;

/** The back end: what it books goes out through our own tracker, whose queue is a folder of this process. */
export class BackEnd {
  readonly #dir = mkdtempSync(join(tmpdir(), "timesheets-backend-"));
  readonly #signal: AbortSignal;
  readonly #tracker;
  #dropped: Drop | undefined;
  #records = 0;
  #underWay: (() => void)[] = [];
  #stored: Promise<boolean>[] = [];
  acknowledged = 0;
  resent = 0;

  /** `signal` ends all waiting. */
  constructor(url: string, key: string, signal: AbortSignal) {
    this.#signal = signal;
    this.#tracker = createTracker<typeof streams>()({
      dir: this.#dir,
      name: "backend",
      endpoints: url,
      key,
      appVersion: "12.4.0",
      streams: { time_entries: ["app_version", "library"], projects: ["app_version", "library"] },
      maxQueue: 4 * MOST_UNDER_WAY,
      onDrop: (drop) => (this.#dropped ??= drop),
      onError: ({ message }) => console.error(`simulator: the back end's tracker: ${message}`),
    });
  }

  /** Hands a record to the tracker and calls back once the platform has it. Rejects when one was given up. */
  async send(record: BackendRecord, onAcknowledged: () => void): Promise<void> {
    this.#track(record);
    if (++this.#records % TOLD_TWICE_EVERY === 0) {
      this.#track(record);
      this.resent++;
    }
    this.#underWay.push(onAcknowledged);
    if (this.#underWay.length >= MOST_UNDER_WAY) await this.flush();
  }

  /** Resolves when everything sent before is acknowledged. Rejects when a record was given up. */
  async flush(): Promise<void> {
    const sent = this.#underWay;
    const stored = this.#stored;
    this.#underWay = [];
    this.#stored = [];
    await Promise.all(stored);
    while (!(await this.#tracker.flush()) && this.#dropped === undefined)
      await sleep(100, undefined, { signal: this.#signal });
    if (this.#dropped !== undefined) {
      const { stream, code, message } = this.#dropped;
      throw new SendingError(`the tracker gave up an event of ${stream}: ${code}, ${message}`);
    }
    this.acknowledged += sent.length;
    for (const onAcknowledged of sent) onAcknowledged();
  }

  async close(): Promise<void> {
    await this.#tracker.close(this.#signal.aborted ? 0 : 5_000);
    await rm(this.#dir, { recursive: true, force: true });
  }

  #track({ stream, fields }: BackendRecord): void {
    // The world's fields are those of the stream; it holds them for both streams in one type.
    this.#stored.push(this.#tracker.track(stream, fields as never));
  }
}
