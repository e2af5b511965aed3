import type { RunCause, RunFailure } from "../define/workflow.ts";

/** What is kept of a run and of its steps, as rows of `millrace.runs` and `millrace.run_steps` (`src/state/migrations/002-runs.ts`). */
export type RunStatus = "queued" | "running" | "compensating" | "succeeded" | "failed" | "cancelled";

export const RUN_STATUSES: readonly RunStatus[] = [
  "queued",
  "running",
  "compensating",
  "succeeded",
  "failed",
  "cancelled",
];

/** Why a run that is not over yet is going to end. */
export interface Ending {
  readonly status: "failed" | "cancelled";
  readonly error: RunFailure;
}

export interface RunRow {
  readonly id: string;
  readonly workflow: string;
  readonly status: RunStatus;
  readonly cause: RunCause;
  readonly input: unknown;
  readonly output: unknown;
  readonly error: RunFailure | null;
  readonly ending: Ending | null;
  readonly idempotency_key: string | null;
  readonly concurrency_key: string | null;
  readonly parent_run: string | null;
  readonly backfill: string | null;
  readonly partition: string | null;
  readonly code_hash: string;
  readonly starts: number;
  readonly interruptions: number;
  readonly scheduled_at: Date;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly finished_at: Date | null;
}

export type StepKind = "step" | "sleep" | "signal" | "workflow" | "sql" | "refresh" | "exec" | "isolated" | "undo";
/** `waiting`: for time, a signal or another run. `retrying`: for its next attempt. */
export type StepStatus = "running" | "waiting" | "retrying" | "succeeded" | "failed";

export interface StepRecord {
  readonly run: string;
  /** The step's name behind the names of the branches it is in: `load/a/fetch`, `files[3]/parse`, `fetch#2` for the second of a name. */
  readonly key: string;
  readonly kind: StepKind;
  readonly status: StepStatus;
  readonly position: number;
  readonly completed: number | null;
  readonly inputHash: string;
  readonly input: unknown;
  readonly output: unknown;
  readonly error: RunFailure | null;
  readonly attempts: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly wakeAtMs: number | null;
  /** Of a running command or isolated step: the process that a later life must end before it tries again. */
  readonly detail: { readonly pid: number; readonly started: string } | null;
}

export interface LogLine {
  readonly run: string;
  readonly step: string;
  readonly attempt: number;
  readonly line: number;
  readonly atMs: number;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
}

/** A change of a run's own row. */
export interface RunChange {
  readonly run: string;
  readonly status: RunStatus;
  readonly ending?: Ending | undefined;
  readonly output?: unknown;
  readonly error?: RunFailure | undefined;
  readonly finishedAtMs?: number | undefined;
}
