/**
 * Requests to the service: each attempt within its time, repeated while its failure may pass, with pauses that grow and are drawn by
 * lot, so that processes which failed together do not come back together (exponential backoff with full jitter, Brooker 2015).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { MillraceError } from "../../errors.ts";
import { type Fault, readFault, type StoreOperation, storeError } from "./s3-faults.ts";
import type { S3Location } from "./s3-location.ts";

export interface RequestsOptions {
  readonly at: S3Location & { readonly encryption: string };
  /** How long an operation is tried again before it fails; what is under way then may take an attempt's time more. */
  readonly timeoutMs: number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/** One try of a request, answer and body included. */
export interface Attempt {
  /** Aborted when its time is up. */
  readonly signal: AbortSignal;
  /** Something has come or gone: the service is at work. */
  alive(): void;
  /** From now on there are so many bytes to come: a large body takes its time, but no longer than at a tiny rate. */
  allow(bytes: number): void;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** What is sent along, which takes its time. */
  readonly bodyBytes?: number;
  /** How long this operation is tried again, where that is not the usual time. */
  readonly timeoutMs?: number;
}

/** What failed was here, not at the service: nothing is tried again for it. */
export class LocalFailure extends Error {
  constructor(cause: unknown) {
    super("a local step failed", { cause });
  }
}

/** A service that is well answers in a fraction of a second, also when it is far away. */
const ANSWER_MS = 10_000;
/** Whatever is slower than this is as good as cut: 16 MiB within a minute. */
const LEAST_BYTES_PER_MS = 256;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 3_000;
/** A service that asks for more patience than that gets none of it: the operation's time would be over. */
const LONGEST_RETRY_AFTER_MS = 5_000;

export class S3Requests {
  readonly #o: RequestsOptions;
  readonly #random: () => number;
  readonly #counts = new Map<string, number>();

  constructor(options: RequestsOptions) {
    this.#o = options;
    this.#random = options.random ?? Math.random;
  }

  /** Attempts made so far, failed ones included, by the operation's name. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /**
   * Does `work` until it succeeds, its failure will not pass, or the time is over. What the service has or has not is returned.
   * @throws STORE_UNAVAILABLE and the other errors of a store
   */
  async run<T>(
    operation: StoreOperation,
    key: string,
    work: (attempt: Attempt) => Promise<T>,
    options: RunOptions = {},
  ): Promise<{ readonly kind: "done"; readonly value: T } | Extract<Fault, { kind: "absent" | "exists" }>> {
    const timeoutMs = options.timeoutMs ?? this.#o.timeoutMs;
    let until = performance.now() + timeoutMs;
    for (let tries = 0; ; tries++) {
      options.signal?.throwIfAborted();
      const begun = performance.now();
      let bodyMs = 0;
      const extend = (bytes: number) => {
        bodyMs += bytes / LEAST_BYTES_PER_MS;
      };
      this.#counts.set(operation, (this.#counts.get(operation) ?? 0) + 1);
      try {
        return { kind: "done", value: await this.#attempt(work, timeoutMs, options, extend) };
      } catch (cause) {
        if (cause instanceof LocalFailure) throw cause.cause;
        options.signal?.throwIfAborted();
        // While a body was on its way the service did something.
        until += Math.min(bodyMs, performance.now() - begun);
        const fault = readFault(cause);
        if (fault.kind === "absent" || fault.kind === "exists") return fault;
        const pause = fault.kind === "passing" ? this.#pause(tries, fault.retryAfterMs) : 0;
        if (fault.kind === "lasting" || performance.now() + pause >= until) {
          throw this.error(fault, operation, key, cause);
        }
        await sleep(pause, undefined, { signal: options.signal });
      }
    }
  }

  error(
    fault: Exclude<Fault, { kind: "absent" | "exists" }>,
    operation: StoreOperation,
    key: string,
    cause?: unknown,
  ): MillraceError {
    return storeError(fault, this.#o.at, operation, key, cause);
  }

  async #attempt<T>(
    work: (attempt: Attempt) => Promise<T>,
    timeoutMs: number,
    { bodyBytes = 0, signal: outer }: RunOptions,
    extend: (bytes: number) => void,
  ): Promise<T> {
    const end = new AbortController();
    const answerMs = Math.min(ANSWER_MS, Math.max(1_000, timeoutMs / 2));
    const giveUp = (what: string) => end.abort(new StoreSilent(what));
    const silence = setTimeout(
      () => giveUp(`no answer within ${answerMs} ms`),
      answerMs + bodyBytes / LEAST_BYTES_PER_MS,
    );
    let transfer: NodeJS.Timeout | undefined;
    extend(bodyBytes);
    const onOuter = () => end.abort(outer?.reason);
    outer?.addEventListener("abort", onOuter, { once: true });
    try {
      return await untilAborted(
        work({
          signal: end.signal,
          alive: () => silence.refresh(),
          allow(bytes) {
            clearTimeout(transfer);
            extend(bytes);
            const ms = answerMs + bytes / LEAST_BYTES_PER_MS;
            transfer = setTimeout(() => giveUp(`${bytes} bytes did not come within ${Math.round(ms)} ms`), ms);
            silence.refresh();
          },
        }),
        end.signal,
      );
    } finally {
      clearTimeout(silence);
      clearTimeout(transfer);
      outer?.removeEventListener("abort", onOuter);
    }
  }

  #pause(tries: number, retryAfterMs: number | undefined): number {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries);
    const drawn = most * this.#random();
    return retryAfterMs === undefined ? drawn : Math.max(drawn, Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
  }
}

class StoreSilent extends Error {
  override readonly name = "TimeoutError";
}

/** The work's outcome, or at once the signal's reason: some steps of the library do not look at the signal. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined); // its failure after that interests nobody
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop) signal.removeEventListener("abort", stop);
  }
}
