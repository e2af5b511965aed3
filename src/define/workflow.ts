import { type Definition, define } from "./definition.ts";
import type { Trigger } from "./triggers.ts";

/**
 * What a workflow does: plain TypeScript over `run`. The function begins again from the top after a crash, and steps that were completed
 * give what they gave without being run again, so everything with an effect, and everything that is not the same each time (the
 * clock, a random number, a request), belongs inside a step.
 */
export type WorkflowBody<Input = unknown, Output = unknown> = (run: Run<Input>) => Promise<Output> | Output;

export interface WorkflowOptions {
  /** What starts it: `[cron("0 2 * * *"), commit("silver.orders")]`. By hand and by API it can always be started. */
  readonly on?: readonly Trigger[];
  /** How many of its runs may be under way at once, in all or for each value of `key`. Others wait. Default: no limit. */
  readonly concurrency?: number | { readonly limit: number; readonly key: (input: never) => string };
  /** Longest time from the beginning of a run to its end, waits included: `"2h"`. Default: no limit. */
  readonly timeout?: string;
  /** How failed steps are tried again, unless the step says otherwise. Default: they are not. */
  readonly retry?: Retry;
  /** Called when a run has failed or was cancelled, after the steps' own `compensate`. Its steps are durable as well. */
  readonly compensate?: (run: Run, error: RunFailure) => Promise<void> | void;
}

/**
 * How a failed step is tried again. A list is one policy per kind of error, the first that fits counts: `[{ on: "ECONNRESET", attempts: 5 },
 * { on: "RateLimited", attempts: 10, delay: "30s" }, { attempts: 2 }]`.
 */
export type Retry = RetryPolicy | readonly RetryPolicy[];

export interface RetryPolicy {
  /** Which errors: their `code` or `name`, several of them, or a function. Default: every error. */
  readonly on?: string | readonly string[] | ((error: unknown) => boolean);
  /** How often in all, the first included. */
  readonly attempts: number;
  /** Wait before the second attempt. Default `"1s"`. */
  readonly delay?: string;
  /** What each wait is multiplied by. Default 2. */
  readonly factor?: number;
  /** Longest wait. Default `"5m"`. */
  readonly maxDelay?: string;
  /** Spreads each wait evenly between half of it and all of it, so that what failed together does not come back together. Default true. */
  readonly jitter?: boolean;
}

export interface StepOptions<Output = unknown> {
  /** What the step works on, recorded with it. A run that goes on with another input than was recorded is stopped. */
  readonly input?: unknown;
  readonly retry?: Retry;
  /** Longest time of one attempt. Default `"1h"`. */
  readonly timeout?: string;
  /** Undoes the step when the run fails later or is cancelled; gets what the step gave. Is a durable step itself. */
  readonly compensate?: (output: Output, step: StepContext) => Promise<unknown> | unknown;
}

/** What the function of a step gets. */
export interface StepContext {
  /** 1 for the first. One that a crash cut off is made again under its number. */
  readonly attempt: number;
  /** Aborted when the attempt has run out of time or the run is cancelled. Pass it on to whatever takes one. */
  readonly signal: AbortSignal;
  /** The same for every attempt of this step of this run: give it to services that take an idempotency key. */
  readonly idempotencyKey: string;
  log(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Why a run exists. */
export interface RunCause {
  readonly kind: "manual" | "cron" | "commit" | "amount" | "arrival" | "succeeded" | "failed" | "workflow" | "backfill";
  /** The cron expression, the table, the file or the workflow; for a run started by hand or API, the key's name. */
  readonly by: string;
}

/** The failure of a run or of a step, as it was recorded. */
export interface RunFailure {
  readonly code: string;
  readonly message: string;
  /** What the error called itself: `TypeError`, `MillraceError`. */
  readonly name?: string;
  /** The step that failed, when one did. */
  readonly step?: string;
  readonly details?: unknown;
}

export interface ExternalCommand {
  readonly command: string;
  readonly args?: readonly string[];
  /** Relative to the project's folder, which is the default. */
  readonly cwd?: string;
  /** Added to `PATH`, `HOME`, `LANG` and `TMPDIR`, all that a command gets of the platform's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to its standard input. */
  readonly stdin?: string;
  /** Default `"1h"`. */
  readonly timeout?: string;
  /** Most resident memory of the command and all it started, together: `536_870_912`. Default: no limit. */
  readonly memoryBytes?: number;
  /** Exit codes that mean success. Default `[0]`. */
  readonly exitCodes?: readonly number[];
  /** Default: the command's name. */
  readonly name?: string;
  readonly retry?: Retry;
}

/** A function that runs in a process of its own: what it takes and gives is JSON. */
// biome-ignore lint/suspicious/noExplicitAny: what each function takes is its own; `input` is checked against it.
export type IsolatedFunction = (input: any, step: StepContext) => unknown;

export interface IsolatedOptions<Body extends IsolatedFunction = IsolatedFunction>
  extends Omit<StepOptions<Awaited<ReturnType<Body>>>, "input"> {
  /** A file of the project: `new URL("./steps/heavy.ts", import.meta.url)`, or its path relative to the project's folder. */
  readonly module: URL | string;
  /** The name of the function that it exports. Default `"default"`. */
  readonly export?: string;
  /** The function's first argument, recorded with the step. */
  readonly input?: Parameters<Body>[0];
  /** Most memory of its process and all it starts, at least 64 MiB. Default 512 MiB: `536_870_912`. */
  readonly memoryBytes?: number;
}

export interface CommandOutput {
  readonly exitCode: number;
  /** The last 64 KiB; every line is in the run's log. */
  readonly stdout: string;
  readonly stderr: string;
}

/** A run under way. Every method but `log` is durable: what it gave once, it gives again. */
export interface Run<Input = unknown> {
  readonly id: string;
  /** The name of its workflow. */
  readonly name: string;
  readonly input: Input;
  readonly cause: RunCause;
  /** The moment the run is for: of a cron run the one that was due, however late it began. */
  readonly scheduledAt: Date;
  /**
   * Runs a function once and records what it gives, which must be JSON. It is run again only when it failed and its retry policy says
   * so, or when the platform died in the middle of it.
   */
  step<T>(name: string, body: (step: StepContext) => Promise<T> | T, options?: StepOptions<T>): Promise<T>;
  /**
   * Calls a function that a module of the project exports in a process of its own, which ends with the step: `run.isolated<typeof
   * heavy>("crunch", { module: new URL("./steps/heavy.ts", import.meta.url), export: "heavy", input: { day } })`. It may compute without a
   * pause, take memory up to its limit, throw out of a timer or exit: nothing else is held up or hurt. Otherwise as `step`.
   * @throws STEP_TIMEOUT, STEP_MEMORY, STEP_DIED, STEP_INVALID
   */
  isolated<Body extends IsolatedFunction = (input: unknown, step: StepContext) => unknown>(
    name: string,
    options: IsolatedOptions<Body>,
  ): Promise<Awaited<ReturnType<Body>>>;
  /** Runs branches at once. All of them come to their end; then the first failure, in the order written, is thrown. */
  parallel<Branches extends Readonly<Record<string, () => unknown>>>(
    branches: Branches,
  ): Promise<{ [Name in keyof Branches]: Awaited<ReturnType<Branches[Name]>> }>;
  parallel<Branches extends Readonly<Record<string, () => unknown>>>(
    name: string,
    branches: Branches,
  ): Promise<{ [Name in keyof Branches]: Awaited<ReturnType<Branches[Name]>> }>;
  /** Runs a function for every item, `concurrency` at once (default 10), and gives the results in the items' order. */
  map<Item, T>(
    name: string,
    items: readonly Item[],
    body: (item: Item, index: number) => Promise<T> | T,
    options?: { readonly concurrency?: number },
  ): Promise<T[]>;
  /** Waits, also through restarts: `"10m"`, or a moment. */
  sleep(time: string | Date): Promise<void>;
  /** Waits for `millrace runs signal RUN NAME` and gives its data. @throws STEP_TIMEOUT */
  waitFor<T = unknown>(signal: string, options?: { readonly timeout?: string }): Promise<T>;
  /** Runs another workflow as a run of its own and gives what it gave. @throws RUN_FAILED when it failed */
  workflow<T = unknown>(workflow: WorkflowDefinition | string, input?: unknown): Promise<T>;
  /** Runs one SELECT over streams and tables and gives its rows, at most 10,000. */
  sql<Row = Record<string, unknown>>(
    sql: string,
    params?: readonly unknown[],
    options?: { readonly name?: string; readonly timeout?: string; readonly retry?: Retry },
  ): Promise<Row[]>;
  /** Brings a table that combines rows up to date. */
  refresh(
    table: string,
    options?: { readonly full?: boolean; readonly retry?: Retry; readonly timeout?: string },
  ): Promise<{ readonly kind: "none" | "full" | "by"; readonly version: number }>;
  /** Runs a program in a process group of its own, and ends all of the group at a limit, at a cancel and when the platform stops. */
  exec(command: ExternalCommand): Promise<CommandOutput>;
  log(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export type WorkflowDefinition = Definition<"workflow", WorkflowOptions & { readonly body: WorkflowBody<never> }>;

/**
 * Defines a workflow: `export const nightly = workflow("nightly", { on: [cron("0 2 * * *")] }, async (run) => { … })`.
 *
 * The name is lower-case letters, digits, `-` and `_`. Mistakes (a cron that does not exist, an unknown table or workflow, workflows that start
 * each other in a circle) are reported when the project loads.
 */
export function workflow<Input = unknown, Output = unknown>(
  name: string,
  options: WorkflowOptions,
  body: WorkflowBody<Input, Output>,
): WorkflowDefinition {
  return define("workflow", name, { ...options, body } as WorkflowOptions & { body: WorkflowBody<never> }, workflow);
}
