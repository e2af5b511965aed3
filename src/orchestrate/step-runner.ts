/**
 * The durable operations of one run: each first looks whether it is recorded, and else is done, as often as its retry rules say, and
 * recorded before the workflow hears of it.
 */
import type { RetryRule, Workflow } from "../define/read-workflow.ts";
import { retryDelayMs } from "../define/retry-delay.ts";
import type { StepContext } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { Journal } from "./journal.ts";
import type { LoopWatch, Watching } from "./loop-watch.ts";
import { endingError, NEVER, type RunControl } from "./run-control.ts";
import type { RunLog } from "./run-log.ts";
import type { RunRow, StepKind, StepRecord } from "./run-records.ts";
import { failureOf, StepFailure } from "./step-failure.ts";
import { prefixOf, type StepScope, scopes } from "./step-scope.ts";
import { recordable, valueHash } from "./step-values.ts";

export interface Operation {
  readonly kind: StepKind;
  readonly name: string;
  readonly input: unknown;
  readonly rules: readonly RetryRule[];
  readonly timeoutMs: number | undefined;
  /** True for what is waited for rather than done. */
  readonly waits: boolean;
  /** True for what must have ended before the run goes on, however long it takes to heed its signal. */
  readonly endsItself: boolean;
  readonly wakeAtMs?: ((startedAtMs: number) => number) | undefined;
  readonly work: (attempt: Attempt) => Promise<unknown> | unknown;
  readonly compensate?: ((output: never, step: StepContext) => unknown) | undefined;
}

export interface Attempt extends StepContext {
  readonly key: string;
  readonly record: StepRecord;
  save(change: Partial<StepRecord>): Promise<void>;
}

/** What would take a completed step back. */
export interface Undo {
  readonly completed: number;
  readonly key: string;
  readonly output: unknown;
  readonly rules: readonly RetryRule[];
  readonly compensate: (output: never, step: StepContext) => unknown;
}

export interface StepRunnerParts {
  readonly workflow: Workflow;
  readonly run: RunRow;
  readonly records: readonly StepRecord[];
  readonly journal: Journal;
  readonly log: RunLog;
  readonly control: RunControl;
  readonly root: StepScope;
  readonly watch: LoopWatch;
  readonly clock: () => number;
  readonly random: () => number;
  /** Calls at a moment of the clock; returns what calls it off. */
  readonly at: (atMs: number, ring: () => void) => () => void;
  /** Told when nothing of the run needs the processor any more, and when something does again. */
  readonly idle: (idle: boolean) => void;
}

/** A step that takes longer is shown as running; shorter ones cost one write. */
const SHOWN_AFTER_MS = 250;
const LONGEST_TIMER_MS = 2_147_483_647;
/** Operations whose work is a function of the project, run in this process. */
const OF_THE_PROJECT: ReadonlySet<StepKind> = new Set(["step", "undo"]);
const UNWATCHED: Watching = { call: (body) => body(), end: () => undefined };
const UNDO_RULE: RetryRule = {
  matches: () => true,
  attempts: 3,
  delayMs: 1_000,
  factor: 4,
  maxDelayMs: 60_000,
  jitter: true,
};

export class StepRunner {
  readonly #o: StepRunnerParts;
  readonly #control: RunControl;
  readonly #records: Map<string, StepRecord>;
  readonly #asked = new Set<string>();
  readonly #undos: Undo[] = [];
  #position: number;
  #completed: number;
  #busy = 0;
  #waits = 0;
  #isIdle = false;

  constructor(parts: StepRunnerParts) {
    this.#o = parts;
    this.#control = parts.control;
    this.#records = new Map(parts.records.map((record) => [record.key, record]));
    this.#position = Math.max(0, ...parts.records.map(({ position }) => position));
    this.#completed = Math.max(0, ...parts.records.map(({ completed }) => completed ?? 0));
  }

  /** How many operations are being done, those that wait not counted. */
  get busy(): number {
    return this.#busy;
  }

  /** What is to be called when the run ends badly, the newest step first. */
  undos(): readonly Undo[] {
    return [...this.#undos].sort((a, b) => b.completed - a.completed);
  }

  /** Gives what is recorded, or does it and records it. */
  async durable(operation: Operation, fixedKey?: string): Promise<unknown> {
    const scope = scopes.getStore() ?? this.#o.root;
    const { kind, name } = operation;
    if (typeof name !== "string" || name === "" || name.length > 200)
      throw new MillraceError("STEP_INVALID", {
        step: String(name),
        reason: "must have a name of 1 to 200 characters",
      });
    if (scope.inside !== undefined)
      throw new MillraceError("STEP_INVALID", {
        step: name,
        reason: `is asked for inside step ${scope.inside}, where nothing is durable: end that step first`,
      });
    const key = fixedKey ?? scope.key(name);
    if (this.#control.suspended) return NEVER;
    if (this.#control.over)
      throw new MillraceError("STEP_INVALID", { step: key, reason: "is asked for after the run's end" });
    const input = recordable(key, operation.input);
    const inputHash = valueHash(input);
    const record = this.#records.get(key);
    this.#asked.add(key);
    if (record !== undefined) {
      if (record.kind !== kind) throw this.#changed(`${key} was recorded as ${record.kind} and is now ${kind}`);
      if (record.inputHash !== inputHash) throw this.#changed(`the input of ${key} is not the one recorded`);
      if (record.status === "succeeded") return this.#succeeded(operation, record);
      if (record.status === "failed") throw new StepFailure(record.error!);
    } else await this.#replayEnds(scope, key);
    if (this.#control.suspended) return NEVER;
    if (this.#control.ending !== undefined && !scope.undo) {
      // Replaying to its end, this is where the run was.
      this.#control.cutSoon();
      throw endingError(this.#control.ending);
    }
    const nowMs = this.#o.clock();
    return this.#live(operation, scope, {
      ...{ run: this.#o.run.id, key, kind, status: "running", position: record?.position ?? ++this.#position },
      ...{ completed: null, inputHash, input, output: null, error: record?.error ?? null },
      attempts: record === undefined ? 1 : record.status === "retrying" ? record.attempts + 1 : record.attempts,
      startedAtMs: record?.startedAtMs ?? nowMs,
      finishedAtMs: null,
      wakeAtMs: record?.wakeAtMs ?? null,
      detail: record?.detail ?? null,
    });
  }

  #succeeded({ compensate, rules }: Operation, { key, output, completed }: StepRecord): unknown {
    if (compensate !== undefined) {
      const undoRules = rules.length > 0 ? rules : [UNDO_RULE];
      this.#undos.push({ completed: completed ?? 0, key, output, rules: undoRules, compensate });
    }
    return structuredClone(output);
  }

  /** A step that is not recorded may only come when all that are recorded beside it have been asked for. */
  async #replayEnds(scope: StepScope, key: string): Promise<void> {
    const missing = () =>
      [...this.#records.values()].find(
        (record) =>
          !this.#asked.has(record.key) &&
          record.kind !== "undo" &&
          record.completed !== null &&
          prefixOf(record.key) === scope.prefix,
      );
    if (missing() === undefined) return;
    // Branches that run at once come to their recorded steps in any order: let all of them come to where they were.
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    const found = missing();
    if (found !== undefined)
      throw this.#changed(`it asks for ${key}, where ${found.key} was recorded and has not been asked for`);
  }

  #changed(reason: string): Error {
    const { workflow, run } = this.#o;
    const code =
      workflow.codeHash === run.code_hash ? "" : "; the code of the workflow is not the one that the run began with";
    const error = new MillraceError("RUN_CHANGED", { reason, code });
    this.#control.fatal ??= failureOf(error);
    this.#control.cut();
    return error;
  }

  async #live(operation: Operation, scope: StepScope, first: StepRecord): Promise<unknown> {
    const { journal, clock, random } = this.#o;
    const { key } = first;
    let record = first;
    const keep = (change: Partial<StepRecord>) => {
      record = { ...record, ...change };
      this.#records.set(key, record);
      return journal.write({ steps: [record] });
    };
    if (this.#records.get(key)?.status === "retrying") await this.#wait(scope, record.wakeAtMs ?? 0);
    for (;;) {
      const settled = await this.#attempt(operation, scope, record, keep);
      if ("output" in settled) {
        const { output } = settled;
        await keep({
          ...{ status: "succeeded", output, error: null, completed: ++this.#completed, finishedAtMs: clock() },
          ...{ wakeAtMs: null, detail: null },
        });
        return this.#control.suspended ? NEVER : this.#succeeded(operation, record);
      }
      if (this.#control.suspended) return NEVER;
      if (this.#control.ending !== undefined && !scope.undo) throw endingError(this.#control.ending);
      if (this.#control.fatal !== undefined) throw settled.error;
      const error = failureOf(settled.error, key);
      const delayMs = retryDelayMs(operation.rules, settled.error, record.attempts, random);
      if (delayMs === undefined) {
        await keep({
          ...{ status: "failed", error, completed: ++this.#completed, finishedAtMs: clock() },
          ...{ wakeAtMs: null, detail: null },
        });
        throw new StepFailure(error);
      }
      const wakeAtMs = Math.round(clock() + delayMs);
      await keep({ status: "retrying", error, wakeAtMs, detail: null });
      await this.#wait(scope, wakeAtMs);
      record = { ...record, status: "running", attempts: record.attempts + 1, wakeAtMs: null };
    }
  }

  async #attempt(
    operation: Operation,
    scope: StepScope,
    record: StepRecord,
    keep: (change: Partial<StepRecord>) => Promise<void>,
  ): Promise<{ readonly output: unknown } | { readonly error: unknown }> {
    const { key, attempts: attempt } = record;
    const { run } = this.#o;
    const timeout = new AbortController();
    const signal = AbortSignal.any([this.#control.abort.signal, timeout.signal]);
    const { timeoutMs } = operation;
    let wake: () => void = () => undefined;
    let settled = false;
    const shown = setTimeout(() => {
      // What it says is for onlookers; the end is recorded by a write that is waited for.
      if (!settled && !operation.waits) keep({ status: "running" }).catch(() => undefined);
    }, SHOWN_AFTER_MS);
    const outOfTime = () => timeout.abort(new MillraceError("STEP_TIMEOUT", { step: key, timeoutMs }));
    const timer =
      timeoutMs === undefined || operation.waits
        ? undefined
        : setTimeout(outOfTime, Math.min(timeoutMs, LONGEST_TIMER_MS));
    const log: StepContext["log"] = (message, fields) => this.#o.log.write(key, attempt, message, fields);
    const watching = OF_THE_PROJECT.has(operation.kind)
      ? this.#o.watch.begin({ run: run.id, workflow: run.workflow, step: key, log })
      : UNWATCHED;
    this.#count(operation.waits ? 0 : 1, operation.waits ? 1 : 0);
    try {
      if (operation.waits) {
        const wakeAtMs = record.wakeAtMs ?? operation.wakeAtMs?.(record.startedAtMs) ?? null;
        await keep({ status: "waiting", wakeAtMs });
        if (wakeAtMs !== null && operation.kind !== "sleep") wake = this.#o.at(wakeAtMs, outOfTime);
      }
      const work = scopes.run(scope.step(key), async () =>
        watching.call(() =>
          operation.work({
            ...{ attempt, signal, key, record: this.#records.get(key) ?? record, save: keep },
            idempotencyKey: `${run.id}/${key}`,
            log,
          }),
        ),
      );
      if (operation.endsItself) {
        this.#control.quiet.add(work);
        work.finally(() => this.#control.quiet.delete(work)).catch(() => undefined);
      }
      const output = await (operation.endsItself ? work : Promise.race([work, aborted(signal)]));
      signal.throwIfAborted();
      return { output: recordable(key, output) };
    } catch (error) {
      // An attempt that was stopped failed of what stopped it, whatever it says itself.
      return { error: signal.aborted ? signal.reason : error };
    } finally {
      settled = true;
      watching.end();
      clearTimeout(shown);
      clearTimeout(timer);
      wake();
      this.#count(operation.waits ? 0 : -1, operation.waits ? -1 : 0);
    }
  }

  /** Waits for a moment of the clock. Throws when the run is to end. */
  async #wait(scope: StepScope, untilMs: number): Promise<void> {
    const { signal } = this.#control.abort;
    let off: () => void = () => undefined;
    this.#count(0, 1);
    try {
      const rung = new Promise<void>((resolve) => {
        off = this.#o.at(untilMs, resolve);
      });
      await Promise.race([rung, aborted(signal)]);
    } catch {
      if (this.#control.suspended) return NEVER;
      if (this.#control.ending !== undefined && !scope.undo) throw endingError(this.#control.ending);
    } finally {
      off();
      this.#count(0, -1);
    }
  }

  #count(busy: number, waits: number): void {
    this.#busy += busy;
    this.#waits += waits;
    const idle = this.#busy === 0 && this.#waits > 0;
    if (idle === this.#isIdle) return;
    this.#isIdle = idle;
    this.#o.idle(idle);
  }

  /** Waits for a moment of the clock, or for the signal. */
  async until(atMs: number, signal: AbortSignal): Promise<void> {
    let off: () => void = () => undefined;
    const rung = new Promise<void>((resolve) => {
      off = this.#o.at(atMs, resolve);
    });
    await Promise.race([rung, aborted(signal)]).finally(() => off());
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
