/** What is seen to once runs are over: their places in the queue, what follows them, and what cannot. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { failed, succeeded } from "../../src/define/triggers.ts";
import { workflow } from "../../src/define/workflow.ts";
import { EndedRuns } from "../../src/orchestrate/ended-runs.ts";
import { RunDrafts } from "../../src/orchestrate/run-drafts.ts";
import { RunQueue } from "../../src/orchestrate/run-queue.ts";
import { createRuns } from "../../src/orchestrate/run-table.ts";
import { Waits } from "../../src/orchestrate/waits.ts";
import { openState } from "../../src/state/state.ts";
import { Database, projectOf, TestOrchestrator, until } from "./open-orchestrator.ts";

let database: Database;
before(async () => {
  database = await Database.start();
});
after(() => database?.stop());

test("what is seen to of a run that is over takes nothing from one that goes on: its place in the queue stays", async () => {
  const state = await openState({ url: await database.fresh() });
  const project = await projectOf([workflow("nightly", {}, () => 1)]);
  const failures: unknown[] = [];
  const queue = await RunQueue.open(state, [], (error) => failures.push(error));
  try {
    const drafts = new RunDrafts(project);
    const draft = drafts.draft(drafts.workflow("nightly"), {
      cause: { kind: "manual", by: "test" },
      input: null,
      scheduledAtMs: 0,
    });
    const [over, again] = (
      await state.transaction((session) => createRuns(session, queue, [draft, draft], Date.now()))
    ).map(({ id }) => id) as [string, string];
    // Both have ended; the second was retried before anybody saw to its end.
    await state.query("update millrace.runs set status = 'failed', finished_at = now() where id = $1", [over]);
    const settled = Promise.withResolvers<void>();
    const ended = new EndedRuns({
      ...{ project, state, queue, drafts, waits: new Waits(state), clock: Date.now, settled: settled.resolve },
      report: (error) => failures.push(error),
    });
    ended.settleLater(over);
    ended.settleLater(again);
    await settled.promise;
    await setImmediate();
    assert.deepEqual(failures, []);
    assert.deepEqual(await queue.take(2), [again]);
    const rows = await state.query<{ id: string }>("select id from millrace.runs where followed");
    assert.deepEqual(rows, [{ id: over }]);
  } finally {
    await queue.close();
    await state.close();
  }
});

/** As somebody writes it who thinks of the input of another workflow. */
const keyOfCustomer = (input: unknown) => (input as { customer: { id: string } }).customer.id;

test("a workflow that can give no concurrency key for a run that ended holds up nobody else's end", async () => {
  const state = await openState({ url: await database.fresh() });
  const project = await projectOf([
    workflow("order", {}, () => 1),
    workflow("other", {}, () => 1),
    workflow("bill", { on: [succeeded("order")], concurrency: { limit: 1, key: keyOfCustomer } }, () => 1),
    workflow("thanks", { on: [succeeded("order")] }, () => 1),
  ]);
  const failures: unknown[] = [];
  const queue = await RunQueue.open(state, [1], (error) => failures.push(error));
  try {
    const drafts = new RunDrafts(project);
    const made = (name: string) =>
      drafts.draft(drafts.workflow(name), { cause: { kind: "manual", by: "test" }, input: null, scheduledAtMs: 0 });
    const ids = (
      await state.transaction((session) => createRuns(session, queue, [made("order"), made("other")], Date.now()))
    ).map(({ id }) => id);
    assert.equal((await queue.take(2)).length, 2);
    await state.query("update millrace.runs set status = 'succeeded', output = '1', finished_at = now()");
    const settled = Promise.withResolvers<void>();
    const told: string[] = [];
    const ended = new EndedRuns({
      ...{ project, state, queue, drafts, waits: new Waits(state), clock: Date.now, settled: settled.resolve },
      report: (error, what) => told.push(`${what}: ${(error as Error).message}`),
    });
    for (const id of ids) ended.settleLater(id);
    await settled.promise;
    assert.deepEqual(failures, []);
    const open = await state.query("select workflow from millrace.runs where finished_at is not null and not followed");
    assert.deepEqual(open, []);
    const jobs = await state.query<{ id: string }>("select id from millrace_queue.job");
    const [thanks] = await state.query<{ id: string }>("select id from millrace.runs where workflow = 'thanks'");
    assert.deepEqual(jobs, [thanks], "only what follows is left in the queue");
    // It stands where somebody looks who misses it, and in the log.
    const [refused] = await state.query<Record<string, unknown>>(
      "select id, status, input, error from millrace.runs where workflow = 'bill'",
    );
    assert.ok(refused !== undefined);
    assert.equal(refused["status"], "failed");
    assert.equal((refused["input"] as { run: string }).run, ids[0]);
    assert.match(JSON.stringify(refused["error"]), /RUN_INPUT_INVALID.*gives no concurrency key/);
    assert.equal(told.length, 1);
    assert.match(told[0]!, /bill.*order.*gives no concurrency key/);
    assert.ok(told[0]!.includes(String(refused["id"])) && told[0]!.includes(ids[0]!), told[0]);
  } finally {
    await queue.close();
    await state.close();
  }
});

test("a run that was refused for its concurrency key is a failed one: it is followed, and goes on once the key is right", async (t) => {
  const url = await database.fresh();
  const order = workflow("order", {}, () => ({ customer: "ada" }));
  const bill = (key: (input: unknown) => string) =>
    workflow("bill", { on: [succeeded("order")], concurrency: { limit: 1, key } }, () => "billed");
  const alarm = workflow(
    "alarm",
    { on: [failed("bill")] },
    (run) => (run.input as { error: { code: string } }).error.code,
  );
  const before = await TestOrchestrator.open(t, url, [order, bill(keyOfCustomer), alarm]);
  await before.ended(await before.start("order"));
  await until(async () => (await before.runs("alarm"))[0]?.finishedAt != null);
  assert.equal((await before.runs("alarm"))[0]?.output, "RUN_INPUT_INVALID");
  const [refused] = await before.runs("bill");
  assert.equal(refused?.status, "failed");
  await assert.rejects(before.orchestrator.retry(refused.id), { code: "RUN_INPUT_INVALID" });
  await before.close();
  const after = await TestOrchestrator.open(t, url, [
    order,
    bill((input) => (input as { output: { customer: string } }).output.customer),
    alarm,
  ]);
  await after.orchestrator.retry(refused.id);
  assert.equal((await after.ended(refused.id)).output, "billed");
  assert.deepEqual(await after.state.query("select concurrency_key from millrace.runs where workflow = 'bill'"), [
    { concurrency_key: "ada" },
  ]);
});

test("when the ends of runs cannot be seen to together, each is seen to by itself, and the one that cannot is told once", async () => {
  const state = await openState({ url: await database.fresh() });
  const project = await projectOf([workflow("nightly", {}, () => 1)]);
  const queue = await RunQueue.open(state, [], () => undefined);
  try {
    const drafts = new RunDrafts(project);
    const draft = drafts.draft(drafts.workflow("nightly"), {
      ...{ cause: { kind: "manual", by: "test" }, input: null, scheduledAtMs: 0 },
    });
    const [bad, ...good] = (
      await state.transaction((session) => createRuns(session, queue, [draft, draft, draft], Date.now()))
    ).map(({ id }) => id) as [string, ...string[]];
    await state.query("update millrace.runs set status = 'failed', finished_at = now()");
    await state.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$`,
    );
    await state.query(
      `create trigger refused before update on millrace.runs for each row when (new.id = '${bad}' and new.followed)
       execute function refuse()`,
    );
    const told: unknown[] = [];
    let settled = Promise.withResolvers<void>();
    const ended = new EndedRuns({
      ...{ project, state, queue, drafts, waits: new Waits(state), clock: Date.now, settled: () => settled.resolve() },
      report: (error) => told.push(error),
    });
    const followed = async () =>
      (await state.query<{ id: string }>("select id from millrace.runs where followed order by id")).map(
        ({ id }) => id,
      );
    for (const id of [bad, ...good]) ended.settleLater(id);
    await settled.promise;
    assert.deepEqual(await followed(), [...good].sort());
    assert.equal(told.length, 1);
    assert.match((told[0] as Error).message, /not this one/);
    await setImmediate();
    settled = Promise.withResolvers<void>();
    ended.look();
    await settled.promise;
    assert.equal(told.length, 1, "what is still so is not said again and again");
    await state.query("drop trigger refused on millrace.runs");
    await setImmediate();
    settled = Promise.withResolvers<void>();
    ended.look();
    await settled.promise;
    assert.deepEqual(await followed(), [bad, ...good].sort());
  } finally {
    await queue.close();
    await state.close();
  }
});
