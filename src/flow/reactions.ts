/**
 * Reactions as the flow sees them: one more consumer of the log, with a hop in the ledger, a line in the receipt, and dead letters of its own. The
 * platform's composition root stands behind this port, since reactions and flow are siblings.
 */
import type { EventLog } from "../log/event-log.ts";
import type { LedgerEntry } from "./ledger.ts";

export interface Reactions {
  /** First offset of a partition that some reaction still needs; infinite when none reads the stream. */
  floor(stream: string, partition: number): number;
  /** Of every function and partition of its stream. */
  progress(): readonly ReactionProgress[];
  /**
   * Tries events again that an operator could not take, each of them once for good.
   * @throws REACT_OPERATOR_UNKNOWN when there is no such operator any more
   */
  retry(operator: string, stream: string, events: readonly RetriedEvent[]): Promise<readonly RetriedOutcome[]>;
}

export interface ReactionProgress {
  readonly function: string;
  readonly stream: string;
  readonly partition: number;
  /** The first offset it was ever given; what lies before it is from before the function. */
  readonly begun: number;
  /** Every event below it is handled, and what it gave is durable. */
  readonly position: number;
  /** Events that are dead letters, and were not retried since. */
  readonly dead: number;
  /** Events that repeat earlier ones, which it did not get. */
  readonly repeated: number;
}

export interface RetriedEvent {
  readonly partition: number;
  readonly offset: number;
  readonly payload: Uint8Array;
  readonly receivedAtMs: number;
  readonly source: string;
}

/** `done`: state and emissions of it are durable, now or since an earlier retry. */
export type RetriedOutcome =
  | { readonly outcome: "done" }
  | { readonly outcome: "failed"; readonly code: string; readonly message: string };

/** A project without any. */
export const NO_REACTIONS: Reactions = {
  floor: () => Number.POSITIVE_INFINITY,
  progress: () => [],
  retry: () => Promise.reject(new Error("the project has no reactions")),
};

/**
 * Hops of functions: `stored` are the events that were handled, `filtered` those from before the function began, `duplicate` those that it did not get
 * because they repeat others. The counters are of the checkpoint
 * that holds the function's position and state.
 */
export function reactionHops(reactions: Reactions, log: EventLog): LedgerEntry[] {
  return reactions.progress().map(({ function: name, stream, partition, begun, position, dead, repeated }) => {
    // Another worker may know of events before this one does.
    const accepted = Math.max(log.ends(stream, partition).end, position);
    const stored = position - begun - dead - repeated;
    return {
      ...{ stream, hop: functionHop(name), partition, accepted, stored, duplicate: repeated, filtered: begun },
      ...{ deadLettered: dead, pending: accepted - position, verified: undefined, imbalances: [] },
      balanced: stored >= 0,
    };
  });
}

/** What became of an event at a function. */
export type FunctionFate =
  | { readonly fate: "handled" }
  | { readonly fate: "duplicate"; readonly duplicateOf: number }
  /** From before the function began. */
  | { readonly fate: "filtered" }
  | { readonly fate: "pending" }
  | ({ readonly fate: "dead-lettered" } & LetterFacts);

interface LetterFacts {
  readonly deadLetterId: string;
  readonly stage: string;
  readonly code: string;
  readonly message: string;
  readonly status: string;
}

interface Place {
  readonly partition: number;
  readonly offset: number;
  readonly duplicateOf?: number | undefined;
}

/** What every function of the stream made of an event. `letters`: its dead letters by table and function. */
export function functionFates(
  reactions: Reactions,
  stream: string,
  { partition, offset, duplicateOf }: Place,
  letters: ReadonlyMap<string, LetterFacts>,
): ({ readonly function: string } & FunctionFate)[] {
  return reactions
    .progress()
    .filter((one) => one.stream === stream && one.partition === partition)
    .map(({ function: name, begun, position }) => {
      const letter = letters.get(name);
      if (letter && letter.status !== "retried") return { function: name, fate: "dead-lettered", ...letter };
      if (offset < begun) return { function: name, fate: "filtered" };
      if (duplicateOf !== undefined) return { function: name, fate: "duplicate", duplicateOf };
      return { function: name, fate: offset < position ? "handled" : "pending" };
    });
}

function functionHop(name: string): string {
  return `function.${name}`;
}
