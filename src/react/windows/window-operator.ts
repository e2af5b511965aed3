/**
 * Windows on event time. All times are of events and of their arrival, none of the clock, so results are a function of the log alone.
 *
 * **Watermark.** Each partition has one: the greatest time that any of its events has shown, where an event shows its own time or its arrival, whichever is earlier, less
 * `lateness`. It never goes back. Every event with a time moves it, counted or not, but for those too far ahead of their arrival.
 *
 * **Results.** A window is final when the watermark has reached its end: then its one final result is given, and its state is dropped. So where nothing
 * arrives in a partition, nothing becomes final in it; previews (`early`) come by the clock and show what there is.
 *
 * **Events that no window takes.** Late (EVENT_LATE): every window the event is in is final. Ahead (EVENT_AHEAD): its time is more than `ahead` after its arrival, as of a device with a wrong
 * clock; it moves nothing. Without a time (EVENT_TIMELESS). They go to the stream `late`, or become dead letters. An event that is in several windows
 * and late for some of them counts in the others.
 *
 * **Order.** Windows close by their ends and, among equal ends, in the order in which their keys were opened, so a restart changes nothing. Where a million are due at
 * once, an event closes a part of them and the events after it the rest; those of a key are closed before the key takes another event, so what they hold is the same.
 */
import type { WindowPlan } from "../../define/read-window.ts";
import type { WindowOptions } from "../../define/window.ts";
import { type ErrorCode, MillraceError, messageOf } from "../../errors.ts";
import type { EventView, KeyedState, LaneServices, Operator, OperatorKind, Outlet } from "../operator.ts";
import { Aggregates } from "./aggregates.ts";
import { AlignedWindows } from "./aligned-windows.ts";
import { microseconds, timeText } from "./event-time.ts";
import { SessionWindows } from "./session-windows.ts";
import { SlidingWindows } from "./sliding-windows.ts";
import { WindowResults } from "./window-results.ts";
import type { WindowParts, Windows } from "./windows.ts";

export const windowKind: OperatorKind<WindowPlan, Pick<WindowOptions, "where">> = {
  open: (plan, { options }, lane) => openWindows(plan, options, lane),
};

/** What one event closes at most, some tenths of a second of work; further windows close with the events after it. */
const MOST_CLOSED = 50_000;

export function openWindows(
  plan: WindowPlan,
  { where }: Pick<WindowOptions, "where">,
  lane: LaneServices,
  mostClosed: number = MOST_CLOSED,
): Operator {
  const aggregates = new Aggregates(plan.aggregates);
  const results = new WindowResults(plan, aggregates);
  return new WindowOperator({ plan, aggregates, results, lane }, where as Condition | undefined, mostClosed);
}

type Condition = (event: Readonly<Record<string, unknown>>) => unknown;

function windowsOf(parts: WindowParts): Windows {
  const { size } = parts.plan;
  if (size.kind === "aligned") return new AlignedWindows(parts, size);
  return size.kind === "session" ? new SessionWindows(parts, size) : new SlidingWindows(parts, size);
}

class WindowOperator implements Operator {
  readonly tick?: (nowMs: number, out: Outlet) => void;
  readonly #plan: WindowPlan;
  readonly #windows: Windows;
  readonly #results: WindowResults;
  readonly #where: Condition | undefined;
  readonly #mostClosed: number;
  readonly #watermark: KeyedState<number>;
  /** Keys whose windows have changed since they were shown; undefined when nothing is shown early. */
  readonly #changed: Set<string> | undefined;
  #nextShowMs: number | undefined;
  /** An event was broken off: its changes of state do not count, and what is in memory beside the state may be ahead of it. */
  #failed = false;

  constructor(parts: WindowParts, where: Condition | undefined, mostClosed: number) {
    this.#plan = parts.plan;
    this.#mostClosed = mostClosed;
    this.#results = parts.results;
    this.#where = where;
    this.#watermark = parts.lane.state<number>("watermark");
    this.#windows = windowsOf(parts);
    if (parts.plan.earlyMs === undefined) return;
    this.#changed = new Set(this.#windows.openKeys());
    this.tick = (nowMs, out) => this.#show(nowMs, out);
  }

  apply(event: EventView, out: Outlet): void {
    const { time: field, latenessMs, aheadMs, finalsOnly } = this.#plan;
    if (finalsOnly && event.value["final"] !== true) return;
    const key = this.#counts(event) ? this.#results.keys.of(event.value) : undefined;
    const time = microseconds(event.value[field]);
    const arrival = event.receivedAtMs * 1000;
    if (time === undefined || time > arrival + aheadMs * 1000) {
      if (key === undefined) return;
      if (time === undefined) this.#giveUp("EVENT_TIMELESS", event, {}, out);
      else this.#giveUp("EVENT_AHEAD", event, { time, arrival, ahead: `${aheadMs / 1000} s` }, out);
      return;
    }
    if (this.#failed) this.#windows.index();
    this.#failed = true;
    const before = this.#watermark.get("") ?? Number.NEGATIVE_INFINITY;
    if (key !== undefined) {
      const fault = this.#windows.take(key, event, time, before, out);
      if (fault === undefined) this.#changed?.add(key);
      else this.#giveUp(fault, event, { time, watermark: before, key }, out);
    }
    const watermark = Math.max(before, Math.min(time, arrival) - latenessMs * 1000);
    if (watermark > before) this.#watermark.set("", watermark);
    this.#windows.close(watermark, this.#mostClosed, out);
    this.#failed = false;
  }

  #counts(event: EventView): boolean {
    if (this.#where === undefined) return true;
    const counts = this.#where(event.value);
    if (typeof counts === "boolean") return counts;
    const got = counts instanceof Promise ? "a promise" : (JSON.stringify(counts) ?? typeof counts);
    throw new MillraceError("WINDOW_CONDITION", { window: this.#plan.name, got });
  }

  #giveUp(code: ErrorCode, event: EventView, facts: Facts, out: Outlet): void {
    const { late, name, time: field } = this.#plan;
    if (late !== undefined) {
      out.emit(late.stream, late.reason ? { ...event.value, late_reason: code } : event.value);
      return;
    }
    const shown = { ...facts, ...(facts.time !== undefined && { time: timeText(facts.time) }) };
    const times = {
      ...(facts.arrival !== undefined && { arrival: timeText(facts.arrival) }),
      ...(facts.watermark !== undefined &&
        Number.isFinite(facts.watermark) && { watermark: timeText(facts.watermark) }),
    };
    out.refuse(code, messageOf(code, { window: name, field, ...shown, ...times }));
  }

  #show(nowMs: number, out: Outlet): void {
    const changed = this.#changed!;
    // The first preview of a life waits as well: the log may hold more of what it would show.
    this.#nextShowMs ??= nowMs + this.#plan.earlyMs!;
    if (nowMs < this.#nextShowMs) return;
    let count = 0;
    for (const key of changed) {
      // The rest follows at the next tick, so that events do not wait for previews.
      if (++count > MOST_SHOWN) return;
      changed.delete(key);
      this.#windows.show(key, out);
    }
    this.#nextShowMs = nowMs + this.#plan.earlyMs!;
  }
}

interface Facts {
  readonly time?: number;
  readonly arrival?: number;
  readonly watermark?: number;
  readonly ahead?: string;
  readonly key?: string | undefined;
}

/** Keys shown in one tick. */
const MOST_SHOWN = 5000;
