/**
 * Writes what runs record. Everything that asks within the time of one commit shares the next: a thousand steps a second cost some
 * hundred commits. A write is resolved when it is committed. While PostgreSQL cannot be reached writes wait and are tried again, so the
 * runs that wait for them stand still and then go on by themselves; each write is the same row however often it is made.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../errors.ts";
import type { Session } from "../state/migrate.ts";
import type { LogLine, RunChange, StepRecord } from "./run-records.ts";

export interface Write {
  readonly steps?: readonly StepRecord[];
  readonly logs?: readonly LogLine[];
  readonly runs?: readonly RunChange[];
}

const PAUSE_MS = 250;
/** Rows of one commit: JSON of a few megabytes, and never a statement that takes seconds. */
const MOST_ROWS = 2_000;

interface Waiting {
  readonly write: Write;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Journal {
  readonly #state: Session;
  readonly #report: (error: unknown, what: string) => void;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #abandoned = false;

  constructor(state: Session, report: (error: unknown, what: string) => void) {
    this.#state = state;
    this.#report = report;
  }

  write(write: Write): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Waits for what was given so far; with PostgreSQL away for at most `patienceMs`: the next life does the rest again. */
  async close(patienceMs: number): Promise<void> {
    const given = this.#flushing ?? Promise.resolve();
    const waited = new AbortController();
    await Promise.race([given, sleep(patienceMs, undefined, { signal: waited.signal }).catch(() => undefined)]);
    waited.abort();
    this.#abandoned = true;
  }

  async #flush(): Promise<void> {
    // What is asked for in the same turn goes into the first commit.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0 && !this.#abandoned) {
      const batch = this.#take();
      try {
        await this.#commit(batch.map(({ write }) => write));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        if (error instanceof MillraceError && error.code === "STATE_UNAVAILABLE") {
          this.#waiting.unshift(...batch);
          await sleep(PAUSE_MS);
        } else if (batch.length > 1) {
          // One write that cannot be made must not take the others with it.
          for (const one of batch) await this.#commit([one.write]).then(one.resolve, one.reject);
        } else {
          this.#report(error, "recording runs failed");
          batch[0]?.reject(error);
        }
      }
    }
    this.#flushing = undefined;
  }

  #take(): Waiting[] {
    let rows = 0;
    let count = 0;
    for (const { write } of this.#waiting) {
      rows += (write.steps?.length ?? 0) + (write.logs?.length ?? 0) + (write.runs?.length ?? 0);
      if (count > 0 && rows > MOST_ROWS) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    // The last of several writes of one row: PostgreSQL touches a row once per statement.
    const steps = new Map(writes.flatMap(({ steps = [] }) => steps.map((step) => [`${step.run}${step.key}`, step])));
    const runs = new Map(writes.flatMap(({ runs = [] }) => runs.map((change) => [change.run, change])));
    const logs = writes.flatMap(({ logs = [] }) => logs);
    await this.#state.query(COMMIT, [
      JSON.stringify([...steps.values()].map(stepRow)),
      JSON.stringify(logs.map(logRow)),
      JSON.stringify([...runs.values()].map(runRow)),
    ]);
  }
}

/** One statement, so one round trip and one commit. A step of a run that was pruned meanwhile is dropped with it. */
const COMMIT = `
  with steps as (
    insert into millrace.run_steps (run, key, kind, status, position, completed, input_hash, input, output, error, attempts, started_at,
      finished_at, wake_at, detail)
    select s.* from json_to_recordset($1::json) as s(run uuid, key text, kind text, status text, position integer, completed integer,
      input_hash text, input json, output json, error jsonb, attempts integer, started_at timestamptz, finished_at timestamptz,
      wake_at timestamptz, detail jsonb)
    where exists (select from millrace.runs r where r.id = s.run)
    on conflict (run, key) do update set status = excluded.status, completed = excluded.completed, output = excluded.output,
      error = excluded.error, attempts = excluded.attempts, finished_at = excluded.finished_at, wake_at = excluded.wake_at,
      detail = excluded.detail
  ), logs as (
    insert into millrace.run_logs (run, step, attempt, line, at, message, fields)
    select l.* from json_to_recordset($2::json) as l(run uuid, step text, attempt integer, line integer, at timestamptz, message text,
      fields jsonb)
    where exists (select from millrace.runs r where r.id = l.run)
    on conflict do nothing
  )
  update millrace.runs r set status = c.status, ending = coalesce(c.ending, r.ending), output = coalesce(c.output, r.output),
    error = coalesce(c.error, r.error), finished_at = coalesce(c.finished_at, r.finished_at)
  from json_to_recordset($3::json) as c(run uuid, status text, ending jsonb, output json, error jsonb, finished_at timestamptz)
  where r.id = c.run and r.finished_at is null`;

function stepRow(step: StepRecord): Record<string, unknown> {
  return {
    run: step.run,
    key: step.key,
    kind: step.kind,
    status: step.status,
    position: step.position,
    completed: step.completed,
    input_hash: step.inputHash,
    input: step.input,
    output: step.output,
    error: step.error,
    attempts: step.attempts,
    started_at: moment(step.startedAtMs),
    finished_at: moment(step.finishedAtMs),
    wake_at: moment(step.wakeAtMs),
    detail: step.detail,
  };
}

function logRow({ atMs, ...line }: LogLine): Record<string, unknown> {
  return { ...line, at: moment(atMs) };
}

function runRow({ finishedAtMs, ...change }: RunChange): Record<string, unknown> {
  return { ...change, finished_at: moment(finishedAtMs ?? null) };
}

function moment(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
