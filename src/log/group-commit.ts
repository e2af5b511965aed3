/**
 * Group commit: while one write and fsync is under way, everything that arrives waits, and then goes to disk together.
 * A disk does some two thousand fsyncs a second whatever their size, so this is what makes small appends fast.
 */
import type { Appended, Batch } from "./event-log.ts";

export interface Waiting {
  readonly batch: Batch;
  resolve(appended: Appended): void;
  reject(error: unknown): void;
}

export class GroupCommit {
  /** Makes a group durable and answers each of its members; never rejects. */
  readonly #commit: (group: readonly Waiting[]) => Promise<void>;
  #queue: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(commit: (group: readonly Waiting[]) => Promise<void>) {
    this.#commit = commit;
  }

  append(batch: Batch): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ batch, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves once everything appended so far has its answer. */
  async drained(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      // Whoever appends in this turn of the event loop shares the write: also those who just had their answer.
      await new Promise(setImmediate);
      await this.#commit(this.#take());
    }
    this.#running = undefined;
  }

  #take(): Waiting[] {
    let bytes = 0;
    let length = 0;
    for (const { batch } of this.#queue) {
      if (length > 0 && bytes + batch.payload.length > GROUP_BYTES) break;
      bytes += batch.payload.length;
      length++;
    }
    if (length === this.#queue.length) {
      const all = this.#queue;
      this.#queue = [];
      return all;
    }
    return this.#queue.splice(0, length);
  }
}

/** Bounds what one group adds to the latency of its members, and what recovery has to verify. */
const GROUP_BYTES = 16 * 1024 * 1024;
