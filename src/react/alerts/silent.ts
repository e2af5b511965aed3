/** Keys in the order in which they were last heard of, so that those of which nothing was heard for long are found at once. */
export class Silent {
  /** A Map keeps the order in which its keys were added. */
  readonly #heardMs: Map<string, number>;

  constructor(heard: readonly (readonly [key: string, heardMs: number])[]) {
    this.#heardMs = new Map([...heard].sort(([, a], [, b]) => a - b));
  }

  /** Moments never go back. */
  heard(key: string, ms: number): void {
    this.#heardMs.delete(key);
    this.#heardMs.set(key, ms);
  }

  forget(key: string): void {
    this.#heardMs.delete(key);
  }

  /** Those last heard of before a moment, longest ago first. */
  before(ms: number): string[] {
    const found: string[] = [];
    for (const [key, heardMs] of this.#heardMs) {
      if (heardMs >= ms) break;
      found.push(key);
    }
    return found;
  }
}
