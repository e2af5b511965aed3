/**
 * Which key is due next: a heap by time, and among equal times by the offset at which the key was opened, which no two keys have in common. So
 * the order in which windows close depends on the log alone, however the heap came to be.
 *
 * An entry is not taken out when its key becomes due at another time: whoever takes it sees from the key's record whether it still holds.
 */
export class DueTimes {
  readonly #dues: number[] = [];
  readonly #opened: number[] = [];
  readonly #keys: string[] = [];

  get size(): number {
    return this.#keys.length;
  }

  /** The time of the next entry; infinite when there is none. */
  get next(): number {
    return this.#dues.length === 0 ? Number.POSITIVE_INFINITY : this.#dues[0]!;
  }

  add(due: number, opened: number, key: string): void {
    let at = this.#keys.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(due, opened, parent)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, due, opened, key);
  }

  clear(): void {
    this.#dues.length = 0;
    this.#opened.length = 0;
    this.#keys.length = 0;
  }

  /** Takes the next entry out and gives its key. */
  take(): string {
    const key = this.#keys[0]!;
    const due = this.#dues.pop()!;
    const opened = this.#opened.pop()!;
    const moved = this.#keys.pop()!;
    const length = this.#keys.length;
    if (length === 0) return key;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#before(this.#dues[child + 1]!, this.#opened[child + 1]!, child)) child++;
      if (!this.#after(due, opened, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, due, opened, moved);
    return key;
  }

  #before(due: number, opened: number, at: number): boolean {
    const other = this.#dues[at]!;
    return due < other || (due === other && opened < this.#opened[at]!);
  }

  #after(due: number, opened: number, at: number): boolean {
    const other = this.#dues[at]!;
    return due > other || (due === other && opened > this.#opened[at]!);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#dues[from]!, this.#opened[from]!, this.#keys[from]!);
  }

  #put(at: number, due: number, opened: number, key: string): void {
    this.#dues[at] = due;
    this.#opened[at] = opened;
    this.#keys[at] = key;
  }
}
