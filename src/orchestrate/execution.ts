/**
 * One run being executed: its function is run from the top, and every durable operation first looks whether it is recorded. What is
 * completed gives what it gave; the first that is not is done and recorded before the function hears of it.
 *
 * A step that was cut off in the middle is done again: each step is run at least once, and never again once its end is recorded.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Run, RunFailure } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { Means } from "./means.ts";
import { runApi } from "./run-api.ts";
import { endingError, RunControl } from "./run-control.ts";
import { RunLog } from "./run-log.ts";
import type { Ending, RunStatus } from "./run-records.ts";
import { failureOf } from "./step-failure.ts";
import { type Operation, StepRunner, type StepRunnerParts } from "./step-runner.ts";
import { StepScope, scopes } from "./step-scope.ts";
import { recordable } from "./step-values.ts";

export interface ExecutionParts extends Omit<StepRunnerParts, "log" | "control" | "root"> {
  /** The project's folder. */
  readonly dir: string;
  readonly means: Means;
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

const UNDO_TIMEOUT_MS = 3_600_000;
/** How long a replay that is to end may take to come to where it was, should its function wait for something outside of steps. */
const REPLAY_PATIENCE_MS = 10_000;
const SUSPEND_LOOK_MS = 10;

export class Execution {
  readonly #o: ExecutionParts;
  readonly #control: RunControl;
  readonly #steps: StepRunner;
  readonly #root = new StepScope("");
  readonly #api: Run;
  #stop: () => void = () => undefined;
  readonly #stopped: Promise<void>;

  constructor(parts: ExecutionParts) {
    this.#o = parts;
    this.#control = new RunControl(parts.run.ending ?? undefined);
    const log = new RunLog(parts.run.id, parts.journal, parts.clock);
    const root = this.#root;
    this.#steps = new StepRunner({ ...parts, log, root, control: this.#control });
    this.#api = runApi({ ...parts, log, root, steps: this.#steps });
    this.#stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
  }

  /** Executes the run to its end, which is recorded when this resolves. */
  async go(): Promise<Outcome> {
    const timer = this.#armTimeout();
    try {
      const outcome = await Promise.race([this.#toTheEnd(), this.#stopped]);
      return outcome ?? { kind: "suspended" };
    } finally {
      timer();
      this.#control.over = true;
    }
  }

  /** Makes the run end: nothing new begins, what is under way is aborted, what was done is undone. The first call counts. */
  end(ending: Ending): void {
    if (this.#control.ending !== undefined || this.#control.over) return;
    this.#control.ending = ending;
    this.#control.abort.abort(endingError(ending));
    void Promise.allSettled(this.#control.quiet).then(() => this.#control.cutSoon());
  }

  /**
   * Stops here, to be gone on with by a later life: nothing new begins, and what is under way has `graceMs` to come to its end and be
   * recorded. What has not by then is aborted, and will be done again. Resolves when no command is left.
   */
  async suspend(graceMs: number): Promise<void> {
    this.#control.suspended = true;
    const endMs = performance.now() + graceMs;
    while (this.#steps.busy > 0 && performance.now() < endMs) await sleep(SUSPEND_LOOK_MS);
    this.#control.abort.abort(new MillraceError("SHUTTING_DOWN"));
    await Promise.allSettled(this.#control.quiet);
    this.#stop();
  }

  async #toTheEnd(): Promise<Outcome> {
    const { workflow, run } = this.#o;
    const body = scopes.run(this.#root, async () => workflow.body(this.#api));
    const patience = run.ending === null ? undefined : setTimeout(() => this.#control.cut(), REPLAY_PATIENCE_MS);
    let output: unknown;
    try {
      const first = await Promise.race([body.then((value) => ({ value })), this.#control.cutOff]);
      if (first !== undefined && this.#control.ending === undefined && this.#control.fatal === undefined)
        output = recordable("the workflow", first.value);
    } catch (error) {
      this.#control.ending ??= { status: "failed", error: failureOf(error) };
    } finally {
      clearTimeout(patience);
      body.catch(() => undefined); // it was cut off, and what it says afterwards changes nothing
    }
    if (this.#control.suspended) return { kind: "suspended" };
    if (this.#control.fatal !== undefined) return this.#finish("failed", null, this.#control.fatal);
    if (this.#control.ending === undefined) return this.#finish("succeeded", output, undefined);
    await Promise.allSettled(this.#control.quiet);
    return this.#undo(this.#control.ending);
  }

  async #undo(ending: Ending): Promise<Outcome> {
    const { workflow, run, journal } = this.#o;
    const undos = this.#steps.undos();
    const left: string[] = [];
    if (undos.length > 0 || workflow.compensate !== undefined) {
      await journal.write({ runs: [{ run: run.id, status: "compensating", ending }] });
      this.#control.abort = new AbortController();
      const scope = new StepScope("", { undo: true });
      for (const { key, output, rules, compensate } of undos) {
        const operation: Operation = {
          ...{ kind: "undo", name: `undo ${key}`, input: output, rules, timeoutMs: UNDO_TIMEOUT_MS },
          ...{ waits: false, endsItself: false },
          work: (attempt) => compensate(structuredClone(output) as never, attempt),
        };
        await scopes
          .run(scope, () => this.#steps.durable(operation, `undo ${key}`))
          .catch((error: unknown) => left.push(`${key} (${failureOf(error).message})`));
      }
      if (workflow.compensate !== undefined) {
        const last = new StepScope("compensate/", { undo: true });
        await scopes
          .run(last, async () => workflow.compensate?.(this.#api, ending.error))
          .catch((error: unknown) => left.push(`the workflow (${failureOf(error).message})`));
      }
    }
    if (this.#control.suspended) return { kind: "suspended" };
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
}
