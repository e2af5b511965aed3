/**
 * A lane in the worker thread: takes the events of its runs in order, gives each to its operators, and keeps account of what is done.
 *
 * Events whose operator gives a promise stay pending, and those of other keys go on. An event waits as a whole, for all operators of the lane,
 * so that what one operator of the lane reads of another is as of the event.
 */
import { messageOf } from "../errors.ts";
import { Attempt, type OperatorStates } from "./attempt.ts";
import { type DoneSet, isDone } from "./done-set.ts";
import type { DoneReport, LaneSetup, OperatorSetup, SentEmissions, SentLetter, SentRun } from "./messages.ts";
import { OpenRun } from "./open-run.ts";
import type { EventView, Operator } from "./operator.ts";
import { frozen, type ParsedEvents } from "./parsed-events.ts";
import { EmissionWriter } from "./sent-emissions.ts";
import type { ThreadWatch } from "./thread-watch.ts";

export interface OpenedOperator {
  readonly setup: OperatorSetup;
  readonly operator: Operator;
  readonly states: OperatorStates;
}

export interface LaneHost {
  readonly watch: ThreadWatch;
  /** Of the partition, where several lanes take its events. */
  readonly parsed: ParsedEvents | undefined;
  readonly idFields: ReadonlyMap<string, string>;
  /** A promise has resolved: there is work again, or something to report. */
  wake(): void;
  /** What an operator throws where no event is to blame. */
  report(error: unknown): void;
}

/** Events whose turn has not come are pending too; more of them than this are not taken from the runs. */
const MOST_PENDING = 1024;
const DEFAULT_CONCURRENCY = 64;
/** Between two looks at the clock. */
const EVENTS_PER_LOOK = 8;

type Failure = { readonly code: string; readonly message: string };

export class WorkerLane {
  readonly setup: LaneSetup;
  readonly #operators: readonly LaneOperator[];
  readonly #host: LaneHost;
  readonly #runs: OpenRun[] = [];
  readonly #concurrency: number;
  /** What this thread must not apply again. */
  readonly #before: DoneSet;
  #next: number;
  #nowMs: number;
  /** In the order of their offsets. */
  readonly #pending = new Map<number, PendingEvent>();
  /** Events with promises under way, or ready to run on. */
  #running = 0;
  /** Operator and key -> who has it, and who waits for it in order. */
  readonly #chains = new Map<string, PendingEvent[]>();
  readonly #emissions: EmissionWriter;
  readonly #previews: EmissionWriter;
  #letters: SentLetter[] = [];
  #runsTaken = 0;
  #repeated = 0;
  #changed = false;
  #halted = false;

  constructor(setup: LaneSetup, operators: readonly OpenedOperator[], host: LaneHost) {
    this.setup = setup;
    this.#host = host;
    this.#before = setup.done;
    this.#next = setup.done.pending[0] ?? setup.done.next;
    this.#nowMs = setup.nowMs;
    this.#operators = operators.map((opened, i) => new LaneOperator(opened, i, this.#nowMs));
    this.#concurrency = Math.min(...operators.map(({ setup: { plan } }) => plan.concurrency ?? DEFAULT_CONCURRENCY));
    this.#emissions = new EmissionWriter();
    this.#previews = new EmissionWriter();
  }

  get done(): DoneSet {
    const { next: before, pending: missing } = this.#before;
    const mine = [...this.#pending.keys()];
    if (this.#next >= before) return { next: this.#next, pending: mine };
    // Not yet through with what was pending when the checkpoint was made.
    return { next: before, pending: [...mine, ...missing.filter((offset) => offset >= this.#next)] };
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get busy(): boolean {
    return this.#runs.length > 0 || this.#pending.size > 0;
  }

  push(run: SentRun): void {
    if (this.#halted) return;
    this.#runs.push(new OpenRun(run));
  }

  skip(to: number): void {
    this.#runs.push(new OpenRun({ from: to + 1, to, bytes: new Uint8Array(0), spans: [], repeated: [] }));
  }

  /** Begins no event any more. */
  halt(): void {
    this.#halted = true;
    this.#runs.length = 0;
  }

  /** True when nothing is under way that `halt` would wait for. */
  get halted(): boolean {
    return this.#halted && this.#running === 0;
  }

  /** Takes events until the clock says `untilMs`; true when more can be taken at once. */
  work(untilMs: number): boolean {
    for (let count = 1; ; count++) {
      const run = this.#runs[0];
      if (!run || !this.#hasRoom()) return false;
      const line = run.take();
      if (!line) {
        this.#runs.shift();
        this.#runsTaken++;
        this.#next = Math.max(this.#next, run.to + 1);
        this.#changed = true;
        continue;
      }
      this.#begin(run, line.offset, line.text);
      if (count % EVENTS_PER_LOOK === 0 && performance.now() >= untilMs) return true;
    }
  }

  /** What happened since the last report; undefined when nothing did. */
  report(): Omit<DoneReport, "lane"> | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    const letters = this.#letters;
    this.#letters = [];
    const runs = this.#runsTaken;
    this.#runsTaken = 0;
    const repeated = this.#repeated;
    this.#repeated = 0;
    let stateEntries = 0;
    let stateBytes = 0;
    for (const { states } of this.#operators) {
      for (const store of states.stores.values()) {
        store.expire(this.#nowMs, EXPIRED_AT_ONCE);
        stateEntries += store.entryCount;
        stateBytes += store.bytes;
      }
    }
    return {
      ...{ done: this.done, runs, repeated, letters, stateEntries, stateBytes },
      emissions: this.#emissions.take(),
      previews: this.#previews.take(),
    };
  }

  /** True when something should be told soon. */
  get urgent(): boolean {
    return this.#letters.length > 0 || !this.#emissions.empty || this.#runsTaken > 0;
  }

  tick(nowMs: number): void {
    for (const operator of this.#operators) {
      if (!operator.operator.tick) continue;
      const attempt = new Attempt(this.#nowMs, `${operator.name}/tick/${nowMs}`, this.#host.idFields);
      this.#host.watch.enter(operator.setup.number, -1);
      try {
        operator.operator.tick(nowMs, attempt);
      } catch (error) {
        this.#host.report(error);
        continue;
      } finally {
        this.#host.watch.leave();
      }
      for (const [i, emission] of attempt.emissions.entries()) this.#previews.add(emission, operator.place, -1, i);
      if (attempt.emissions.length > 0) this.#changed = true;
    }
  }

  read(place: number, request: unknown): unknown {
    const operator = this.#operators[place];
    if (!operator?.operator.read) throw new Error(`"${operator?.name ?? place}" answers no reads`);
    this.#host.watch.enter(operator.setup.number, -1);
    try {
      return operator.operator.read(request);
    } finally {
      this.#host.watch.leave();
    }
  }

  /** Applies an event to one operator again, between the others: behind those of its key that are under way, and before those that come. */
  async retry(
    place: number,
    {
      partition,
      offset,
      receivedAtMs,
      source,
      payload,
    }: { partition: number; offset: number; receivedAtMs: number; source: string; payload: Uint8Array },
  ): Promise<{ failure: Failure | undefined; emissions: SentEmissions | undefined }> {
    const operator = this.#operators[place];
    if (!operator) throw new Error(`there is no operator ${place}`);
    const writer = new EmissionWriter();
    let value: Readonly<Record<string, unknown>>;
    try {
      value = JSON.parse(
        Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString("utf8"),
      ) as typeof value;
    } catch (error) {
      return { failure: unreadable(error), emissions: undefined };
    }
    const event: EventView = { value, partition, offset, receivedAtMs, source };
    const turn = new PendingEvent(event, "");
    const mine = new Promise<void>((resolve) => {
      turn.begin = resolve;
    });
    for (const key of this.#keysOf(event, [operator])) this.#chain(turn, key);
    if (turn.waits > 0) await mine;
    const attempt = this.#attempt(operator, offset, Math.max(this.#nowMs, receivedAtMs));
    const outcome = this.#call(operator, event, attempt);
    if (outcome instanceof Promise) this.#givesPromises(operator, turn);
    const failure = outcome instanceof Promise ? await outcome : outcome;
    this.#leave(turn);
    this.#changed = true;
    if (failure === undefined) this.#emit(writer, operator, attempt, offset);
    return { failure, emissions: writer.take() };
  }

  #hasRoom(): boolean {
    if (this.#pending.size === 0) return true;
    if (this.#next <= this.setup.cautiousTo) return false;
    return this.#running < this.#concurrency && this.#pending.size < MOST_PENDING;
  }

  #begin(run: OpenRun, offset: number, text: string): void {
    this.#next = Math.max(this.#next, offset + 1);
    if (isDone(this.#before, offset)) return;
    this.#changed = true;
    if (run.isRepeated(offset)) {
      this.#repeated++;
      return;
    }
    const span = run.spanOf(offset);
    if (span.receivedAtMs > this.#nowMs) this.#nowMs = span.receivedAtMs;
    let value: Readonly<Record<string, unknown>>;
    try {
      value = this.#valueOf(offset, text);
    } catch (error) {
      for (const operator of this.#operators) this.#letter(operator, offset, unreadable(error), text, span.source);
      return;
    }
    const event: EventView = {
      ...{ value, partition: this.setup.partition, offset },
      ...{ receivedAtMs: span.receivedAtMs, source: span.source },
    };
    if (this.#pending.size > 0 || this.#chains.size > 0) {
      const pending = new PendingEvent(event, text);
      if (!this.#mayRun(pending)) {
        this.#pending.set(offset, pending);
        return;
      }
      this.#runFrom(pending, 0);
      return;
    }
    for (let place = 0; place < this.#operators.length; place++) {
      const operator = this.#operators[place] as LaneOperator;
      const promise = this.#apply(operator, event, text);
      if (promise === undefined) continue;
      const pending = new PendingEvent(event, text);
      for (const key of this.#keysOf(event)) this.#chain(pending, key);
      this.#wait(pending, place, promise);
      return;
    }
  }

  #valueOf(offset: number, text: string): Readonly<Record<string, unknown>> {
    const parsed = this.#host.parsed?.get(offset);
    if (parsed) return parsed;
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    if (this.#host.parsed) this.#host.parsed.put(offset, value);
    else if (this.#operators.length > 1) frozen(value);
    return value;
  }

  /** Puts the event into the chains of its keys; true when it is the first in all of them. */
  #mayRun(pending: PendingEvent): boolean {
    for (const key of this.#keysOf(pending.event)) this.#chain(pending, key);
    return pending.waits === 0;
  }

  #chain(pending: PendingEvent, key: string): void {
    pending.keys.push(key);
    const chain = this.#chains.get(key);
    if (!chain) this.#chains.set(key, [pending]);
    else {
      chain.push(pending);
      pending.waits++;
    }
  }

  #keysOf(event: EventView, operators: readonly LaneOperator[] = this.#operators): string[] {
    const keys: string[] = [];
    for (const { operator, place, gavePromise } of operators) {
      if (operator.keyOf) {
        const key = keyIn(operator, event);
        if (key !== undefined) keys.push(`${place}/${key}`);
      } else if (gavePromise) keys.push(String(place));
    }
    return keys;
  }

  /** Gives the event to the operators from `place` on, until one of them gives a promise. */
  #runFrom(pending: PendingEvent, from: number): void {
    for (let place = from; place < this.#operators.length; place++) {
      const promise = this.#apply(this.#operators[place] as LaneOperator, pending.event, pending.text);
      if (promise !== undefined) {
        this.#wait(pending, place, promise);
        return;
      }
    }
    this.#finish(pending);
  }

  /** From its first promise on, the events of an operator without keys come one after the other. */
  #givesPromises(operator: LaneOperator, pending: PendingEvent): void {
    if (operator.gavePromise) return;
    operator.gavePromise = true;
    if (!operator.operator.keyOf) this.#chain(pending, String(operator.place));
  }

  #wait(pending: PendingEvent, place: number, promise: Promise<void>): void {
    const { offset } = pending.event;
    const operator = this.#operators[place] as LaneOperator;
    this.#givesPromises(operator, pending);
    this.#pending.set(offset, pending);
    this.#running++;
    if (this.#running === 1) this.#host.watch.waiting(operator.setup.number, offset);
    else this.#host.watch.waited();
    promise.then(() => {
      this.#running--;
      if (this.#running === 0) this.#host.watch.waited();
      this.#runFrom(pending, place + 1);
      this.#host.wake();
    });
  }

  #finish(pending: PendingEvent): void {
    this.#pending.delete(pending.event.offset);
    this.#changed = true;
    this.#leave(pending);
  }

  /** Those that are the first in all their chains now begin. */
  #leave(pending: PendingEvent): void {
    const ready: PendingEvent[] = [];
    for (const key of pending.keys) {
      const chain = this.#chains.get(key) as PendingEvent[];
      chain.shift();
      const [first] = chain;
      if (!first) this.#chains.delete(key);
      else if (--first.waits === 0) ready.push(first);
    }
    if (this.#halted) return; // they stay pending
    for (const next of ready) {
      if (next.begin) next.begin();
      else this.#runFrom(next, 0);
    }
  }

  /** Gives an event to one operator, whose results count when this returns or the promise resolves. The promise never rejects. */
  #apply(operator: LaneOperator, event: EventView, text: string): Promise<void> | undefined {
    const { offset } = event;
    const { done, leftOut } = operator.setup;
    if (done && isDone(done, offset)) return undefined;
    if (leftOut.size > 0) {
      const why = leftOut.get(offset);
      if (why) {
        this.#letter(operator, offset, why, text, event.source);
        return undefined;
      }
    }
    const attempt = this.#attempt(operator, offset, event.receivedAtMs);
    const settle = (failure: Failure | undefined): void => {
      if (failure !== undefined) this.#letter(operator, offset, failure, text, event.source);
      else if (attempt.emissions.length > 0) this.#emit(this.#emissions, operator, attempt, offset);
    };
    const outcome = this.#call(operator, event, attempt);
    if (outcome instanceof Promise) return outcome.then(settle);
    settle(outcome);
    return undefined;
  }

  #attempt({ name }: LaneOperator, offset: number, nowMs: number): Attempt {
    const { stream, partition } = this.setup;
    return new Attempt(nowMs, `${name}/${stream}/${partition}/${offset}`, this.#host.idFields);
  }

  /** Calls an operator. Changes of state are kept exactly when there is no failure. */
  #call(
    operator: LaneOperator,
    event: EventView,
    attempt: Attempt,
  ): Failure | undefined | Promise<Failure | undefined> {
    const { states } = operator;
    const { watch } = this.#host;
    if (attempt.nowMs > states.nowMs) states.nowMs = attempt.nowMs;
    let result: void | Promise<void>;
    watch.enter(operator.setup.number, event.offset);
    try {
      result = states.run(attempt, operator.operator.keyOf !== undefined, () =>
        operator.operator.apply(event, attempt),
      );
    } catch (error) {
      states.undo();
      return failureOf(error);
    } finally {
      watch.leave();
    }
    if (!isPromise(result)) {
      if (attempt.refusal) states.undo();
      else states.keep();
      return attempt.refusal;
    }
    states.detach(attempt);
    return Promise.resolve(result).then(
      () => {
        if (attempt.refusal) states.drop(attempt);
        else states.merge(attempt);
        return attempt.refusal;
      },
      (error: unknown) => {
        states.drop(attempt);
        return failureOf(error);
      },
    );
  }

  #emit(writer: EmissionWriter, operator: LaneOperator, attempt: Attempt, offset: number): void {
    for (const [i, emission] of attempt.emissions.entries()) writer.add(emission, operator.place, offset, i);
    this.#changed = true;
  }

  #letter({ place }: LaneOperator, offset: number, failure: Failure, text: string, source: string): void {
    this.#letters.push({ operator: place, offset, ...failure, payload: Buffer.from(text, "utf8"), source });
    this.#changed = true;
  }
}

/** In one report; the rest goes with the next ones. */
const EXPIRED_AT_ONCE = 256;

class LaneOperator {
  readonly setup: OperatorSetup;
  readonly operator: Operator;
  readonly states: OperatorStates;
  /** Number in the lane. */
  readonly place: number;
  readonly name: string;
  /** Then all of its events form one chain, unless it says what their keys are. */
  gavePromise = false;

  constructor({ setup, operator, states }: OpenedOperator, place: number, nowMs: number) {
    this.setup = setup;
    this.operator = operator;
    this.states = states;
    this.place = place;
    this.name = setup.plan.name;
    states.nowMs = nowMs;
  }
}

class PendingEvent {
  readonly event: EventView;
  readonly text: string;
  readonly keys: string[] = [];
  /** Chains in which others are before it. */
  waits = 0;
  /** Called when it is its turn, of one that is tried again. */
  begin: (() => void) | undefined;

  constructor(event: EventView, text: string) {
    this.event = event;
    this.text = text;
  }
}

/** One that cannot be told is for `apply` to fail on. */
function keyIn(operator: Operator, event: EventView): string | undefined {
  try {
    return operator.keyOf?.(event);
  } catch {
    return undefined;
  }
}

function isPromise(value: unknown): value is Promise<void> {
  return typeof (value as { then?: unknown } | undefined)?.then === "function";
}

function failureOf(error: unknown): Failure {
  const { code } = error as { code?: unknown };
  const message = error instanceof Error ? error.message : String(error);
  if (typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code)) return { code, message };
  return { code: "REACT_FAILED", message: messageOf("REACT_FAILED", { reason: message }) };
}

function unreadable(error: unknown): Failure {
  return {
    code: "REACT_EVENT_UNREADABLE",
    message: messageOf("REACT_EVENT_UNREADABLE", { reason: (error as Error).message }),
  };
}
