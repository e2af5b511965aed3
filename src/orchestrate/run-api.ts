import { parseDuration } from "../define/duration.ts";
import type { Problem } from "../define/problem.ts";
import { type RetryRule, readRetry, type Workflow } from "../define/read-workflow.ts";
import type {
  ExternalCommand,
  IsolatedOptions,
  Retry,
  Run,
  StepContext,
  StepOptions,
  WorkflowDefinition,
} from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import { map, parallel } from "./branches.ts";
import { readIsolated } from "./isolated-step.ts";
import type { Means } from "./means.ts";
import type { RunLog } from "./run-log.ts";
import type { RunRow } from "./run-records.ts";
import type { StepRunner } from "./step-runner.ts";
import { type StepScope, scopes } from "./step-scope.ts";

export interface RunApiParts {
  readonly workflow: Workflow;
  readonly run: RunRow;
  /** The project's folder. */
  readonly dir: string;
  readonly means: Means;
  readonly steps: StepRunner;
  readonly log: RunLog;
  readonly root: StepScope;
}

const STEP_TIMEOUT_MS = 3_600_000;

/** `run`, as the workflow's function gets it: each method is one durable operation, or branches of them. */
export function runApi(parts: RunApiParts): Run {
  const { run, workflow, means, steps, log, dir } = parts;
  const scope = () => scopes.getStore() ?? parts.root;
  const own = (retry: Retry | undefined) => (retry === undefined ? workflow.retry : rulesOf(retry));
  const step = (name: string, body: (step: StepContext) => unknown, options: StepOptions<never> = {}) =>
    steps.durable({
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
    parallel: (...given: readonly unknown[]) => parallel(scope(), given),
    map: (
      name: string,
      items: readonly unknown[],
      body: (item: unknown, index: number) => unknown,
      options: { concurrency?: number } = {},
    ) => map(scope(), name, items, body, options.concurrency),
    sleep: (time: string | Date) => sleep(steps, time),
    waitFor: (name: string, options: { timeout?: string } = {}) => {
      const timeoutMs = milliseconds(options.timeout);
      return steps.durable({
        ...{ kind: "signal", name, input: null, rules: [], timeoutMs, waits: true, endsItself: false },
        wakeAtMs: timeoutMs === undefined ? undefined : (startedAtMs) => startedAtMs + timeoutMs,
        work: ({ signal }) => means.signal(run.id, name, signal),
      });
    },
    workflow: (other: WorkflowDefinition | string, input?: unknown) => {
      const name = typeof other === "string" ? other : other.name;
      return steps.durable({
        ...{ kind: "workflow", name, input, rules: [], timeoutMs: undefined, waits: true, endsItself: true },
        work: ({ key, signal }) => means.child(run, key, name, input ?? null, signal),
      });
    },
    sql: (
      sql: string,
      params: readonly unknown[] = [],
      options: { name?: string; timeout?: string; retry?: Retry } = {},
    ) =>
      steps.durable({
        ...{ kind: "sql", name: options.name ?? "sql", input: { sql, params }, rules: own(options.retry) },
        ...{ waits: false, endsItself: false },
        timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
        work: ({ signal }) => means.sql(sql, params, { signal }),
      }),
    refresh: (table: string, options: { full?: boolean; retry?: Retry; timeout?: string } = {}) => {
      const { full = false } = options;
      return steps.durable({
        ...{ kind: "refresh", name: `refresh ${table}`, input: { table, full }, rules: own(options.retry) },
        ...{ waits: false, endsItself: false },
        timeoutMs: milliseconds(options.timeout) ?? STEP_TIMEOUT_MS,
        work: ({ signal }) => means.refresh(table, { full, signal }),
      });
    },
    exec: (command: ExternalCommand) => {
      const { command: program, args = [] } = command;
      return steps.durable({
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
      const { call, memoryBytes } = readIsolated(name, options, dir);
      return steps.durable({
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
      const { inside, prefix } = scope();
      log.write(inside ?? prefix, 0, message, fields);
    },
  };
  return Object.freeze(api) as unknown as Run;
}

function sleep(steps: StepRunner, time: string | Date): Promise<void> {
  const untilMs = time instanceof Date ? time.getTime() : undefined;
  const forMs = untilMs === undefined ? milliseconds(String(time)) : undefined;
  if (Number.isNaN(untilMs)) throw new MillraceError("STEP_INVALID", { step: "sleep", reason: "waits for no moment" });
  return steps.durable({
    ...{ kind: "sleep", name: "sleep", rules: [], timeoutMs: undefined, waits: true, endsItself: false },
    input: untilMs === undefined ? time : new Date(untilMs).toISOString(),
    wakeAtMs: (startedAtMs) => untilMs ?? startedAtMs + (forMs ?? 0),
    work: ({ record, signal }) => steps.until(record.wakeAtMs ?? 0, signal),
  }) as Promise<void>;
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
