/**
 * What SDKs hear. They look at the status alone: 200 is delivered; 4xx is dropped, but for 429, which all of them send again; after a 5xx
 * most try a few times more and then drop. So whatever trying again can help is a 429 with Retry-After here, also where other doors say
 * 503 or 408: the libraries for Node and browsers do not count those tries.
 *
 * A batch of which messages are refused is a 200 all the same: the refused are dead letters, durably, and sending them again would
 * only double those. The answer names them by index.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { MillraceError } from "../../errors.ts";
import type { Refusal, Ticket } from "../admission.ts";
import { answer, asMillraceError, errorBody, errorHeaders, isSmallRest } from "../error-answer.ts";
import type { DoorDeps, StreamDoor } from "../stream-door.ts";

/** Answers a request that came to nothing. */
export function failSegment(
  deps: DoorDeps,
  request: IncomingMessage,
  response: ServerResponse,
  ticket: Ticket | undefined,
  startedMs: number,
  error: unknown,
): void {
  const shown = asMillraceError(error, `${request.method} ${pathOf(request)}`, deps.report);
  const status = statusFor(shown);
  const headers = errorHeaders(shown);
  if (status === 429) headers["Retry-After"] ??= "1";
  answer(request, response, status, headers, errorBody(shown));
  ticket?.release();
  deps.metrics.answered(status, (performance.now() - startedMs) / 1000);
}

/** Sends a request away for which there is no room. */
export function refuseSegment(
  deps: DoorDeps,
  door: StreamDoor | undefined,
  request: IncomingMessage,
  response: ServerResponse,
  startedMs: number,
  { error, body, retryAfterS }: Refusal,
): void {
  const send = (heldMs: number): void => {
    const seconds = Math.max(1, Math.ceil(retryAfterS - heldMs / 1000));
    answer(request, response, 429, { "Retry-After": String(seconds) }, body);
    deps.metrics.answered(429, (performance.now() - startedMs) / 1000);
  };
  door?.counts.refused(error.code);
  // A large rest would have to be kept or read while the answer waits.
  if (!isSmallRest(request)) {
    send(0);
    return;
  }
  request.resume();
  deps.admission.refusals.pace(send);
}

function statusFor({ status }: MillraceError): number {
  return status === 503 || status === 408 ? 429 : status;
}

/** The path without its query, in which a key may stand. */
function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0] as string;
}
