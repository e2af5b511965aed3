import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../errors.ts";
import type { Following } from "./following.ts";
import type { Staging } from "./staging.ts";

/** Beside the interval in which owners store: a partition that has just lost its owner has another one well within this time. */
const PATIENCE_MS = 60_000;
const SHORTEST_LOOK_MS = 20;
const LONGEST_LOOK_MS = 500;

export interface WaitParts {
  readonly following: Pick<Following, "bring">;
  readonly flushIntervalMs: number;
}

/** Waits until other processes have stored what is wanted of some partitions. @throws WORKERS_BEHIND (retryable) when that takes too long */
export async function storedByOthers(
  { following, flushIntervalMs }: WaitParts,
  stream: string,
  stagings: readonly Staging[],
  isStored: (staging: Staging) => boolean,
): Promise<void> {
  const patienceMs = PATIENCE_MS + 2 * flushIntervalMs;
  const deadline = performance.now() + patienceMs;
  for (let pauseMs = SHORTEST_LOOK_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_LOOK_MS)) {
    await following.bring([], new Set([stream]));
    const left = stagings.filter((staging) => !isStored(staging));
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      const partitions = left.map(({ partition }) => partition);
      const facts = { stream, partitions: partitions.join(", "), seconds: Math.round(patienceMs / 1000) };
      throw new MillraceError("WORKERS_BEHIND", facts, { details: { stream, partitions } });
    }
    await sleep(pauseMs);
  }
}
