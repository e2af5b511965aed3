import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { DataFile } from "../../src/lake/delta-table.ts";
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
  const small = await medianFlushMs(t, 1);
  const large = await medianFlushMs(t, 10_000);
  // The aim is 1.5; the margin is for a machine that does other things at the same time. A copy of the file list per commit
  // alone would be several milliseconds.
  assert.ok(large < small * 1.5 + 0.5, `${small.toFixed(3)} ms with one file, ${large.toFixed(3)} ms with 10,000`);
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

async function medianFlushMs(t: TestContext, files: number): Promise<number> {
  const store = await openFsStore(await lakeFolder(t), { fs: unsyncedFileSystem });
  const table = await tableOf(store, files);
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    const began = performance.now();
    const read = await table.snapshot();
    await table.commit({
      operation: "FLUSH",
      readVersion: read!.version,
      add: [dataFile(`more-${i}`)],
      txn: new Map([["app", i]]),
    });
    times.push(performance.now() - began);
  }
  await table.close();
  return times.sort((a, b) => a - b)[times.length / 2]!;
}

async function tableOf(store: ObjectStore, files: number): Promise<ReturnType<typeof openDeltaTable>> {
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
