import type { WindowPlan } from "../../define/read-window.ts";
import type { ErrorCode } from "../../errors.ts";
import type { EventView, LaneServices, Outlet } from "../operator.ts";
import type { Aggregates } from "./aggregates.ts";
import type { WindowResults } from "./window-results.ts";

/** Windows of one kind, over the events of one lane. Times are microseconds. */
export interface Windows {
  /**
   * Takes an event of a key, or gives the code that says why not. Nothing but `Windows` changes its state, and whatever throws does so before the
   * first change.
   */
  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined;
  /** Gives the final results of all windows that end by the watermark. */
  close(watermark: number, out: Outlet): void;
  /** Gives what the open windows of a key hold. */
  show(key: string, out: Outlet): void;
  openKeys(): Iterable<string>;
}

/** What kinds of windows are made with. */
export interface WindowParts {
  readonly plan: WindowPlan;
  readonly aggregates: Aggregates;
  readonly results: WindowResults;
  readonly lane: LaneServices;
}
