import { setTimeout as sleep } from "node:timers/promises";

/** So often a commit is made anew on top of commits of others before whoever waits for it is told. Each time somebody got on. */
export const MOST_ATTEMPTS = 40;

/** One conflict is nothing: a compaction, or somebody else's flush. */
const FIRST_PAUSE_AFTER = 2;
const SHORTEST_MS = 10;
const LONGEST_MS = 1_000;

/**
 * Waits before a commit is tried once more: processes that rewrite the same files keep undoing each other's work unless they fall out of
 * step. (M. Brooker, "Exponential backoff and jitter", 2015: full jitter.)
 */
export async function giveWay(attempt: number, random: () => number = Math.random): Promise<void> {
  if (attempt < FIRST_PAUSE_AFTER) return;
  const longest = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** (attempt - FIRST_PAUSE_AFTER));
  await sleep(random() * longest);
}
