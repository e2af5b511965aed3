import { MillraceError } from "../errors.ts";

/**
 * Bounds the memory of all requests under way together: a request is let in with the bytes it announces or has sent so
 * far, and refused when they do not fit. One that is alone is always let in.
 */
export class Admission {
  /** Bytes of all requests under way. */
  inflightBytes = 0;
  readonly #limit: number;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get isIdle(): boolean {
    return this.inflightBytes === 0;
  }

  /** Counts `bytes` in. False when there is no room: nothing was counted then. */
  admit(bytes: number): boolean {
    if (this.inflightBytes > 0 && this.inflightBytes + bytes > this.#limit) return false;
    this.inflightBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.inflightBytes -= bytes;
  }

  refusal(): MillraceError {
    return new MillraceError("OVERLOADED", { inflight: this.inflightBytes, limit: this.#limit }, { retryAfterS: 1 });
  }
}

/** What a request without a body costs: its headers, its objects and its answer. */
export const REQUEST_BYTES = 2048;
