/** A run that is retried while its end is still being seen to. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { workflow } from "../../src/define/workflow.ts";
import { EndedRuns } from "../../src/orchestrate/ended-runs.ts";
import { RunDrafts } from "../../src/orchestrate/run-drafts.ts";
import { RunQueue } from "../../src/orchestrate/run-queue.ts";
import { createRuns } from "../../src/orchestrate/run-table.ts";
import { Waits } from "../../src/orchestrate/waits.ts";
import { openState } from "../../src/state/state.ts";
import { Database, projectOf } from "./open-orchestrator.ts";

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
