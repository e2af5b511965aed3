/**
 * Reads the body of one request whole, within its limits: size, room for all requests together, time between two chunks.
 * A body that is cut off is never handed on.
 */
import type { IncomingMessage } from "node:http";
import { MillraceError } from "../errors.ts";
import type { Admission } from "./admission.ts";
import { REQUEST_BYTES } from "./admission.ts";

export interface BodyLimits {
  readonly maxBodyBytes: number;
  /** The longest a body may pause. */
  readonly idleBodyMs: number;
}

/** What a request holds of the door's memory; given back once. */
export class Ticket {
  readonly #admission: Admission;
  #bytes = 0;

  constructor(admission: Admission) {
    this.#admission = admission;
  }

  /** False when there is no room for `bytes` more. */
  take(bytes: number): boolean {
    if (!this.#admission.admit(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  release(): void {
    this.#admission.release(this.#bytes);
    this.#bytes = 0;
  }
}

type Done = (error: MillraceError | undefined, body: Buffer) => void;

const EMPTY = Buffer.alloc(0);

export class BodyReader {
  readonly #limits: BodyLimits;
  readonly #admission: Admission;
  /** Bodies of which a part is still to come, with the time of the last part. */
  readonly #pending = new Map<PendingBody, number>();
  readonly #sweep: NodeJS.Timeout;

  constructor(limits: BodyLimits, admission: Admission) {
    this.#limits = limits;
    this.#admission = admission;
    // One timer for all bodies: a timer each would cost more than reading most of them.
    this.#sweep = setInterval(() => this.#endIdle(), Math.min(1000, limits.idleBodyMs / 4)).unref();
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  /**
   * Calls back once, with the body or with what is wrong. The ticket holds room for the body until it is released.
   * `onRoom` is called before the body is read, when nothing yet speaks against it.
   */
  read(request: IncomingMessage, ticket: Ticket, onRoom: (() => void) | undefined, done: Done): void {
    const { maxBodyBytes } = this.#limits;
    const header = request.headers["content-length"];
    const announced = header === undefined ? 0 : Number(header);
    if (announced > maxBodyBytes) {
      done(tooLarge(maxBodyBytes), EMPTY);
      return;
    }
    if (!ticket.take(REQUEST_BYTES + announced)) {
      done(this.#admission.refusal(), EMPTY);
      return;
    }
    onRoom?.();
    const body = new PendingBody(request, announced, (error, bytes) => {
      this.#pending.delete(body);
      done(error, bytes);
    });
    request.on("data", (chunk: Buffer) => {
      if (body.ended) return;
      body.add(chunk);
      if (body.size > maxBodyBytes) body.end(tooLarge(maxBodyBytes));
      else if (body.size > body.counted && !body.count(ticket)) body.end(this.#admission.refusal());
      else if (body.size !== announced) this.#pending.set(body, performance.now());
    });
    request.on("end", () => body.end(undefined));
    request.on("error", () => body.end(new MillraceError("BODY_CUT_OFF", { got: body.size })));
    if (announced > 0 || header === undefined) this.#pending.set(body, performance.now());
  }

  #endIdle(): void {
    const now = performance.now();
    for (const [body, lastMs] of this.#pending) {
      if (now - lastMs < this.#limits.idleBodyMs) continue;
      const reason = `no byte of the body came for ${this.#limits.idleBodyMs} ms`;
      body.end(new MillraceError("REQUEST_TIMEOUT", { reason }));
    }
  }
}

class PendingBody {
  ended = false;
  size = 0;
  /** Bytes the ticket holds room for. */
  counted: number;
  readonly #request: IncomingMessage;
  readonly #done: Done;
  #first: Buffer | undefined;
  #more: Buffer[] | undefined;

  constructor(request: IncomingMessage, counted: number, done: Done) {
    this.#request = request;
    this.counted = counted;
    this.#done = done;
  }

  add(chunk: Buffer): void {
    this.size += chunk.length;
    if (this.#first === undefined) this.#first = chunk;
    else if (this.#more === undefined) this.#more = [this.#first, chunk];
    else this.#more.push(chunk);
  }

  /** Asks for room in steps, so that a body in small chunks does not ask for each. */
  count(ticket: Ticket): boolean {
    const step = Math.max(64 * 1024, this.size - this.counted);
    if (!ticket.take(step)) return false;
    this.counted += step;
    return true;
  }

  end(error: MillraceError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    if (error === undefined && !this.#request.complete) {
      this.#done(new MillraceError("BODY_CUT_OFF", { got: this.size }), EMPTY);
      return;
    }
    if (error !== undefined) {
      this.#done(error, EMPTY);
      return;
    }
    this.#done(undefined, this.#more === undefined ? (this.#first ?? EMPTY) : Buffer.concat(this.#more, this.size));
  }
}

function tooLarge(limit: number): MillraceError {
  return new MillraceError("BODY_TOO_LARGE", { limit, unpacked: "" });
}
