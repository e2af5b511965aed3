import type { RunCause, RunFailure } from "../define/workflow.ts";
import type { Session } from "../state/migrate.ts";
import type { RunRow, RunStatus } from "./run-records.ts";

/** A run as people and programs see it. Moments are ISO 8601 in UTC; what is not there is null. */
export interface RunView {
  readonly id: string;
  readonly workflow: string;
  readonly status: RunStatus;
  readonly cause: RunCause;
  readonly input: unknown;
  readonly output: unknown;
  readonly error: RunFailure | null;
  readonly idempotencyKey: string | null;
  readonly parentRun: string | null;
  readonly backfill: string | null;
  readonly partition: string | null;
  readonly scheduledAt: string;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** From its beginning to its end, or to now. */
  readonly elapsedMs: number | null;
}

export interface StepView {
  readonly step: string;
  readonly kind: string;
  readonly status: string;
  readonly attempts: number;
  readonly input: unknown;
  readonly output: unknown;
  readonly error: RunFailure | null;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly wakeAt: string | null;
  readonly elapsedMs: number | null;
}

export interface LogView {
  readonly at: string;
  readonly step: string;
  readonly attempt: number;
  readonly message: string;
  readonly fields: unknown;
}

export interface RunFilter {
  readonly workflow?: string | undefined;
  readonly status?: string | undefined;
  readonly backfill?: string | undefined;
}

/** Runs, newest first; `before` is the id that the page before ended with. */
export async function listRuns(
  session: Session,
  filter: RunFilter,
  page: { readonly limit: number; readonly before?: string | undefined },
  nowMs: number,
): Promise<RunView[]> {
  const params: unknown[] = [];
  const conditions = Object.entries({ workflow: filter.workflow, status: filter.status, backfill: filter.backfill })
    .filter(([, value]) => value !== undefined)
    .map(([column, value]) => `${column} = $${params.push(value)}`);
  if (page.before !== undefined) conditions.push(`id < $${params.push(page.before)}`);
  const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
  const rows = await session.query<RunRow>(
    `select * from millrace.runs ${where} order by id desc limit $${params.push(page.limit)}`,
    params,
  );
  return rows.map((row) => runView(row, nowMs));
}

interface StepRow {
  readonly key: string;
  readonly kind: string;
  readonly status: string;
  readonly attempts: number;
  readonly input: unknown;
  readonly output: unknown;
  readonly error: RunFailure | null;
  readonly started_at: Date;
  readonly finished_at: Date | null;
  readonly wake_at: Date | null;
}

/** The steps of a run, in the order in which they began. */
export async function listSteps(session: Session, run: string): Promise<StepView[]> {
  const rows = await session.query<StepRow>("select * from millrace.run_steps where run = $1 order by position, key", [
    run,
  ]);
  return rows.map((row) => ({
    step: row.key,
    kind: row.kind,
    status: row.status,
    attempts: row.attempts,
    input: row.input,
    output: row.output,
    error: row.error,
    startedAt: row.started_at.toISOString(),
    finishedAt: row.finished_at?.toISOString() ?? null,
    wakeAt: row.wake_at?.toISOString() ?? null,
    elapsedMs: row.finished_at === null ? null : row.finished_at.getTime() - row.started_at.getTime(),
  }));
}

/** The newest lines of a run's log, oldest first. */
export async function listLogs(session: Session, run: string, limit: number): Promise<LogView[]> {
  const rows = await session.query<Omit<LogView, "at"> & { at: Date }>(
    `select at, step, attempt, message, fields from (
       select * from millrace.run_logs where run = $1 order by at desc, line desc limit $2) newest order by at, step, line`,
    [run, limit],
  );
  return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
}

export function runView(row: RunRow, nowMs: number): RunView {
  const { started_at: startedAt, finished_at: finishedAt } = row;
  return {
    id: row.id,
    workflow: row.workflow,
    status: row.status,
    cause: row.cause,
    input: row.input,
    output: row.output,
    error: row.error,
    idempotencyKey: row.idempotency_key,
    parentRun: row.parent_run,
    backfill: row.backfill,
    partition: row.partition,
    scheduledAt: row.scheduled_at.toISOString(),
    createdAt: row.created_at.toISOString(),
    startedAt: startedAt?.toISOString() ?? null,
    finishedAt: finishedAt?.toISOString() ?? null,
    elapsedMs: startedAt === null ? null : Math.max(0, (finishedAt?.getTime() ?? nowMs) - startedAt.getTime()),
  };
}
