import type { Migration } from "./migration.ts";

export const runs: Migration = {
  version: 2,
  name: "runs of workflows",
  sql: `
    create table millrace.runs (
      id uuid primary key,
      workflow text not null,
      status text not null check (status in ('queued', 'running', 'compensating', 'succeeded', 'failed', 'cancelled')),
      cause jsonb not null,
      input json,
      output json,
      error jsonb,
      -- Why a run that is not over yet is going to end: {status, error}. From then on no new step begins.
      ending jsonb,
      idempotency_key text,
      concurrency_key text,
      parent_run uuid,
      backfill uuid,
      partition text,
      code_hash text not null,
      starts integer not null default 0,
      interruptions integer not null default 0,
      steps_seen integer not null default 0,
      -- In the queue; a backfill's runs come into it a few at a time.
      sent boolean not null default true,
      -- Whether the runs that this one's end starts are there.
      followed boolean not null default false,
      scheduled_at timestamptz not null,
      created_at timestamptz not null,
      started_at timestamptz,
      finished_at timestamptz
    );
    create unique index runs_idempotency on millrace.runs (workflow, idempotency_key) where idempotency_key is not null;
    create index runs_of_workflow on millrace.runs (workflow, id desc);
    create index runs_unfinished on millrace.runs (id) where finished_at is null;
    create index runs_unfollowed on millrace.runs (id) where finished_at is not null and not followed;
    create index runs_of_backfill on millrace.runs (backfill, id) where backfill is not null;
    create index runs_finished on millrace.runs (finished_at) where finished_at is not null;
    create index runs_of_parent on millrace.runs (parent_run) where parent_run is not null;

    create table millrace.run_steps (
      run uuid not null references millrace.runs on delete cascade,
      key text not null,
      kind text not null,
      status text not null,
      -- Order of beginning, and of completion: undoing goes back along the latter.
      position integer not null,
      completed integer,
      input_hash text not null,
      input json,
      output json,
      error jsonb,
      attempts integer not null,
      started_at timestamptz not null,
      finished_at timestamptz,
      wake_at timestamptz,
      detail jsonb,
      primary key (run, key)
    );

    create table millrace.run_logs (
      run uuid not null references millrace.runs on delete cascade,
      -- The step and its attempt ('' and 0: outside of steps) and the line's number there, so that a line told again is the same line.
      step text not null,
      attempt integer not null,
      line integer not null,
      at timestamptz not null,
      message text not null,
      fields jsonb,
      primary key (run, step, attempt, line)
    );

    create table millrace.run_signals (
      run uuid not null references millrace.runs on delete cascade,
      name text not null,
      data json,
      at timestamptz not null,
      primary key (run, name)
    );

    create table millrace.triggers (
      workflow text not null,
      trigger text not null,
      state jsonb not null,
      primary key (workflow, trigger)
    );

    create table millrace.backfills (
      id uuid primary key,
      workflow text not null,
      partitions integer not null,
      concurrency integer not null,
      cancelled boolean not null default false,
      created_at timestamptz not null
    )`,
};
