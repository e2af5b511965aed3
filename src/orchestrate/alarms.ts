/**
 * Things to do at moments of the wall clock. A clock that jumps ahead makes due what it jumped over; one set back makes wait. They are
 * looked at a few times a second rather than by timers, which know nothing of the clock and end after 24 days.
 */
export class Alarms {
  readonly #clock: () => number;
  readonly #alarms = new Set<{ readonly atMs: number; readonly ring: () => void }>();
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Returns what calls it off. */
  at(atMs: number, ring: () => void): () => void {
    const alarm = { atMs, ring };
    this.#alarms.add(alarm);
    this.#nextMs = Math.min(this.#nextMs, atMs);
    return () => this.#alarms.delete(alarm);
  }

  tick(): void {
    const now = this.#clock();
    if (now < this.#nextMs) return;
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const alarm of this.#alarms) {
      if (alarm.atMs <= now) {
        this.#alarms.delete(alarm);
        alarm.ring();
      } else this.#nextMs = Math.min(this.#nextMs, alarm.atMs);
    }
  }
}
