/** When to try again, and how often at most. */

const FIRST_MS = 1000;

/**
 * How long to wait after so many failures: twice as long each time, up to `mostMs`, spread evenly between half of it and all of it, so that what failed
 * together does not come back together.
 */
export function backoffMs(failures: number, mostMs: number, random: () => number): number {
  const whole = Math.min(FIRST_MS * 2 ** Math.min(failures - 1, 30), mostMs);
  return Math.round(whole * (0.5 + random() / 2));
}

/** A bucket of `most` messages that fills again within `perMs`. */
export class RateLimit {
  readonly #most: number;
  readonly #perMs: number;
  #left: number;
  #atMs = Number.NEGATIVE_INFINITY;

  constructor({ most, perMs }: { readonly most: number; readonly perMs: number }) {
    this.#most = most;
    this.#perMs = perMs;
    this.#left = most;
  }

  /** Takes one when there is one. */
  take(nowMs: number): boolean {
    // A clock that is set back fills nothing, and empties nothing.
    const passedMs = Math.max(nowMs - this.#atMs, 0);
    this.#left = Math.min(this.#most, this.#left + (passedMs / this.#perMs) * this.#most);
    this.#atMs = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** False when the signal aborts before the time is over. */
export function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (signal.aborted) return Promise.resolve(false);
  const aborted = () => {
    clearTimeout(timer);
    resolve(false);
  };
  const timer = setTimeout(() => {
    signal.removeEventListener("abort", aborted);
    resolve(true);
  }, ms);
  signal.addEventListener("abort", aborted, { once: true });
  return promise;
}
