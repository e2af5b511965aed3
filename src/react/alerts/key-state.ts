/**
 * One key of an alert: quiet, about to be an alert (`for`), or firing; then quiet for a while by force (`coolDown`).
 *
 *     quiet --holds--> pending --held for `for`--> firing --`until`, or no longer holds--> quiet
 *       ^                 |                                                                 |
 *       +--does not hold--+                          stays so until `coolDown` is over -----+
 *
 * Times are those of the key (`key-clock.ts`) or, for tables, of the platform's clock. Plain data, so that it can be stored.
 */
export interface KeyState {
  readonly phase: "quiet" | "pending" | "firing";
  /** Pending: since when it holds. */
  readonly sinceMs?: number;
  /** Quiet or pending: no new alert before. */
  readonly notBeforeMs?: number;
}

export const QUIET: KeyState = { phase: "quiet" };

export interface Rules {
  readonly forMs: number;
  readonly coolDownMs: number;
}

/** What was found of the key at a moment. Undefined: nothing can be said. */
export interface Finding {
  readonly holds: boolean | undefined;
  /** Whether the alert, were it firing, is over. */
  readonly over: boolean | undefined;
  readonly atMs: number;
  /** It is how things were before what was found already: may begin an alert, and ends none. */
  readonly late: boolean;
}

export interface Change {
  readonly state: KeyState;
  readonly event: "firing" | "resolved" | undefined;
}

export function advance(state: KeyState, { holds, over, atMs, late }: Finding, rules: Rules): Change {
  if (state.phase === "firing") {
    if (late || !over) return { state, event: undefined };
    return { state: ended(atMs, rules), event: "resolved" };
  }
  if (holds === undefined) return { state, event: undefined };
  if (!holds) return { state: late || state.phase === "quiet" ? state : calm(state), event: undefined };
  // How long something holds cannot be told by what comes late.
  if (late && rules.forMs > 0) return { state, event: undefined };
  const sinceMs = state.phase === "pending" ? state.sinceMs! : atMs;
  const due = atMs - sinceMs >= rules.forMs && atMs >= (state.notBeforeMs ?? Number.NEGATIVE_INFINITY);
  if (due) return { state: { phase: "firing" }, event: "firing" };
  return { state: { ...state, phase: "pending", sinceMs }, event: undefined };
}

/** The state after an alert ended. */
export function ended(atMs: number, { coolDownMs }: Rules): KeyState {
  return coolDownMs > 0 ? { phase: "quiet", notBeforeMs: atMs + coolDownMs } : QUIET;
}

/** When a pending key fires if it goes on as it is. */
export function dueMs({ phase, sinceMs, notBeforeMs }: KeyState, { forMs }: Rules): number | undefined {
  if (phase !== "pending") return undefined;
  return Math.max(sinceMs! + forMs, notBeforeMs ?? Number.NEGATIVE_INFINITY);
}

function calm({ notBeforeMs }: KeyState): KeyState {
  return notBeforeMs === undefined ? QUIET : { phase: "quiet", notBeforeMs };
}
