/**
 * The shop's own time. A run starts with the past: its first seconds replay the last days up to now, in which time passes quickly at night and
 * slowly at noon, so that a steady rate of events draws the rhythm of a day. After that the clock is the real one.
 */
export class EventClock {
  readonly #nowMs: number;
  readonly #historySeconds: number;
  /** The midnight from which activity is counted, and the activity at the start and the end of the replay. */
  readonly #midnightMs: number;
  readonly #fromActivity: number;
  readonly #toActivity: number;

  /** `nowMs`: the time at which the run starts. */
  constructor(nowMs: number, historyDays: number, historySeconds: number) {
    this.#nowMs = nowMs;
    this.#historySeconds = historyDays > 0 ? historySeconds : 0;
    const fromMs = nowMs - historyDays * DAY_MS;
    this.#midnightMs = Math.floor(fromMs / DAY_MS) * DAY_MS;
    this.#fromActivity = activityUntil(fromMs - this.#midnightMs);
    this.#toActivity = activityUntil(nowMs + this.#historySeconds * 1000 - this.#midnightMs);
  }

  /** The shop's time when the run has lasted `elapsedSeconds`, in milliseconds since the epoch. Never ahead of the real time. */
  at(elapsedSeconds: number): number {
    if (elapsedSeconds >= this.#historySeconds) return Math.floor(this.#nowMs + elapsedSeconds * 1000);
    const share = elapsedSeconds / this.#historySeconds;
    const activity = this.#fromActivity + (this.#toActivity - this.#fromActivity) * share;
    return Math.floor(this.#midnightMs + timeOfActivity(activity));
  }
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Share of a day's orders in each hour, as in the real shop: busiest at noon, nearly nothing at night. */
// biome-ignore format: 24 hours
export const HOURLY_SHARE: readonly number[] = [
  0.0005, 0.0005, 0.0005, 0.0005, 0.0005, 0.0005, 0.001, 0.0015, 0.024, 0.07, 0.114, 0.122, 0.152, 0.13, 0.121, 0.118, 0.075, 0.046, 0.013,
  0.008, 0.001, 0.0005, 0.0005, 0.0005,
];

const CUMULATIVE: readonly number[] = HOURLY_SHARE.map((_, hour) =>
  HOURLY_SHARE.slice(0, hour).reduce((sum, share) => sum + share, 0),
);
const DAY_ACTIVITY = HOURLY_SHARE.reduce((sum, share) => sum + share, 0);

/** The activity, in days' worth, of a time that begins at midnight. */
function activityUntil(ms: number): number {
  const days = Math.floor(ms / DAY_MS);
  const hours = (ms - days * DAY_MS) / HOUR_MS;
  const hour = Math.min(23, Math.floor(hours));
  const within = (CUMULATIVE[hour] as number) + (HOURLY_SHARE[hour] as number) * (hours - hour);
  return days + within / DAY_ACTIVITY;
}

/** The inverse of `activityUntil`. */
function timeOfActivity(activity: number): number {
  const days = Math.floor(activity);
  const within = (activity - days) * DAY_ACTIVITY;
  let hour = 23;
  while ((CUMULATIVE[hour] as number) > within) hour--;
  return days * DAY_MS + (hour + (within - (CUMULATIVE[hour] as number)) / (HOURLY_SHARE[hour] as number)) * HOUR_MS;
}
