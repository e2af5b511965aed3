import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Project } from "../../src/define/project.ts";
import { readWorkflow, type Workflow } from "../../src/define/read-workflow.ts";
import { cron } from "../../src/define/triggers.ts";
import { type WorkflowDefinition, workflow } from "../../src/define/workflow.ts";
import { Orchestrator } from "../../src/orchestrate/orchestrator.ts";
import { openState, type State } from "../../src/state/state.ts";
import { withFolder } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";

const STARTS_PER_SECOND = 100;
const STEPS = 10;
const SCHEDULES = 20;
const LEAST_SECONDS = 10;
/** Started at once, to see how fast they go when nobody waits between them. */
const BURST = 1_000;

/** Starts workflows at their rate whatever becomes of them, with schedules every second beside them; then a heap of them at once. */
export async function measure(seconds: number): Promise<Measurement> {
  return withFolder(async (dir) => {
    const state = await openState({ folder: join(dir, "postgres") });
    const delays: number[] = [];
    const cronDelays: number[] = [];
    const open = await openOrchestrator(state, [
      workflow<{ dueMs: number }>("steps", {}, async (run) => {
        let sum = 0;
        for (let i = 0; i < STEPS; i++) {
          sum += await run.step(`step ${i}`, () => {
            if (i === 0) delays.push(Date.now() - run.input.dueMs);
            return i;
          });
        }
        return sum;
      }),
      ...Array.from({ length: SCHEDULES }, (_, i) =>
        workflow(`every_second_${i}`, { on: [cron("* * * * * *", { missed: "run-all" })] }, (run) =>
          run.step("begin", () => void cronDelays.push(Date.now() - run.scheduledAt.getTime())),
        ),
      ),
    ]);
    try {
      await sustained(open, state, 2); // code is compiled, connections are opened
      delays.length = 0;
      cronDelays.length = 0;
      const spanS = Math.max(seconds, LEAST_SECONDS);
      const cpu = process.cpuUsage();
      const behindMs = await sustained(open, state, spanS);
      const { user, system } = process.cpuUsage(cpu);
      const sustainedDelays = [...delays];
      const sustainedCron = [...cronDelays];
      await settled(state);
      const startedMs = performance.now();
      await Promise.all(Array.from({ length: BURST }, () => start(open, Date.now())));
      await settled(state);
      const burstS = (performance.now() - startedMs) / 1000;
      const bare = await bareCommits(state);
      const peer = {
        "one-row inserts into the same PostgreSQL, each with its commit, over 8 connections": rounded(bare),
      };
      return {
        figures: {
          delayP99: { value: rounded(percentile(sustainedDelays, 0.99)) },
          delayP50: { value: rounded(percentile(sustainedDelays, 0.5)) },
          cronP99: { value: rounded(percentile(sustainedCron, 0.99)) },
          ended: { value: rounded((STARTS_PER_SECOND * spanS) / (spanS + behindMs / 1000)) },
          cpu: { value: rounded((user + system) / 1e6 / spanS) },
          burst: { value: rounded((BURST * STEPS) / burstS), peers: peer },
        },
        conditions: {
          workflow: `${STEPS} steps in sequence, each recorded before the next begins; ${SCHEDULES} schedules every second beside them`,
          load: `${STARTS_PER_SECOND} starts/s for ${spanS} s, whether or not earlier ones have ended; then ${BURST} at once`,
          delay: "from the moment a run is due to the first line of its first step",
          fsync: "of every commit, by an embedded PostgreSQL",
        },
      };
    } finally {
      await open.close();
      await state.close();
    }
  });
}

function start(orchestrator: Orchestrator, dueMs: number): Promise<unknown> {
  return orchestrator.start({ workflow: "steps", input: { dueMs }, by: "bench" });
}

/** Starts runs for some seconds. Resolves to the milliseconds that the last of them ended after the last start. */
async function sustained(orchestrator: Orchestrator, state: State, seconds: number): Promise<number> {
  const beginMs = Date.now();
  const starts: Promise<unknown>[] = [];
  for (let i = 0; i < seconds * STARTS_PER_SECOND; i++) {
    const dueMs = beginMs + (i * 1000) / STARTS_PER_SECOND;
    if (dueMs > Date.now()) await sleep(dueMs - Date.now());
    starts.push(start(orchestrator, dueMs));
  }
  const lastMs = performance.now();
  await Promise.all(starts);
  await settled(state);
  return performance.now() - lastMs;
}

async function settled(state: State): Promise<void> {
  for (;;) {
    const open = await state.query(
      "select 1 from millrace.runs where workflow = 'steps' and finished_at is null limit 1",
    );
    if (open.length === 0) return;
    await sleep(20);
  }
}

async function openOrchestrator(state: State, definitions: readonly WorkflowDefinition[]): Promise<Orchestrator> {
  const workflows = new Map<string, Workflow>();
  for (const definition of definitions) {
    const read = await readWorkflow(definition, "bench");
    if (!("body" in read)) throw new Error(JSON.stringify(read));
    workflows.set(read.name, read);
  }
  const nothing = {
    destinations: new Map(),
    alertRoutes: [],
    alerts: new Map(),
    modules: [],
    functions: new Map(),
    features: new Map(),
    windows: new Map(),
    sqlFunctions: new Map(),
    streams: new Map(),
    tables: new Map(),
    settings: {},
  };
  const project: Project = { name: "bench", dir: "/", workflows, ...nothing };
  return Orchestrator.open({
    ...{ project, state, env: {}, clock: Date.now, capacity: 64, retentionMs: 86_400_000 },
    tables: { version: () => undefined, firstVersion: () => undefined, changes: async () => undefined },
    sql: async () => [],
    refresh: async () => ({ kind: "none", version: 0 }),
    report: (error, what) => console.error(what, error),
    warn: (finding, what) => console.error(what, finding),
  });
}

/** Commits a second that PostgreSQL gives when each is asked for alone. */
async function bareCommits(state: State): Promise<number> {
  const pool = new pg.Pool({ ...state.connection, max: 8 });
  pool.on("error", () => undefined); // the server may stop before the last of its connections has gone
  await pool.query("create table bare (n int)");
  const startedMs = performance.now();
  let commits = 0;
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (performance.now() - startedMs < 2_000) {
        await pool.query("insert into bare values (1)");
        commits++;
      }
    }),
  );
  const rate = commits / ((performance.now() - startedMs) / 1000);
  await pool.end();
  return rate;
}
