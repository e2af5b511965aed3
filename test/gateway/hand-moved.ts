import type { AdmissionPorts } from "../../src/gateway/admission.ts";

/** Clock, event loop and chance in a test's hands. */
export class HandMoved implements AdmissionPorts {
  nowMs = 1_000;
  chance = 0;
  readonly #deferred: (() => void)[] = [];
  #timers: { atMs: number; work: () => void }[] = [];

  readonly clock = () => this.nowMs;
  readonly random = () => this.chance;
  readonly defer = (work: () => void) => {
    this.#deferred.push(work);
  };
  readonly after = (ms: number, work: () => void) => {
    this.#timers.push({ atMs: this.nowMs + ms, work });
  };

  /** One turn of the event loop. False when nothing was deferred to it. */
  turn(): boolean {
    const works = this.#deferred.splice(0);
    for (const work of works) work();
    return works.length > 0;
  }

  /** Lets time pass, and what was to happen in it. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = next.atMs;
      next.work();
    }
    this.nowMs = untilMs;
  }
}
