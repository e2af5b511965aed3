import assert from "node:assert/strict";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { planCompaction } from "../../src/lake/compaction.ts";
import type { DataFile } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { column, lakeFolder, unsyncedFileSystem } from "./lake-folder.ts";

const HOUR = 3_600_000;

test("vacuum removes what no version within the retention refers to, oldest first, and nothing else", async (t) => {
  const { table, write, files, clock, again } = await openTable(t);
  await write("day=1/live.parquet", 100);
  await write("removed-long-ago.parquet", 90);
  await write("removed-lately.parquet", 95);
  await write("orphan old %.parquet", 80);
  await write("orphan-young.parquet", 0.1);
  await write("_change_data/x.parquet", 100);
  await write(".hidden.crc", 100);
  await write("day=1/_part=2/orphan.parquet", 70);
  await table.commit({
    operation: "W",
    readVersion: 0,
    add: ["day=1/live.parquet", "removed-long-ago.parquet", "removed-lately.parquet"].map(dataFile),
  });
  await table.commit({ operation: "W", readVersion: 1, remove: ["removed-long-ago.parquet"] });
  clock.now += 30 * HOUR;
  await table.commit({ operation: "W", readVersion: 2, remove: ["removed-lately.parquet"] });
  clock.now += 2 * HOUR;
  await write("orphan-young.parquet", 0.1);

  const gone = ["removed-long-ago.parquet", "orphan old %.parquet", "day=1/_part=2/orphan.parquet"];
  const before = await files();
  // Another process knows of the removed files by the log alone.
  assert.deepEqual(await again().vacuum({ retentionMs: 24 * HOUR, dryRun: true }), gone);
  assert.deepEqual(await files(), before);
  assert.deepEqual(await table.vacuum({ retentionMs: 24 * HOUR }), gone);
  assert.deepEqual(
    await files(),
    before.filter((file) => !gone.includes(file)),
  );
  assert.deepEqual(await table.vacuum({ retentionMs: 24 * HOUR }), []);
});

test("every version within the retention stays readable after vacuum, from checkpoints as from the log", async (t) => {
  const { table, write, files, clock, again } = await openTable(t, 3);
  const made: { version: number; at: number }[] = [];
  for (let version = 1; version <= 12; version++) {
    await write(`f${version}.parquet`, 0);
    const remove = version > 2 ? [`f${version - 2}.parquet`] : [];
    await table.commit({ operation: "W", readVersion: version - 1, add: [dataFile(`f${version}.parquet`)], remove });
    await table.close();
    made.push({ version, at: clock.now });
    clock.now += 2 * HOUR;
  }
  await again().vacuum({ retentionMs: 7 * HOUR });
  const left = new Set(await files());
  const since = clock.now - 7 * HOUR;
  const firstNeeded = made.findLast(({ at }) => at <= since)!.version;
  for (let version = firstNeeded; version <= 12; version++) {
    for (const file of (await table.snapshot({ version }))!.files)
      assert.ok(left.has(file.path), `version ${version} needs ${file.path}`);
  }
  assert.ok(!left.has("f1.parquet") && left.size < 12);
});

test("a file that a flush is writing just now is not touched, even without any retention", async (t) => {
  const { table, write, files } = await openTable(t);
  await write("in-flight.parquet", 0.5);
  assert.deepEqual(await table.vacuum({ retentionMs: 0 }), []);
  assert.deepEqual(await files(), ["in-flight.parquet"]);
});

test("vacuum refuses to promise more than the table remembers", async (t) => {
  const { table } = await openTable(t);
  const isRefused = (e: unknown) =>
    e instanceof MillraceError && e.code === "DELTA_COMMIT_INVALID" && /remembers removed files/.test(e.message);
  await assert.rejects(table.vacuum({ retentionMs: 8 * 24 * HOUR }), isRefused);
  const configuration = { "delta.deletedFileRetentionDuration": "interval 30 days" };
  await table.commit({ operation: "ALTER", readVersion: 0, configuration });
  assert.deepEqual(await table.vacuum({ retentionMs: 8 * 24 * HOUR }), []);
});

test("compaction groups small files of a partition and a size class up to the target, in order of arrival", () => {
  const file = (path: string, sizeBytes: number, day: string | null, modifiedAtMs = 0): DataFile => ({
    path,
    sizeBytes,
    modifiedAtMs,
    partition: { day },
    stats: undefined,
  });
  const plan = (files: DataFile[], minFiles = 2) =>
    planCompaction({ files }, { targetBytes: 100, minFiles }).map((group) => group.map((f) => f.path).join());
  assert.deepEqual(plan([file("a", 10, "1"), file("b", 10, "1"), file("c", 10, "2")]), ["a,b"]);
  assert.deepEqual(plan([file("late", 10, "1", 9), file("early", 10, "1", 1)]), ["early,late"]);
  assert.deepEqual(plan([file("a", 50, "1"), file("b", 99, "1"), file("c", 5000, "1")]), [], "large files stay");
  assert.deepEqual(plan([file("a", 40, null), file("b", 40, null), file("c", 40, null)]), ["a,b"], "up to the target");
  assert.deepEqual(
    plan(
      Array.from({ length: 7 }, (_, i) => file(`f${i}`, 1, "1")),
      8,
    ),
    [],
    "too few to be worth it",
  );
  assert.deepEqual(plan([]), []);
});

test("compacting again and again rewrites each byte a few times only", () => {
  let files: DataFile[] = [];
  let rewritten = 0;
  const total = 4000;
  for (let i = 0; i < total; i++) {
    files.push({ path: `${i}`, sizeBytes: 1000, modifiedAtMs: i, partition: {}, stats: undefined });
    for (const group of planCompaction({ files }, { targetBytes: 1_000_000, minFiles: 8 })) {
      const sizeBytes = group.reduce((sum, f) => sum + f.sizeBytes, 0);
      rewritten += sizeBytes;
      files = files.filter((f) => !group.includes(f));
      files.push({ path: `m${i}`, sizeBytes, modifiedAtMs: i, partition: {}, stats: undefined });
    }
  }
  assert.ok(rewritten <= total * 1000 * 4, `${rewritten / (total * 1000)} times`);
  assert.ok(files.length < 40, `${files.length} files are left`);
});

async function openTable(t: TestContext, checkpointInterval = 100) {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const clock = { now: Date.now() };
  const again = () => openDeltaTable(store, "t", { clock: () => clock.now, checkpointInterval });
  const table = again();
  await table.commit({
    operation: "CREATE",
    readVersion: -1,
    schema: { columns: [column("n", "long")], partitionColumns: [] },
  });
  /** A data file last written so many hours before now. */
  const write = async (path: string, hoursAgo: number) => {
    const full = join(folder, "t", path);
    await mkdir(dirname(full), { recursive: true });
    await writeFile(full, path);
    const at = clock.now / 1000 - hoursAgo * 3600;
    await utimes(full, at, at);
  };
  const files = async () =>
    (await readdir(join(folder, "t"), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, "t").length + 1))
      .filter((path) => !path.startsWith("_delta_log"))
      .sort();
  return { table, again, write, files, clock };
}

function dataFile(path: string): DataFile {
  return { path, sizeBytes: 10, modifiedAtMs: 0, partition: {}, stats: undefined };
}
