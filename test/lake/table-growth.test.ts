import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { DataFile, DeltaTable } from "../../src/lake/delta-table.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { column, lakeFolder, unsyncedFileSystem } from "./lake-folder.ts";

const COLUMNS = [column("id", "long"), column("name", "string")];

test("reading the newest state and committing asks the store for the same few things at 1 and at 10,000 files", async (t) => {
  const small = await callsOfOneFlush(t, 1);
  const large = await callsOfOneFlush(t, 10_000);
  assert.deepEqual(large, small);
  assert.deepEqual(small, [
    "get t/_delta_log/00000000000000000002.json",
    "putIfAbsent t/_delta_log/00000000000000000002.json",
  ]);
});

test("a flush takes about as long in a table of 10,000 files as in a table of one", async (t) => {
  const small = await tableOf(await openFsStore(await lakeFolder(t), { fs: unsyncedFileSystem }), 1);
  const large = await tableOf(await openFsStore(await lakeFolder(t), { fs: unsyncedFileSystem }), 10_000);
  const times: { small: number[]; large: number[] } = { small: [], large: [] };
  // In turns, so that whatever else the machine does meets both alike.
  for (let i = 0; i < 80; i++) {
    times.small.push(await flushMs(small, i));
    times.large.push(await flushMs(large, i));
  }
  const [one, many] = [median(times.small), median(times.large)];
  // A copy of the file list for each commit would be several milliseconds.
  assert.ok(many < one * 1.5 + 0.3, `${one.toFixed(3)} ms with one file, ${many.toFixed(3)} ms with 10,000`);
});

test("the larger the table, the rarer its checkpoints, and a reader still replays few commits", async (t) => {
  const store = await openFsStore(await lakeFolder(t), { fs: unsyncedFileSystem });
  const table = await tableOf(store, 3000);
  for (let version = 1; version <= 65; version++) {
    await table.commit({ operation: "FLUSH", readVersion: version, add: [dataFile(`more-${version}`)] });
    await table.close();
  }
  const checkpoints = (await store.list("t/_delta_log/")).filter((o) => o.key.endsWith(".checkpoint.parquet"));
  assert.deepEqual(
    checkpoints.map((o) => Number(o.key.slice("t/_delta_log/".length).slice(0, 20))),
    [31, 62],
  );
  assert.equal((await openDeltaTable(store, "t").snapshot())?.files.length, 3065);
});

async function callsOfOneFlush(t: TestContext, files: number): Promise<string[]> {
  const store = await openFsStore(await lakeFolder(t), { fs: unsyncedFileSystem });
  const calls: string[] = [];
  const counted = new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        calls.push(`${String(name)} ${args[0]}`);
        return method.apply(target, args);
      };
    },
  });
  const table = await tableOf(counted, files);
  calls.length = 0;
  const read = await table.snapshot();
  await table.commit({ operation: "FLUSH", readVersion: read!.version, add: [dataFile("one-more")] });
  return calls;
}

async function flushMs(table: DeltaTable, i: number): Promise<number> {
  const began = performance.now();
  const read = await table.snapshot();
  await table.commit({
    operation: "FLUSH",
    readVersion: read!.version,
    add: [dataFile(`more-${i}`)],
    txn: new Map([["app", i]]),
  });
  const took = performance.now() - began;
  await table.close();
  return took;
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1]!;
}

async function tableOf(store: ObjectStore, files: number): Promise<DeltaTable> {
  const table = openDeltaTable(store, "t");
  await table.commit({ operation: "CREATE", readVersion: -1, schema: { columns: COLUMNS, partitionColumns: [] } });
  await table.commit({
    operation: "FLUSH",
    readVersion: 0,
    add: Array.from({ length: files }, (_, i) => dataFile(`part-${i}`)),
  });
  return table;
}

function dataFile(path: string): DataFile {
  const stats = { rowCount: 10, min: { id: 1, name: "a" }, max: { id: 9, name: "z" }, nullCount: { id: 0, name: 0 } };
  return { path, sizeBytes: 10, modifiedAtMs: 1_767_225_600_000, partition: {}, stats };
}
