import type { Project } from "../define/project.ts";
import type { Workflow } from "../define/read-workflow.ts";
import type { Session } from "../state/migrate.ts";
import type { State } from "../state/state.ts";
import type { RunDrafts } from "./run-drafts.ts";
import type { RunQueue } from "./run-queue.ts";
import type { RunRow } from "./run-records.ts";
import { createRuns } from "./run-table.ts";
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

/** Runs that are over and whose queue entries, followers and backfills are still to be seen to. */
export class EndedRuns {
  readonly #o: EndedRunsParts;
  readonly #ended = new Set<string>();
  readonly #followers = new Map<string, { readonly workflow: Workflow; readonly kind: "succeeded" | "failed" }[]>();
  #settling: Promise<void> | undefined;

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
    this.#ended.delete(id);
  }

  /** Tries again what could not be done before. */
  look(): void {
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
      this.#o.settled();
    })();
  }

  /** Takes runs that are over out of the queue, starts what follows them, and lets the next of their backfills begin: all or nothing. */
  async #settle(ids: readonly string[]): Promise<void> {
    const nowMs = this.#o.clock();
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
      const follow = runs.flatMap((run) =>
        (this.#followers.get(run.workflow) ?? [])
          .filter(({ kind }) => kind === run.status)
          .map(({ workflow, kind }) =>
            this.#o.drafts.draft(workflow, {
              cause: { kind, by: run.workflow },
              input: { run: run.id, workflow: run.workflow, output: run.output, error: run.error },
              scheduledAtMs: nowMs,
              idempotencyKey: `${kind} ${run.id} ${run.starts}`,
            }),
          ),
      );
      if (follow.length > 0) await createRuns(session, this.#o.queue, follow, nowMs);
      const backfills = new Set(runs.flatMap(({ backfill }) => backfill ?? []));
      for (const backfill of backfills) await this.#letIn(session, backfill);
    });
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
