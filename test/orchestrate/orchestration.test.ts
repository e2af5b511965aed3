/** The workflows of a platform whose records refuse something at the start. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { workflow } from "../../src/define/workflow.ts";
import type { RunView } from "../../src/orchestrate/read-runs.ts";
import { Orchestration, type OrchestrationParts } from "../../src/platform/orchestration.ts";
import { type Lease, soleLeases } from "../../src/state/leases.ts";
import { openState, type State } from "../../src/state/state.ts";
import { Database, projectOf, until } from "./open-orchestrator.ts";

let database: Database;
before(async () => {
  database = await Database.start();
});
after(() => database?.stop());

/** Records that refuse as PostgreSQL does: with an error of its own, which says nothing of being away. */
function refusing(state: State, refuses: () => boolean): State {
  const refused = () => Promise.reject(Object.assign(new Error("not now"), { code: "XX000" }));
  return {
    ...{ connection: state.connection, bi: undefined, close: () => state.close() },
    query: (sql, params) => (refuses() ? refused() : state.query(sql, params)),
    transaction: (work) => (refuses() ? refused() : state.transaction(work)),
    listen: (channel, handler) => state.listen(channel, handler),
  };
}

async function orchestrationOver(
  state: State,
): Promise<{ orchestration: Orchestration; told: string[]; lease: Lease }> {
  const told: string[] = [];
  const parts: Partial<OrchestrationParts> = {
    ...{ state, project: await projectOf([workflow("hello", {}, () => "hello")]), env: process.env, clock: Date.now },
    flow: { lake: { names: () => [], has: () => false, onCommit: () => () => undefined } } as never,
    settings: { runRetentionMs: 86_400_000, runConcurrency: 4 },
    report: (error, what) => told.push(`${what}: ${(error as Error).message}`),
    warn: () => undefined,
  };
  const lease = await soleLeases(() => undefined).take("orchestrate");
  return { orchestration: new Orchestration(parts as OrchestrationParts), told, lease: lease! };
}

test("workflows whose start the records refuse are started as soon as they do not, and why is said until then", async () => {
  const records = await openState({ url: await database.fresh() });
  let refusals = 0;
  let refuses = true;
  const state = refusing(records, () => refuses && ++refusals > 0);
  const { orchestration, told, lease } = await orchestrationOver(state);
  try {
    assert.equal(orchestration.problem(), undefined);
    orchestration.begin(lease);
    await until(() => refusals >= 2);
    assert.match(orchestration.problem() ?? "", /not now/);
    assert.deepEqual(told.length, 1, "what is still so is not said again and again");
    assert.match(told[0]!, /starting the workflows.*not now/);
    // Whoever asks for a run is not left waiting for somebody to mend it.
    const request = { workflow: "hello", input: null, idempotencyKey: undefined, by: "test" };
    await assert.rejects(orchestration.runs.start(request), /not now/);
    refuses = false;
    await until(() => orchestration.problem() === undefined);
    const { id } = (await orchestration.runs.start(request)).run as RunView;
    await until(async () => ((await orchestration.runs.show(id)).run as RunView).output === "hello");
  } finally {
    await orchestration.end();
    await records.close();
  }
});

test("a start that is refused ends with the work", async () => {
  const records = await openState({ url: await database.fresh() });
  let refusals = 0;
  const { orchestration, lease } = await orchestrationOver(refusing(records, () => ++refusals > 0));
  try {
    orchestration.begin(lease);
    await until(() => refusals > 0);
    await orchestration.end("at once");
    assert.equal(orchestration.problem(), undefined);
    const asked = refusals;
    await sleep(1_200); // longer than it would have paused
    assert.equal(refusals, asked);
  } finally {
    await records.close();
  }
});
