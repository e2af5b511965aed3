import { dispatch } from "./dispatch.ts";
import { Door, DoorError } from "./door.ts";
import type { CommonOptions } from "./options.ts";
import type { SentEvent } from "./sent-event.ts";
import { stopping } from "./stopping.ts";
import { describe, Tally } from "./tally.ts";

/**
 * Sends `opening` at once and `events` when they are due, through the platform's HTTP door, until the time is over or somebody stops it, and
 * prints what was sent and answered. Resolves to the exit code.
 */
export async function play(
  { opening, events }: { opening: readonly SentEvent[]; events: Iterator<SentEvent, undefined> },
  options: CommonOptions & { readonly batch: number },
): Promise<number> {
  const { seed, forSeconds, batch: batchEvents, json } = options;
  const { stop, cut } = stopping();
  const tally = new Tally();
  const door = new Door({ url: options.url, key: options.key, signal: cut });
  const send = async (stream: string, batch: readonly SentEvent[]): Promise<void> => {
    const lines = batch.map((event) => event.line);
    tally.add(stream, batch, await door.send(stream, lines));
  };
  const startedMs = performance.now();
  const elapsedSeconds = () => (performance.now() - startedMs) / 1000;
  let failure: unknown;
  try {
    // Look-up data first, so that the first event already finds it.
    for (const [stream, batch] of Map.groupBy(opening, (event) => event.stream)) await send(stream, batch);
    await dispatch(events, { send, batchEvents, forSeconds, stop, elapsedSeconds });
  } catch (error) {
    // Cut off after a signal: what was answered until then still counts.
    if (!cut.aborted) failure = error;
  }
  const summary = tally.summary();
  const seconds = elapsedSeconds();
  console.log(json ? JSON.stringify({ seed, seconds, ...summary }) : describe(summary, seconds, seed));
  if (failure === undefined) return 0;
  if (!(failure instanceof DoorError)) throw failure;
  console.error(`simulator: ${failure.message}`);
  return 1;
}
