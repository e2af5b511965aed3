/** Writes the state of a lane to a checkpoint, a piece at a time, while the lane goes on. In the worker thread. */
import type { OperatorStates } from "./attempt.ts";
import { EntryWriter } from "./state-entries.ts";
import type { StateStore } from "./state-store.ts";

/** Large enough for the disk, small enough to be written beside events within a fraction of a millisecond. */
const PART_BYTES = 128 * 1024;
/** Parts on their way to the disk; with more of them the next ones wait. */
const MOST_UNWRITTEN = 32;
const ENTRIES_AT_ONCE = 256;

export interface LaneWriting {
  /** Writes some more; true when there is work that can go on at once. */
  step(): boolean;
}

/** One pass over all states of a lane: what has changed, or everything. */
export class StatePass implements LaneWriting {
  readonly #stores: StateStore[];
  readonly #writers = new Map<StateStore, EntryWriter>();
  readonly #write: (store: StateStore) => boolean;
  readonly #ended: () => void;
  readonly #flow: PartFlow;

  constructor(
    what: "changes" | "copy",
    states: readonly OperatorStates[],
    { flow, part, ended }: { flow: PartFlow; part: (entries: Uint8Array<ArrayBuffer>) => void; ended: () => void },
  ) {
    this.#flow = flow;
    this.#ended = ended;
    this.#stores = states.flatMap(({ stores }) => [...stores.values()]);
    for (const store of this.#stores) {
      const writer = new EntryWriter(store.name, PART_BYTES, (block) => {
        flow.unwritten++;
        part(block);
      });
      this.#writers.set(store, writer);
      if (what === "changes") store.beginChanges(writer.add);
      else store.beginCopy(writer.add);
    }
    this.#write = (store) =>
      what === "changes" ? store.writeChanges(ENTRIES_AT_ONCE) : store.writeCopy(ENTRIES_AT_ONCE);
  }

  step(): boolean {
    if (this.#flow.unwritten >= MOST_UNWRITTEN) return false;
    const [store] = this.#stores;
    if (store) {
      if (!this.#write(store)) {
        this.#writers.get(store)?.end();
        this.#stores.shift();
      }
      return true;
    }
    this.#ended();
    return false;
  }
}

export interface PartFlow {
  unwritten: number;
}
