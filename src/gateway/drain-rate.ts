/**
 * How fast a lane's waiting bytes are worked off, and from it when a sender that is sent away should come back.
 *
 * The rate is measured only over stretches of time in which something waited all along: a sender that waits for each answer
 * shows how long an answer takes, not how much could be done.
 *
 * Senders that are sent away are given times one after the other, as if each had booked the time its bytes will take: told the same
 * second, they would all come back in it.
 */
export class DrainRate {
  #perMs = 0;
  #bytes = 0;
  /** Start of the stretch being measured; NaN while nothing waits. */
  #sinceMs = Number.NaN;
  #bookedUntilMs = 0;

  /** Something begins to wait where nothing did. */
  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#bytes = 0;
  }

  drained(bytes: number, nowMs: number): void {
    this.#bytes += bytes;
    const tookMs = nowMs - this.#sinceMs;
    if (!(tookMs >= STRETCH_MS)) return;
    const perMs = this.#bytes / tookMs;
    this.#perMs = this.#perMs === 0 ? perMs : (this.#perMs + perMs) / 2;
    this.begin(nowMs);
  }

  /** Nothing waits any more, so nothing that was booked is needed. */
  end(): void {
    this.#sinceMs = Number.NaN;
    this.#bookedUntilMs = 0;
  }

  /** Bytes a second; 0 while unknown. A standstill shows before anything is drained again. */
  perSecond(nowMs: number): number {
    const sinceMs = nowMs - this.#sinceMs;
    return (sinceMs > STANDSTILL_MS ? this.#bytes / sinceMs : this.#perMs) * 1000;
  }

  /** Seconds after which `bytes` more can be worked off behind the `waiting` ones and those sent away before; books them. */
  book(bytes: number, waiting: number, nowMs: number, random: number): number {
    const perMs = Math.max(this.perSecond(nowMs), LEAST_PER_SECOND) / 1000;
    const startMs = Math.max(nowMs + waiting / perMs, this.#bookedUntilMs);
    this.#bookedUntilMs = Math.min(startMs + bytes / perMs, nowMs + LONGEST_S * 1000);
    // Up to half as long again: senders that were sent away together must not come back together.
    const seconds = ((this.#bookedUntilMs - nowMs) / 1000) * (1 + random / 2);
    return Math.min(Math.max(1, Math.ceil(seconds)), LONGEST_S);
  }
}

/** Short enough to have measured a burst before the burst is judged, see `CONFIRM_MS` in admission.ts. */
const STRETCH_MS = 200;
/** A disk takes a breath now and then; this is longer. */
const STANDSTILL_MS = 1000;
/** While the rate is unknown, or next to nothing, a time computed from it would mean nothing; any disk does this. */
const LEAST_PER_SECOND = 1024 * 1024;
/** What is so far away nobody can know. */
const LONGEST_S = 30;
