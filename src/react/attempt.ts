/**
 * What one call of an operator for one event has changed, emitted and refused, until it is known whether it counts.
 *
 * A call that returns at once works on the state itself, and what it changed is undone when it throws. When it gives a promise, what it has changed so
 * far moves into an overlay of its own, in which the rest of it works on: other events go on meanwhile, and neither they nor a checkpoint see
 * any of it before the promise resolves.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { KeyedState, Outlet } from "./operator.ts";
import type { StateStore } from "./state-store.ts";

/** An emitted event, as JSON. */
export interface Emission {
  readonly stream: string;
  readonly text: string;
}

export class Attempt implements Outlet {
  readonly nowMs: number;
  /** Says in words which event of which operator this is; ids of emitted events begin with it. */
  readonly #cause: string;
  /** Stream -> the one text field of its id. */
  readonly #idFields: ReadonlyMap<string, string>;
  #emissions: Emission[] | undefined;
  #overlays: Map<StateStore, Map<string, unknown>> | undefined;
  refusal: { readonly code: string; readonly message: string } | undefined;

  constructor(nowMs: number, cause: string, idFields: ReadonlyMap<string, string>) {
    this.nowMs = nowMs;
    this.#cause = cause;
    this.#idFields = idFields;
  }

  get emissions(): readonly Emission[] {
    return this.#emissions ?? NONE;
  }

  get overlays(): Map<StateStore, Map<string, unknown>> {
    this.#overlays ??= new Map();
    return this.#overlays;
  }

  emit(stream: string, event: Readonly<Record<string, unknown>>): void {
    if (typeof event !== "object" || event === null || Array.isArray(event))
      throw new TypeError(
        `an event for "${stream}" must be an object, got ${event === null ? "null" : Array.isArray(event) ? "a list" : typeof event}`,
      );
    this.#emissions ??= [];
    const idField = this.#idFields.get(stream);
    const lacks = idField !== undefined && (event[idField] === undefined || event[idField] === null);
    const whole = lacks ? { ...event, [idField]: `${this.#cause}/${this.#emissions.length}` } : event;
    this.#emissions.push({ stream: String(stream), text: JSON.stringify(whole) });
  }

  refuse(code: string, message: string): void {
    this.refusal ??= { code, message };
  }
}

const NONE: readonly Emission[] = [];

/** The states of one operator in one lane, and which attempt works on them. */
export class OperatorStates {
  readonly stores = new Map<string, StateStore>();
  /** Arrival of the newest event the lane has begun. */
  nowMs = 0;
  /** The attempt whose call has not returned yet. */
  #direct: Attempt | undefined;
  /** Attempts whose promises are under way; of several, which one calls is told by the context of the call. */
  readonly #context = new AsyncLocalStorage<Attempt>();
  readonly #underWay = new Set<Attempt>();
  readonly #undo: { store: StateStore; key: string; value: unknown; atMs: number }[] = [];

  /** Calls `work` as the attempt; `concurrent` says that another one may begin before its promise resolves. */
  run<T>(attempt: Attempt, concurrent: boolean, work: () => T): T {
    this.#direct = attempt;
    try {
      return concurrent ? this.#context.run(attempt, work) : work();
    } finally {
      this.#direct = undefined;
    }
  }

  /** The attempt whose call has just returned counts. */
  keep(): void {
    this.#undo.length = 0;
  }

  /** It does not. */
  undo(): void {
    for (let entry = this.#undo.pop(); entry; entry = this.#undo.pop()) {
      const { store, key, value, atMs } = entry;
      if (value === undefined) store.delete(key);
      else store.set(key, value, atMs);
    }
  }

  /** It goes on in an overlay. */
  detach(attempt: Attempt): void {
    for (const { store, key } of this.#undo) overlayOf(attempt, store).set(key, store.get(key, attempt.nowMs));
    this.undo();
    this.#underWay.add(attempt);
  }

  /** The promise of a detached attempt has resolved, and it counts. */
  merge(attempt: Attempt): void {
    this.#underWay.delete(attempt);
    for (const [store, changes] of attempt.overlays) {
      for (const [key, value] of changes) {
        if (value === undefined) store.delete(key);
        else store.set(key, value, attempt.nowMs);
      }
    }
  }

  drop(attempt: Attempt): void {
    this.#underWay.delete(attempt);
  }

  view<V>(store: StateStore<V>): KeyedState<V> {
    return new StateView(this, store);
  }

  /** The attempt that reads or writes now; undefined outside of any. */
  current(): { readonly attempt: Attempt; readonly direct: boolean } | undefined {
    if (this.#direct) return { attempt: this.#direct, direct: true };
    const attempt = this.#context.getStore() ?? (this.#underWay.size === 1 ? [...this.#underWay][0] : undefined);
    return attempt && this.#underWay.has(attempt) ? { attempt, direct: false } : undefined;
  }

  get direct(): Attempt | undefined {
    return this.#direct;
  }

  remember(store: StateStore, key: string, nowMs: number): void {
    const atMs = store.setAt(key);
    this.#undo.push({ store, key, value: atMs === undefined ? undefined : store.get(key, nowMs), atMs: atMs ?? 0 });
  }
}

function overlayOf(attempt: Attempt, store: StateStore): Map<string, unknown> {
  let overlay = attempt.overlays.get(store);
  if (!overlay) {
    overlay = new Map();
    attempt.overlays.set(store, overlay);
  }
  return overlay;
}

class StateView<V> implements KeyedState<V> {
  readonly #states: OperatorStates;
  readonly #store: StateStore<V>;

  constructor(states: OperatorStates, store: StateStore<V>) {
    this.#states = states;
    this.#store = store;
  }

  get(key: string): V | undefined {
    const { direct } = this.#states;
    if (direct) return this.#store.get(key, direct.nowMs);
    const overlay = this.#overlay();
    if (overlay?.has(key)) return overlay.get(key) as V | undefined;
    return this.#store.get(key, this.#nowMs());
  }

  set(key: string, value: V): void {
    const { direct } = this.#states;
    if (direct) {
      this.#states.remember(this.#store as StateStore, key, direct.nowMs);
      this.#store.set(key, value, direct.nowMs);
      return;
    }
    if (value === undefined)
      throw new TypeError(`state "${this.#store.name}" cannot hold undefined; delete the key instead`);
    overlayOf(this.#writing(), this.#store as StateStore).set(key, value);
  }

  delete(key: string): void {
    const { direct } = this.#states;
    if (direct) {
      this.#states.remember(this.#store as StateStore, key, direct.nowMs);
      this.#store.delete(key);
      return;
    }
    overlayOf(this.#writing(), this.#store as StateStore).set(key, undefined);
  }

  get size(): number {
    let size = this.#store.size(this.#nowMs());
    for (const [key, value] of this.#overlay() ?? []) {
      const known = this.#store.setAt(key) !== undefined;
      if (known !== (value !== undefined)) size += known ? -1 : 1;
    }
    return size;
  }

  *keys(): IterableIterator<string> {
    const overlay = this.#overlay();
    for (const key of this.#store.keys(this.#nowMs())) if (!overlay?.has(key)) yield key;
    for (const [key, value] of overlay ?? []) if (value !== undefined) yield key;
  }

  *entries(): IterableIterator<[string, V]> {
    for (const key of this.keys()) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  #overlay(): Map<string, unknown> | undefined {
    const current = this.#states.current();
    return current?.direct === false ? current.attempt.overlays.get(this.#store as StateStore) : undefined;
  }

  #nowMs(): number {
    return this.#states.current()?.attempt.nowMs ?? this.#states.nowMs;
  }

  #writing(): Attempt {
    const current = this.#states.current();
    if (!current) throw new Error(`state "${this.#store.name}" can only be changed while an event is applied`);
    return current.attempt;
  }
}
