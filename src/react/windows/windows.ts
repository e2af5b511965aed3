import type { WindowPlan } from "../../define/read-window.ts";
import type { ErrorCode } from "../../errors.ts";
import type { EventView, LaneServices, Outlet } from "../operator.ts";
import type { Aggregates } from "./aggregates.ts";
import type { WindowResults } from "./window-results.ts";

/** Windows of one kind, over the events of one lane. Times are microseconds. */
export interface Windows {
  /** Takes an event of a key, or gives the code that says why not. Windows of the key that end by the watermark are closed first. */
  take(key: string, event: EventView, time: number, watermark: number, out: Outlet): ErrorCode | undefined;
  /** Gives the final results of windows that end by the watermark, in about `most` steps. */
  close(watermark: number, most: number, out: Outlet): void;
  /** Gives what the open windows of a key hold. */
  show(key: string, out: Outlet): void;
  /** Finds out anew when which key is due: what is in memory beside the state. */
  index(): void;
  openKeys(): Iterable<string>;
}

/** What kinds of windows are made with. */
export interface WindowParts {
  readonly plan: WindowPlan;
  readonly aggregates: Aggregates;
  readonly results: WindowResults;
  readonly lane: LaneServices;
}
