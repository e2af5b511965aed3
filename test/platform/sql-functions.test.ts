import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { RunningPlatform } from "./running-platform.ts";

let dir: string;
let platform: RunningPlatform;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-functions-"));
  platform = await RunningPlatform.start("test/platform/projects/scored", join(dir, "data"));
});
after(async () => {
  await platform?.stop();
  await rm(dir, { recursive: true, force: true });
});

const trip = (trip_id: string, fields: object) => ({
  trip_id,
  limit: 50,
  started_at: "2026-05-01T10:00:00Z",
  ...fields,
});

test("a table calls the project's functions with the values as events have them, and nulls by their rule", async () => {
  const notes = { a: [1, null] };
  await platform.post("trips", [trip("a", { speed: 71.6, fee: "12.50", notes }), trip("b", {})]);
  const rows = await platform.sql(
    "select trip_id, risk, cast(due as varchar), seen from silver.scored order by trip_id",
  );
  const at = "2026-05-01T10:00:00.000Z";
  const seen = rows.map((row) => JSON.parse(row[3] as string));
  assert.deepEqual(
    rows.map((row) => row.slice(0, 3)),
    [
      ["a", 22, "2026-05-02 10:00:00+00"],
      ["b", null, "2026-05-02 10:00:00+00"],
    ],
  );
  assert.equal(new Date(seen[0].started_at).toISOString(), at);
  assert.deepEqual([seen[0].speed, seen[0].fee, seen[0].notes], [71.6, "12.50", notes]);
  assert.deepEqual([seen[1].speed, seen[1].fee, seen[1].notes], [null, null, null]);
});

test("an event whose function throws is a dead letter with the message, and its neighbours are stored", async () => {
  await platform.post("trips", [trip("c", { speed: 60 }), trip("d", { speed: 900 }), trip("e", { speed: 40 })]);
  const rows = await platform.sql("select trip_id, risk from silver.scored where trip_id >= 'c' order by trip_id");
  assert.deepEqual(rows, [
    ["c", 10],
    ["e", 0],
  ]);
  const letters = await platform.sql("select stage, table_name, message from system.dead_letters");
  assert.deepEqual(
    letters.map((row) => row.slice(0, 2)),
    [["transform", "silver.scored"]],
  );
  assert.match(String(letters[0]?.[2]), /risk: nobody drives 900 km\/h/);
});

test("queries may call them, and what gives something else than it says fails with both", async () => {
  assert.deepEqual(
    await platform.sql("select risk(81, 50), next_day(timestamptz '2026-01-01 00:00:00Z') is not null"),
    [[31, true]],
  );
  await assert.rejects(platform.sql("select wrong(1)"), /wrong: it gave 1, which is no boolean/);
  await assert.rejects(platform.sql("select risk('fast', 50)"), /SQL_/);
});
