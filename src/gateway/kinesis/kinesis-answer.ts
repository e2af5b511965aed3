/** Answers as AWS gives them: a request id in the headers, and of an error its name in `__type`. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Refusal } from "../admission.ts";
import { answer, asMillraceError, isSmallRest } from "../error-answer.ts";
import type { DoorDeps } from "../stream-door.ts";
import { AwsError, asAwsError } from "./aws-error.ts";
import type { Codec } from "./codec.ts";

/** A request under way: who asked, how it speaks, since when. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly codec: Codec;
  readonly startedMs: number;
}

export function answerKinesis(deps: DoorDeps, exchange: Exchange, status: number, body: string | Buffer): void {
  send(deps, exchange, status, {}, body);
}

/** Answers with what is wrong. What nobody foresaw is reported. */
export function failKinesis(deps: DoorDeps, exchange: Exchange, error: unknown): void {
  const { request, codec } = exchange;
  if (error instanceof Refusal) {
    refuseKinesis(deps, exchange, error);
    return;
  }
  const shown =
    error instanceof AwsError
      ? error
      : asAwsError(asMillraceError(error, `${request.headers["x-amz-target"] ?? "POST /"}`, deps.report));
  const { type, message, status, retryAfterS } = shown;
  const headers = {
    "x-amzn-ErrorType": type,
    ...(retryAfterS !== undefined && { "Retry-After": String(Math.ceil(retryAfterS)) }),
  };
  send(deps, exchange, status, headers, codec.encode({ __type: type, message }));
}

/** Sends a request away for which there is no room: SDKs slow down and send it again. */
function refuseKinesis(deps: DoorDeps, exchange: Exchange, { error, retryAfterS }: Refusal): void {
  const { type, message, status } = asAwsError(error);
  const body = exchange.codec.encode({ __type: type, message });
  const late = (heldMs: number): void => {
    const seconds = Math.max(1, Math.ceil(retryAfterS - heldMs / 1000));
    send(deps, exchange, status, { "x-amzn-ErrorType": type, "Retry-After": String(seconds) }, body);
  };
  // A large rest would have to be kept or read while the answer waits.
  if (!isSmallRest(exchange.request)) {
    late(0);
    return;
  }
  exchange.request.resume();
  deps.admission.refusals.pace(late);
}

function send(
  deps: DoorDeps,
  { request, response, codec, startedMs }: Exchange,
  status: number,
  headers: Record<string, string>,
  body: string | Buffer,
): void {
  const id = randomUUID();
  answer(request, response, status, { "Content-Type": codec.contentType, "x-amzn-RequestId": id, ...headers }, body);
  deps.metrics.answered(status, (performance.now() - startedMs) / 1000);
}
