import { MillraceError } from "../errors.ts";

const FIRST_DELAY_MS = 20;
const MOST_DELAY_MS = 2_000;

/** Tries again what a disk or a log refuses, for as long as the reactor is open. */
export class Retrying {
  readonly report: (error: unknown, what: string) => void;
  readonly #closing = new AbortController();

  constructor(report: (error: unknown, what: string) => void) {
    this.report = report;
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

  /** @throws SHUTTING_DOWN when the reactor closes before it works */
  async until<T>(what: string, work: (attempt: number) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      if (this.stopped) throw new MillraceError("SHUTTING_DOWN");
      try {
        return await work(attempt);
      } catch (error) {
        if (error instanceof MillraceError && error.code === "SHUTTING_DOWN") throw error;
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
