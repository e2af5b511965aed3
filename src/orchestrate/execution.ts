/**
 * One run being executed: its function is run from the top, and every durable operation first looks whether it is recorded. What is
 * completed gives what it gave; the first that is not is done and recorded before the function hears of it.
 *
 * A step that was cut off in the middle is done again: each step is run at least once, and never again once its end is recorded.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseDuration } from "../define/duration.ts";
import type { Problem } from "../define/problem.ts";
import { type RetryRule, readRetry, type Workflow } from "../define/read-workflow.ts";
import type {
  CommandOutput,
  ExternalCommand,
  IsolatedOptions,
  Retry,
  Run,
  RunFailure,
  StepContext,
  StepOptions,
  WorkflowDefinition,
} from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import { type IsolatedCall, type IsolatedSurroundings, readIsolated } from "./isolated-step.ts";
import type { Journal } from "./journal.ts";
import { retryDelayMs } from "./retry.ts";
import { RunLog } from "./run-log.ts";
import type { Ending, RunRow, RunStatus, StepKind, StepRecord } from "./run-records.ts";
import { failureOf, StepFailure } from "./step-failure.ts";
import { prefixOf, StepScope, scopes } from "./step-scope.ts";
import { recordable, valueHash } from "./step-values.ts";

/** What steps do outside of their run. */
export interface Means {
  sql(sql: string, params: readonly unknown[], options: { signal: AbortSignal }): Promise<unknown[]>;
  refresh(
    table: string,
    options: { full: boolean; signal: AbortSignal },
  ): Promise<{ kind: "none" | "full" | "by"; version: number }>;
  /** Resolves when nothing of the command is left. `started` is told the process, and `line` each line it prints. */
  exec(
    command: ExternalCommand,
    options: {
      signal: AbortSignal;
      /** Of an earlier life: ended first. */
      leftOver: StepRecord["detail"];
      started(detail: NonNullable<StepRecord["detail"]>): Promise<void>;
      line(stream: "stdout" | "stderr", text: string): void;
    },
  ): Promise<CommandOutput>;
  /** Calls a function in a process of its own; resolves when nothing of that is left. */
  isolated(call: IsolatedCall, around: Omit<IsolatedSurroundings, "dir" | "env">): Promise<unknown>;
  /** Begins the run of a sub-workflow unless it is there, and resolves with its end. */
  child(parent: RunRow, step: string, workflow: string, input: unknown, signal: AbortSignal): Promise<unknown>;
  /** Resolves with the data of the run's signal. */
  signal(run: string, name: string, signal: AbortSignal): Promise<unknown>;
}

export interface ExecutionParts {
  readonly workflow: Workflow;
  readonly run: RunRow;
  /** The project's folder. */
  readonly dir: string;
  readonly records: readonly StepRecord[];
  readonly journal: Journal;
  readonly means: Means;
  readonly clock: () => number;
  readonly random: () => number;
  /** Calls at a moment of the clock; returns what calls it off. */
  readonly at: (atMs: number, ring: () => void) => () => void;
  /** Told when nothing of the run needs the processor any more, and when something does again. */
  readonly idle: (idle: boolean) => void;
}

/** How an execution ended: as the run did, or because the platform stops. */
export type Outcome =
  | {
      readonly kind: "ended";
      readonly status: RunStatus;
      readonly output: unknown;
      readonly error: RunFailure | undefined;
    }
  | { readonly kind: "suspended" };

interface Operation {
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

interface Attempt extends StepContext {
  readonly key: string;
  readonly record: StepRecord;
  save(change: Partial<StepRecord>): Promise<void>;
}

interface Undo {
  readonly completed: number;
  readonly key: string;
  readonly output: unknown;
  readonly rules: readonly RetryRule[];
  readonly compensate: (output: never, step: StepContext) => unknown;
}

const STEP_TIMEOUT_MS = 3_600_000;
const MAP_CONCURRENCY = 10;
/** A step that takes longer is shown as running; shorter ones cost one write. */
const SHOWN_AFTER_MS = 250;
/** How long a replay that is to end may take to come to where it was, should its function wait for something outside of steps. */
const REPLAY_PATIENCE_MS = 10_000;
const SUSPEND_LOOK_MS = 10;
const LONGEST_TIMER_MS = 2_147_483_647;
const UNDO_RULE: RetryRule = {
  matches: () => true,
  attempts: 3,
  delayMs: 1_000,
  factor: 4,
  maxDelayMs: 60_000,
  jitter: true,
};

export class Execution {
  readonly #o: ExecutionParts;
  readonly #records: Map<string, StepRecord>;
  readonly #asked = new Set<string>();
  readonly #undos: Undo[] = [];
  readonly #log: RunLog;
  readonly #api: Run;
  readonly #root = new StepScope("");
  readonly #quiet = new Set<Promise<unknown>>();
  #abort = new AbortController();
  #ending: Ending | undefined;
  /** A failure that no `catch` of the workflow can take back, and after which nothing is undone. */
  #fatal: RunFailure | undefined;
  #suspended = false;
  #over = false;
  #position: number;
  #completed: number;
  #busy = 0;
  #waits = 0;
  #isIdle = false;
  #stop: () => void = () => undefined;
  readonly #stopped: Promise<void>;
  #cut: () => void = () => undefined;
  readonly #cutOff: Promise<void>;

  constructor(parts: ExecutionParts) {
    this.#o = parts;
    this.#records = new Map(parts.records.map((record) => [record.key, record]));
    this.#position = Math.max(0, ...parts.records.map(({ position }) => position));
    this.#completed = Math.max(0, ...parts.records.map(({ completed }) => completed ?? 0));
    this.#ending = parts.run.ending ?? undefined;
    this.#stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    this.#cutOff = new Promise((resolve) => {
      this.#cut = resolve;
    });
    this.#log = new RunLog(parts.run.id, parts.journal, parts.clock);
    this.#api = this.#runApi();
  }

  /** Executes the run to its end, which is recorded when this resolves. */
  async go(): Promise<Outcome> {
    const timer = this.#armTimeout();
    try {
      const outcome = await Promise.race([this.#toTheEnd(), this.#stopped]);
      return outcome ?? { kind: "suspended" };
    } finally {
      timer();
      this.#over = true;
    }
  }

  /** Makes the run end: nothing new begins, what is under way is aborted, what was done is undone. The first call counts. */
  end(ending: Ending): void {
    if (this.#ending !== undefined || this.#over) return;
    this.#ending = ending;
    this.#abort.abort(endingError(ending));
    void Promise.allSettled(this.#quiet).then(() => setImmediate(() => setImmediate(this.#cut)));
  }

  /**
   * Stops here, to be gone on with by a later life: nothing new begins, and what is under way has `graceMs` to come to its end and be
   * recorded. What has not by then is aborted, and will be done again. Resolves when no command is left.
   */
  async suspend(graceMs: number): Promise<void> {
    this.#suspended = true;
    const endMs = performance.now() + graceMs;
    while (this.#busy > 0 && performance.now() < endMs) await sleep(SUSPEND_LOOK_MS);
    this.#abort.abort(new MillraceError("SHUTTING_DOWN"));
    await Promise.allSettled(this.#quiet);
    this.#stop();
  }

  async #toTheEnd(): Promise<Outcome> {
    const { workflow, run } = this.#o;
    const body = scopes.run(this.#root, async () => workflow.body(this.#api));
    const patience = run.ending === null ? undefined : setTimeout(() => this.#cut(), REPLAY_PATIENCE_MS);
    let output: unknown;
    try {
      const first = await Promise.race([body.then((value) => ({ value })), this.#cutOff]);
      if (first !== undefined && this.#ending === undefined && this.#fatal === undefined)
        output = recordable("the workflow", first.value);
    } catch (error) {
      this.#ending ??= { status: "failed", error: failureOf(error) };
    } finally {
      clearTimeout(patience);
      body.catch(() => undefined); // it was cut off, and what it says afterwards changes nothing
    }
    if (this.#suspended) return { kind: "suspended" };
    if (this.#fatal !== undefined) return this.#finish("failed", null, this.#fatal);
    if (this.#ending === undefined) return this.#finish("succeeded", output, undefined);
    await Promise.allSettled(this.#quiet);
    return this.#undo(this.#ending);
  }

  async #undo(ending: Ending): Promise<Outcome> {
    const { workflow, run, journal } = this.#o;
    const undos = [...this.#undos].sort((a, b) => b.completed - a.completed);
    const left: string[] = [];
    if (undos.length > 0 || workflow.compensate !== undefined) {
      await journal.write({ runs: [{ run: run.id, status: "compensating", ending }] });
      this.#abort = new AbortController();
      const scope = new StepScope("", { undo: true });
      for (const { key, output, rules, compensate } of undos) {
        const operation: Operation = {
          ...{ kind: "undo", name: `undo ${key}`, input: output, rules, timeoutMs: STEP_TIMEOUT_MS },
          ...{ waits: false, endsItself: false },
          work: (attempt) => compensate(structuredClone(output) as never, attempt),
        };
        await scopes
          .run(scope, () => this.#durable(operation, `undo ${key}`))
          .catch((error: unknown) => left.push(`${key} (${failureOf(error).message})`));
      }
      if (workflow.compensate !== undefined) {
        const last = new StepScope("compensate/", { undo: true });
        await scopes
          .run(last, async () => workflow.compensate?.(this.#api, ending.error))
          .catch((error: unknown) => left.push(`the workflow (${failureOf(error).message})`));
      }
    }
    if (this.#suspended) return { kind: "suspended" };
    const message = `${ending.error.message}; not undone: ${left.join(", ")}`;
    return this.#finish(ending.status, null, left.length === 0 ? ending.error : { ...ending.error, message });
  }

  async #finish(status: RunStatus, output: unknown, error: RunFailure | undefined): Promise<Outcome> {
    const { run, journal, clock } = this.#o;
    await journal.write({ runs: [{ run: run.id, status, output, error, finishedAtMs: clock() }] });
    return { kind: "ended", status, output, error };
  }

  #armTimeout(): () => void {
    const { workflow, run, clock } = this.#o;
    const { timeoutMs } = workflow;
    if (timeoutMs === undefined) return () => undefined;
    const endMs = (run.started_at?.getTime() ?? clock()) + timeoutMs;
    return this.#o.at(endMs, () => {
      const error = failureOf(new MillraceError("RUN_TIMEOUT", { timeoutMs }));
      this.end({ status: "failed", error });
    });
  }

  /** Gives what is recorded, or does it and records it. */
  async #durable(operation: Operation, fixedKey?: string): Promise<unknown> {
    const scope = scopes.getStore() ?? this.#root;
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
    if (this.#suspended) return NEVER;
    if (this.#over) throw new MillraceError("STEP_INVALID", { step: key, reason: "is asked for after the run's end" });
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
    if (this.#suspended) return NEVER;
    if (this.#ending !== undefined && !scope.undo) {
      // Replaying to its end, this is where the run was.
      setImmediate(() => setImmediate(this.#cut));
      throw endingError(this.#ending);
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
    this.#fatal ??= failureOf(error);
    this.#cut();
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
        return this.#suspended ? NEVER : this.#succeeded(operation, record);
      }
      if (this.#suspended) return NEVER;
      if (this.#ending !== undefined && !scope.undo) throw endingError(this.#ending);
      if (this.#fatal !== undefined) throw settled.error;
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
    const signal = AbortSignal.any([this.#abort.signal, timeout.signal]);
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
    this.#count(operation.waits ? 0 : 1, operation.waits ? 1 : 0);
    try {
      if (operation.waits) {
        const wakeAtMs = record.wakeAtMs ?? operation.wakeAtMs?.(record.startedAtMs) ?? null;
        await keep({ status: "waiting", wakeAtMs });
        if (wakeAtMs !== null && operation.kind !== "sleep") wake = this.#o.at(wakeAtMs, outOfTime);
      }
      const work = scopes.run(scope.step(key), async () =>
        operation.work({
          ...{ attempt, signal, key, record: this.#records.get(key) ?? record, save: keep },
          idempotencyKey: `${run.id}/${key}`,
          log: (message, fields) => this.#log.write(key, attempt, message, fields),
        }),
      );
      if (operation.endsItself) {
        this.#quiet.add(work);
        work.finally(() => this.#quiet.delete(work)).catch(() => undefined);
      }
      const output = await (operation.endsItself ? work : Promise.race([work, aborted(signal)]));
      signal.throwIfAborted();
      return { output: recordable(key, output) };
    } catch (error) {
      // An attempt that was stopped failed of what stopped it, whatever it says itself.
      return { error: signal.aborted ? signal.reason : error };
    } finally {
      settled = true;
      clearTimeout(shown);
      clearTimeout(timer);
      wake();
      this.#count(operation.waits ? 0 : -1, operation.waits ? -1 : 0);
    }
  }

  /** Waits for a moment of the clock. Throws when the run is to end. */
  async #wait(scope: StepScope, untilMs: number): Promise<void> {
    const { signal } = this.#abort;
    let off: () => void = () => undefined;
    this.#count(0, 1);
    try {
      const rung = new Promise<void>((resolve) => {
        off = this.#o.at(untilMs, resolve);
      });
      await Promise.race([rung, aborted(signal)]);
    } catch {
      if (this.#suspended) return NEVER;
      if (this.#ending !== undefined && !scope.undo) throw endingError(this.#ending);
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

  #runApi(): Run {
    const { run, workflow, means } = this.#o;
    const own = (retry: Retry | undefined) => (retry === undefined ? workflow.retry : rulesOf(retry));
    const step = (name: string, body: (step: StepContext) => unknown, options: StepOptions<never> = {}) =>
      this.#durable({
        ...{ kind: "step", name, input: options.input, rules: own(options.retry), waits: false, endsItself: false },
        timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
        work: body,
        compensate: options.compensate,
      });
    const api = {
      id: run.id,
      name: run.workflow,
      input: run.input,
      cause: run.cause,
      scheduledAt: run.scheduled_at,
      step,
      parallel: (...given: readonly unknown[]) => this.#parallel(given),
      map: (
        name: string,
        items: readonly unknown[],
        body: (item: unknown, index: number) => unknown,
        options: { concurrency?: number } = {},
      ) => this.#map(name, items, body, options.concurrency ?? MAP_CONCURRENCY),
      sleep: (time: string | Date) => this.#sleep(time),
      waitFor: (name: string, options: { timeout?: string } = {}) => {
        const timeoutMs = milliseconds(options.timeout);
        return this.#durable({
          ...{ kind: "signal", name, input: null, rules: [], timeoutMs, waits: true, endsItself: false },
          wakeAtMs: timeoutMs === undefined ? undefined : (startedAtMs) => startedAtMs + timeoutMs,
          work: ({ signal }) => means.signal(run.id, name, signal),
        });
      },
      workflow: (other: WorkflowDefinition | string, input?: unknown) => {
        const name = typeof other === "string" ? other : other.name;
        return this.#durable({
          ...{ kind: "workflow", name, input, rules: [], timeoutMs: undefined, waits: true, endsItself: true },
          work: ({ key, signal }) => means.child(run, key, name, input ?? null, signal),
        });
      },
      sql: (
        sql: string,
        params: readonly unknown[] = [],
        options: { name?: string; timeout?: string; retry?: Retry } = {},
      ) =>
        this.#durable({
          ...{ kind: "sql", name: options.name ?? "sql", input: { sql, params }, rules: own(options.retry) },
          ...{ waits: false, endsItself: false },
          timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
          work: ({ signal }) => means.sql(sql, params, { signal }),
        }),
      refresh: (table: string, options: { full?: boolean; retry?: Retry; timeout?: string } = {}) => {
        const { full = false } = options;
        return this.#durable({
          ...{ kind: "refresh", name: `refresh ${table}`, input: { table, full }, rules: own(options.retry) },
          ...{ waits: false, endsItself: false },
          timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
          work: ({ signal }) => means.refresh(table, { full, signal }),
        });
      },
      exec: (command: ExternalCommand) => {
        const { command: program, args = [] } = command;
        return this.#durable({
          ...{ kind: "exec", name: command.name ?? program, input: { command: program, args } },
          ...{ rules: own(command.retry), waits: false, endsItself: true },
          timeoutMs: milliseconds(command.timeout) ?? STEP_TIMEOUT_MS,
          work: ({ signal, record, log, save }) =>
            means.exec(command, {
              ...{ signal, leftOver: record.detail, started: (detail) => save({ detail }) },
              line: (stream, text) => log(text, { stream }),
            }),
        });
      },
      isolated: async (name: string, options: IsolatedOptions) => {
        const { call, memoryBytes } = readIsolated(name, options, this.#o.dir);
        return this.#durable({
          ...{ kind: "isolated", name, input: call, rules: own(options.retry), waits: false, endsItself: true },
          timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
          work: ({ signal, key, attempt, idempotencyKey, record, log, save }) =>
            means.isolated(call, {
              ...{ signal, key, attempt, idempotencyKey, memoryBytes, log, leftOver: record.detail },
              started: (detail) => save({ detail }),
              line: (stream, text) => log(text, { stream }),
            }),
          compensate: options.compensate as StepOptions<never>["compensate"],
        });
      },
      log: (message: string, fields?: Readonly<Record<string, unknown>>) => {
        const scope = scopes.getStore() ?? this.#root;
        this.#log.write(scope.inside ?? scope.prefix, 0, message, fields);
      },
    };
    return Object.freeze(api) as unknown as Run;
  }

  #sleep(time: string | Date): Promise<void> {
    const untilMs = time instanceof Date ? time.getTime() : undefined;
    const forMs = untilMs === undefined ? milliseconds(String(time)) : undefined;
    if (Number.isNaN(untilMs))
      throw new MillraceError("STEP_INVALID", { step: "sleep", reason: "waits for no moment" });
    return this.#durable({
      ...{ kind: "sleep", name: "sleep", rules: [], timeoutMs: undefined, waits: true, endsItself: false },
      input: untilMs === undefined ? time : new Date(untilMs).toISOString(),
      wakeAtMs: (startedAtMs) => untilMs ?? startedAtMs + (forMs ?? 0),
      work: ({ record, signal }) => this.#until(record.wakeAtMs ?? 0, signal),
    }) as Promise<void>;
  }

  async #until(atMs: number, signal: AbortSignal): Promise<void> {
    let off: () => void = () => undefined;
    const rung = new Promise<void>((resolve) => {
      off = this.#o.at(atMs, resolve);
    });
    await Promise.race([rung, aborted(signal)]).finally(() => off());
  }

  async #parallel(given: readonly unknown[]): Promise<Record<string, unknown>> {
    const [name, branches] = (given.length > 1 ? given : ["parallel", given[0]]) as [
      string,
      Record<string, () => unknown>,
    ];
    const scope = scopes.getStore() ?? this.#root;
    if (
      typeof branches !== "object" ||
      branches === null ||
      Object.values(branches).some((b) => typeof b !== "function")
    )
      throw new MillraceError("STEP_INVALID", {
        step: name,
        reason: "takes functions by name: { a: () => …, b: () => … }",
      });
    const key = scope.key(name);
    const settled = await Promise.allSettled(
      Object.entries(branches).map(([branch, body]) => scopes.run(scope.branch(key, branch), async () => body())),
    );
    const failed = settled.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    const values = settled.map((one) => (one as PromiseFulfilledResult<unknown>).value);
    return Object.fromEntries(Object.keys(branches).map((branch, i) => [branch, values[i]]));
  }

  async #map(
    name: string,
    items: readonly unknown[],
    body: (item: unknown, index: number) => unknown,
    concurrency: number,
  ): Promise<unknown[]> {
    const scope = scopes.getStore() ?? this.#root;
    if (!(Number.isInteger(concurrency) && concurrency >= 1))
      throw new MillraceError("STEP_INVALID", {
        step: name,
        reason: `has the concurrency ${concurrency}; it must be at least 1`,
      });
    const key = scope.key(name);
    const results: unknown[] = [];
    const failures: { index: number; error: unknown }[] = [];
    let next = 0;
    const worker = async () => {
      while (next < items.length && failures.length === 0) {
        const index = next++;
        try {
          results[index] = await scopes.run(scope.item(key, index), async () => body(items[index], index));
        } catch (error) {
          failures.push({ index, error });
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
    const [first] = failures.sort((a, b) => a.index - b.index);
    if (first !== undefined) throw first.error;
    return results;
  }
}

/** What a run that stops here waits for. The platform is going down, and the promise with it. */
const NEVER = new Promise<never>(() => undefined);

function endingError({ error }: Ending): StepFailure {
  return new StepFailure(error);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** @throws STEP_INVALID */
function milliseconds(duration: string | undefined): number | undefined {
  if (duration === undefined) return undefined;
  const parsed = parseDuration(String(duration));
  if (parsed === undefined)
    throw new MillraceError("STEP_INVALID", {
      step: "of a run",
      reason: `has the duration ${JSON.stringify(duration)}; it must be one such as 30s, 15m or 2h`,
    });
  return parsed;
}

/** @throws STEP_INVALID */
function rulesOf(retry: Retry): readonly RetryRule[] {
  const problems: Problem[] = [];
  const rules = readRetry(retry, "a step", problems);
  const [first] = problems;
  if (first !== undefined) throw new MillraceError("STEP_INVALID", { step: "of a run", reason: first.message });
  return rules;
}
