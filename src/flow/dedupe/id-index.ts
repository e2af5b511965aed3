import { IndexThread } from "./index-thread.ts";
import type { IndexRequest } from "./index-worker.ts";
import { type IdBatch, offsetOf, packRecords, RECORD_WORDS } from "./records.ts";

export type { IdBatch } from "./records.ts";

/**
 * Opens the rolling index of the ids stored in one partition of a stream, in a folder of its own; created where there is none.
 *
 *     const index = await openIdIndex(dir, { horizonMs, storedTo: txn });
 *     if (index.coveredTo < txn) await index.rebuild(storedAfter(index.coveredTo), txn);
 *     // for each load of new events, in the order of their offsets
 *     const duplicateOf = await index.lookup(batch);
 *     index.stage(batch, duplicateOf);
 *     // after each flush, once the bronze table is committed up to `to`
 *     await index.commit(to);
 *
 * It only remembers what the bronze table says, so the table is committed first: an index that is behind is brought up to
 * the table, one that is ahead forgets what the table does not have. The indexes of a process share one thread, which carries
 * out the calls of each in their order.
 * @throws DEDUPE_INDEX_UNAVAILABLE when the disk refuses; damaged files are no error but show in `coveredTo`
 */
export async function openIdIndex(dir: string, options: IdIndexOptions): Promise<IdIndex> {
  const thread = IndexThread.join();
  try {
    const { value, coveredTo, error } = await thread.call({ op: "open", dir, options });
    if (error !== undefined) throw error;
    return new ThreadIndex(thread, value as number, coveredTo);
  } catch (error) {
    await thread.leave();
    throw error;
  }
}

export interface IdIndexOptions {
  /** An id counts as seen for this long, from one arrival to the other. */
  readonly horizonMs: number;
  /**
   * Last offset that the bronze table holds, -1 for none. The index then never covers more than that, and refuses to
   * answer while it covers less. Without it the caller compares `coveredTo` himself.
   */
  readonly storedTo?: number;
  /** URL of a module whose export `indexFiles` is the index's disk (`IndexFiles`), loaded on the index's thread; else the real one. */
  readonly filesModule?: string | undefined;
}

export interface IdIndex {
  /** Every event up to this offset that is stored and within the horizon is in the index, durably; -1: none. */
  readonly coveredTo: number;

  /**
   * Tells for each entry the offset of the stored event that it duplicates, or -1. Exact, and the same whenever it is asked
   * again: in the order of offsets, an event is a duplicate if the last stored event with the same id and a smaller offset
   * arrived at most `horizonMs` before it; otherwise it counts as stored for those after it. Stored are the events
   * committed, the events staged, and those before it in the batch.
   * @throws DEDUPE_INDEX_BEHIND until a rebuild, when part of the index is missing or turns out damaged;
   * DEDUPE_INDEX_UNAVAILABLE when the disk cannot be read
   */
  lookup(batch: IdBatch): Promise<Float64Array>;

  /**
   * Makes stored events count for look-ups from now on: the entries whose `duplicateOf` is -1, or all of them. Staging the
   * same events again changes nothing.
   */
  stage(batch: IdBatch, duplicateOf?: ArrayLike<number>): void;

  /**
   * Makes the staged entries up to an offset durable and raises `coveredTo` to it. When it rejects, nothing has changed and
   * the next commit takes these entries along.
   * @throws DEDUPE_INDEX_UNAVAILABLE; DEDUPE_INDEX_BEHIND as `lookup` does
   */
  commit(toOffset: number): Promise<void>;

  /**
   * Brings an index that is behind up to `toOffset`. `batches` are the events above `coveredTo` as the bronze table has them, duplicates
   * left out, in ascending order of offsets; those further back than the horizon may be left out too. What it has
   * taken in survives a crash.
   * @throws RangeError when offsets do not ascend
   */
  rebuild(batches: Iterable<IdBatch> | AsyncIterable<IdBatch>, toOffset: number): Promise<void>;

  stats(): Promise<IdIndexStats>;

  /** Lets go of the index; again: nothing. What is staged but not committed is forgotten; the log has it. */
  close(): Promise<void>;
}

export interface IdIndexStats {
  readonly ids: number;
  /** Of these, not committed yet. */
  readonly staged: number;
  readonly runs: number;
  readonly bytesOnDisk: number;
  readonly memoryBytes: number;
  /** Whether runs are being merged in the background. */
  readonly merging: boolean;
  /** Why the last merge of runs failed; merges are tried again after each commit. */
  readonly mergeFault: string | undefined;
}

/** Stays small in memory while a long rebuild is on its way. */
const REBUILD_COMMIT_IDS = 1_000_000;

class ThreadIndex implements IdIndex {
  readonly #thread: IndexThread;
  readonly #handle: number;
  #coveredTo: number;
  #stageFault: unknown;
  #closing: Promise<void> | undefined;

  constructor(thread: IndexThread, handle: number, coveredTo: number) {
    this.#thread = thread;
    this.#handle = handle;
    this.#coveredTo = coveredTo;
  }

  get coveredTo(): number {
    return this.#coveredTo;
  }

  async lookup(batch: IdBatch): Promise<Float64Array> {
    return (await this.#call({ op: "lookup", records: packRecords(batch) })) as Float64Array;
  }

  stage(batch: IdBatch, duplicateOf?: ArrayLike<number>): void {
    this.#stageRecords(packRecords(batch, duplicateOf));
  }

  async commit(toOffset: number): Promise<void> {
    await this.#call({ op: "commit", toOffset, rebuilding: false });
  }

  async rebuild(batches: Iterable<IdBatch> | AsyncIterable<IdBatch>, toOffset: number): Promise<void> {
    let last = this.#coveredTo;
    let staged = 0;
    for await (const batch of batches) {
      const records = packRecords(batch);
      const count = records.length / RECORD_WORDS;
      for (let i = 0; i < count; i++) {
        const offset = offsetOf(records, i);
        if (offset <= last) throw new RangeError(`a rebuild met offset ${offset} after ${last}`);
        last = offset;
      }
      this.#stageRecords(records);
      staged += count;
      if (staged < REBUILD_COMMIT_IDS) continue;
      await this.#call({ op: "commit", toOffset: Math.min(last, toOffset), rebuilding: true });
      staged = 0;
    }
    await this.#call({ op: "commit", toOffset, rebuilding: true });
  }

  async stats(): Promise<IdIndexStats> {
    return (await this.#call({ op: "stats" })) as IdIndexStats;
  }

  close(): Promise<void> {
    this.#closing ??= this.#call({ op: "close" })
      .then(() => undefined)
      .finally(() => this.#thread.leave());
    return this.#closing;
  }

  #stageRecords(records: Uint32Array<ArrayBuffer>): void {
    if (records.length === 0) return;
    // Nobody waits for this one, so a failure is told to whoever asks next: the index would miss these events.
    this.#call({ op: "stage", records }).catch((error: unknown) => {
      this.#stageFault = error;
    });
  }

  async #call(request: IndexRequest): Promise<unknown> {
    if (this.#stageFault !== undefined && request.op !== "close") throw this.#stageFault;
    const { value, coveredTo, error } = await this.#thread.call(request, this.#handle);
    this.#coveredTo = coveredTo;
    if (error !== undefined) throw error;
    return value;
  }
}
