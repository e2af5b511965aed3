/** What takes messages out of the platform: one adapter for each kind of destination. */
import type { AlertChange } from "../../define/destinations.ts";

/** A change of an alert, and where it is in the stream of them. */
export interface Change extends AlertChange {
  readonly offset: number;
}

export interface Sender {
  /** Where it sends to, fit to be shown: without anything secret. */
  readonly address: string;
  /** How many changes one message takes. */
  readonly mostChanges: number;
  /**
   * Sends one message with the changes, oldest first; resolves once the other side has taken it. Sent again it must show the other side that it is
   * the same, as far as its protocol can.
   * @throws DeliveryFailure, and the signal's reason when that aborts
   */
  send(changes: readonly Change[], signal: AbortSignal): Promise<void>;
  close?(): void;
}

/**
 * What a failure says about the next attempt: `refused`: this message will never be taken. `failed`: it may be taken later, and others may be taken now.
 * `down`: nothing will be taken for now.
 */
export type Verdict = "refused" | "failed" | "down";

/** The other side did not take a message. The reason holds nothing secret. */
export class DeliveryFailure extends Error {
  readonly verdict: Verdict;
  /** How long the other side asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(verdict: Verdict, reason: string, retryAfterMs?: number) {
    super(reason);
    this.name = "DeliveryFailure";
    this.verdict = verdict;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A change without its place, as it is told to others. */
export function told({ offset: _, ...change }: Change): AlertChange {
  return change;
}

/** An id of a length that the other side takes: the id itself, or as much of it as fits before a digest of all of it. */
export function shortId(id: string, most: number, digest: (text: string) => string): string {
  const text = id.toWellFormed();
  if (text.length <= most) return text;
  const end = `~${digest(text).slice(0, 32)}`;
  return `${text.slice(0, most - end.length).toWellFormed()}${end}`;
}

/** Text of at most so many characters, with an ellipsis where something is left out. */
export function shortened(text: string, most: number): string {
  const fine = text.toWellFormed();
  return fine.length <= most ? fine : `${fine.slice(0, most - 1).toWellFormed()}…`;
}
