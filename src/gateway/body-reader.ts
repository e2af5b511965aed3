/**
 * Reads the body of one request whole, within its limits: size, room for all requests together, time between two chunks.
 * A body that is cut off is never handed on.
 */
import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import { MillraceError } from "../errors.ts";
import type { Refusal, Ticket } from "./admission.ts";

export interface BodyLimits {
  readonly maxBodyBytes: number;
  /** The longest a body may pause. */
  readonly idleBodyMs: number;
}

type Done = (error: MillraceError | Refusal | undefined, body: Buffer) => void;

const EMPTY = Buffer.alloc(0);

export class BodyReader {
  readonly #limits: BodyLimits;
  /** Bodies of which a part is still to come, with the time of the last part. */
  readonly #pending = new Map<PendingBody, number>();
  readonly #sweep: NodeJS.Timeout;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
    // One timer for all bodies: a timer each would cost more than reading most of them.
    this.#sweep = setInterval(() => this.#endIdle(), Math.min(1000, limits.idleBodyMs / 4)).unref();
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  /**
   * The length that a request announces; 0 when it has no such header.
   * @throws BODY_TOO_LARGE
   */
  announced(request: IncomingMessage): number {
    const { maxBodyBytes } = this.#limits;
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > maxBodyBytes) throw tooLarge(maxBodyBytes);
    return announced;
  }

  /** Calls back once, with the body or with what is wrong. The ticket holds room for `announced` bytes, and is asked for more. */
  read(request: IncomingMessage, announced: number, ticket: Ticket, done: Done): void {
    const { maxBodyBytes } = this.#limits;
    const body = new PendingBody(request, announced, (error, bytes) => {
      this.#pending.delete(body);
      done(error, bytes);
    });
    request.on("data", (chunk: Buffer) => {
      if (body.ended) return;
      body.add(chunk);
      if (body.size > maxBodyBytes) {
        body.end(tooLarge(maxBodyBytes));
        return;
      }
      const refusal = body.size > body.counted ? body.count(ticket) : undefined;
      if (refusal !== undefined) body.end(refusal);
      else if (body.size !== announced) this.#pending.set(body, performance.now());
    });
    request.on("end", () => body.end(undefined));
    request.on("error", () => body.end(new MillraceError("BODY_CUT_OFF", { got: body.size })));
    if (announced > 0 || request.headers["content-length"] === undefined) this.#pending.set(body, performance.now());
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
  count(ticket: Ticket): Refusal | undefined {
    const step = Math.max(64 * 1024, this.size - this.counted);
    const refusal = ticket.grow(step);
    if (refusal === undefined) this.counted += step;
    return refusal;
  }

  end(error: MillraceError | Refusal | undefined): void {
    if (this.ended) return;
    this.ended = true;
    const first = this.#first ?? EMPTY;
    const more = this.#more;
    // The request lives until its answer is sent, and must not keep the pieces beside the whole.
    this.#first = undefined;
    this.#more = undefined;
    if (error !== undefined) this.#done(error, EMPTY);
    else if (isCutOff(this.#request, this.size))
      this.#done(new MillraceError("BODY_CUT_OFF", { got: this.size }), EMPTY);
    else this.#done(undefined, more === undefined ? first : Buffer.concat(more, this.size));
  }
}

/** True for a body of which the end never came, though its stream has ended. */
function isCutOff(request: IncomingMessage, size: number): boolean {
  if (!request.complete) return true;
  if (request.httpVersionMajor < 2) return false;
  // Over HTTP/2 a request that its sender gave up ends like one that is whole; but its stream is closed before it has an answer.
  const { stream, headers } = request as unknown as Pick<Http2ServerRequest, "stream" | "headers">;
  const announced = headers["content-length"];
  return stream.closed || stream.aborted || (announced !== undefined && Number(announced) !== size);
}

function tooLarge(limit: number): MillraceError {
  return new MillraceError("BODY_TOO_LARGE", { limit, unpacked: "" });
}
