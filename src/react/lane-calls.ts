/**
 * What is asked of a lane, or of who looks after alerts, by a process that does not have it. Calls and answers are JSON, so that they can go over
 * HTTP as they are:
 *
 *     {"to": "lane", "stream", "partition", "call": "read", "operator", "request"}       -> what the operator answers
 *     {"to": "lane", "stream", "partition", "call": "retry", "operator", "events": [{"partition", "offset", "payload" (base64), "receivedAtMs", "source"}]}
 *                                                                                        -> [{"outcome", "code"?, "message"?}]
 *     {"to": "leader", "lease": "react", "call": "destinations"}                         -> [DestinationView]
 *     {"to": "leader", "lease": "react", "call": "test", "destination"}                  -> what `Delivery.test` answers
 *     {"to": "leader", "lease": "react", "call": "redeliver", "destination", "change"}   -> {"code"?, "message"?, "down"?}
 *
 * A failure goes back as the error that it is, by code and details.
 */
import type { RetriedEvent } from "./reactor-options.ts";

export type ReactCall = LaneCall | LeaderCall;

export type LaneCall = { readonly to: "lane"; readonly stream: string; readonly partition: number } & (
  | { readonly call: "read"; readonly operator: string; readonly request: unknown }
  | { readonly call: "retry"; readonly operator: string; readonly events: readonly CarriedEvent[] }
);

export type LeaderCall = { readonly to: "leader"; readonly lease: "react" } & (
  | { readonly call: "destinations" }
  | { readonly call: "test"; readonly destination: string }
  | { readonly call: "redeliver"; readonly destination: string; readonly change: Readonly<Record<string, unknown>> }
);

/** The payload is base64. */
export type CarriedEvent = Omit<RetriedEvent, "payload"> & { readonly payload: string };

/** Brings calls to the process that they are for. */
export interface ReactPeers {
  /**
   * Asks whoever has the partition in the group `react`, or holds the lease; resolves to the answer.
   * @throws REACT_UNAVAILABLE (retryable) when nobody has it now, or who has it does not answer; otherwise what the other process threw
   */
  ask(call: ReactCall): Promise<unknown>;
}

/** Answers calls of other processes. A call for what this process does not have (any more) is REACT_UNAVAILABLE. */
export interface ReactAnswers {
  answer(call: ReactCall): Promise<unknown>;
}

export function carriedEvent({ payload, ...rest }: RetriedEvent): CarriedEvent {
  return { ...rest, payload: Buffer.from(payload).toString("base64") };
}

export function receivedEvent({ payload, ...rest }: CarriedEvent): RetriedEvent {
  return { ...rest, payload: Buffer.from(payload, "base64") };
}
