import { setTimeout as sleep } from "node:timers/promises";
import type { SentEvent } from "./sent-event.ts";

/**
 * Sends events when they are due, until there are no more, `forSeconds` are over or `stop` says so, and returns when all that was taken is answered. Each
 * stream has one batch under way at a time, so its events arrive in order; streams do not wait for each other. When the
 * platform is slow, events wait here; none is left out. Rejects with the first failure of `send`.
 */
export async function dispatch(events: Iterator<SentEvent, undefined>, options: DispatchOptions): Promise<void> {
  const { send, batchEvents, forSeconds, stop, elapsedSeconds } = options;
  const lanes = new Map<string, Lane>();
  let waiting = 0;
  let failure: unknown;
  let next = events.next().value as SentEvent | undefined;

  const pump = async (stream: string, lane: Lane): Promise<void> => {
    while (lane.queue.length > 0 && failure === undefined) {
      const batch = lane.queue.splice(0, batchEvents);
      waiting -= batch.length;
      await send(stream, batch);
    }
  };

  while (!stop.aborted && failure === undefined && elapsedSeconds() < forSeconds) {
    const untilSeconds = Math.min(elapsedSeconds(), forSeconds);
    if (next === undefined && waiting === 0) break;
    for (; next !== undefined && next.atSeconds <= untilSeconds && waiting < MAX_WAITING; next = events.next().value) {
      const lane = lanes.get(next.stream) ?? { queue: [], busy: undefined };
      lanes.set(next.stream, lane);
      lane.queue.push(next);
      waiting++;
    }
    for (const [stream, lane] of lanes) {
      if (lane.busy !== undefined) continue;
      lane.busy = pump(stream, lane)
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => {
          lane.busy = undefined;
        });
    }
    await sleep(TICK_MS);
  }
  await Promise.all([...lanes.values()].map((lane) => lane.busy));
  for (const [stream, lane] of lanes) await pump(stream, lane);
  if (failure !== undefined) throw failure;
}

export interface DispatchOptions {
  readonly send: (stream: string, batch: readonly SentEvent[]) => Promise<void>;
  /** The most events of one request. */
  readonly batchEvents: number;
  readonly forSeconds: number;
  readonly stop: AbortSignal;
  /** Seconds since the start, by the real clock. */
  readonly elapsedSeconds: () => number;
}

interface Lane {
  readonly queue: SentEvent[];
  busy: Promise<void> | undefined;
}

/** Short against a second, so that events leave about when they are due, and long against the work of one round. */
const TICK_MS = 20;
/** Bounds the memory while the platform asks to wait. */
const MAX_WAITING = 20_000;
