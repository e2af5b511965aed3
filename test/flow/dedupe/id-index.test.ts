import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DuckDBInstance } from "@duckdb/node-api";
import { hashColumns, hashId } from "../../../src/flow/dedupe/id-hash.ts";
import { openIdIndex } from "../../../src/flow/dedupe/id-index.ts";
import { batchOf, duplicatesByDefinition, randomLog, type TestEvent } from "./naive-partition.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-dedupe-"));
after(() => rmSync(root, { recursive: true, force: true }));

const HORIZON_MS = 5000;
const log = randomLog(21, 3000, 900, 20);
const expected = duplicatesByDefinition(log, HORIZON_MS);
const stored = (from: number, to: number) =>
  log.filter((e) => e.offset >= from && e.offset <= to && expected[e.offset] === -1);

test("look-ups, staging, commits and a restart on the shared thread give the definition's answers", async () => {
  const dir = join(root, "life");
  for (let from = 0; from < log.length; from += 1000) {
    const index = await openIdIndex(dir, { horizonMs: HORIZON_MS, storedTo: from - 1 });
    assert.equal(index.coveredTo, from - 1);
    for (let at = from; at < from + 1000; at += 100) {
      const batch = batchOf(log.slice(at, at + 100));
      const found = await index.lookup(batch);
      assert.deepEqual([...found], expected.slice(at, at + 100));
      index.stage(batch, found);
      if (at % 200 === 100) await index.commit(at + 99);
    }
    assert.equal(index.coveredTo, from + 999);
    const stats = await index.stats();
    assert.ok(stats.ids > 0 && stats.bytesOnDisk > stats.ids * 32 && stats.memoryBytes > 0);
    await index.close();
  }
});

test("calls need not wait for one another: they take effect in their order", async () => {
  const index = await openIdIndex(join(root, "order"), { horizonMs: HORIZON_MS });
  const answers: Promise<Float64Array>[] = [];
  const commits: Promise<void>[] = [];
  for (let at = 0; at < 1000; at += 50) {
    answers.push(index.lookup(batchOf(log.slice(at, at + 50))));
    index.stage(batchOf(stored(at, at + 49)));
    commits.push(index.commit(at + 49));
  }
  assert.deepEqual(
    (await Promise.all(answers)).flatMap((found) => [...found]),
    expected.slice(0, 1000),
  );
  await Promise.all(commits);
  assert.equal(index.coveredTo, 999);
  await index.close();
});

test("an index behind its table refuses until it is rebuilt, in pieces that survive a crash", async () => {
  const dir = join(root, "behind");
  const open = () => openIdIndex(dir, { horizonMs: HORIZON_MS, storedTo: 1999 });
  let index = await open();
  assert.equal(index.coveredTo, -1);
  await assert.rejects(index.lookup(batchOf(log.slice(2000, 2010))), { code: "DEDUPE_INDEX_BEHIND" });
  async function* brokenOff(): AsyncGenerator<ReturnType<typeof batchOf>> {
    yield batchOf(stored(0, 999));
    throw new Error("the table cannot be read");
  }
  await assert.rejects(index.rebuild(brokenOff(), 1999), /cannot be read/);
  await assert.rejects(index.lookup(batchOf(log.slice(2000, 2010))), { code: "DEDUPE_INDEX_BEHIND" });
  await index.close();
  index = await open();
  const batches = [batchOf(stored(index.coveredTo + 1, 999)), batchOf(stored(1000, 1999))];
  await index.rebuild(batches, 1999);
  assert.equal(index.coveredTo, 1999);
  assert.deepEqual([...(await index.lookup(batchOf(log.slice(2000, 2500))))], expected.slice(2000, 2500));
  await assert.rejects(index.rebuild([batchOf(stored(0, 10))], 3000), RangeError);
  await index.close();
});

test("a folder that cannot be used is an error with its reason, and the thread goes on for others", async () => {
  const file = join(root, "file");
  writeFileSync(file, "in the way");
  const good = await openIdIndex(join(root, "good"), { horizonMs: 1 });
  await assert.rejects(openIdIndex(join(file, "index"), { horizonMs: 1 }), (error: Error & { code?: string }) => {
    assert.equal(error.code, "DEDUPE_INDEX_UNAVAILABLE");
    assert.match(error.message, /cannot be opened: ENOTDIR/);
    return true;
  });
  assert.deepEqual([...(await good.lookup(batchOf(log.slice(0, 1))))], [-1]);
  await good.close();
  await good.close();
  await assert.rejects(good.lookup(batchOf(log.slice(0, 1))));
});

test("an empty folder, an empty batch and a commit without entries are nothing special", async () => {
  const dir = join(root, "empty");
  mkdirSync(dir);
  const index = await openIdIndex(dir, { horizonMs: 1000 });
  assert.equal(index.coveredTo, -1);
  assert.equal((await index.lookup(batchOf([]))).length, 0);
  index.stage(batchOf([]));
  await index.commit(41);
  assert.equal(index.coveredTo, 41);
  await index.commit(7);
  assert.equal(index.coveredTo, 41, "a commit never takes anything back");
  await index.close();
  const again = await openIdIndex(dir, { horizonMs: 1000 });
  assert.equal(again.coveredTo, 41);
  await again.close();
});

test("the engine and JavaScript give an id the same hash", async () => {
  const ids = ["", "a", "order-1", "Größe ✓ 🚀", "x".repeat(5000), "1e400"];
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const values = ids.map((id) => `('${id}')`).join(", ");
  const result = await connection.runAndReadAll(`select ${hashColumns("id")} from (values ${values}) t(id)`);
  const expectedHashes = ids.map((id) => Object.values(hashId(id)));
  assert.deepEqual(result.getRows(), expectedHashes);
  connection.closeSync();
});

test("a process that forgets to close its indexes can still end", async () => {
  const { execFile } = await import("node:child_process");
  const { promisify } = await import("node:util");
  const module = new URL("../../../src/flow/dedupe/id-index.ts", import.meta.url).href;
  const script = `const { openIdIndex } = await import(${JSON.stringify(module)});
    const index = await openIdIndex(${JSON.stringify(join(root, "forgotten"))}, { horizonMs: 1 });
    await index.commit(3); console.log(index.coveredTo);`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    timeout: 20_000,
  });
  assert.equal(stdout.trim(), "3");
});

test("a hot id in a batch of 60,000 costs no more than different ones", async () => {
  const index = await openIdIndex(join(root, "hot"), { horizonMs: 1e9 });
  const hot: TestEvent[] = Array.from({ length: 60_000 }, (_, offset) => ({
    offset,
    id: `id-${offset % 2}`,
    receivedAtMs: 1,
  }));
  const batch = batchOf(hot);
  const start = performance.now();
  const found = await index.lookup(batch);
  assert.ok(performance.now() - start < 1000);
  assert.deepEqual([...found.subarray(0, 4)], [-1, -1, 0, 1]);
  assert.ok(found.subarray(2).every((original, i) => original === i % 2));
  await index.close();
});
