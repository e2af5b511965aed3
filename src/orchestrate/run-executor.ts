import { didYouMean } from "../define/nearest.ts";
import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import { MillraceError } from "../errors.ts";
import type { State } from "../state/state.ts";
import type { Alarms } from "./alarms.ts";
import { Execution, type Outcome } from "./execution.ts";
import type { Journal } from "./journal.ts";
import type { LoopWatch } from "./loop-watch.ts";
import type { Means } from "./means.ts";
import type { RunDrafts } from "./run-drafts.ts";
import type { RunQueue } from "./run-queue.ts";
import type { RunRow, StepRecord } from "./run-records.ts";
import { readSteps } from "./run-table.ts";
import { failureOf } from "./step-failure.ts";
import { isAway } from "./waits.ts";

export interface RunExecutorParts {
  readonly project: Project;
  readonly state: State;
  readonly queue: RunQueue;
  readonly journal: Journal;
  readonly alarms: Alarms;
  readonly drafts: RunDrafts;
  readonly means: Means;
  readonly watch: LoopWatch;
  readonly clock: () => number;
  readonly random: () => number;
  readonly report: (error: unknown, what: string) => void;
  /** Runs executed at once, those that wait not counted. */
  readonly capacity: number;
  /** Told when the end of a run is recorded. */
  readonly ended: (run: string) => void;
}

/** A run that takes the platform down with it so often, and comes no step further in between, is not tried again. */
const MOST_INTERRUPTIONS = 5;

interface Active {
  readonly execution: Execution;
  readonly run: RunRow;
  idle: boolean;
}

/** Takes runs from the queue while there is room, and executes them. */
export class RunExecutor {
  readonly #o: RunExecutorParts;
  readonly #active = new Map<string, Active>();
  #pumping: Promise<void> | undefined;
  #pumpAgain = false;
  /** True when the queue may hold runs as active that nobody executes: an answer of PostgreSQL was lost. */
  #astray = false;
  /** True when a run is active in the queue and not over that nobody executes any more: what it was to record was refused. */
  #left = false;
  #closed = false;

  constructor(parts: RunExecutorParts) {
    this.#o = parts;
  }

  /** A run that is being executed here. */
  active(id: string): { readonly execution: Execution; readonly run: RunRow } | undefined {
    return this.#active.get(id);
  }

  /** Takes no further runs; resolves when none is being taken. */
  async stop(): Promise<void> {
    this.#closed = true;
    await this.#pumping;
  }

  /** Gives steps under way a moment to come to their end, and tells which runs are left for the next life. */
  async suspend(graceMs: number): Promise<readonly string[]> {
    const active = [...this.#active.values()];
    await Promise.all(active.map(({ execution }) => execution.suspend(graceMs)));
    return active.map(({ run }) => run.id);
  }

  /** Looks for what is to be taken, and takes up what was left: here and not at once, for it may be refused again. */
  look(): void {
    if (this.#left) this.#astray = true;
    this.#left = false;
    this.pump();
  }

  /** Takes runs from the queue while there is room. */
  pump(): void {
    if (this.#closed) return;
    this.#pumpAgain = true;
    this.#pumping ??= (async () => {
      // Whoever asks within the same turn is served by the same look.
      await new Promise(setImmediate);
      while (this.#pumpAgain && !this.#closed) {
        this.#pumpAgain = false;
        try {
          if (this.#astray) await this.sendAstray();
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
    const taken = await this.#o.queue.take(room);
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
    await this.#o.queue.remove(ids.filter((id) => !found.has(id)));
  }

  #execute(run: RunRow, records: readonly StepRecord[]): void {
    const workflow = this.#o.project.workflows.get(run.workflow);
    const refused = this.#refusal(run, workflow, records);
    if (workflow === undefined || refused !== undefined) {
      const error = failureOf(refused);
      this.#o.journal
        .write({ runs: [{ run: run.id, status: "failed", error, finishedAtMs: this.#o.clock() }] })
        .then(() => this.#o.ended(run.id))
        .catch((reason: unknown) => {
          this.#left = true;
          this.#o.report(reason, `ending run ${run.id}; it is tried again`);
        });
      return;
    }
    const execution = new Execution({
      workflow,
      run,
      dir: this.#o.project.dir,
      records,
      journal: this.#o.journal,
      means: this.#o.means,
      watch: this.#o.watch,
      clock: this.#o.clock,
      random: this.#o.random,
      at: (atMs, ring) => this.#o.alarms.at(atMs, ring),
      idle: (idle) => {
        const active = this.#active.get(run.id);
        if (active !== undefined) active.idle = idle;
        if (idle) this.pump();
      },
    });
    this.#active.set(run.id, { execution, run, idle: false });
    execution.go().then(
      (outcome) => this.#over(run, outcome),
      (error: unknown) => {
        // Nothing of the workflow's own comes here: it could not be recorded. The next look takes it up.
        this.#left = true;
        this.#o.report(error, `executing run ${run.id} of ${run.workflow}; it is tried again`);
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
    if (outcome.kind === "ended") this.#o.ended(run.id);
  }

  /** Makes the queue's entries of all runs anew that are not over and that nobody executes. */
  async sendAstray(): Promise<void> {
    // Before and not after: what goes astray meanwhile is for the next time.
    this.#astray = false;
    await this.#o.state.transaction(async (session) => {
      const rows = await session.query<{ id: string; workflow: string; concurrency_key: string | null }>(
        "select id, workflow, concurrency_key from millrace.runs where finished_at is null and sent and not id = any($1) order by id",
        [[...this.#active.keys()]],
      );
      await this.#o.queue.remove(
        rows.map(({ id }) => id),
        session,
      );
      await this.#o.queue.send(
        session,
        rows.map((row) => this.#o.drafts.queued(row)),
      );
    });
  }
}
