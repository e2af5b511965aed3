import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { MillraceError } from "../../src/errors.ts";
import type { DataFile, DeltaTable, Snapshot } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { column, lakeFolder, unsyncedFileSystem } from "./lake-folder.ts";

const COLUMNS = [column("id", "long"), column("country", "string")];
const PARTITIONS = ["DE", "a/b c=%", "ü😀", null] as const;

/** One writer's wish, carried out against the version it last saw. */
const wish = fc.record({
  writer: fc.nat({ max: 2 }),
  stale: fc.boolean(),
  adds: fc.nat({ max: 3 }),
  removes: fc.nat({ max: 2 }),
  app: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
  partition: fc.constantFrom(...PARTITIONS),
  dataChange: fc.boolean(),
});
type Wish = typeof wish extends fc.Arbitrary<infer T> ? T : never;

test("random concurrent commits: one winner per version, conflicts exactly where promised, every way of reading agrees", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(wish, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 }),
      async (rounds) => {
        const folder = await lakeFolder(t);
        const store = await openFsStore(folder, { fs: unsyncedFileSystem });
        await runHistory(store, rounds);
        await rm(folder, { recursive: true });
      },
    ),
    { numRuns: 40 },
  );
});

async function runHistory(store: ObjectStore, rounds: readonly (readonly Wish[])[]): Promise<void> {
  // Checkpoints so often that they happen amid the commits.
  const writers = [0, 1, 2].map(() => openDeltaTable(store, "t", { checkpointInterval: 3 }));
  const created = await writers[0]!.commit({
    operation: "CREATE",
    readVersion: -1,
    schema: { columns: COLUMNS, partitionColumns: ["country"] },
  });
  assert.equal(created.kind, "committed");
  const model = [
    {
      files: new Map<string, string | null>(),
      txn: new Map<string, number>(),
      apps: new Set<string>(),
      removed: new Set<string>(),
    },
  ];
  const seen = await Promise.all(writers.map((writer) => writer.snapshot()));
  let names = 0;

  for (const round of rounds) {
    const before = model.length - 1;
    const attempts = await Promise.all(
      round.map(async ({ writer, stale, adds, removes, app, partition, dataChange }) => {
        const table = writers[writer]!;
        const read: Snapshot = stale ? seen[writer]! : (await table.snapshot())!;
        seen[writer] = read;
        const add = Array.from({ length: adds }, () => dataFile(`f${names++} %.parquet`, partition));
        const remove = read.files.slice(0, removes).map((file) => file.path);
        const txn = new Map(app === undefined ? [] : [[app, names++]]);
        const result = await table.commit({ operation: "W", readVersion: read.version, add, remove, txn, dataChange });
        return { read, add, remove, txn, result };
      }),
    );
    const wins = attempts
      .filter(({ result }) => result.kind === "committed")
      .sort((a, b) => a.result.version - b.result.version);
    assert.deepEqual(
      wins.map(({ result }) => result.version),
      wins.map((_, i) => before + 1 + i),
      "one winner per version",
    );
    for (const { add, remove, txn } of wins) {
      const last = model.at(-1)!;
      const files = new Map(last.files);
      for (const path of remove) assert.ok(files.delete(path), "only files that were there are removed");
      for (const file of add) files.set(file.path, file.partition.country ?? null);
      model.push({ files, txn: new Map([...last.txn, ...txn]), apps: new Set(txn.keys()), removed: new Set(remove) });
    }
    for (const { read, remove, txn, result } of attempts) {
      if (result.kind === "committed") {
        // Nothing that came between what it read and its own version stood in its way.
        const between = model.slice(read.version + 1, result.version);
        assert.ok(!between.some(({ apps }) => [...txn.keys()].some((app) => apps.has(app))));
        continue;
      }
      const since = model.slice(read.version + 1, result.version + 1);
      const byTxn = since.some(({ apps }) => [...txn.keys()].some((app) => apps.has(app)));
      const byFile = since.some(({ removed }) => remove.some((path) => removed.has(path)));
      assert.ok(
        result.reason === "txn" ? byTxn : result.reason === "removed" && byFile,
        `${result.reason} had a cause`,
      );
    }
  }
  for (const writer of writers) await writer.close();

  const newest = model.length - 1;
  for (const table of [...writers, openDeltaTable(store, "t")]) check(await table.snapshot(), newest);
  const reader = openDeltaTable(store, "t");
  for (let version = 0; version <= newest; version++) check(await reader.snapshot({ version }), version);
  for (const { key } of await store.list("t/_delta_log/")) if (!key.endsWith(".json")) await store.delete(key);
  check(await openDeltaTable(store, "t").snapshot(), newest);

  function check(snapshot: Snapshot | undefined, version: number): void {
    const { files, txn } = model[version]!;
    assert.equal(snapshot?.version, version);
    assert.deepEqual(sorted(snapshot.files.map((f) => [f.path, f.partition.country ?? null])), sorted([...files]));
    assert.deepEqual(sorted([...snapshot.txn]), sorted([...txn]));
    assert.deepEqual(snapshot.columns, COLUMNS);
  }
}

test("a missing, stale, senseless or lying _last_checkpoint changes nothing", async (t) => {
  const { folder, store } = await tableOf(t, 12, 5);
  const hint = join(folder, "t/_delta_log/_last_checkpoint");
  const expected = await pathsOf(store);
  assert.equal(expected.length, 12);
  for (const text of ['{"version":5}', '{"version":0}', '{"version":77,"size":3}', "{", '"x"', '{"version":-1}', ""]) {
    await writeFile(hint, text);
    assert.deepEqual(await pathsOf(store), expected, text);
  }
  await rm(hint);
  assert.deepEqual(await pathsOf(store), expected);
});

test("a checkpoint that cannot be read is passed over as long as an older way leads to the same state", async (t) => {
  const { folder, store } = await tableOf(t, 12, 5);
  const expected = await pathsOf(store);
  const log = join(folder, "t/_delta_log");
  await writeFile(join(log, `${"10".padStart(20, "0")}.checkpoint.parquet`), "PAR1 torn");
  assert.deepEqual(await pathsOf(store), expected);
  await writeFile(join(log, `${"5".padStart(20, "0")}.checkpoint.parquet`), "");
  assert.deepEqual(await pathsOf(store), expected);
  await rm(join(log, `${"3".padStart(20, "0")}.json`));
  await assert.rejects(pathsOf(store), isCorrupt(/00000000000000000010\.checkpoint\.parquet cannot be read/));
});

test("a checkpoint of which a part is missing does not count", async (t) => {
  const { folder, store } = await tableOf(t, 7, 5);
  const expected = await pathsOf(store);
  const log = join(folder, "t/_delta_log");
  const whole = join(log, `${"5".padStart(20, "0")}.checkpoint.parquet`);
  const part = (n: number) => join(log, `${"5".padStart(20, "0")}.checkpoint.000000000${n}.0000000002.parquet`);
  await copyFile(whole, part(1));
  await rm(whole);
  assert.deepEqual(await pathsOf(store), expected, "replayed from the beginning");
  await rm(join(log, `${"1".padStart(20, "0")}.json`));
  await assert.rejects(pathsOf(store), isCorrupt(/00000000000000000001\.json is missing/));
  await copyFile(part(1), part(2));
  assert.deepEqual(await pathsOf(store), expected, "read from both parts");
});

test("a damaged log is named with file and reason", async (t) => {
  const cases: [string, string, RegExp][] = [
    ["not JSON", '{"add":', /00000000000000000002\.json line 1 is not JSON/],
    ["not an object", "{}\n[1]", /line 2 is not an object/],
    ["no path", '{"add":{"size":1}}', /has a add action without path|partitionValues/],
    [
      "outside",
      '{"add":{"path":"s3://elsewhere/x","partitionValues":{},"size":1,"modificationTime":1}}',
      /"s3:\/\/elsewhere\/x", which does not lie in the table/,
    ],
    [
      "above",
      '{"add":{"path":"..%2F..%2Fetc","partitionValues":{},"size":1,"modificationTime":1}}',
      /does not lie in the table/,
    ],
    ["bad txn", '{"txn":{"appId":"x"}}', /txn action without version/],
  ];
  for (const [name, line, reason] of cases) {
    const { folder, store } = await tableOf(t, 3, 100);
    await writeFile(join(folder, "t/_delta_log", `${"2".padStart(20, "0")}.json`), line);
    await assert.rejects(pathsOf(store), isCorrupt(reason), name);
  }
});

test("a log without a beginning, or without protocol or metadata, is corrupt", async (t) => {
  const { folder, store } = await tableOf(t, 3, 100);
  const first = join(folder, "t/_delta_log", `${"0".padStart(20, "0")}.json`);
  await writeFile(first, '{"commitInfo":{}}\n');
  await assert.rejects(pathsOf(store), isCorrupt(/no protocol action/));
  await rm(first);
  await assert.rejects(pathsOf(store), isCorrupt(/00000000000000000000\.json is missing/));
});

test("what crashes leave behind in the log's folder is not looked at", async (t) => {
  const { folder, store } = await tableOf(t, 4, 100);
  const expected = await pathsOf(store);
  const log = join(folder, "t/_delta_log");
  await mkdir(join(log, ".tmp"));
  for (const name of [
    ".00000000000000000009.json.tmp",
    "00000000000000000009.json.tmp",
    "00000000000000000009.crc",
    ".tmp/00000000000000000009.json",
    "9.json",
  ]) {
    await writeFile(join(log, name), "{");
  }
  assert.deepEqual(await pathsOf(store), expected);
  assert.deepEqual(await openDeltaTable(store, "t").commit({ operation: "W", readVersion: 4 }), {
    kind: "committed",
    version: 5,
  });
});

test("a checkpoint that fails is reported, costs no commit, and is made up for later", async (t) => {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const failures: unknown[] = [];
  let full = true;
  const table = openDeltaTable(
    Object.assign(Object.create(store) as ObjectStore, {
      put: async (key: string, bytes: Uint8Array) =>
        full ? Promise.reject(new Error("disk full")) : store.put(key, bytes),
      putIfAbsent: (key: string, bytes: Uint8Array) => store.putIfAbsent(key, bytes),
      get: (key: string) => store.get(key),
      list: (prefix: string, options?: { after?: string }) => store.list(prefix, options),
    }),
    "t",
    { checkpointInterval: 2, onCheckpointFailed: (error) => failures.push(error) },
  );
  await fill(table, 3);
  await table.close();
  assert.ok(failures.length > 0);
  full = false;
  for (let version = 3; version < 8; version++) {
    assert.equal((await table.commit({ operation: "W", readVersion: version })).kind, "committed");
    await table.close();
  }
  const log = await readdir(join(folder, "t/_delta_log"));
  assert.ok(log.some((name) => name.endsWith(".checkpoint.parquet")));
  assert.equal((await pathsOf(store)).length, 3);
});

async function tableOf(t: TestContext, commits: number, checkpointInterval: number) {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const table = openDeltaTable(store, "t", { checkpointInterval });
  await fill(table, commits);
  return { folder, store };
}

async function fill(table: DeltaTable, commits: number): Promise<void> {
  await table.commit({
    operation: "CREATE",
    readVersion: -1,
    schema: { columns: COLUMNS, partitionColumns: ["country"] },
  });
  for (let version = 0; version < commits; version++) {
    await table.commit({
      operation: "W",
      readVersion: version,
      add: [dataFile(`f${version}`, PARTITIONS[version % 4]!)],
    });
    await table.close();
  }
}

async function pathsOf(store: ObjectStore): Promise<string[]> {
  return (await openDeltaTable(store, "t").snapshot())!.files.map((file) => file.path).sort();
}

function dataFile(path: string, country: string | null): DataFile {
  const stats = { rowCount: 3, min: { id: 1 }, max: { id: 9 }, nullCount: { id: 0 } };
  return { path, sizeBytes: 10, modifiedAtMs: 1_767_225_600_000, partition: { country }, stats };
}

function sorted<T>(list: readonly T[]): T[] {
  return list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function isCorrupt(reason: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof MillraceError && error.code === "DELTA_CORRUPT" && reason.test(error.message);
}
