import { Worker } from "node:worker_threads";
import { type ErrorCode, MillraceError } from "../errors.ts";
import type { CarriedError, FromWorker, ToWorker, WorkerStart } from "./messages.ts";
import { ThreadWatch } from "./thread-watch.ts";

/** How a thread came to its end, and what it had under way. */
export interface ThreadEnd {
  readonly reason: string;
  /** It computed for so long without giving the thread back. */
  readonly hungMs: number | undefined;
  /** Number of the operator that was applied, and the event's offset; -1: a read or a preview. */
  readonly applying: { readonly operator: number; readonly offset: number } | undefined;
  /** The only event whose promise was under way. */
  readonly waiting: { readonly operator: number; readonly offset: number } | undefined;
}

const LOOK_MS = 100;
/** The oldest of the young generation's spaces; large enough that events die in it. */
const YOUNG_MB = 64;

/**
 * V8's own limit lies this much and as much again as ours above it: where that is met, V8 ends the whole process now and then instead of the thread. So
 * the heap is looked at from outside, and the thread ended before.
 */
const SPARE_HEAP_MB = 512;
/** A heap is full of garbage for a moment before each collection. */
const LOOKS_OVER = 3;

export interface ThreadOptions {
  readonly start: Omit<WorkerStart, "watch">;
  readonly heapBytes: number;
  /** By number of the operator; undefined: of whatever else holds the thread. Milliseconds. */
  readonly limitMs: (operator: number | undefined) => number;
  readonly hear: (message: FromWorker) => void;
}

/** One worker thread, watched. */
export class WorkerThread {
  readonly #worker: Worker;
  readonly #watch = new ThreadWatch();
  readonly #options: ThreadOptions;
  readonly #ended = new AbortController();
  /** Resolves when the thread has ended, however it came to that. */
  readonly end: Promise<ThreadEnd>;
  /** Resolves when the project's modules are loaded. */
  readonly ready: Promise<void>;
  #look: NodeJS.Timeout | undefined;
  #hungMs: number | undefined;
  #failure: unknown;
  #asking = false;
  #looksOver = 0;

  constructor(options: ThreadOptions) {
    this.#options = options;
    this.#watch.reset();
    const workerData: WorkerStart = { ...options.start, watch: this.#watch.memory };
    // The published package has the same files as JavaScript.
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    this.#worker = new Worker(new URL(`./worker${extension}`, import.meta.url), {
      ...{ workerData, execArgv: [] },
      resourceLimits: {
        maxOldGenerationSizeMb: Math.ceil((2 * options.heapBytes) / 2 ** 20) + SPARE_HEAP_MB,
        maxYoungGenerationSizeMb: YOUNG_MB,
      },
    });
    this.#worker.on("error", (error) => {
      this.#failure = error;
    });
    this.end = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        clearInterval(this.#look);
        this.#ended.abort();
        resolve(this.#endOf(code));
      });
    });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on("message", (message: FromWorker) => {
        if (message.kind === "ready") resolve();
        else if (message.kind === "failed") reject(received(message.error));
        else options.hear(message);
      });
      void this.end.then(({ reason }) =>
        reject(new MillraceError("REACT_OPEN_FAILED", { what: "the project", reason })),
      );
    });
    this.ready.catch(() => undefined); // told to whoever awaits it
  }

  /** Aborts when the thread ends. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  say(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    if (!this.#ended.signal.aborted) this.#worker.postMessage(message, transfer);
  }

  /** From here on it must give an answer now and then. `clock` gives previews their time. */
  watch(clock: () => number): void {
    let lastCount = -1;
    let stuckMs = 0;
    let lookedMs = performance.now();
    this.#look = setInterval(() => {
      const { count, operator } = this.#watch.look();
      const nowMs = performance.now();
      // Time in which this process did not run either is nobody's.
      const passedMs = Math.min(nowMs - lookedMs, 2 * LOOK_MS);
      lookedMs = nowMs;
      stuckMs = count === lastCount ? stuckMs + passedMs : 0;
      lastCount = count;
      if (stuckMs >= this.#options.limitMs(operator)) {
        this.#hungMs = Math.round(stuckMs);
        void this.terminate();
      } else this.say({ kind: "tick", nowMs: clock() });
      void this.#lookAtHeap();
    }, LOOK_MS);
    this.#look.unref();
  }

  async #lookAtHeap(): Promise<void> {
    if (this.#asking || this.#ended.signal.aborted) return;
    this.#asking = true;
    try {
      const { used_heap_size: used } = await this.#worker.getHeapStatistics();
      this.#looksOver = used > this.#options.heapBytes ? this.#looksOver + 1 : 0;
      if (this.#looksOver < LOOKS_OVER || this.#failure !== undefined) return;
      this.#failure = new Error(`it held ${used} bytes of JavaScript heap, and may have ${this.#options.heapBytes}`);
      await this.terminate();
    } catch {
      // The thread has ended meanwhile, which is told of elsewhere.
    } finally {
      this.#asking = false;
    }
  }

  async terminate(): Promise<void> {
    clearInterval(this.#look);
    // What is under way stands in the watch before its thread is gone.
    await this.#worker.terminate();
  }

  #endOf(code: number): ThreadEnd {
    const { operator, waiting, offset } = this.#watch.look();
    const error = this.#failure;
    const reason = error instanceof Error ? error.message : `it ended with code ${code}`;
    return {
      ...{ reason, hungMs: this.#hungMs },
      applying: operator === undefined ? undefined : { operator, offset },
      waiting: waiting === undefined ? undefined : { operator: waiting, offset },
    };
  }
}

export function received({ code, params, message, stack }: CarriedError): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return Object.assign(error, { code, details: params }) as Error & { code?: ErrorCode };
}
