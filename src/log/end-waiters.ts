/** Readers that have read everything and wait for more. */
export class EndWaiters {
  readonly #waiting = new Set<{ offset: number; settle: (error?: unknown) => void }>();

  /** Resolves once told of an end above `offset`, or when the signal aborts. */
  wait(offset: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return resolve();
      const settle = (error?: unknown): void => {
        this.#waiting.delete(waiter);
        signal.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = (): void => settle();
      const waiter = { offset, settle };
      signal.addEventListener("abort", onAbort);
      this.#waiting.add(waiter);
    });
  }

  /** The end has moved. */
  wake(end: number): void {
    for (const waiter of this.#waiting) if (end > waiter.offset) waiter.settle();
  }

  rejectAll(error: unknown): void {
    for (const waiter of this.#waiting) waiter.settle(error);
  }
}
