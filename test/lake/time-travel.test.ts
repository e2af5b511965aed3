import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { cleanLog } from "../../src/lake/clean-log.ts";
import type { DataFile } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { column, lakeFolder, unsyncedFileSystem } from "./lake-folder.ts";

const HOUR = 3_600_000;
const START = Date.parse("2026-01-31T00:00:00Z");

test("a table can be read as of a version and as of a moment", async (t) => {
  const { table } = await hourlyTable(t, 8);
  for (let version = 0; version <= 8; version++) {
    const made = START + version * HOUR;
    for (const at of [{ version }, { timestampMs: made }, { timestampMs: made + HOUR - 1 }]) {
      const snapshot = await table.snapshot(at);
      assert.equal(snapshot?.version, version, JSON.stringify(at));
      assert.deepEqual(snapshot.files.map((f) => f.path).sort(), names(version));
      assert.equal(snapshot.timestampMs, made);
    }
  }
  assert.equal((await table.snapshot({ timestampMs: START + 1000 * HOUR }))?.version, 8);
});

test("what was before the table, or is yet to come, is gone by name of the range", async (t) => {
  const { table } = await hourlyTable(t, 3);
  const isGone = (e: unknown) =>
    e instanceof MillraceError && e.code === "DELTA_VERSION_GONE" && /from version 0 to version 3/.test(e.message);
  await assert.rejects(table.snapshot({ version: 4 }), isGone);
  await assert.rejects(table.snapshot({ version: -1 }), isGone);
  await assert.rejects(table.snapshot({ timestampMs: START - 1 }), isGone);
});

test("history is newest first and ends where the log begins", async (t) => {
  const { table } = await hourlyTable(t, 4);
  const history = await table.history(3);
  assert.deepEqual(
    history.map((c) => [c.version, c.operation, c.addedFiles, c.removedFiles, c.addedRows, c.timestampMs]),
    [4, 3, 2].map((v) => [v, "FLUSH", 1, v > 2 ? 1 : 0, 10, START + v * HOUR]),
  );
  assert.equal((await table.history(100)).length, 5);
});

test("changes between two versions are the files whose rows came and went", async (t) => {
  const { table, again } = await hourlyTable(t, 4);
  await table.commit({
    operation: "COMPACT",
    readVersion: 4,
    remove: ["f3", "f4"],
    add: [dataFile("f34")],
    dataChange: false,
  });
  await table.commit({ operation: "MERGE", readVersion: 5, remove: ["f34"], add: [dataFile("f6")] });
  for (const reader of [table, again()]) {
    const changes = await reader.changes(1, 6);
    assert.deepEqual(
      changes?.added.map((f) => f.path),
      ["f2", "f3", "f4", "f6"],
    );
    assert.deepEqual(
      changes.removed.map((f) => f.path),
      ["f1", "f2", "f34"],
    );
    assert.deepEqual(
      changes.removed.map((f) => f.stats?.rowCount),
      [10, 10, 10],
      "a removed file can still be pruned by",
    );
    assert.deepEqual(await reader.changes(6, 6), { added: [], removed: [] });
    assert.equal(await reader.changes(3, 9), undefined);
  }
});

test("cleaning the log keeps every version within the retention and forgets older ones", async (t) => {
  const { table, store, again } = await hourlyTable(t, 20);
  const nowMs = START + 20 * HOUR;
  assert.deepEqual(await cleanLog(store, "t", { retentionMs: 1000 * HOUR, nowMs }), []);
  const removed = await cleanLog(store, "t", { retentionMs: 6 * HOUR, nowMs });
  // Version 14 was the newest six hours ago; the checkpoint before it is that of version 12.
  assert.deepEqual(removed.filter((name) => name.endsWith(".json")).length, 12);
  assert.equal(removed.length, 12 + 2);
  for (const reader of [table, again()]) {
    for (let version = 12; version <= 20; version++) {
      assert.deepEqual((await reader.snapshot({ version }))?.files.map((f) => f.path).sort(), names(version));
    }
    await assert.rejects(
      reader.snapshot({ version: 11 }),
      (e) => e instanceof MillraceError && /from version 12 to version 20/.test(e.message),
    );
    assert.equal(await reader.snapshot().then((s) => s?.files.length), 2);
  }
  assert.equal(await again().changes(3, 20), undefined);
  assert.equal((await again().history(100)).length, 9);
  assert.deepEqual(await table.commit({ operation: "FLUSH", readVersion: 20, add: [dataFile("f21")] }), {
    kind: "committed",
    version: 21,
  });
});

test("a reader that slept while others committed and cleaned the log sees the newest state all the same", async (t) => {
  const clock = { now: START };
  const { table, store } = await hourlyTable(t, 2, clock);
  const sleeper = openDeltaTable(store, "t", { clock: () => clock.now });
  assert.equal((await sleeper.snapshot())?.version, 2);
  await commitHourly(table, 3, 40, clock);
  await cleanLog(store, "t", { retentionMs: 4 * HOUR, nowMs: clock.now });
  assert.equal((await sleeper.snapshot())?.version, 40);
});

test("a reader that is many commits behind catches up, and one that asks for its cache stays", async (t) => {
  const clock = { now: START };
  const { table, again } = await hourlyTable(t, 2, clock);
  const reader = again();
  await reader.snapshot();
  await commitHourly(table, 3, 60, clock);
  assert.equal((await reader.snapshot({ cached: true }))?.version, 2);
  assert.equal((await reader.snapshot())?.version, 60);
  assert.equal((await reader.snapshot({ cached: true }))?.version, 60);
});

test("the files that checkpoints leave are those of the protocol, with the hint at the newest", async (t) => {
  const { folder } = await hourlyTable(t, 9);
  const hint = JSON.parse(await readFile(join(folder, "t/_delta_log/_last_checkpoint"), "utf8"));
  assert.equal(hint.version, 8);
  // Protocol, metadata, two live files and the six that were removed.
  assert.equal(hint.size, 2 + 2 + 6);
  assert.equal(hint.numOfAddFiles, 2);
});

/** Version v, made at START + v hours, adds file fv and removes f(v-2): two are live. A checkpoint every fourth version. */
async function hourlyTable(t: TestContext, newest: number, clock = { now: START }) {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const again = () => openDeltaTable(store, "t", { clock: () => clock.now, checkpointInterval: 4 });
  const table = again();
  await table.commit({
    operation: "CREATE",
    readVersion: -1,
    schema: { columns: [column("n", "long")], partitionColumns: [] },
  });
  await commitHourly(table, 1, newest, clock);
  return { folder, store, table, again };
}

async function commitHourly(
  table: ReturnType<typeof openDeltaTable>,
  from: number,
  to: number,
  clock: { now: number },
) {
  for (let version = from; version <= to; version++) {
    clock.now = START + version * HOUR;
    const remove = version > 2 ? [`f${version - 2}`] : [];
    const result = await table.commit({
      operation: "FLUSH",
      readVersion: version - 1,
      add: [dataFile(`f${version}`)],
      remove,
    });
    assert.deepEqual(result, { kind: "committed", version });
    await table.close();
  }
}

function names(version: number): string[] {
  return [version - 1, version]
    .filter((v) => v > 0)
    .map((v) => `f${v}`)
    .sort();
}

function dataFile(path: string): DataFile {
  const stats = { rowCount: 10, min: { n: 1 }, max: { n: 2 }, nullCount: { n: 0 } };
  return { path, sizeBytes: 10, modifiedAtMs: START, partition: {}, stats };
}
