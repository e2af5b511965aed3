/** What the reactor stands on and what it tells: the shapes that the composition root wires. `reactor.ts` is what works by them. */
import type { Stream } from "../define/project.ts";
import type { LookupPlan } from "../define/read-lookup.ts";
import type { Membership } from "../log/assignment.ts";
import type { EventLog, Run } from "../log/event-log.ts";
import type { CheckpointStore } from "./checkpoint-store.ts";
import type { LookupBlock } from "./lookups/lookup-table.ts";
import type { OperatorPlan } from "./operator.ts";

export interface ReactorOptions {
  /** The project's folder and its module files, relative to it: the worker thread loads them for the definitions' functions. */
  readonly project: { readonly dir: string; readonly modules: readonly string[] };
  /** Every operator of the project. Those of one lane in the order in which each event passes them. */
  readonly plans: readonly OperatorPlan[];
  /** The streams operators may emit to. Their partitions, and those of the plans' streams, must be open in the log. */
  readonly streams: ReadonlyMap<string, Pick<Stream, "name" | "id" | "columns">>;
  readonly log: EventLog;
  /** Offsets of a run's events that repeat earlier ones: no operator gets them. Default: none do. */
  readonly repetitions?: (stream: string, partition: number, run: Run) => Promise<readonly number[]>;
  readonly checkpoints: CheckpointStore;
  /**
   * Says which partitions are this process's where several share them: lanes are opened by `gain` and closed by `lose` then, and nothing is appended for a
   * partition that may be another's. Default: all are, and every lane is opened at the start.
   */
  readonly membership?: Pick<Membership, "owns" | "confirmed">;
  /** The contract at the door, which everything that is emitted passes. */
  readonly admit: Admit;
  /** Resolves once the letters are durable. A letter given twice has the same id. */
  readonly deadLetters: (letters: readonly ReactLetter[]) => Promise<void>;
  /** Hears what does not end a call: damage, a thread that died, a disk that refuses. `error` mostly is a MillraceError. */
  readonly report: (error: unknown, what: string) => void;
  /** Milliseconds since the epoch; only previews depend on it. */
  readonly clock?: () => number;
  /** Least time between two checkpoints of a lane. Milliseconds, default 1000. */
  readonly checkpointMs?: number;
  /** JavaScript heap of the worker thread. Bytes, default 2 GiB. State is kept beside it. */
  readonly heapBytes?: number;
  /** How long `close` waits for events that are acknowledged and not applied. Milliseconds, default 10 s. */
  readonly drainMs?: number;
  /**
   * Tells a new thread all rows of the tables that operators look rows up in, and from then on every change of them. Resolves when each has been told
   * once, or has failed; lanes take events from then on.
   */
  readonly lookups?: (tell: (plan: LookupPlan, block: LookupBlock) => void) => Promise<void>;
  /** URL of the module whose `operatorKinds` opens operators; default: `operator-kinds.ts`. A name, for they live in another thread. */
  readonly kinds?: string;
}

/** The front door without HTTP. */
export type Admit = (
  stream: string,
  payload: Uint8Array,
) =>
  | { readonly kind: "accepted"; readonly partition: number; readonly line: Uint8Array }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

/**
 * What an operator could not take (`react`), or what it emitted and the contract of the target refuses (`door`).
 *
 * `react`: `stream`, `partition`, `offset`, `source` and `payload` are of the event, and `operator` could not take it; `Reactor.retry` tries again.
 * `door`: `stream` is the target, `payload` what was emitted, `source` names the lane; it can be sent through the door again.
 */
export interface ReactLetter {
  readonly stage: "react" | "door";
  /** The same for the same cause, however often it is told of. */
  readonly id: string;
  readonly operator: string;
  readonly stream: string;
  readonly code: string;
  readonly message: string;
  readonly payload: Uint8Array;
  readonly source: string;
  /** Of stage `react` only. */
  readonly partition?: number;
  readonly offset?: number;
}

/** A dead-lettered event of an operator, as it was. */
export interface RetriedEvent {
  readonly partition: number;
  readonly offset: number;
  readonly payload: Uint8Array;
  readonly receivedAtMs: number;
  readonly source: string;
}

/** `done`: state and emissions of it are durable, now or since an earlier retry. `failed`: nothing of it is kept. */
export type RetriedOutcome =
  | { readonly outcome: "done" }
  | { readonly outcome: "failed"; readonly code: string; readonly message: string };

export interface LaneStatus {
  readonly lane: string;
  readonly stream: string;
  readonly partition: number;
  readonly operators: readonly string[];
  /** The first offset it was ever given. */
  readonly begun: number;
  /** Every event below it is applied, and what it emitted is durable. */
  readonly position: number;
  /** Acknowledged events from there on. */
  readonly pending: number;
  /** Since the lane began, whatever was done again after a crash counted once. */
  readonly handled: number;
  /** Dead letters but for those that were tried again and taken. */
  readonly dead: number;
  /** Events that repeat earlier ones, which no operator got; among those handled. */
  readonly repeated: number;
  readonly emitted: number;
  readonly stateEntries: number;
  readonly stateBytes: number;
  /** Position of the last durable checkpoint and when it was written; undefined before the first of this life. */
  readonly checkpoint: { readonly position: number; readonly atMs: number } | undefined;
  /** How often the lane was begun again from its checkpoint, in this life. */
  readonly restarts: number;
  /** Why the lane stands still, while it does. */
  readonly problem: string | undefined;
}
