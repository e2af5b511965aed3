import { MillraceError } from "../errors.ts";

/**
 * How many queries run at once. Each holds a thread and memory of the engine; the others wait in order, and when too
 * many wait, new ones are sent away at once.
 */
export class QuerySlots {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(most: number, mostWaiting: number) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  /**
   * Resolves with the function that gives the slot back, to be called once.
   * @throws QUERIES_BUSY; QUERY_CANCELLED when the signal comes while it waits.
   */
  async take(signal: AbortSignal): Promise<() => void> {
    if (this.#running < this.#most) this.#running++;
    else if (this.#waiting.length >= this.#mostWaiting) {
      const numbers = { running: this.#running, waiting: this.#waiting.length };
      throw new MillraceError("QUERIES_BUSY", numbers, { retryAfterS: 1 });
    } else await this.#turn(signal);
    return () => this.#giveBack();
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(new MillraceError("QUERY_CANCELLED"));
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(turn);
    });
  }

  #giveBack(): void {
    // The slot goes straight to the next in line.
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}
