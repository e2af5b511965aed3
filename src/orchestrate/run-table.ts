import type { RunCause } from "../define/workflow.ts";
import type { MillraceError } from "../errors.ts";
import type { Session } from "../state/migrate.ts";
import { newRunId } from "./run-id.ts";
import type { QueuedRun, RunQueue } from "./run-queue.ts";
import type { RunRow, StepRecord } from "./run-records.ts";
import { failureOf } from "./step-failure.ts";

/** A run that is to be. */
export interface NewRun {
  readonly workflow: string;
  readonly codeHash: string;
  readonly cause: RunCause;
  readonly input: unknown;
  /** The same key of the same workflow is one run, however often it is asked for. */
  readonly idempotencyKey?: string | undefined;
  readonly concurrencyKey?: string | undefined;
  readonly limit?: number | undefined;
  readonly parentRun?: string | undefined;
  readonly backfill?: string | undefined;
  readonly partition?: string | undefined;
  /** False for runs of a backfill that are not let into the queue yet. */
  readonly sent?: boolean | undefined;
  readonly scheduledAtMs: number;
  /** Why it cannot be: it is recorded as failed, and never in the queue. */
  readonly refused?: MillraceError | undefined;
}

export interface CreatedRun {
  readonly id: string;
  /** False when a run of this idempotency key was there. */
  readonly created: boolean;
}

/** Makes runs and their jobs in the caller's transaction; answers in the order given. */
export async function createRuns(
  session: Session,
  queue: RunQueue,
  runs: readonly NewRun[],
  nowMs: number,
): Promise<CreatedRun[]> {
  const rows = runs.map((run) => ({
    id: newRunId(nowMs),
    workflow: run.workflow,
    status: run.refused === undefined ? "queued" : "failed",
    error: run.refused === undefined ? null : failureOf(run.refused),
    finished_at: run.refused === undefined ? null : new Date(nowMs).toISOString(),
    cause: run.cause,
    input: run.input ?? null,
    idempotency_key: run.idempotencyKey ?? null,
    concurrency_key: run.concurrencyKey ?? null,
    parent_run: run.parentRun ?? null,
    backfill: run.backfill ?? null,
    partition: run.partition ?? null,
    code_hash: run.codeHash,
    sent: run.sent ?? true,
    scheduled_at: new Date(run.scheduledAtMs).toISOString(),
    created_at: new Date(nowMs).toISOString(),
  }));
  const inserted = await session.query<{ id: string }>(INSERT, [JSON.stringify(rows)]);
  const made = new Set(inserted.map(({ id }) => id));
  const jobs = rows.flatMap(({ id }, i): QueuedRun[] => {
    const run = runs[i]!;
    return made.has(id) && (run.sent ?? true) && run.refused === undefined
      ? [{ id, group: groupOf(run.workflow, run.concurrencyKey, run.limit) }]
      : [];
  });
  await queue.send(session, jobs);
  const created: CreatedRun[] = [];
  for (const [i, { id, workflow, idempotency_key: key }] of rows.entries()) {
    if (made.has(id)) {
      created.push({ id, created: true });
      continue;
    }
    const [there] = await session.query<{ id: string }>(
      "select id from millrace.runs where workflow = $1 and idempotency_key = $2",
      [workflow, key],
    );
    created.push({ id: there?.id ?? rows[i]!.id, created: false });
  }
  return created;
}

const INSERT = `
  insert into millrace.runs (id, workflow, status, cause, input, idempotency_key, concurrency_key, parent_run, backfill, partition,
    code_hash, sent, scheduled_at, created_at, error, finished_at)
  select r.id, r.workflow, r.status, r.cause, r.input, r.idempotency_key, r.concurrency_key, r.parent_run, r.backfill, r.partition,
    r.code_hash, r.sent, r.scheduled_at, r.created_at, r.error, r.finished_at
  from json_to_recordset($1::json) as r(id uuid, workflow text, status text, cause jsonb, input json, idempotency_key text, concurrency_key text,
    parent_run uuid, backfill uuid, partition text, code_hash text, sent boolean, scheduled_at timestamptz, created_at timestamptz,
    error jsonb, finished_at timestamptz)
  on conflict (workflow, idempotency_key) where idempotency_key is not null do nothing
  returning id`;

/** The group of a run: its workflow, and the value of the workflow's key where it has one. */
export function groupOf(
  workflow: string,
  concurrencyKey: string | null | undefined,
  limit: number | undefined,
): QueuedRun["group"] {
  if (limit === undefined) return undefined;
  return { id: `${workflow}/${concurrencyKey ?? ""}`, limit };
}

export async function findRun(session: Session, id: string): Promise<RunRow | undefined> {
  const [row] = await session.query<RunRow>("select * from millrace.runs where id = $1", [id]);
  return row;
}

/** Everything recorded of the steps of runs. */
export async function readSteps(session: Session, runs: readonly string[]): Promise<StepRecord[]> {
  return session.query<StepRecord>(
    `select run, key, kind, status, position, completed, input_hash as "inputHash", input, output, error, attempts, detail,
       (extract(epoch from started_at) * 1000)::float8 as "startedAtMs", (extract(epoch from finished_at) * 1000)::float8 as "finishedAtMs",
       (extract(epoch from wake_at) * 1000)::float8 as "wakeAtMs"
     from millrace.run_steps where run = any($1)`,
    [runs],
  );
}

/** The idempotency key of a sub-workflow's run: the step of its parent that it is. */
export function childKey(parent: string, step: string): string {
  return `step ${parent} ${step}`;
}

/**
 * Makes a run that is over one that is to be executed again, without its failed steps and without those that were undone. Of the failures only
 * those count that ended the run: one that was caught has been followed by completed steps.
 */
export async function reopenRun(session: Session, { id, error }: RunRow): Promise<void> {
  const again = await session.query<{ key: string; kind: string }>(
    `delete from millrace.run_steps s where run = $1 and (
         kind = 'undo' or key like 'compensate/%' or completed is null or key = $2
         or exists (select from millrace.run_steps u where u.run = s.run and u.kind = 'undo' and u.key = 'undo ' || s.key
           and u.status = 'succeeded')
         or (status = 'failed' and completed > (select coalesce(max(completed), 0) from millrace.run_steps o
           where o.run = s.run and o.status = 'succeeded' and o.kind <> 'undo')))
       returning key, kind`,
    [id, error?.step ?? null],
  );
  // Lines are known by step, attempt and number, and the attempts begin again.
  await session.query("delete from millrace.run_logs where run = $1 and step = any($2)", [
    id,
    again.map(({ key }) => key),
  ]);
  // A sub-workflow that failed is started anew: its run stays as what happened, without the key.
  const children = again.filter(({ kind }) => kind === "workflow").map(({ key }) => childKey(id, key));
  if (children.length > 0)
    await session.query(
      `update millrace.runs set idempotency_key = null where parent_run = $1 and idempotency_key = any($2)
         and status in ('failed', 'cancelled')`,
      [id, children],
    );
  await session.query(
    `update millrace.runs set status = 'queued', ending = null, error = null, output = null, finished_at = null, followed = false,
         started_at = null, interruptions = 0, sent = true where id = $1`,
    [id],
  );
}
