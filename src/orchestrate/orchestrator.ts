/**
 * Everything between a trigger and the end of a run: takes runs from the queue, executes them, settles their ends, and knows how to start,
 * cancel and retry one. The platform opens one of these when its project has workflows.
 */

import { didYouMean } from "../define/nearest.ts";
import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import type { Trigger } from "../define/triggers.ts";
import type { ExternalCommand, RunCause } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { State } from "../state/state.ts";
import { Alarms } from "./alarms.ts";
import { Execution, type Means, type Outcome } from "./execution.ts";
import { runCommand } from "./external-command.ts";
import { type ArrivalTrigger, FileArrivals } from "./file-arrivals.ts";
import { runIsolated } from "./isolated-step.ts";
import { Journal } from "./journal.ts";
import type { Partition } from "./partitions.ts";
import { newRunId } from "./run-id.ts";
import { RunQueue } from "./run-queue.ts";
import type { Ending, RunRow, StepRecord } from "./run-records.ts";
import {
  type CreatedRun,
  childKey,
  createRuns,
  findRun,
  groupOf,
  type NewRun,
  readSteps,
  reopenRun,
} from "./run-table.ts";
import { type CronTrigger, type Draft, Schedules } from "./schedules.ts";
import { failureOf } from "./step-failure.ts";
import { MOST_VALUE_BYTES, recordable } from "./step-values.ts";
import { type TableTrigger, TableTriggers, type WatchedTables } from "./table-triggers.ts";
import { type TriggerName, TriggerStates } from "./trigger-states.ts";
import { isAway, Waits } from "./waits.ts";

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
/** A run that takes the platform down with it so often, and comes no step further in between, is not tried again. */
const MOST_INTERRUPTIONS = 5;
const MOST_DEPTH = 20;

interface Active {
  readonly execution: Execution;
  readonly run: RunRow;
  idle: boolean;
}

export class Orchestrator {
  readonly #o: OrchestratorOptions;
  readonly #queue: RunQueue;
  readonly #journal: Journal;
  readonly #alarms: Alarms;
  readonly #states: TriggerStates;
  readonly #schedules: Schedules;
  readonly #tables: TableTriggers;
  readonly #files: FileArrivals;
  readonly #active = new Map<string, Active>();
  /** Runs that are over and whose queue entries, followers and backfills are still to be seen to. */
  readonly #ended = new Set<string>();
  readonly #waits: Waits;
  readonly #followers = new Map<string, { readonly workflow: Workflow; readonly kind: "succeeded" | "failed" }[]>();
  #timer: NodeJS.Timeout | undefined;
  #pumping: Promise<void> | undefined;
  #pumpAgain = false;
  #settling: Promise<void> | undefined;
  /** True when the queue may hold runs as active that nobody executes: an answer of PostgreSQL was lost. */
  #astray = false;
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
    this.#states = new TriggerStates(o.state, queue, o.clock);
    const draft: Draft = (workflow, run) => this.#draft(this.#workflow(workflow), run);
    const common = { states: this.#states, draft, clock: o.clock, report: o.report, fired: () => this.#pump() };
    this.#schedules = new Schedules(common);
    this.#tables = new TableTriggers({ ...common, tables: o.tables });
    this.#files = new FileArrivals({ ...common, dir: o.project.dir });
    for (const workflow of o.project.workflows.values())
      for (const trigger of workflow.triggers)
        if (trigger.kind === "succeeded" || trigger.kind === "failed") {
          const followers = this.#followers.get(trigger.workflow) ?? [];
          this.#followers.set(trigger.workflow, [...followers, { workflow, kind: trigger.kind }]);
        }
  }

  /** Opens the queue, takes up what a former life left, and begins to look at clock, tables and files. */
  static async open(o: OrchestratorOptions): Promise<Orchestrator> {
    const limits = [...o.project.workflows.values()].flatMap(({ concurrency }) => concurrency?.limit ?? []);
    const queue = await RunQueue.open(o.state, limits, o.report);
    const orchestrator = new Orchestrator(o, queue);
    await orchestrator.#begin();
    return orchestrator;
  }

  /** @throws WORKFLOW_UNKNOWN, RUN_INPUT_INVALID, STATE_UNAVAILABLE */
  async start({ workflow: name, input, idempotencyKey, by }: StartRequest): Promise<CreatedRun> {
    const workflow = this.#workflow(name);
    const run = this.#draft(workflow, {
      cause: { kind: "manual", by },
      input: this.#input(workflow, input),
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
    if (never !== undefined) return this.#settleLater(id);
    const [under] = await state.query<{ id: string }>(
      "update millrace.runs set ending = coalesce(ending, $2) where id = $1 and finished_at is null returning id",
      [id, JSON.stringify(ending)],
    );
    if (under === undefined) {
      const run = await findRun(state, id);
      if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
      throw wrongState(run, "runs that are not over", "cancelled");
    }
    this.#active.get(id)?.execution.end(ending);
  }

  /**
   * Takes a run that failed or was cancelled up again: completed steps stay, the failed one is done again, and so is what was undone.
   * @throws RUN_UNKNOWN, RUN_STATE, WORKFLOW_UNKNOWN
   */
  async retry(id: string): Promise<void> {
    await this.#o.state.transaction(async (session) => {
      const [run] = await session.query<RunRow>("select * from millrace.runs where id = $1 for update", [id]);
      if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
      if (run.status !== "failed" && run.status !== "cancelled")
        throw wrongState(run, "failed and cancelled runs", "retried");
      const workflow = this.#workflow(run.workflow);
      await reopenRun(session, run);
      await this.#queue.remove([id], session);
      await this.#queue.send(session, [
        { id, group: groupOf(run.workflow, run.concurrency_key, workflow.concurrency?.limit) },
      ]);
    });
    this.#ended.delete(id);
    this.#pump();
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
    const workflow = this.#workflow(name);
    const nowMs = this.#o.clock();
    const id = newRunId(nowMs);
    const runs = partitions.map((partition, i) => ({
      ...this.#draft(workflow, {
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
    this.#pump();
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
    this.#pump();
    if (this.#ended.size > 0) this.#settleLater();
    await this.#files.look();
  }

  /** Stops taking runs, gives steps under way a moment to come to their end, and leaves the rest for the next life. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waits.close();
    clearInterval(this.#timer);
    await Promise.all([this.#pumping, this.#pruning, this.#looking, this.#schedules.close(), this.#tables.close()]);
    const active = [...this.#active.values()];
    await Promise.all(active.map(({ execution }) => execution.suspend(this.#o.graceMs ?? GRACE_MS)));
    await this.#journal.close(GRACE_MS);
    await this.#settling;
    const ids = active.map(({ run }) => run.id);
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
    await this.#sendAstray();
    const unsettled = await state.query<{ id: string }>(
      "select id from millrace.runs where finished_at is not null and not followed",
    );
    for (const { id } of unsettled) this.#ended.add(id);
    const of = <T extends Trigger>(...kinds: string[]) =>
      triggers.filter(({ trigger }) => kinds.includes(trigger.kind)) as { name: TriggerName; trigger: T }[];
    await this.#schedules.open(of<CronTrigger>("cron"));
    await this.#tables.open(of<TableTrigger>("commit", "amount"));
    this.#files.open(of<ArrivalTrigger>("arrival"));
    this.#settleLater();
    this.#pump();
    const tickMs = this.#o.tickMs ?? TICK_MS;
    if (tickMs > 0) this.#timer = setInterval(() => this.tick(), tickMs);
  }

  #workflow(name: string): Workflow {
    const { workflows } = this.#o.project;
    const workflow = workflows.get(name);
    if (workflow === undefined)
      throw new MillraceError("WORKFLOW_UNKNOWN", { workflow: name, nearest: didYouMean(name, workflows.keys()) });
    return workflow;
  }

  #input(workflow: Workflow, input: unknown): unknown {
    try {
      return recordable("its input", input);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const reason = `cannot be kept: ${error.message} (at most ${MOST_VALUE_BYTES} bytes)`;
      throw new MillraceError("RUN_INPUT_INVALID", { workflow: workflow.name, reason });
    }
  }

  #draft(
    workflow: Workflow,
    run: { cause: RunCause; input: unknown; scheduledAtMs: number; idempotencyKey?: string; parentRun?: string },
  ): NewRun {
    const { name, codeHash, concurrency } = workflow;
    let concurrencyKey: string | undefined;
    try {
      concurrencyKey = concurrency?.key === undefined ? undefined : String(concurrency.key(run.input));
    } catch (error) {
      const reason = `gives no concurrency key: ${error instanceof Error ? error.message : String(error)}`;
      throw new MillraceError("RUN_INPUT_INVALID", { workflow: name, reason });
    }
    return { workflow: name, codeHash, concurrencyKey, limit: concurrency?.limit, ...run };
  }

  async #create(run: NewRun): Promise<CreatedRun> {
    const nowMs = this.#o.clock();
    const [created] = await this.#o.state.transaction((session) => createRuns(session, this.#queue, [run], nowMs));
    this.#pump();
    return created!;
  }

  /** Takes runs from the queue while there is room. */
  #pump(): void {
    if (this.#closed) return;
    this.#pumpAgain = true;
    this.#pumping ??= (async () => {
      // Whoever asks within the same turn is served by the same look.
      await new Promise(setImmediate);
      while (this.#pumpAgain && !this.#closed) {
        this.#pumpAgain = false;
        try {
          if (this.#astray) await this.#sendAstray();
          await this.#take();
        } catch (error) {
          // A look was lost, and perhaps what it took with it. The next tick looks again.
          this.#astray = true;
          if (!isAway(error)) this.#o.report(error, "taking runs from the queue");
        }
      }
      this.#pumping = undefined;
    })();
  }

  async #take(): Promise<void> {
    let busy = 0;
    for (const { idle } of this.#active.values()) if (!idle) busy++;
    const room = this.#o.capacity - busy;
    if (room <= 0) return;
    const taken = await this.#queue.take(room);
    if (taken.length === 0) return;
    this.#pumpAgain = true;
    const ids = taken.filter((id) => !this.#active.has(id));
    const rows = await this.#o.state.query<RunRow>(
      `update millrace.runs set starts = starts + 1, started_at = coalesce(started_at, $2),
         status = case when ending is null then 'running' else 'compensating' end
       where id = any($1) and finished_at is null returning *`,
      [ids, new Date(this.#o.clock())],
    );
    const begun = rows.filter(({ starts }) => starts > 1).map(({ id }) => id);
    const records = begun.length === 0 ? [] : await readSteps(this.#o.state, begun);
    for (const row of rows)
      this.#execute(
        row,
        records.filter(({ run }) => run === row.id),
      );
    const found = new Set(rows.map(({ id }) => id));
    await this.#queue.remove(ids.filter((id) => !found.has(id)));
  }

  #execute(run: RunRow, records: readonly StepRecord[]): void {
    const workflow = this.#o.project.workflows.get(run.workflow);
    const refused = this.#refusal(run, workflow, records);
    if (workflow === undefined || refused !== undefined) {
      const error = failureOf(refused);
      this.#journal
        .write({ runs: [{ run: run.id, status: "failed", error, finishedAtMs: this.#o.clock() }] })
        .then(() => this.#settleLater(run.id))
        .catch((reason: unknown) => this.#o.report(reason, `ending run ${run.id}`));
      return;
    }
    const execution = new Execution({
      workflow,
      run,
      dir: this.#o.project.dir,
      records,
      journal: this.#journal,
      means: this.#means(),
      clock: this.#o.clock,
      random: this.#o.random ?? Math.random,
      at: (atMs, ring) => this.#alarms.at(atMs, ring),
      idle: (idle) => {
        const active = this.#active.get(run.id);
        if (active !== undefined) active.idle = idle;
        if (idle) this.#pump();
      },
    });
    this.#active.set(run.id, { execution, run, idle: false });
    execution.go().then(
      (outcome) => this.#over(run, outcome),
      (error: unknown) => {
        // Nothing of the workflow's own comes here: it could not be recorded. The next life takes it up.
        this.#o.report(error, `executing run ${run.id} of ${run.workflow}`);
        this.#over(run, { kind: "suspended" });
      },
    );
  }

  #refusal(run: RunRow, workflow: Workflow | undefined, records: readonly StepRecord[]): MillraceError | undefined {
    if (workflow === undefined)
      return new MillraceError("WORKFLOW_UNKNOWN", {
        workflow: run.workflow,
        nearest: didYouMean(run.workflow, this.#o.project.workflows.keys()),
      });
    if (run.interruptions < MOST_INTERRUPTIONS) return undefined;
    const open = records.filter(({ completed }) => completed === null).map(({ key }) => key);
    const steps = open.length === 0 ? "a step that was not shown yet" : open.join(", ");
    return new MillraceError("RUN_INTERRUPTED", { times: run.interruptions, steps });
  }

  #over(run: RunRow, outcome: Outcome): void {
    this.#active.delete(run.id);
    if (outcome.kind === "ended") this.#settleLater(run.id);
  }

  #settleLater(id?: string): void {
    if (id !== undefined) {
      this.#ended.add(id);
      this.#waits.ended(id);
    }
    this.#settling ??= (async () => {
      await new Promise(setImmediate);
      while (this.#ended.size > 0) {
        const ids = [...this.#ended].slice(0, 500);
        try {
          await this.#settle(ids);
          for (const done of ids) this.#ended.delete(done);
        } catch (error) {
          if (!isAway(error)) this.#o.report(error, "settling runs that ended");
          break; // the next tick does it
        }
      }
      this.#settling = undefined;
      this.#pump();
    })();
  }

  /** Takes runs that are over out of the queue, starts what follows them, and lets the next of their backfills begin: all or nothing. */
  async #settle(ids: readonly string[]): Promise<void> {
    const nowMs = this.#o.clock();
    await this.#o.state.transaction(async (session) => {
      const runs = await session.query<RunRow>(
        "update millrace.runs set followed = true where id = any($1) and finished_at is not null and not followed returning *",
        [ids],
      );
      await this.#queue.remove(ids, session);
      const follow = runs.flatMap((run) =>
        (this.#followers.get(run.workflow) ?? [])
          .filter(({ kind }) => kind === run.status)
          .map(({ workflow, kind }) =>
            this.#draft(workflow, {
              cause: { kind, by: run.workflow },
              input: { run: run.id, workflow: run.workflow, output: run.output, error: run.error },
              scheduledAtMs: nowMs,
              idempotencyKey: `${kind} ${run.id} ${run.starts}`,
            }),
          ),
      );
      if (follow.length > 0) await createRuns(session, this.#queue, follow, nowMs);
      const backfills = new Set(runs.flatMap(({ backfill }) => backfill ?? []));
      for (const backfill of backfills) await this.#letIn(session, backfill);
    });
  }

  /** Sends as many runs of a backfill as there is room for. */
  async #letIn(session: Parameters<RunQueue["send"]>[0], backfill: string): Promise<void> {
    const rows = await session.query<{ id: string; workflow: string; concurrency_key: string | null }>(
      `update millrace.runs set sent = true where id in (
         select id from millrace.runs where backfill = $1 and not sent and finished_at is null order by partition
         limit greatest(0, (select concurrency from millrace.backfills where id = $1 and not cancelled)
           - (select count(*) from millrace.runs where backfill = $1 and sent and finished_at is null)))
       returning id, workflow, concurrency_key`,
      [backfill],
    );
    await this.#queue.send(
      session,
      rows.map((row) => this.#queued(row)),
    );
  }

  #queued(row: { id: string; workflow: string; concurrency_key: string | null }) {
    const limit = this.#o.project.workflows.get(row.workflow)?.concurrency?.limit;
    return { id: row.id, group: groupOf(row.workflow, row.concurrency_key, limit) };
  }

  /** Makes the queue's entries of all runs anew that are not over and that nobody executes. */
  async #sendAstray(): Promise<void> {
    await this.#o.state.transaction(async (session) => {
      const rows = await session.query<{ id: string; workflow: string; concurrency_key: string | null }>(
        "select id, workflow, concurrency_key from millrace.runs where finished_at is null and sent and not id = any($1) order by id",
        [[...this.#active.keys()]],
      );
      await this.#queue.remove(
        rows.map(({ id }) => id),
        session,
      );
      await this.#queue.send(
        session,
        rows.map((row) => this.#queued(row)),
      );
    });
    this.#astray = false;
  }

  async #prune(): Promise<void> {
    const before = new Date(this.#o.clock() - this.#o.retentionMs);
    await this.#o.state.query("delete from millrace.runs where finished_at < $1 and followed", [before]);
    await this.#o.state.query(
      "delete from millrace.backfills b where created_at < $1 and not exists (select from millrace.runs where backfill = b.id)",
      [before],
    );
  }

  #means(): Means {
    const { sql, refresh, project, env } = this.#o;
    return {
      sql,
      refresh,
      exec: (command: ExternalCommand, around) => runCommand(command, { ...around, dir: project.dir, env }),
      isolated: (call, around) => runIsolated(call, { ...around, dir: project.dir, env }),
      child: (parent, step, workflow, input, signal) => this.#child(parent, step, workflow, input, signal),
      signal: (run, name, signal) => this.#waits.signal(run, name, signal),
    };
  }

  /** Makes the run of a sub-workflow unless it is there, and waits for its end. Nothing of a cancelled run goes on: then it is cancelled. */
  async #child(parent: RunRow, step: string, name: string, input: unknown, signal: AbortSignal): Promise<unknown> {
    const workflow = this.#workflow(name);
    let depth = 0;
    for (let above: RunRow | undefined = parent; above !== undefined; depth++) {
      if (above.workflow === name && workflow.concurrency !== undefined)
        throw new MillraceError("STEP_INVALID", {
          step,
          reason: `starts ${name}, which this run is part of and whose concurrency is limited: it would wait for itself`,
        });
      above = above.parent_run === null ? undefined : this.#active.get(above.parent_run)?.run;
    }
    if (depth > MOST_DEPTH)
      throw new MillraceError("STEP_INVALID", { step, reason: `is sub-workflow number ${depth} below another` });
    const { id } = await this.#waits.withState(signal, () =>
      this.#create(
        this.#draft(workflow, {
          ...{ cause: { kind: "workflow", by: parent.workflow }, input: this.#input(workflow, input) },
          ...{ scheduledAtMs: this.#o.clock(), parentRun: parent.id, idempotencyKey: childKey(parent.id, step) },
        }),
      ),
    );
    return this.#waits.output(id, signal, () =>
      this.cancel(id, `run ${parent.id}`).catch((error: unknown) => {
        if (!(error instanceof MillraceError && error.code === "RUN_STATE")) throw error; // it ended meanwhile
      }),
    );
  }
}

/** How a trigger is known through restarts. */
export function triggerName(trigger: Trigger): string {
  switch (trigger.kind) {
    case "cron":
      return `cron ${trigger.expression} ${trigger.timezone}`;
    case "amount":
      return `amount ${trigger.table} ${trigger.rows}`;
    case "commit":
      return `commit ${trigger.table}`;
    case "arrival":
      return `arrival ${trigger.files}`;
    default:
      return `${trigger.kind} ${trigger.workflow}`;
  }
}

function wrongState({ id, status }: RunRow, allowed: string, action: string): MillraceError {
  return new MillraceError("RUN_STATE", { run: id, status, allowed, action });
}
