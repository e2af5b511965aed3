import { MillraceError } from "../errors.ts";

const FIRST_DELAY_MS = 20;
const MOST_DELAY_MS = 2_000;
const FINAL: ReadonlySet<string> = new Set(["SHUTTING_DOWN", "REACT_LANE_TAKEN"]);

/** Tries again what a disk or a log refuses, for as long as the reactor is open, or the lane. */
export class Retrying {
  readonly report: (error: unknown, what: string) => void;
  readonly #closing = new AbortController();

  /** Ends with the one it is part of. */
  constructor(report: (error: unknown, what: string) => void, whole?: Retrying) {
    this.report = report;
    if (whole?.stopped) this.stop();
    whole?.signal.addEventListener("abort", () => this.stop(), { once: true, signal: this.#closing.signal });
  }

  get stopped(): boolean {
    return this.#closing.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  stop(): void {
    this.#closing.abort();
  }

  /** @throws SHUTTING_DOWN when it ends before it works; REACT_LANE_TAKEN, which no other attempt would change */
  async until<T>(what: string, work: (attempt: number) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      if (this.stopped) throw new MillraceError("SHUTTING_DOWN");
      try {
        return await work(attempt);
      } catch (error) {
        if (error instanceof MillraceError && FINAL.has(error.code)) throw error;
        if (attempt === 0) this.report(error, what);
        await this.pause(Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt));
      }
    }
  }

  /** Waits, but not beyond the end. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#closing;
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      if (signal.aborted) done();
      else signal.addEventListener("abort", done);
    });
  }
}
