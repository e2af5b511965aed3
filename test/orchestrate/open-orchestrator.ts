/** An orchestrator over real PostgreSQL, with workflows written in the test and a clock that the test moves. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Project } from "../../src/define/project.ts";
import { readWorkflow, type Workflow } from "../../src/define/read-workflow.ts";
import type { WorkflowDefinition } from "../../src/define/workflow.ts";
import { Orchestrator, type OrchestratorOptions } from "../../src/orchestrate/orchestrator.ts";
import { listLogs, listSteps, type RunView, runView, type StepView } from "../../src/orchestrate/read-runs.ts";
import { findRun } from "../../src/orchestrate/run-table.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { openState, type State } from "../../src/state/state.ts";

export class Database {
  readonly dir: string;
  readonly server: EmbeddedPostgres;
  #count = 0;

  private constructor(dir: string, server: EmbeddedPostgres) {
    this.dir = dir;
    this.server = server;
  }

  static async start(): Promise<Database> {
    const dir = mkdtempSync(join(tmpdir(), "millrace-runs-"));
    return new Database(dir, await startEmbeddedPostgres({ folder: join(dir, "postgres") }));
  }

  /** URL of a database of its own. */
  async fresh(): Promise<string> {
    const name = `runs_${++this.#count}`;
    const admin = new pg.Client(this.server.connection);
    await admin.connect();
    await admin.query(`create database ${name}`);
    await admin.end();
    const { host, port, user, password } = this.server.connection;
    return `postgres://${user}:${password}@/${name}?host=${encodeURIComponent(host)}&port=${port}`;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function projectOf(workflows: readonly WorkflowDefinition[], dir = tmpdir()): Promise<Project> {
  const read = await Promise.all(workflows.map((definition) => readWorkflow(definition, "workflows.ts")));
  for (const workflow of read) if (!("body" in workflow)) throw new Error(JSON.stringify(workflow));
  const named = new Map((read as Workflow[]).map((workflow) => [workflow.name, workflow]));
  return {
    name: "test",
    dir,
    streams: new Map(),
    tables: new Map(),
    workflows: named,
    modules: [],
    functions: new Map(),
    windows: new Map(),
    features: new Map(),
    sqlFunctions: new Map(),
    destinations: new Map(),
    alertRoutes: [],
    alerts: new Map(),
    settings: {},
  };
}

export class TestOrchestrator {
  readonly state: State;
  readonly orchestrator: Orchestrator;
  readonly reported: unknown[];
  closed = false;

  private constructor(state: State, orchestrator: Orchestrator, reported: unknown[]) {
    this.state = state;
    this.orchestrator = orchestrator;
    this.reported = reported;
  }

  static async open(
    t: TestContext,
    url: string,
    workflows: readonly WorkflowDefinition[],
    options: Partial<OrchestratorOptions> & { readonly dir?: string } = {},
  ): Promise<TestOrchestrator> {
    const state = await openState({ url });
    const reported: unknown[] = [];
    const orchestrator = await Orchestrator.open({
      project: await projectOf(workflows, options.dir),
      state,
      tables: { version: () => undefined, firstVersion: () => undefined, changes: async () => undefined },
      sql: async () => [],
      refresh: async () => ({ kind: "none", version: 0 }),
      env: process.env,
      clock: Date.now,
      random: () => 0,
      report: (error) => reported.push(error),
      warn: () => undefined,
      capacity: 64,
      retentionMs: 86_400_000,
      tickMs: 10,
      graceMs: 0,
      ...options,
    });
    const opened = new TestOrchestrator(state, orchestrator, reported);
    t.after(() => opened.close());
    return opened;
  }

  async start(workflow: string, input?: unknown, idempotencyKey?: string): Promise<string> {
    return (await this.orchestrator.start({ workflow, input, idempotencyKey, by: "test" })).id;
  }

  async run(id: string): Promise<RunView> {
    const row = await findRun(this.state, id);
    if (row === undefined) throw new Error(`no run ${id}`);
    return runView(row, Date.now());
  }

  steps(id: string): Promise<StepView[]> {
    return listSteps(this.state, id);
  }

  async log(id: string): Promise<string[]> {
    return (await listLogs(this.state, id, 1000)).map(({ message }) => message);
  }

  /** Resolves when the run is over. */
  async ended(id: string): Promise<RunView> {
    await until(async () => (await this.run(id)).finishedAt !== null);
    return this.run(id);
  }

  async runs(workflow: string): Promise<RunView[]> {
    const rows = await this.state.query<{ id: string }>(
      "select id from millrace.runs where workflow = $1 order by scheduled_at, id",
      [workflow],
    );
    return Promise.all(rows.map(({ id }) => this.run(id)));
  }

  /** As a stop of the platform; `crash` leaves the records as a kill would: runs stay as they are, with their jobs. */
  async close({ crash = false } = {}): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const mark = crash
      ? await this.state.query<{ id: string; status: string }>(
          "select id, status from millrace.runs where finished_at is null",
        )
      : [];
    await this.orchestrator.close();
    for (const { id, status } of mark)
      await this.state.query("update millrace.runs set status = $2 where id = $1 and finished_at is null", [
        id,
        status,
      ]);
    await this.state.close();
  }
}

/** Looks that a test waits for something: some minutes on a busy machine, and not for ever. */
const MOST_LOOKS = 10_000;

/** Waits until something is true. */
export async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let look = 0; look < MOST_LOOKS; look++) {
    if (await what()) return;
    await sleep(5);
  }
  throw new Error(`it has not come to be: ${what}`);
}
