/** What the main thread and the worker thread say to each other. Buffers are handed over, not copied. */

import type { LookupPlan } from "../define/read-lookup.ts";
import type { Span } from "../log/event-log.ts";
import type { DoneSet } from "./done-set.ts";
import type { LookupBlock } from "./lookups/lookup-table.ts";
import type { OperatorPlan } from "./operator.ts";
import type { RetriedEvent } from "./reactor-options.ts";

/** For the worker's start. */
export interface WorkerStart {
  readonly project: { readonly dir: string; readonly modules: readonly string[] };
  /** URL of the module whose `operatorKinds` opens operators. */
  readonly kinds: string;
  /** Stream -> the one text field of its id, which emitted events are given when they lack it. */
  readonly idFields: ReadonlyMap<string, string>;
  readonly watch: SharedArrayBuffer;
}

export type ToWorker =
  | ({ readonly kind: "restore" } & RestoredEntries)
  | { readonly kind: "open"; readonly lane: number; readonly setup: LaneSetup }
  | { readonly kind: "run"; readonly lane: number; readonly run: SentRun }
  /** Events that the log has lost: nobody applies them. */
  | { readonly kind: "skip"; readonly lane: number; readonly to: number }
  | { readonly kind: "take"; readonly lane: number; readonly take: number }
  | { readonly kind: "copy"; readonly lane: number; readonly copy: number }
  | { readonly kind: "written"; readonly lane: number }
  /** No further event is begun; `halted` answers once none is under way. */
  | { readonly kind: "halt"; readonly lane: number }
  /** The lane is forgotten, open or not. */
  | { readonly kind: "close"; readonly lane: number }
  | {
      readonly kind: "retry";
      readonly lane: number;
      readonly id: number;
      readonly operator: number;
      readonly event: RetriedEvent;
    }
  | {
      readonly kind: "read";
      readonly id: number;
      readonly lane: number;
      readonly operator: number;
      readonly request: unknown;
    }
  /** Of a table that rows are looked up in. */
  | { readonly kind: "lookup"; readonly plan: LookupPlan; readonly block: LookupBlock }
  | { readonly kind: "tick"; readonly nowMs: number };

/** Entries of a checkpoint, before the lane is opened. */
export interface RestoredEntries {
  readonly lane: number;
  readonly entries: Uint8Array<ArrayBuffer>;
}

export interface LaneSetup {
  readonly stream: string;
  readonly partition: number;
  readonly operators: readonly OperatorSetup[];
  /** Applied before, by every operator that says nothing else. */
  readonly done: DoneSet;
  /** Arrival of the newest event that was applied. */
  readonly nowMs: number;
  /** True when an event that was under way when the thread died is looked for: one at a time up to this offset. */
  readonly cautiousTo: number;
  /** True when other lanes take the same events. */
  readonly shared: boolean;
}

export interface OperatorSetup {
  readonly plan: OperatorPlan;
  /** Counts through all lanes: what the watch tells. */
  readonly number: number;
  /** What this operator has applied before, beyond what the lane has. */
  readonly done: DoneSet | undefined;
  /** Offset -> why it is left out: events that ended a thread. */
  readonly leftOut: ReadonlyMap<number, { readonly code: string; readonly message: string }>;
  /** State name -> version of its codec in the checkpoint. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface SentRun {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly spans: readonly Span[];
  /** Offsets of events that repeat earlier ones: nobody applies them. */
  readonly repeated: readonly number[];
}

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly error: CarriedError }
  | { readonly kind: "restored"; readonly lane: number }
  | { readonly kind: "opened"; readonly lane: number; readonly incompatible: readonly Incompatible[] }
  | { readonly kind: "open-failed"; readonly lane: number; readonly error: CarriedError }
  | ({ readonly kind: "done" } & DoneReport)
  /** The state as of now will follow in parts. Everything reported before belongs to it, nothing after. */
  | { readonly kind: "taken"; readonly lane: number; readonly take: number; readonly state: TakenState }
  | { readonly kind: "part"; readonly lane: number; readonly take: number; readonly entries: Uint8Array<ArrayBuffer> }
  | { readonly kind: "take-ended"; readonly lane: number; readonly take: number }
  | { readonly kind: "copy-ended"; readonly lane: number; readonly copy: number }
  | { readonly kind: "halted"; readonly lane: number }
  | {
      readonly kind: "retried";
      readonly lane: number;
      readonly id: number;
      readonly failure: { readonly code: string; readonly message: string } | undefined;
      readonly emissions: SentEmissions | undefined;
    }
  | { readonly kind: "read"; readonly id: number; readonly value?: unknown; readonly error?: CarriedError }
  | { readonly kind: "uncaught"; readonly error: CarriedError };

export interface Incompatible {
  readonly operator: string;
  readonly state: string;
  readonly got: string;
  readonly wanted: string;
}

export interface DoneReport {
  readonly lane: number;
  readonly done: DoneSet;
  /** Runs that have been taken whole since the last report. */
  readonly runs: number;
  /** Events that repeat earlier ones, met since the last report. */
  readonly repeated: number;
  readonly emissions: SentEmissions | undefined;
  readonly previews: SentEmissions | undefined;
  readonly letters: readonly SentLetter[];
  readonly stateEntries: number;
  readonly stateBytes: number;
}

export interface TakenState {
  readonly done: DoneSet;
  readonly nowMs: number;
  readonly versions: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Emitted events, one after the other in `bytes`. */
export interface SentEmissions {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** By `stream` of each emission. */
  readonly streams: readonly string[];
  /** Of each emission: number of the stream in `streams`, number of the operator in the lane, offset of the cause, its number among those of the cause, bytes. */
  readonly facts: Float64Array<ArrayBuffer>;
}

export const EMISSION_FACTS = 5;

export interface SentLetter {
  /** Number in the lane. */
  readonly operator: number;
  readonly offset: number;
  readonly code: string;
  readonly message: string;
  readonly payload: Uint8Array;
  readonly source: string;
}

/** An error on its way between threads: classes do not survive the journey. */
export interface CarriedError {
  readonly code: string | undefined;
  readonly params: unknown;
  readonly message: string;
  readonly stack: string | undefined;
}
