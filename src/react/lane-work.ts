import { type LaneWriting, type PartFlow, StatePass } from "./lane-checkpoint.ts";
import type { FromWorker } from "./messages.ts";
import type { OpenedOperator, WorkerLane } from "./worker-lane.ts";

/** A read waits for one turn at most, so that many of them pass in a millisecond. */
const TURN_MS = 0.25;
/** What is not urgent is told this often. */
const REPORT_MS = 5;

/** What the worker thread does for a lane, in turns: events, checkpoints, and telling of both. */
export class LaneWork {
  readonly lane: WorkerLane;
  readonly #number: number;
  readonly #operators: readonly OpenedOperator[];
  readonly #say: (message: FromWorker, transfer?: ArrayBuffer[]) => void;
  readonly #flow: PartFlow = { unwritten: 0 };
  #take: LaneWriting | undefined;
  #copy: LaneWriting | undefined;
  #reportedMs = 0;
  #halting = false;

  constructor(
    number: number,
    lane: WorkerLane,
    operators: readonly OpenedOperator[],
    say: (message: FromWorker, transfer?: ArrayBuffer[]) => void,
  ) {
    this.#number = number;
    this.lane = lane;
    this.#operators = operators;
    this.#say = say;
  }

  /** Works for a moment; true when there is more that can be done at once. */
  turn(): boolean {
    const nowMs = performance.now();
    const more = this.lane.work(nowMs + TURN_MS);
    if (!more || this.lane.urgent || nowMs - this.#reportedMs >= REPORT_MS) this.#report(nowMs);
    if (this.#halting && this.lane.halted) {
      this.#halting = false;
      this.#report(nowMs);
      this.#say({ kind: "halted", lane: this.#number });
    }
    const writing = this.#take?.step() ?? false;
    const copying = this.#copy?.step() ?? false;
    const compacting = this.#compact();
    return more || writing || copying || compacting;
  }

  /** Begins no event any more, and says so when none is under way. */
  halt(): void {
    this.#halting = true;
    this.lane.halt();
  }

  /** Begins a checkpoint of what has changed. */
  take(take: number): void {
    this.#report(performance.now());
    const lane = this.#number;
    const versions = Object.fromEntries(
      this.#operators.map(({ setup: { plan }, states }) => [
        plan.name,
        Object.fromEntries([...states.stores].map(([name, store]) => [name, store.version])),
      ]),
    );
    this.#say({ kind: "taken", lane, take, state: { done: this.lane.done, nowMs: this.lane.nowMs, versions } });
    this.#take = this.#pass("changes", take, () => {
      this.#take = undefined;
      this.#say({ kind: "take-ended", lane, take });
    });
  }

  /** Begins a copy of everything. */
  copy(copy: number): void {
    this.#copy = this.#pass("copy", copy, () => {
      this.#copy = undefined;
      this.#say({ kind: "copy-ended", lane: this.#number, copy });
    });
  }

  /** A part has reached the disk. */
  written(): void {
    this.#flow.unwritten--;
  }

  #pass(what: "changes" | "copy", take: number, ended: () => void): StatePass {
    const states = this.#operators.map((operator) => operator.states);
    const part = (entries: Uint8Array<ArrayBuffer>) =>
      this.#say({ kind: "part", lane: this.#number, take, entries }, [entries.buffer]);
    return new StatePass(what, states, { flow: this.#flow, part, ended });
  }

  #report(nowMs: number): void {
    const report = this.lane.report();
    if (!report) return;
    this.#reportedMs = nowMs;
    const buffers = [report.emissions, report.previews].flatMap((sent) =>
      sent ? [sent.bytes.buffer, sent.facts.buffer] : [],
    );
    this.#say({ kind: "done", lane: this.#number, ...report }, buffers);
  }

  #compact(): boolean {
    for (const { states } of this.#operators)
      for (const store of states.stores.values()) if (store.compact()) return true;
    return false;
  }
}
