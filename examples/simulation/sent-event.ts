/**
 * - `regular`, `late` (the sender was offline), `fraud`: good events.
 * - `duplicate`: the same bytes once more, as a client sends that lost the answer.
 * - `malformed`: breaks JSON or the contract; the door must reject it.
 * - `failing_check`: keeps the contract but fails a check of its silver table.
 */
export const KINDS = ["regular", "late", "fraud", "duplicate", "malformed", "failing_check"] as const;
export type Kind = (typeof KINDS)[number];

export interface SentEvent {
  readonly stream: string;
  readonly kind: Kind;
  /** The event's bytes as sent: one line of JSON, or what is left of it. */
  readonly line: string;
  /** When it is due, in seconds since the start. */
  readonly atSeconds: number;
}
