import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import type { CommitRequest, DataFile } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { column, lakeFolder, unsyncedFileSystem } from "./lake-folder.ts";

const COLUMNS = [column("id", "long"), column("name", "string")];
const CREATE: CommitRequest = {
  operation: "CREATE",
  readVersion: -1,
  schema: { columns: COLUMNS, partitionColumns: [] },
};

test("a new table is created by its first commit, and there is none before it", async (t) => {
  const { table, again } = await emptyTable(t);
  assert.equal(await table.snapshot(), undefined);
  assert.equal(await table.snapshot({ cached: true }), undefined);
  assert.deepEqual(await table.history(5), []);
  assert.deepEqual(await table.commit(CREATE), { kind: "committed", version: 0 });
  for (const reader of [table, again()]) {
    const snapshot = await reader.snapshot();
    assert.equal(snapshot?.version, 0);
    assert.deepEqual(snapshot.columns, COLUMNS);
    assert.deepEqual(snapshot.files, []);
    assert.equal(snapshot.txn.size, 0);
  }
});

test("files, progress and properties are committed together and read back by another process", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit(CREATE);
  const stats = { rowCount: 2, min: { id: 1, name: "a" }, max: { id: 2, name: "b" }, nullCount: { id: 0, name: 0 } };
  const file = { ...dataFile("day=1/a b#%?ü.parquet"), stats };
  const result = await table.commit({
    operation: "FLUSH",
    readVersion: 0,
    add: [file],
    txn: new Map([["millrace:orders:0", 41]]),
    configuration: { "delta.logRetentionDuration": "interval 1 days" },
    info: { events: 42 },
  });
  assert.deepEqual(result, { kind: "committed", version: 1 });
  for (const reader of [table, again()]) {
    const snapshot = await reader.snapshot();
    assert.deepEqual(snapshot?.files.map(plain), [file]);
    assert.deepEqual([...snapshot.txn], [["millrace:orders:0", 41]]);
    assert.deepEqual(snapshot.configuration, { "delta.logRetentionDuration": "interval 1 days" });
    const [info] = await reader.history(1);
    assert.equal(info?.operation, "FLUSH");
    assert.deepEqual([info.addedFiles, info.removedFiles, info.addedRows, info.info], [1, 0, 2, { events: 42 }]);
  }
});

test("the log is plain Delta: reader 1, writer 2, URL-encoded paths, statistics as text", async (t) => {
  const { table, folder } = await emptyTable(t);
  await table.commit({
    ...CREATE,
    add: [{ ...dataFile("a b.parquet"), stats: { rowCount: 1, min: { id: 7 }, max: { id: 7 }, nullCount: { id: 0 } } }],
  });
  const log = await readFile(join(folder, "silver/t/_delta_log/00000000000000000000.json"), "utf8");
  const actions = log
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    actions.map((action) => Object.keys(action)),
    [["commitInfo"], ["protocol"], ["metaData"], ["add"]],
  );
  assert.deepEqual(actions[1].protocol, { minReaderVersion: 1, minWriterVersion: 2 });
  assert.equal(actions[3].add.path, "a%20b.parquet");
  assert.equal(actions[3].add.stats, '{"numRecords":1,"minValues":{"id":7},"maxValues":{"id":7},"nullCount":{"id":0}}');
});

test("two appends on the same version both succeed, the second on top of the first", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit(CREATE);
  const other = again();
  await other.snapshot();
  assert.deepEqual(await table.commit(append(0, "a")), { kind: "committed", version: 1 });
  assert.deepEqual(await other.commit(append(0, "b")), { kind: "committed", version: 2 });
  assert.deepEqual(await paths(table), ["a", "b"]);
});

test("a consumer that was overtaken by its twin gets a txn conflict and nothing changes", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit(CREATE);
  const zombie = again();
  const read = await zombie.snapshot();
  await table.commit({ ...append(0, "a"), txn: new Map([["app", 10]]) });
  const result = await zombie.commit({ ...append(read!.version, "zombie"), txn: new Map([["app", 10]]) });
  assert.deepEqual(result, { kind: "conflict", reason: "txn", version: 1 });
  assert.deepEqual(await paths(again()), ["a"]);
  const another = await zombie.commit({ ...append(read!.version, "b"), txn: new Map([["other app", 1]]) });
  assert.deepEqual(another, { kind: "committed", version: 2 });
});

test("a file can be removed once; whoever comes second conflicts, also long afterwards", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit({ ...CREATE, add: [dataFile("a"), dataFile("b")] });
  const second = again();
  await second.snapshot();
  const compact: CommitRequest = {
    operation: "COMPACT",
    readVersion: 0,
    remove: ["a", "b"],
    add: [dataFile("ab")],
    dataChange: false,
  };
  assert.equal((await table.commit(compact)).kind, "committed");
  const late: CommitRequest = { operation: "MERGE", readVersion: 0, remove: ["a"], add: [dataFile("a2")] };
  assert.deepEqual(await second.commit(late), { kind: "conflict", reason: "removed", version: 1 });
  assert.deepEqual(await second.commit({ ...late, readVersion: 1 }), {
    kind: "conflict",
    reason: "removed",
    version: 1,
  });
  assert.deepEqual(await paths(again()), ["ab"]);
});

test("who depends on the rows there are conflicts with a commit that brought such rows, not with one that moved them", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit(CREATE);
  await table.commit(append(0, "a"));
  const merge = again();
  const read = (await merge.snapshot())?.version as number;
  const dependsOn = (file: DataFile) => file.path.startsWith("b");
  await table.commit({ ...append(1, "b"), remove: ["a"], dataChange: false });
  assert.equal((await merge.commit({ ...append(read, "mine"), dependsOn })).kind, "committed");
  await table.commit(append(3, "c"));
  assert.equal((await merge.commit({ ...append(3, "more"), dependsOn })).kind, "committed");
  await table.commit(append(5, "b2"));
  assert.deepEqual(await merge.commit({ ...append(5, "late"), dependsOn }), {
    ...{ kind: "conflict", reason: "added", version: 6 },
  });
});

test("a change of schema conflicts with every commit that did not see it", async (t) => {
  const { table, again } = await emptyTable(t);
  await table.commit(CREATE);
  const other = again();
  await other.snapshot();
  const columns = [...COLUMNS, column("note", "json")];
  await table.commit({ operation: "ALTER", readVersion: 0, schema: { columns, partitionColumns: [] } });
  assert.deepEqual(await other.commit(append(0, "a")), { kind: "conflict", reason: "metadata", version: 1 });
  assert.deepEqual((await other.snapshot())?.columns, columns);
  assert.deepEqual((await again().snapshot())?.columns, columns);
  assert.equal((await table.snapshot())?.tableId, (await table.snapshot({ version: 0 }))?.tableId);
});

test("creating a table that exists is a conflict", async (t) => {
  const { table, again } = await emptyTable(t);
  const results = await Promise.all([table.commit(CREATE), again().commit(CREATE), again().commit(CREATE)]);
  assert.deepEqual(results.map((r) => r.kind).sort(), ["committed", "conflict", "conflict"]);
  for (const result of results) if (result.kind === "conflict") assert.equal(result.reason, "exists");
});

test("a request that cannot be right is refused with the reason, before anything is written", async (t) => {
  const { table } = await emptyTable(t);
  const refused = async (request: CommitRequest, reason: RegExp) =>
    assert.rejects(
      table.commit(request),
      (e) => e instanceof MillraceError && e.code === "DELTA_COMMIT_INVALID" && reason.test(e.message),
    );
  await refused({ operation: "CREATE", readVersion: -1 }, /created with its schema/);
  await refused({ ...CREATE, schema: { columns: COLUMNS, partitionColumns: ["day"] } }, /"day" is none of its columns/);
  await refused(
    { ...CREATE, schema: { columns: [column("t", "timestamp_ntz")], partitionColumns: [] } },
    /without a zone/,
  );
  await refused(append(3, "a"), /version 3 has not been made yet/);
  await table.commit(CREATE);
  await refused(
    { ...append(0, "a"), add: [{ ...dataFile("a"), partition: { day: "1" } }] },
    /partition values {"day":"1"}/,
  );
  await refused(
    { operation: "ALTER", readVersion: 0, schema: { columns: COLUMNS, partitionColumns: ["id"] } },
    /cannot change/,
  );
  assert.equal((await table.snapshot())?.version, 0);
});

test("a commit whose write failed is not in the table, and a later one takes its version", async (t) => {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  let broken = false;
  const flaky: ObjectStore = Object.assign(Object.create(store) as ObjectStore, {
    putIfAbsent: async (key: string, bytes: Uint8Array) => {
      if (broken) throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key, reason: "no space" });
      return store.putIfAbsent(key, bytes);
    },
    get: (key: string) => store.get(key),
    list: (prefix: string, options?: { after?: string }) => store.list(prefix, options),
  });
  const table = openDeltaTable(flaky, "t");
  await table.commit(CREATE);
  broken = true;
  await assert.rejects(
    table.commit(append(0, "lost")),
    (e) => e instanceof MillraceError && e.code === "LAKE_UNAVAILABLE",
  );
  broken = false;
  assert.deepEqual(await table.commit(append(0, "kept")), { kind: "committed", version: 1 });
  assert.deepEqual(await paths(table), ["kept"]);
});

test("a commit that succeeded without our hearing of it is seen by the retry", async (t) => {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  let deaf = false;
  const table = openDeltaTable(
    Object.assign(Object.create(store) as ObjectStore, {
      putIfAbsent: async (key: string, bytes: Uint8Array) => {
        const won = await store.putIfAbsent(key, bytes);
        if (deaf) throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key, reason: "connection lost" });
        return won;
      },
      get: (key: string) => store.get(key),
      list: (prefix: string, options?: { after?: string }) => store.list(prefix, options),
    }),
    "t",
  );
  await table.commit(CREATE);
  const flush = { ...append(0, "a"), txn: new Map([["app", 7]]) };
  deaf = true;
  await assert.rejects(table.commit(flush), MillraceError);
  deaf = false;
  assert.deepEqual(await table.commit(flush), { kind: "conflict", reason: "txn", version: 1 });
  assert.deepEqual(await paths(table), ["a"]);
});

test("time in the log never goes back, whatever the clock does", async (t) => {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const times = [1000, 900, 900, 5000];
  const table = openDeltaTable(store, "t", { clock: () => times.shift() ?? 5000 });
  await table.commit(CREATE);
  for (let version = 0; version < 3; version++) await table.commit(append(version, `f${version}`));
  const history = await table.history(10);
  const made = history.map((commit) => commit.timestampMs).reverse();
  assert.deepEqual(
    made,
    [...made].sort((a, b) => a - b),
  );
  assert.equal(new Set(made).size, made.length);
});

test("a snapshot stays what it was while the table moves on, whenever its files are asked for", async (t) => {
  const { table } = await emptyTable(t);
  await table.commit({ ...CREATE, add: [dataFile("a"), dataFile("b")] });
  const early = await table.snapshot();
  await table.commit({ ...append(0, "c"), remove: ["a"] });
  const middle = await table.snapshot();
  await table.commit({ ...append(1, "d"), remove: ["b", "c"] });
  await table.commit(append(2, "a"));
  assert.deepEqual(early!.files.map((f) => f.path).sort(), ["a", "b"]);
  assert.deepEqual(middle!.files.map((f) => f.path).sort(), ["b", "c"]);
  assert.deepEqual(await paths(table), ["a", "d"]);
});

async function emptyTable(t: TestContext) {
  const folder = await lakeFolder(t);
  const store = await openFsStore(folder, { fs: unsyncedFileSystem });
  const again = () => openDeltaTable(store, "silver/t");
  return { folder, store, table: again(), again };
}

function append(readVersion: number, ...names: string[]): CommitRequest {
  return { operation: "FLUSH", readVersion, add: names.map(dataFile) };
}

function dataFile(path: string): DataFile {
  return { path, sizeBytes: 10, modifiedAtMs: 1_767_225_600_000, partition: {}, stats: undefined };
}

function plain({ path, sizeBytes, modifiedAtMs, partition, stats }: DataFile): DataFile {
  return { path, sizeBytes, modifiedAtMs, partition, stats };
}

async function paths(table: ReturnType<typeof openDeltaTable>): Promise<string[]> {
  return ((await table.snapshot())?.files ?? []).map((file) => file.path).sort();
}
