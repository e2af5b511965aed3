/**
 * A function that takes several events at a time. Events of a partition are collected until there are as many as it takes or one of them has waited long
 * enough; one batch is under way at a time. When a batch fails, its events are tried one by one, those of one key one after the other, and
 * only what fails by itself is lost: later batches go on meanwhile without the keys that are held up.
 *
 * Each event brings its own context, so what is emitted and set is known to be of it, however the batches fall: they depend on the clock, and
 * fall otherwise after a crash.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { AttemptScope, FunctionCall, keyText } from "./function-call.ts";
import type { FunctionRunner } from "./function-operator.ts";
import type { EventView, Operator, Outlet } from "./operator.ts";

interface Item {
  readonly event: EventView;
  readonly key: string | undefined;
  readonly out: Outlet;
  /** Runs work as part of the event's own application, so that state knows whose change it is. */
  readonly within: <T>(work: () => T) => T;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

export class BatchOperator implements Operator {
  readonly #runner: FunctionRunner;
  readonly #size: number;
  readonly #waitMs: number;
  #waiting: Item[] = [];
  #timer: NodeJS.Timeout | undefined;
  #underWay = false;
  /** Keys with events that are tried one by one, and the last of each. */
  readonly #heldUp = new Map<string, Promise<void>>();

  constructor(
    runner: FunctionRunner,
    { batch }: { readonly batch: { readonly size: number; readonly waitMs: number } | undefined },
  ) {
    this.#runner = runner;
    this.#size = batch?.size ?? 1;
    this.#waitMs = batch?.waitMs ?? 0;
  }

  /** The lane holds nothing up: events of one key may be in one batch, and their order is kept here. */
  keyOf(): undefined {
    return undefined;
  }

  apply(event: EventView, out: Outlet): Promise<void> {
    return new Promise((done, failed) => {
      const key = keyText(this.#runner.parts.key, event);
      const item: Item = { event, key, out, within: AsyncLocalStorage.snapshot(), done, failed };
      if (key !== undefined && this.#heldUp.has(key)) this.#tryAlone(item);
      else this.#collect(item);
    });
  }

  #collect(item: Item): void {
    this.#waiting.push(item);
    if (this.#underWay) return;
    if (this.#waiting.length >= this.#size) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), this.#waitMs);
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#underWay = true;
    const items = this.#waiting.splice(0, this.#size);
    this.#take(items)
      .catch((error: unknown) => {
        for (const item of items) item.failed(error);
      })
      .finally(() => {
        this.#underWay = false;
        if (this.#waiting.length >= this.#size) this.#begin();
        else if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#begin(), this.#waitMs);
      });
  }

  async #take(items: readonly Item[]): Promise<void> {
    const scope = new AttemptScope();
    const calls = items.map(({ event }) => new FunctionCall(this.#runner.parts, event, 1, scope));
    const failure = await this.#runner.attempt(calls, calls, contextOf(calls, scope), scope);
    if (failure === undefined) {
      for (const [i, call] of calls.entries()) this.#commit(items[i] as Item, call);
      return;
    }
    if (items.length === 1 && this.#runner.delayMs(failure, 1) === undefined) {
      const [{ out, done }] = items as [Item];
      this.#runner.refuse(out, failure, 1);
      done();
      return;
    }
    for (const item of items) this.#tryAlone(item);
    // Events of these keys that wait for a batch come after those before them.
    const free: Item[] = [];
    for (const item of this.#waiting) {
      if (item.key !== undefined && this.#heldUp.has(item.key)) this.#tryAlone(item);
      else free.push(item);
    }
    this.#waiting = free;
  }

  /** Tries an event by itself, after those of its key that are tried already. */
  #tryAlone(item: Item): void {
    const { key } = item;
    const before = key === undefined ? undefined : this.#heldUp.get(key);
    const tried = (before ?? Promise.resolve()).then(() => item.within(() => this.#alone(item)));
    tried.then(item.done, item.failed);
    if (key === undefined) return;
    const settled = tried
      .catch(() => undefined) // `failed` has been told
      .then(() => {
        if (this.#heldUp.get(key) === settled) this.#heldUp.delete(key);
      });
    this.#heldUp.set(key, settled);
  }

  #alone({ event, out }: Item): Promise<void> {
    return this.#runner.toTheEnd(event, out, (call, scope) =>
      this.#runner.attempt([call], [call], contextOf([call], scope), scope),
    );
  }

  #commit(item: Item, call: FunctionCall): void {
    item.within(() => this.#runner.commit(call, item.out));
    item.done();
  }
}

/** What the function gets beside its events. */
function contextOf(calls: readonly FunctionCall[], scope: AttemptScope): object {
  const [first] = calls as [FunctionCall];
  return {
    attempt: first.attempt,
    log: first.log,
    get signal() {
      return scope.signal;
    },
  };
}
