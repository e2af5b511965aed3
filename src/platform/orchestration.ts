import type { Project } from "../define/project.ts";
import type { SqlInspector } from "../define/sql-inspector.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Flow } from "../flow/flow.ts";
import { backfillView } from "../orchestrate/backfill-view.ts";
import type { Orchestrator } from "../orchestrate/orchestrator.ts";
import { partitionsOf } from "../orchestrate/partitions.ts";
import { listLogs, listRuns, listSteps, runView } from "../orchestrate/read-runs.ts";
import { isRunId } from "../orchestrate/run-id.ts";
import { RUN_STATUSES } from "../orchestrate/run-records.ts";
import { findRun } from "../orchestrate/run-table.ts";
import type { WatchedTables } from "../orchestrate/table-triggers.ts";
import { bindQuery } from "../serve/bind-query.ts";
import type { Catalogue } from "../serve/catalogue.ts";
import type { Runs } from "../serve/runs-route.ts";
import { fencedState, type Lease } from "../state/leases.ts";
import type { State } from "../state/state.ts";

export interface OrchestrationParts {
  readonly project: Project;
  readonly state: State;
  readonly flow: Flow;
  readonly engine: SqlEngine;
  readonly inspector: SqlInspector;
  readonly catalogue: Catalogue;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly settings: { readonly runRetentionMs: number; readonly runConcurrency: number };
  readonly clock: () => number;
  readonly report: (error: unknown, what: string) => void;
  readonly warn: (finding: Readonly<Record<string, unknown>>, what: string) => void;
}

/** Rows that `run.sql` may give: it is a step's output, and not a way to copy tables. */
const MOST_ROWS = 10_000;
/** Between two attempts to begin, should the records not be there at the start, or refuse something. */
const BEGIN_PAUSE_MS = 1_000;

/**
 * The workflows of a project, as the platform and its HTTP routes see them. Nothing of the machinery is loaded for a project that has
 * none.
 */
export class Orchestration {
  readonly runs: Runs;
  readonly #o: OrchestrationParts;
  readonly #tables: WatchedTables;
  #orchestrator: Promise<Orchestrator> | undefined;
  #closed = false;
  /** Why the workflows could not be started, until they could. */
  #failure: unknown;
  #unwatch: () => void = () => undefined;

  constructor(parts: OrchestrationParts) {
    this.#o = parts;
    this.#tables = watchedTables(parts.flow);
    this.runs = this.#runs();
  }

  /** Whether requests about runs are for this process: it executes them, or there are none. */
  get works(): boolean {
    return this.#orchestrator !== undefined || this.#o.project.workflows.size === 0;
  }

  /** Why no workflow runs though this process is to execute them, while that is so. */
  problem(): string | undefined {
    if (this.#failure === undefined) return undefined;
    const { message } = this.#failure as Partial<Error>;
    return `the workflows cannot be started, which is tried again: ${message ?? String(this.#failure)}`;
  }

  /**
   * Begins to execute runs under a lease, as after a crash of whoever did before, and without holding up the start: until then requests about
   * runs wait. What it records is fenced by the lease.
   */
  begin(lease: Lease): void {
    if (this.#o.project.workflows.size === 0) return;
    this.#closed = false;
    const opening = this.#open(fencedState(this.#o.state, lease), lease);
    this.#orchestrator = opening;
    // It only rejects when the work is over; who waits for it is told.
    opening.catch(() => undefined);
  }

  /** Ends that. `at once`: another process has begun, and whatever is under way here is given up. */
  async end(how: "orderly" | "at once" = "orderly"): Promise<void> {
    this.#closed = true;
    this.#unwatch();
    const orchestrator = await this.#orchestrator?.catch(() => undefined);
    this.#orchestrator = undefined;
    this.#failure = undefined;
    await orchestrator?.close(how === "at once" ? { graceMs: 0 } : {});
  }

  /** Tries for as long as the work is this process's: whoever holds the lease and gave up would keep all others from it. */
  async #open(state: State, { signal }: Lease): Promise<Orchestrator> {
    const { project, flow, env, clock, report, warn, settings } = this.#o;
    const { Orchestrator } = await import("../orchestrate/orchestrator.ts");
    for (;;) {
      try {
        const orchestrator = await Orchestrator.open({
          ...{ project, state, env, clock, report, warn },
          tables: this.#tables,
          sql: (sql, params, { signal }) => this.#sql(sql, params, signal),
          refresh: async (table, options) => {
            const { kind, version } = await flow.refresh(table, options);
            return { kind, version };
          },
          capacity: settings.runConcurrency,
          retentionMs: settings.runRetentionMs,
        });
        this.#unwatch = flow.lake.onCommit((table) => orchestrator.committed(table));
        this.#failure = undefined;
        return orchestrator;
      } catch (error) {
        if (this.#closed || signal.aborted) throw error;
        const before = this.problem();
        this.#failure = error ?? new Error("no reason was given");
        if (this.problem() !== before) report(error, "starting the workflows; it is tried again");
        await new Promise((resolve) => setTimeout(resolve, BEGIN_PAUSE_MS));
        if (this.#closed || signal.aborted) throw error;
      }
    }
  }

  async #sql(sql: string, params: readonly unknown[], signal: AbortSignal): Promise<unknown[]> {
    const { engine, inspector, catalogue } = this.#o;
    const bound = await bindQuery(sql, params, { engine, inspector, catalogue });
    try {
      const result = await engine.query(bound.statement, { signal });
      const names = result.columns.map(({ name }) => name);
      const rows: Record<string, unknown>[] = [];
      for await (const batch of result.batches) {
        for (const row of batch) rows.push(Object.fromEntries(names.map((name, i) => [name, row[i]])));
        if (rows.length > MOST_ROWS)
          throw new MillraceError("STEP_INVALID", {
            step: "sql",
            reason: `gave more than ${MOST_ROWS} rows: write them to a table, or aggregate`,
          });
      }
      return rows;
    } finally {
      bound.release();
    }
  }

  /** The orchestrator, or the error of a project that has no workflow of the name. */
  #working(workflow = ""): Promise<Orchestrator> {
    if (this.#orchestrator === undefined) throw new MillraceError("WORKFLOW_UNKNOWN", { workflow, nearest: "" });
    // What may last until somebody mends it is told; for records that are away a moment is waited.
    const failure = this.#failure;
    if (failure !== undefined && !(failure instanceof MillraceError && failure.retryable)) throw failure;
    return this.#orchestrator;
  }

  #runs(): Runs {
    const { state, clock, project } = this.#o;
    const row = async (id: string) => {
      const run = isRunId(id) ? await findRun(state, id) : undefined;
      if (run === undefined) throw new MillraceError("RUN_UNKNOWN", { run: id });
      return run;
    };
    const view = async (id: string) => runView(await row(id), clock());
    const backfill = async (id: string) => {
      const found = isRunId(id) ? await backfillView(state, id) : undefined;
      if (found === undefined) throw new MillraceError("BACKFILL_UNKNOWN", { backfill: id });
      return found;
    };
    return {
      statuses: RUN_STATUSES,
      workflows: () =>
        [...project.workflows.values()].map(({ name, triggers, concurrency, timeoutMs, file }) => ({
          ...{ name, triggers, file, timeoutMs: timeoutMs ?? null },
          concurrency: concurrency?.limit ?? null,
        })),
      list: (filter, page) => listRuns(state, filter, page, clock()),
      show: async (id) => ({ run: await view(id), steps: await listSteps(state, id) }),
      logs: async (id, limit) => listLogs(state, (await row(id)).id, limit),
      start: async (request) => {
        const { id, created } = await (await this.#working(request.workflow)).start(request);
        return { run: await view(id), created };
      },
      cancel: async (id, by) => {
        await row(id);
        await (await this.#working()).cancel(id, by);
        return view(id);
      },
      retry: async (id) => {
        const { workflow } = await row(id);
        await (await this.#working(workflow)).retry(id);
        return view(id);
      },
      signal: async (id, name, data) => {
        const { workflow } = await row(id);
        await (await this.#working(workflow)).signal(id, name, data);
      },
      backfill: async ({ range, ...request }) => {
        const working = await this.#working(request.workflow);
        return backfill(await working.backfill({ ...request, partitions: partitionsOf(range) }));
      },
      showBackfill: backfill,
      cancelBackfill: async (id, by) => {
        const { workflow } = await backfill(id);
        const cancelled = await (await this.#working(workflow)).cancelBackfill(id, by);
        return { ...(await backfill(id)), cancelled };
      },
    };
  }
}

/** The lake's tables as triggers see them. Made before the platform takes its first event. */
function watchedTables({ lake }: Flow): WatchedTables {
  const version = (table: string) => (lake.has(table) ? lake.get(table).snapshot.version : undefined);
  const first = new Map(lake.names().map((table) => [table, version(table)]));
  const rows = (files: readonly { readonly stats?: { readonly rowCount: number } | undefined }[]) =>
    files.reduce((sum, { stats }) => sum + (stats?.rowCount ?? 0), 0);
  return {
    version,
    firstVersion: (table) => first.get(table),
    async changes(table, after, to) {
      const found = await lake.get(table).delta.changes(after, to);
      if (found === undefined) return undefined;
      const { added, removed } = found;
      return { changed: added.length + removed.length > 0, rows: rows(added) - rows(removed) };
    },
  };
}
