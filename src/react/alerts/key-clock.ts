/**
 * The time of one key, by which alerts measure how long something holds. Devices have clocks of their own, which may be years off or
 * be set right while something holds, and send what they kept in a tunnel all at once. So it is not a moment but a sum of steps: each event
 * takes it on by what lies between its own time and that of the newest event before it, unless that is further from what the arrivals say than any
 * tunnel is long; then by the time between the arrivals.
 */
export interface KeyClock {
  /** Milliseconds; only differences mean anything. */
  readonly nowMs: number;
  /** Of the event that took it to `nowMs`. */
  readonly eventMs: number;
  readonly arrivalMs: number;
}

export interface Step {
  readonly clock: KeyClock;
  /** True for an event that happened before one that was judged already: it says how things were. */
  readonly late: boolean;
}

/** Longest time for which events may wait on their way. What is further apart is a clock that was set. */
const LONGEST_WAY_MS = 86_400_000;

/** `eventMs` undefined: the stream has no event time, or the event lacks it. */
export function step(clock: KeyClock | undefined, eventMs: number | undefined, arrivalMs: number): Step {
  const ownMs = eventMs ?? arrivalMs;
  if (clock === undefined) return { clock: { nowMs: arrivalMs, eventMs: ownMs, arrivalMs }, late: false };
  const byArrivalMs = Math.max(0, arrivalMs - clock.arrivalMs);
  const byEventMs = ownMs - clock.eventMs;
  if (Math.abs(byEventMs - byArrivalMs) > LONGEST_WAY_MS)
    return { clock: { nowMs: clock.nowMs + byArrivalMs, eventMs: ownMs, arrivalMs }, late: false };
  if (byEventMs < 0) return { clock: { ...clock, arrivalMs: Math.max(arrivalMs, clock.arrivalMs) }, late: true };
  return { clock: { nowMs: clock.nowMs + byEventMs, eventMs: ownMs, arrivalMs }, late: false };
}

/** When something happened, as far as that can be believed: by its own time, or by its arrival where the two are too far apart. */
export function likelyMs(eventMs: number | undefined, arrivalMs: number): number {
  return eventMs === undefined || Math.abs(eventMs - arrivalMs) > LONGEST_WAY_MS ? arrivalMs : eventMs;
}
