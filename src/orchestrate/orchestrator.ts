/**
 * Everything between a trigger and the end of a run: takes runs from the queue, executes them, settles their ends, and knows how to start,
 * cancel and retry one. The platform opens one of these when its project has workflows.
 */

import type { Project } from "../define/project.ts";
import type { Trigger } from "../define/triggers.ts";
import { MillraceError } from "../errors.ts";
import type { State } from "../state/state.ts";
import { Alarms } from "./alarms.ts";
import { EndedRuns } from "./ended-runs.ts";
import { runCommand } from "./external-command.ts";
import { type ArrivalTrigger, FileArrivals } from "./file-arrivals.ts";
import { runIsolated } from "./isolated-step.ts";
import { Journal } from "./journal.ts";
import { LoopWatch } from "./loop-watch.ts";
import type { Means } from "./means.ts";
import type { Partition } from "./partitions.ts";
import { RunDrafts } from "./run-drafts.ts";
import { RunExecutor } from "./run-executor.ts";
import { newRunId } from "./run-id.ts";
import { RunQueue } from "./run-queue.ts";
import type { Ending, RunRow } from "./run-records.ts";
import { type CreatedRun, createRuns, findRun, groupOf, type NewRun, reopenRun } from "./run-table.ts";
import { type CronTrigger, type Draft, Schedules } from "./schedules.ts";
import { failureOf } from "./step-failure.ts";
import { recordable } from "./step-values.ts";
import { SubWorkflows } from "./sub-workflows.ts";
import { type TableTrigger, TableTriggers, type WatchedTables } from "./table-triggers.ts";
import { type TriggerName, TriggerStates, triggerName } from "./trigger-states.ts";
import { Waits } from "./waits.ts";

export interface OrchestratorOptions {
  readonly project: Project;
  readonly state: State;
  readonly tables: WatchedTables;
  readonly sql: Means["sql"];
  readonly refresh: Means["refresh"];
  /** Of the platform; commands get what they need of it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: () => number;
  readonly random?: () => number;
  readonly report: (error: unknown, what: string) => void;
  /** Told of steps that hold up the platform. */
  readonly warn: (finding: Readonly<Record<string, unknown>>, what: string) => void;
  /** Runs executed at once, those that wait not counted. */
  readonly capacity: number;
  readonly retentionMs: number;
  /** Between two looks at the clock. 0: only calls of `tick` and `look` do. */
  readonly tickMs?: number;
  /** How long steps under way may go on when the platform stops. */
  readonly graceMs?: number;
}

export interface StartRequest {
  readonly workflow: string;
  readonly input?: unknown;
  readonly idempotencyKey?: string | undefined;
  readonly by: string;
}

export interface BackfillRequest {
  readonly workflow: string;
  readonly partitions: readonly Partition[];
  readonly concurrency: number;
  readonly by: string;
}

const TICK_MS = 100;
/** What was not told, as after a moment without PostgreSQL, is found by looking. */
const LOOK_MS = 1_000;
const PRUNE_MS = 3_600_000;
const GRACE_MS = 5_000;

export class Orchestrator {
  readonly #o: OrchestratorOptions;
  readonly #queue: RunQueue;
  readonly #journal: Journal;
  readonly #alarms: Alarms;
  readonly #states: TriggerStates;
  readonly #schedules: Schedules;
  readonly #tables: TableTriggers;
  readonly #files: FileArrivals;
  readonly #waits: Waits;
  readonly #drafts: RunDrafts;
  readonly #watch: LoopWatch;
  readonly #ended: EndedRuns;
  readonly #executor: RunExecutor;
  #timer: NodeJS.Timeout | undefined;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #lastPruneMs = Number.NEGATIVE_INFINITY;
  #pruning: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  private constructor(o: OrchestratorOptions, queue: RunQueue) {
    this.#o = o;
    this.#queue = queue;
    this.#journal = new Journal(o.state, o.report);
    this.#waits = new Waits(o.state);
    this.#alarms = new Alarms(o.clock);
    this.#drafts = new RunDrafts(o.project);
    this.#watch = new LoopWatch({ warn: o.warn, nowMs: () => performance.now(), cpuMs: threadCpuMs });
    const { project, state, clock, report, env, sql, refresh } = o;
    const settled = () => this.#executor.pump();
    this.#ended = new EndedRuns({
      project,
      state,
      queue,
      clock,
      report,
      settled,
      drafts: this.#drafts,
      waits: this.#waits,
    });
    const subWorkflows = new SubWorkflows({
      ...{ clock, drafts: this.#drafts, waits: this.#waits, create: (run) => this.#create(run) },
      cancel: (run, by) => this.cancel(run, by),
      active: (run) => this.#executor.active(run)?.run,
    });
    this.#executor = new RunExecutor({
      ...{ project, state, queue, clock, report, journal: this.#journal, alarms: this.#alarms, drafts: this.#drafts },
      random: o.random ?? Math.random,
      watch: this.#watch,
      capacity: o.capacity,
      ended: (run) => this.#ended.settleLater(run),
      means: {
        ...{ sql, refresh },
        exec: (command, around) => runCommand(command, { ...around, dir: project.dir, env }),
        isolated: (call, around) => runIsolated(call, { ...around, dir: project.dir, env }),
        child: (parent, step, workflow, input, signal) => subWorkflows.child(parent, step, workflow, input, signal),
        signal: (run, name, signal) => this.#waits.signal(run, name, signal),
      },
    });
    this.#states = new TriggerStates(o.state, queue, o.clock, (runs, created) => this.#ended.made(runs, created));
    const draft: Draft = (workflow, run) => this.#drafts.triggered(this.#drafts.workflow(workflow), run);
    const common = {
      states: this.#states,
      draft,
      clock: o.clock,
      report: o.report,
      fired: () => this.#executor.pump(),
    };
    this.#schedules = new Schedules(common);
    this.#tables = new TableTriggers({ ...common, tables: o.tables });
    this.#files = new FileArrivals({ ...common, dir: o.project.dir });
  }

  /** Opens the queue, takes up what a former life left, and begins to look at clock, tables and files. */
  static async open(o: OrchestratorOptions): Promise<Orchestrator> {
    const limits = [...o.project.workflows.values()].flatMap(({ concurrency }) => concurrency?.limit ?? []);
    const queue = await RunQueue.open(o.state, limits, o.report);
    const orchestrator = new Orchestrator(o, queue);
    try {
      await orchestrator.#begin();
    } catch (error) {
      // Whoever tries again opens all of it anew. What else fails now says no more than the first failure does.
      await orchestrator.close({ graceMs: 0 }).catch(() => undefined);
      throw error;
    }
    return orchestrator;
  }

  /** @throws WORKFLOW_UNKNOWN, RUN_INPUT_INVALID, STATE_UNAVAILABLE */
  async start({ workflow: name, input, idempotencyKey, by }: StartRequest): Promise<CreatedRun> {
    const workflow = this.#drafts.workflow(name);
    const run = this.#drafts.draft(workflow, {
      cause: { kind: "manual", by },
      input: this.#drafts.input(workflow, input),
      scheduledAtMs: this.#o.clock(),
      ...(idempotencyKey === undefined ? {} : { idempotencyKey: `given ${idempotencyKey}` }),
    });
    return this.#create(run);
  }

  /**
   * Ends a run that is not over: nothing new begins, what is under way is aborted, what was done is undone. Resolves once that is
   * recorded. @throws RUN_UNKNOWN, RUN_STATE
   */
  async cancel(id: string, by: string): Promise<void> {
    const error = failureOf(new MillraceError("RUN_CANCELLED", { by: by === "" ? "" : ` by ${by}` }));
    const ending: Ending = { status: "cancelled", error };
    const { state, clock } = this.#o;
    const [never] = await state.query<{ id: string }>(
      `update millrace.runs set status = 'cancelled', error = $2, ending = $3, finished_at = $4
       where id = $1 and status = 'queued' and starts = 0 returning id`,
      [id, JSON.stringify(error), JSON.stringify(ending), new Date(clock())],
    );
    if (never !== undefined) return this.#ended.settleLater(id);
    const [under] = await state.query<{ id: string }>(
      "update millrace.runs set ending = coalesce(ending, $2) where id = $1 and finished_at is null returning id",
      [id, JSON.stringify(ending)],
    );
    if (under === undefined) {
      const run = await findRun(state, id);
      if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
      throw wrongState(run, "runs that are not over", "cancelled");
    }
    this.#executor.active(id)?.execution.end(ending);
  }

  /**
   * Takes a run that failed or was cancelled up again: completed steps stay, the failed one is done again, and so is what was undone.
   * @throws RUN_UNKNOWN, RUN_STATE, WORKFLOW_UNKNOWN; RUN_INPUT_INVALID for one that was refused, and still would be
   */
  async retry(id: string): Promise<void> {
    await this.#o.state.transaction(async (session) => {
      const [run] = await session.query<RunRow>("select * from millrace.runs where id = $1 for update", [id]);
      if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
      if (run.status !== "failed" && run.status !== "cancelled")
        throw wrongState(run, "failed and cancelled runs", "retried");
      const workflow = this.#drafts.workflow(run.workflow);
      // One that was refused when its trigger asked for it has no key yet.
      const key = run.concurrency_key ?? (run.starts === 0 ? this.#drafts.concurrencyKey(workflow, run.input) : null);
      await reopenRun(session, run);
      await session.query("update millrace.runs set concurrency_key = $2 where id = $1", [id, key]);
      await this.#queue.remove([id], session);
      await this.#queue.send(session, [{ id, group: groupOf(run.workflow, key, workflow.concurrency?.limit) }]);
    });
    this.#ended.forget(id);
    this.#executor.pump();
  }

  /** Gives a run what `waitFor` waits for. The first data of a name counts. @throws RUN_UNKNOWN, RUN_STATE */
  async signal(id: string, name: string, data: unknown): Promise<void> {
    const run = await findRun(this.#o.state, id);
    if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
    if (run.finished_at !== null) throw wrongState(run, "runs that are not over", "signalled");
    await this.#o.state.query(
      "insert into millrace.run_signals (run, name, data, at) values ($1, $2, $3, $4) on conflict do nothing",
      [id, name, JSON.stringify(recordable(name, data)), new Date(this.#o.clock())],
    );
    this.#waits.signalled(id, name, data ?? null);
  }

  /** Makes a run for each partition; `concurrency` of them are under way at once. @throws WORKFLOW_UNKNOWN, BACKFILL_INVALID */
  async backfill({ workflow: name, partitions, concurrency, by }: BackfillRequest): Promise<string> {
    const workflow = this.#drafts.workflow(name);
    const nowMs = this.#o.clock();
    const id = newRunId(nowMs);
    const runs = partitions.map((partition, i) => ({
      ...this.#drafts.draft(workflow, {
        cause: { kind: "backfill", by },
        input: partition,
        scheduledAtMs: nowMs,
        idempotencyKey: `backfill ${id} ${partition.partition}`,
      }),
      backfill: id,
      partition: partition.partition,
      sent: i < concurrency,
    }));
    await this.#o.state.transaction(async (session) => {
      await session.query(
        "insert into millrace.backfills (id, workflow, partitions, concurrency, created_at) values ($1, $2, $3, $4, $5)",
        [id, name, partitions.length, concurrency, new Date(nowMs)],
      );
      await createRuns(session, this.#queue, runs, nowMs);
    });
    this.#executor.pump();
    return id;
  }

  /** Cancels what is not over of a backfill, and gives how many runs that were. @throws BACKFILL_UNKNOWN */
  async cancelBackfill(id: string, by: string): Promise<number> {
    const { state } = this.#o;
    const [known] = await state.query("update millrace.backfills set cancelled = true where id = $1 returning id", [
      id,
    ]);
    if (known === undefined) throw new MillraceError("BACKFILL_UNKNOWN", { backfill: id });
    // Those that have not begun first, lest the end of one lets another begin.
    const runs = await state.query<{ id: string }>(
      "select id from millrace.runs where backfill = $1 and finished_at is null order by sent, id desc",
      [id],
    );
    let cancelled = 0;
    for (const run of runs) {
      try {
        await this.cancel(run.id, by);
        cancelled++;
      } catch (error) {
        if (!(error instanceof MillraceError && error.code === "RUN_STATE")) throw error; // it ended meanwhile
      }
    }
    return cancelled;
  }

  /** Told by the flow that a table has a new version. */
  committed(table: string): void {
    if (!this.#closed) this.#tables.committed(table);
  }

  /** Looks at the clock, and every second at the rest. */
  tick(): void {
    if (this.#closed) return;
    this.#alarms.tick();
    this.#schedules.tick();
    const nowMs = performance.now();
    if (nowMs - this.#lastLookMs < LOOK_MS) return;
    this.#lastLookMs = nowMs;
    this.#looking ??= this.look().finally(() => {
      this.#looking = undefined;
    });
    if (nowMs - this.#lastPruneMs < PRUNE_MS) return;
    this.#lastPruneMs = nowMs;
    this.#pruning = this.#prune().catch((error: unknown) => this.#o.report(error, "removing old runs"));
  }

  /** Looks at files, tables and the queue: finds what nobody told, and does what could not be done before. */
  async look(): Promise<void> {
    this.#tables.checkAll();
    this.#executor.look();
    this.#ended.look();
    await this.#files.look();
  }

  /**
   * Stops taking runs, gives steps under way a moment to come to their end, and leaves the rest for the next life. `graceMs` 0: somebody else has
   * taken the work over, and nothing may go on.
   */
  async close({ graceMs = this.#o.graceMs ?? GRACE_MS }: { readonly graceMs?: number } = {}): Promise<void> {
    this.#closed = true;
    this.#waits.close();
    clearInterval(this.#timer);
    await Promise.all([
      this.#executor.stop(),
      this.#pruning,
      this.#looking,
      this.#schedules.close(),
      this.#tables.close(),
    ]);
    const ids = await this.#executor.suspend(graceMs);
    this.#watch.close();
    await this.#journal.close(Math.min(graceMs, GRACE_MS));
    await this.#ended.close();
    // They were not cut off: the next life does not count this as an interruption. Should it fail, it will.
    if (ids.length > 0)
      await this.#o.state
        .query(
          "update millrace.runs set status = 'queued' where id = any($1) and status in ('running', 'compensating')",
          [ids],
        )
        .catch((error: unknown) => this.#o.report(error, "leaving runs for the next start"));
    await this.#queue.close();
  }

  async #begin(): Promise<void> {
    const { project, state } = this.#o;
    const triggers = [...project.workflows.values()].flatMap(({ name: workflow, triggers }) =>
      triggers.map((trigger) => ({ name: { workflow, trigger: triggerName(trigger) } as TriggerName, trigger })),
    );
    await this.#states.load(triggers.map(({ name }) => name));
    // Whoever was running when the last life ended was cut off, unless that had made progress since or only waited.
    await state.query(
      `update millrace.runs r set steps_seen = s.completed,
         interruptions = case when s.waiting then r.interruptions when s.completed > r.steps_seen then 1 else r.interruptions + 1 end
       from (select runs.id, count(steps.completed) as completed, coalesce(bool_or(steps.status in ('waiting', 'retrying')), false) as waiting
             from millrace.runs left join millrace.run_steps steps on steps.run = runs.id
             where runs.finished_at is null and runs.status <> 'queued' group by runs.id) s
       where r.id = s.id`,
    );
    await this.#queue.clear();
    await this.#executor.sendAstray();
    await this.#ended.load();
    const of = <T extends Trigger>(...kinds: string[]) =>
      triggers.filter(({ trigger }) => kinds.includes(trigger.kind)) as { name: TriggerName; trigger: T }[];
    await this.#schedules.open(of<CronTrigger>("cron"));
    await this.#tables.open(of<TableTrigger>("commit", "amount"));
    this.#files.open(of<ArrivalTrigger>("arrival"));
    this.#ended.settleLater();
    this.#executor.pump();
    const tickMs = this.#o.tickMs ?? TICK_MS;
    if (tickMs > 0) this.#timer = setInterval(() => this.tick(), tickMs);
  }

  async #create(run: NewRun): Promise<CreatedRun> {
    const nowMs = this.#o.clock();
    const [created] = await this.#o.state.transaction((session) => createRuns(session, this.#queue, [run], nowMs));
    this.#executor.pump();
    return created!;
  }

  async #prune(): Promise<void> {
    const before = new Date(this.#o.clock() - this.#o.retentionMs);
    await this.#o.state.query("delete from millrace.runs where finished_at < $1 and followed", [before]);
    await this.#o.state.query(
      "delete from millrace.backfills b where created_at < $1 and not exists (select from millrace.runs where backfill = b.id)",
      [before],
    );
  }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

function wrongState({ id, status }: RunRow, allowed: string, action: string): MillraceError {
  return new MillraceError("RUN_STATE", { run: id, status, allowed, action });
}
