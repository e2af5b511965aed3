/**
 * What the platform runs for each event of a stream, milliseconds behind the log: functions, windows, features and the conditions of
 * alerts are all operators. Operators run in a thread of their own, in lanes.
 *
 * A lane takes one partition of one stream from the log in order and gives every event to its operators. It has one position, one
 * store of keyed state and one checkpoint, in which the state stands together with the position that it reflects. What an operator emits for
 * an event is appended to the log of the target stream with a mark of the lane and of the offset that caused it; after a crash the
 * lane goes on from its checkpoint, and what the marks show to be in a target's log is not appended again. So an operator that is a
 * function of its events and its state gives each effect exactly once, whatever happens.
 *
 * Features of a stream and the functions that read them share a lane, so that a feature is read as of the event. Every other operator
 * has a lane of its own and holds up nobody else.
 */

import type { LookupPlan } from "../define/read-lookup.ts";
import type { LookupTable } from "./lookups/lookup-table.ts";

/** An event as operators see it. */
export interface EventView {
  /** The event as its contract describes it, parsed from JSON. Never changed. */
  readonly value: Readonly<Record<string, unknown>>;
  readonly partition: number;
  readonly offset: number;
  /** Arrival, milliseconds since 1970, never less than that of an earlier offset. */
  readonly receivedAtMs: number;
  /** Who sent it. */
  readonly source: string;
}

export interface Operator {
  /**
   * Takes an event. Changes of state and emissions count from the moment it returns (or its promise resolves); of an attempt that throws
   * neither is kept, so an operator must not change what `state.get` gave it, but `set` a new value.
   *
   * A promise says that the event takes time: other keys go on meanwhile, the same key waits (`keyOf`).
   */
  apply(event: EventView, out: Outlet): void | Promise<void>;
  /** Events with the same key are taken one after the other, in order. Only for operators whose `apply` may give a promise. Default: the whole partition is one key. */
  keyOf?(event: EventView): string | undefined;
  /**
   * Called about every 100 ms of real time, between events. What it emits is not exactly once (it depends on the clock), so only previews
   * whose ids a final result repeats belong here. State can be read and not changed.
   */
  tick?(nowMs: number, out: Outlet): void;
  /** Answers a read from outside, as `GET /v1/features/…`. Must not change state. */
  read?(request: unknown): unknown;
}

/** Where results of one event go. */
export interface Outlet {
  /**
   * Appends an event to a stream. It passes the stream's contract on the way; one that is refused is a dead letter of that stream's door, with the lane as its source.
   * The stream's one text field of its id is filled with an id derived from the cause where the event lacks it.
   */
  emit(stream: string, event: Readonly<Record<string, unknown>>): void;
  /**
   * Gives the event up, with the reason: it becomes a dead letter of the stage `react` with the operator's name, and can be retried. As with an attempt
   * that throws, neither changes of state nor emissions of the event are kept.
   */
  refuse(code: string, message: string): void;
}

/** State by key. In memory, checkpointed with the lane. Keys are texts; values anything the codec takes. */
export interface KeyedState<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
  readonly size: number;
  keys(): IterableIterator<string>;
  entries(): IterableIterator<[string, V]>;
}

/** How values are written to a checkpoint. Default: JSON. */
export interface StateCodec<V> {
  encode(value: V): Uint8Array | string;
  decode(bytes: Uint8Array): V;
  /** Part of the checkpoint: state of another name is refused by STATE_INCOMPATIBLE and built again from the log. */
  readonly version: string;
}

/** What a lane offers while an operator is opened. */
export interface LaneServices {
  /** The same name gives the same state after a restart. Entries not set for `ttlMs` of event arrival time (`receivedAtMs`) are dropped. */
  state<V>(name: string, options?: { readonly codec?: StateCodec<V>; readonly ttlMs?: number }): KeyedState<V>;
  readonly stream: string;
  readonly partition: number;
  /** Operators of the lane that each event passes before this one, by name. */
  readonly before: ReadonlyMap<string, Operator>;
  /** The copy of a table that rows are looked up in. */
  lookup(plan: LookupPlan): LookupTable;
}

/**
 * Makes operators of one kind in the worker thread. `plan` is what the main thread made of the definition when the project loaded (plain data
 * that can be cloned); `definition` is the definition itself with its functions, from the project's module as the worker loaded it.
 */
export interface OperatorKind<Plan = never, Options = never> {
  open(plan: Plan, definition: { readonly name: string; readonly options: Options }, lane: LaneServices): Operator;
}

/** One operator of a project, as the main thread tells the worker of it. */
export interface OperatorPlan {
  readonly kind: "function" | "window" | "feature" | "alert";
  /** Unique among operators of all kinds. */
  readonly name: string;
  readonly stream: string;
  /** Operators of one stream with the same lane share it, in the order of the list. */
  readonly lane: string;
  /** Where a lane begins that has no checkpoint: at the first event the log has, or behind the newest. */
  readonly from: "beginning" | "now";
  /** Changes when the operator's state could not be taken over: the lane then begins again. */
  readonly stateHash: string;
  /** For the kind's `open`. */
  readonly plan: unknown;
  /**
   * How long one call of `apply` may compute without giving the thread back, before the thread is ended and the event is a dead letter
   * (REACT_TIMEOUT). Milliseconds, default 10 s. How long a promise may take is for the operator itself to watch.
   */
  readonly timeoutMs?: number;
  /** Events of a lane whose promises are under way at once; of several operators the lowest counts. Default 64. */
  readonly concurrency?: number;
}
