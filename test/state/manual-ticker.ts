import type { Ticker } from "../../src/state/ticker.ts";

/** Time that stands still until it is moved. */
export class ManualTicker implements Ticker {
  #nowMs = 0;
  readonly #due: { readonly atMs: number; readonly call: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, call: () => void): () => void {
    const entry = { atMs: this.#nowMs + ms, call };
    this.#due.push(entry);
    return () => {
      const at = this.#due.indexOf(entry);
      if (at >= 0) this.#due.splice(at, 1);
    };
  }

  /** The process sleeps meanwhile: what was due is called when it goes on, if it is to be called at all. */
  pass(ms: number, options: { readonly paused?: boolean } = {}): void {
    this.#nowMs += ms;
    if (options.paused === true) return;
    for (;;) {
      const next = this.#due.filter(({ atMs }) => atMs <= this.#nowMs).toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) return;
      this.#due.splice(this.#due.indexOf(next), 1);
      next.call();
    }
  }
}
