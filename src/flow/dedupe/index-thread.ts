import { Worker } from "node:worker_threads";
import { type ErrorCode, MillraceError } from "../../errors.ts";
import type { CarriedError, IndexMessage, IndexReply, IndexRequest } from "./index-worker.ts";

/**
 * The thread on which the indexes of this process work: it starts with the first index and ends with the last. Of a look-up the
 * calling thread only pays for packing the ids.
 */
export class IndexThread {
  static #shared: IndexThread | undefined;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: (answer: IndexAnswer) => void; reject: (error: unknown) => void }>();
  #lastId = 0;
  #members = 0;
  #end: MillraceError | undefined;

  /** Takes part in the shared thread, until `leave`. */
  static join(): IndexThread {
    IndexThread.#shared ??= new IndexThread();
    IndexThread.#shared.#members++;
    return IndexThread.#shared;
  }

  private constructor() {
    // The published package has the same files as JavaScript.
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    this.#worker = new Worker(new URL(`./index-worker${extension}`, import.meta.url), { execArgv: [] });
    this.#worker.on("message", (reply: IndexReply) => this.#settle(reply));
    this.#worker.on("error", (cause) => this.#fail(cause));
    this.#worker.on("exit", () => this.#fail(undefined));
    this.#worker.unref();
  }

  /** Resolves with the answer; an error of the index is part of it. Rejects when the thread has ended. */
  call(request: IndexRequest, handle = 0): Promise<IndexAnswer> {
    if (this.#end) return Promise.reject(this.#end);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref(); // only a call under way keeps the process alive
      const transfer = "records" in request ? [request.records.buffer] : [];
      this.#worker.postMessage({ id, handle, request } satisfies IndexMessage, transfer);
    });
  }

  async leave(): Promise<void> {
    if (--this.#members > 0) return;
    if (IndexThread.#shared === this) IndexThread.#shared = undefined;
    await this.#worker.terminate();
  }

  #settle({ id, coveredTo, value, error }: IndexReply): void {
    this.#waiting.get(id)?.resolve({ coveredTo, value, error: error && received(error) });
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
  }

  #fail(cause: unknown): void {
    this.#end ??= new MillraceError("INTERNAL", { what: "the thread of the duplicate indexes" }, { cause });
    if (IndexThread.#shared === this) IndexThread.#shared = undefined;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
  }
}

export interface IndexAnswer {
  readonly coveredTo: number;
  readonly value: unknown;
  readonly error: Error | undefined;
}

function received({ code, details, message, stack }: CarriedError): Error {
  if (code !== undefined) {
    return new MillraceError(code as ErrorCode, details as Record<string, unknown>, { details, cause: stack });
  }
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
