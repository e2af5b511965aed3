/**
 * Ends alerts with `resolveAfter` whose whole stream has fallen silent. Operators look at the time when an event arrives, so that what they say does not
 * depend on when they are asked; where none arrives any more it is said here, under the same id, so that it counts once whoever says it.
 */
import type { Alert } from "../../define/alert-event.ts";
import type { StreamAlert } from "../../define/bind-alerts.ts";
import type { KnownAlert } from "../../flow/alert-records.ts";
import type { LaneStatus } from "../reactor-options.ts";
import { DEFINED } from "./occasion.ts";

export interface SilentStreamsParts {
  readonly alerts: Iterable<StreamAlert>;
  readonly lanes: () => readonly Pick<
    LaneStatus,
    "operators" | "stream" | "partition" | "position" | "pending" | "problem"
  >[];
  /** When the newest event of a partition arrived; undefined for one that never had any, or whose events are all gone. */
  readonly newestMs: (stream: string, partition: number) => Promise<number | undefined>;
  readonly open: () => Promise<readonly KnownAlert[]>;
  readonly end: (alerts: readonly { readonly id: string; readonly alert: Alert }[]) => Promise<void>;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
}

const TICK_MS = 1_000;
/** An event that arrives just now is in the log before this is over. */
const MARGIN_MS = 2_000;

export class SilentStreams {
  readonly #o: SilentStreamsParts;
  readonly #alerts: readonly StreamAlert[];
  /** By alert and partition, the position at which its silence was dealt with. */
  readonly #done = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(parts: SilentStreamsParts) {
    this.#o = parts;
    this.#alerts = [...parts.alerts].filter(({ resolveAfterMs }) => resolveAfterMs !== undefined);
  }

  start(): void {
    if (this.#alerts.length === 0) return;
    this.#timer = setInterval(() => void this.tick(), TICK_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Resolves when what is silent now has been dealt with. */
  tick(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#o.report(error, "ending alerts whose stream is silent; it is tried again"))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { lanes, newestMs, open, end, clock } = this.#o;
    const silent = new Map<string, { position: number; sinceMs: number }>();
    for (const { name, stream, resolveAfterMs = 0 } of this.#alerts)
      for (const lane of lanes()) {
        const place = `${name}/${lane.partition}`;
        const ofAlert = lane.stream === stream && lane.operators.includes(name);
        if (!ofAlert || lane.pending > 0 || lane.problem !== undefined || this.#done.get(place) === lane.position)
          continue;
        const sinceMs = (await newestMs(stream, lane.partition)) ?? 0;
        if (clock() > sinceMs + resolveAfterMs + MARGIN_MS) silent.set(place, { position: lane.position, sinceMs });
      }
    if (silent.size === 0) return;
    const over = (await open()).flatMap((alert) => {
      const partition = /\/(\d+)-\d+$/.exec(alert.id)?.[1];
      const found = alert.kind === DEFINED ? silent.get(`${alert.name}/${partition}`) : undefined;
      if (found === undefined) return [];
      const { on, by } = alert.details as { on?: unknown; by?: unknown };
      const text = `nothing was heard of its stream since ${new Date(found.sinceMs).toISOString()}`;
      return [{ id: alert.id, alert: { ...alert, details: { reason: { text, condition: "resolveAfter" }, on, by } } }];
    });
    await end(over);
    for (const [place, { position }] of silent) this.#done.set(place, position);
  }
}
