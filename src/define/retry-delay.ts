import type { RetryRule } from "./read-workflow.ts";

/** How long to wait before attempt `attempt + 1` after `error`; undefined when there is none. `random` gives 0 to 1. */
export function retryDelayMs(
  rules: readonly RetryRule[],
  error: unknown,
  attempt: number,
  random: () => number,
): number | undefined {
  const rule = rules.find(({ matches }) => matches(error));
  if (rule === undefined || attempt >= rule.attempts) return undefined;
  const wait = Math.min(rule.maxDelayMs, rule.delayMs * rule.factor ** (attempt - 1));
  // "Equal jitter": half of the wait stays, so that a hurt service has its rest.
  return rule.jitter ? wait / 2 + (wait / 2) * random() : wait;
}
