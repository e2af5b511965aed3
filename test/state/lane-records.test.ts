import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LaneRows } from "../../src/state/lane-records.ts";
import { openState } from "../../src/state/state.ts";

test("what the newest owner of a lane says stands, whoever says something later", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-lanes-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const state = await openState({ folder: join(dir, "postgres") });
  try {
    const rows = new LaneRows(Promise.resolve(state));
    const row = (owner: number, worker: string, position: number, partition = 0) => ({
      ...{ stream: "clicks", partition, lane: "function-f", owner, worker },
      ...{ status: { position }, floors: [{ stream: "clicks", partition, offset: position }] },
    });
    await rows.publish([]);
    assert.deepEqual(await rows.all(), []);
    await rows.publish([row(1, "a", 10), row(7, "a", 3, 1)]);
    await rows.publish([row(2, "b", 20)]);
    await rows.publish([row(1, "a", 15), row(7, "a", 4, 1)]);
    assert.deepEqual(await rows.all(), [row(2, "b", 20), row(7, "a", 4, 1)]);
  } finally {
    await state.close();
  }
});
