import type { ObjectStore } from "./object-store.ts";
import { removedFileRetentionMs } from "./table-retention.ts";
import type { TableState } from "./table-state.ts";
import { type CheckpointContent, writeCheckpoint } from "./write-checkpoint.ts";

export interface CheckpointerOptions {
  readonly checkpointInterval?: number;
  readonly onCheckpointFailed?: (error: unknown) => void;
}

/** Fewer commits than this are replayed faster than a checkpoint is read. */
const DEFAULT_INTERVAL = 10;

/**
 * One commit is added to the interval for each of so many files, removed ones included. A checkpoint costs in proportion to
 * them (about 20 microseconds each), so spread over the commits of an interval each pays the same, some two milliseconds of a
 * core after it was answered, however large the table has grown.
 */
const ENTRIES_PER_COMMIT = 100;

/**
 * Writes checkpoints behind the commits: a commit has long been answered when its checkpoint begins, and one that fails costs
 * nothing but a longer replay, until a later one succeeds.
 */
export class Checkpointer {
  readonly #store: ObjectStore;
  readonly #location: string;
  readonly #clock: () => number;
  readonly #interval: number | undefined;
  readonly #onFailed: (error: unknown) => void;
  /** Version of the last try: one that failed is made up for when the next one is due. */
  #triedVersion = 0;
  #running: Promise<void> | undefined;

  constructor(store: ObjectStore, location: string, clock: () => number, options: CheckpointerOptions) {
    this.#store = store;
    this.#location = location;
    this.#clock = clock;
    this.#interval = options.checkpointInterval;
    this.#onFailed = options.onCheckpointFailed ?? warn;
  }

  /** Told after every commit; starts a checkpoint when one is due and none is under way. */
  after(state: TableState): void {
    const interval = this.#interval ?? Math.max(DEFAULT_INTERVAL, Math.ceil(state.entryCount / ENTRIES_PER_COMMIT));
    const last = Math.max(this.#triedVersion, state.checkpointVersion);
    if (this.#running || state.version - last < interval) return;
    this.#triedVersion = state.version;
    this.#running = writeCheckpoint(this.#store, this.#location, contentOf(state, this.#clock()))
      .catch(this.#onFailed)
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Waits for a checkpoint under way. */
  async close(): Promise<void> {
    await this.#running;
  }
}

/** The state is taken at once: it moves on while the checkpoint is being written. */
function contentOf(state: TableState, nowMs: number): CheckpointContent {
  const { protocol, metadata } = state.facts;
  state.dropTombstones(nowMs - removedFileRetentionMs(metadata.configuration));
  return {
    version: state.version,
    protocol,
    metadata,
    txns: [...state.txns.values()],
    files: state.files(),
    tombstones: [...state.tombstones],
  };
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
