import type { WindowPlan } from "../../define/read-window.ts";
import type { Outlet } from "../operator.ts";
import type { Aggregates, Slots } from "./aggregates.ts";
import { timeText } from "./event-time.ts";
import { WindowKeys } from "./window-keys.ts";

/**
 * The events of a window's own stream. `revision` is the number of events in the result, and of the final one that number and one: what a preview says
 * depends on its revision alone, so one that is given twice has the same id, and no preview is newer than the final result, whenever it was given.
 */
export class WindowResults {
  readonly keys: WindowKeys;
  readonly #plan: WindowPlan;
  readonly #aggregates: Aggregates;
  readonly #times = new Map<number, string>();

  constructor(plan: WindowPlan, aggregates: Aggregates) {
    this.#plan = plan;
    this.#aggregates = aggregates;
    this.keys = new WindowKeys(plan.keys);
  }

  /** A result from the state that begins at `n` and `v`. */
  give(
    out: Outlet,
    key: string,
    start: number,
    end: number,
    count: number,
    final: boolean,
    from: Slots,
    n: number,
    v: number,
  ): void {
    const row = this.keys.row(key);
    row["window_start"] = this.#time(start);
    row["window_end"] = this.#time(end);
    this.#aggregates.results(from, n, v, row);
    row["revision"] = final ? count + 1 : count;
    row["final"] = final;
    if (this.#plan.retracts) row["retracted"] = false;
    out.emit(this.#plan.name, row);
  }

  /** Takes back what may have been shown of a window that has become part of another. */
  retract(
    out: Outlet,
    key: string,
    start: number,
    end: number,
    count: number,
    from: Slots,
    n: number,
    v: number,
  ): void {
    const row = this.keys.row(key);
    row["window_start"] = this.#time(start);
    row["window_end"] = this.#time(end);
    this.#aggregates.results(from, n, v, row);
    out.emit(this.#plan.name, { ...row, revision: count + 1, final: false, retracted: true });
  }

  /** Many keys have windows of the same times. */
  #time(micros: number): string {
    let text = this.#times.get(micros);
    if (text === undefined) {
      if (this.#times.size >= MOST_TIMES) this.#times.clear();
      text = timeText(micros);
      this.#times.set(micros, text);
    }
    return text;
  }
}

const MOST_TIMES = 1000;
