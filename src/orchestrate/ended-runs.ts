import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import { MillraceError } from "../errors.ts";
import type { Session } from "../state/migrate.ts";
import type { State } from "../state/state.ts";
import type { RunDrafts } from "./run-drafts.ts";
import type { RunQueue } from "./run-queue.ts";
import type { RunRow } from "./run-records.ts";
import { type CreatedRun, createRuns, type NewRun } from "./run-table.ts";
import { isAway, type Waits } from "./waits.ts";

export interface EndedRunsParts {
  readonly project: Project;
  readonly state: State;
  readonly queue: RunQueue;
  readonly drafts: RunDrafts;
  readonly waits: Waits;
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
  /** Told when there may be runs to take. */
  readonly settled: () => void;
}

/** Ends that are seen to in one transaction. */
const MOST_AT_ONCE = 500;

/** Runs that are over and whose queue entries, followers and backfills are still to be seen to. */
export class EndedRuns {
  readonly #o: EndedRunsParts;
  readonly #ended = new Set<string>();
  /** Of these, those that could not be seen to by themselves either: no others are held up by them. */
  readonly #alone = new Set<string>();
  readonly #followers = new Map<string, { readonly workflow: Workflow; readonly kind: "succeeded" | "failed" }[]>();
  #settling: Promise<void> | undefined;
  #tryAlone = false;

  constructor(parts: EndedRunsParts) {
    this.#o = parts;
    for (const workflow of parts.project.workflows.values())
      for (const trigger of workflow.triggers)
        if (trigger.kind === "succeeded" || trigger.kind === "failed") {
          const followers = this.#followers.get(trigger.workflow) ?? [];
          this.#followers.set(trigger.workflow, [...followers, { workflow, kind: trigger.kind }]);
        }
  }

  /** Finds what a former life left. */
  async load(): Promise<void> {
    const unsettled = await this.#o.state.query<{ id: string }>(
      "select id from millrace.runs where finished_at is not null and not followed",
    );
    for (const { id } of unsettled) this.#ended.add(id);
  }

  /** A run that goes on after all. */
  forget(id: string): void {
    this.#seenTo(id);
  }

  /** Told of runs that were made by triggers: one that was refused is over already, and nobody else will say so. */
  made(runs: readonly NewRun[], created: readonly CreatedRun[]): void {
    for (const [i, { id, created: isNew }] of created.entries()) {
      const { workflow, refused, cause, input } = runs[i]!;
      if (refused === undefined || !isNew) continue;
      const after =
        cause.kind === "succeeded" || cause.kind === "failed" ? ` (run ${(input as { run: string }).run})` : "";
      this.#o.report(
        refused,
        `run ${id} of ${workflow}, by ${cause.kind} ${cause.by}${after}, is refused: it has failed`,
      );
      this.settleLater(id);
    }
  }

  /** Tries again what could not be done before. */
  look(): void {
    this.#tryAlone = true;
    if (this.#ended.size > 0) this.settleLater();
  }

  /** Resolves when nothing is being settled. */
  async close(): Promise<void> {
    await this.#settling;
  }

  /** Sees to what is left, and to `id` as well. */
  settleLater(id?: string): void {
    if (id !== undefined) {
      this.#ended.add(id);
      this.#o.waits.ended(id);
    }
    this.#settling ??= (async () => {
      await new Promise(setImmediate);
      try {
        const alone = this.#tryAlone ? [...this.#alone] : [];
        this.#tryAlone = false;
        for (;;) {
          const ids = [...this.#ended].filter((ended) => !this.#alone.has(ended)).slice(0, MOST_AT_ONCE);
          if (ids.length === 0) break;
          await this.#settleAll(ids);
        }
        for (const one of alone) await this.#settleAlone(one);
      } catch (error) {
        if (!isAway(error)) this.#o.report(error, "settling runs that ended"); // the next look does it
      }
      this.#settling = undefined;
      this.#o.settled();
    })();
  }

  #seenTo(id: string): void {
    this.#ended.delete(id);
    this.#alone.delete(id);
  }

  /** Together, or else one by one: what one meets must not hold up the others. @throws STATE_UNAVAILABLE, LEASE_LOST */
  async #settleAll(ids: readonly string[]): Promise<void> {
    try {
      await this.#settle(ids);
      for (const id of ids) this.#seenTo(id);
    } catch (error) {
      if (isOfAll(error)) throw error;
      for (const id of ids) await this.#settleAlone(id);
    }
  }

  /** What cannot be done now is told once, and tried again with every look. @throws STATE_UNAVAILABLE, LEASE_LOST */
  async #settleAlone(id: string): Promise<void> {
    if (!this.#ended.has(id)) return; // it was retried meanwhile
    try {
      await this.#settle([id]);
      this.#seenTo(id);
    } catch (error) {
      if (isOfAll(error)) throw error;
      if (!this.#alone.has(id)) this.#o.report(error, `settling run ${id}, which ended; it is tried again`);
      this.#alone.add(id);
    }
  }

  /** Takes runs that are over out of the queue, starts what follows them, and lets the next of their backfills begin: all or nothing. */
  async #settle(ids: readonly string[]): Promise<void> {
    const nowMs = this.#o.clock();
    let follow: readonly NewRun[] = [];
    let created: readonly CreatedRun[] = [];
    await this.#o.state.transaction(async (session) => {
      // One that was retried meanwhile has a new place in the queue, and keeps it.
      const over = await session.query<{ id: string }>(
        "select id from millrace.runs where id = any($1) and finished_at is not null for update",
        [ids],
      );
      const done = over.map(({ id }) => id);
      const runs = await session.query<RunRow>(
        "update millrace.runs set followed = true where id = any($1) and not followed returning *",
        [done],
      );
      await this.#o.queue.remove(done, session);
      follow = runs.flatMap((run) =>
        (this.#followers.get(run.workflow) ?? [])
          .filter(({ kind }) => kind === run.status)
          .map(({ workflow, kind }) =>
            this.#o.drafts.triggered(workflow, {
              cause: { kind, by: run.workflow },
              input: { run: run.id, workflow: run.workflow, output: run.output, error: run.error },
              scheduledAtMs: nowMs,
              idempotencyKey: `${kind} ${run.id} ${run.starts}`,
            }),
          ),
      );
      if (follow.length > 0) created = await createRuns(session, this.#o.queue, follow, nowMs);
      const backfills = new Set(runs.flatMap(({ backfill }) => backfill ?? []));
      for (const backfill of backfills) await this.#letIn(session, backfill);
    });
    this.made(follow, created);
  }

  /** Sends as many runs of a backfill as there is room for. */
  async #letIn(session: Session, backfill: string): Promise<void> {
    const rows = await session.query<{ id: string; workflow: string; concurrency_key: string | null }>(
      `update millrace.runs set sent = true where id in (
         select id from millrace.runs where backfill = $1 and not sent and finished_at is null order by partition
         limit greatest(0, (select concurrency from millrace.backfills where id = $1 and not cancelled)
           - (select count(*) from millrace.runs where backfill = $1 and sent and finished_at is null)))
       returning id, workflow, concurrency_key`,
      [backfill],
    );
    await this.#o.queue.send(
      session,
      rows.map((row) => this.#o.drafts.queued(row)),
    );
  }
}

/** Whether nothing can be recorded by this process now, whatever it is. */
function isOfAll(error: unknown): boolean {
  return isAway(error) || (error instanceof MillraceError && error.code === "LEASE_LOST");
}
