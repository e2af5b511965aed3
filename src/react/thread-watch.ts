/**
 * What the worker thread tells while it computes, through shared memory: a count that moves with each event and each beat of its event
 * loop, and what is being applied. The main thread looks at it (`HangWatch`).
 */
const BYTES = 32;
const COUNT = 0;
const OPERATOR = 1;
const WAITING = 2;
const OFFSET = 2;
const NOBODY = -1;

export class ThreadWatch {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #offsets: Float64Array;

  constructor(memory = new SharedArrayBuffer(BYTES)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 4);
    this.#offsets = new Float64Array(memory);
  }

  /** An operator's call begins. */
  enter(operator: number, offset: number): void {
    this.#offsets[OFFSET] = offset;
    this.#words[OPERATOR] = operator;
    Atomics.add(this.#words, COUNT, 1);
  }

  leave(): void {
    Atomics.store(this.#words, OPERATOR, NOBODY);
  }

  /** The one event whose promise is under way, while there is only one. */
  waiting(operator: number, offset: number): void {
    this.#offsets[OFFSET] = offset;
    Atomics.store(this.#words, WAITING, operator);
  }

  waited(): void {
    Atomics.store(this.#words, WAITING, NOBODY);
  }

  /** The event loop goes round. */
  beat(): void {
    Atomics.add(this.#words, COUNT, 1);
  }

  reset(): void {
    Atomics.store(this.#words, OPERATOR, NOBODY);
    Atomics.store(this.#words, WAITING, NOBODY);
  }

  look(): {
    readonly count: number;
    readonly operator: number | undefined;
    readonly waiting: number | undefined;
    readonly offset: number;
  } {
    const count = Atomics.load(this.#words, COUNT);
    const named = (at: number) => {
      const number = Atomics.load(this.#words, at);
      return number === NOBODY ? undefined : number;
    };
    return { count, operator: named(OPERATOR), waiting: named(WAITING), offset: this.#offsets[OFFSET] as number };
  }
}
