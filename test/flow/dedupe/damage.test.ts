import assert from "node:assert/strict";
import { test } from "node:test";
import { LocalIndex } from "../../../src/flow/dedupe/local-index.ts";
import { packRecords } from "../../../src/flow/dedupe/records.ts";
import { diskError, type MemoryFiles, memoryFiles } from "./memory-files.ts";
import { batchOf, duplicatesByDefinition, random, randomLog, type TestEvent } from "./naive-partition.ts";

const HORIZON_MS = 2000;
const STORED = 900;
const log = randomLog(7, 1000, 300, 20);
const expected = duplicatesByDefinition(log, HORIZON_MS);
const storedAfter = (offset: number) =>
  log.filter((e) => e.offset > offset && e.offset < STORED && expected[e.offset] === -1);
const asked = packRecords(batchOf(log.slice(STORED)));

/** The files of an index that covers the first 900 events in several runs. */
async function indexFiles(): Promise<Map<string, Buffer>> {
  const files = memoryFiles();
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS }, files);
  for (let to = 0; to < STORED; to += 150) {
    index.stage(packRecords(batchOf(storedAfter(to - 1).filter((e) => e.offset < to + 150))));
    await index.commit(to + 149);
    await index.settled();
  }
  await index.close();
  return files.content;
}

const whole = await indexFiles();
const runs = [...whole.keys()].filter((path) => path.endsWith(".run")).sort();

function copy(): MemoryFiles {
  return memoryFiles(new Map([...whole].map(([path, bytes]) => [path, Buffer.from(bytes)])));
}

/** Asks as the platform does: rebuilds what is missing, whenever that shows. Gives how often that was. */
async function askAndRepair(files: MemoryFiles): Promise<number> {
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS, storedTo: STORED - 1 }, files);
  for (let rebuilds = 0; ; rebuilds++) {
    if (index.coveredTo < STORED - 1) {
      index.stage(packRecords(batchOf(storedAfter(index.coveredTo))));
      await index.commit(STORED - 1, true);
      rebuilds++;
    }
    try {
      assert.deepEqual([...index.lookup(asked)], expected.slice(STORED));
      await index.close();
      return rebuilds;
    } catch (error) {
      if ((error as { code?: string }).code !== "DEDUPE_INDEX_BEHIND") throw error;
      assert.ok(index.coveredTo < STORED - 1, "an index that refuses says from where it must be rebuilt");
      rebuilds--;
    }
  }
}

test("several runs are there to be damaged, and undamaged they answer", async () => {
  assert.ok(runs.length >= 3);
  assert.equal(await askAndRepair(copy()), 0);
});

test("one flipped bit anywhere never gives a wrong answer", async () => {
  const next = random(11);
  let repaired = 0;
  let tried = 0;
  for (const [path, bytes] of whole) {
    const step = Math.max(1, Math.floor(bytes.byteLength / 250));
    for (let at = 0; at < bytes.byteLength; at += step) {
      const files = copy();
      const damaged = files.content.get(path) as Buffer;
      damaged[at] = (damaged[at] as number) ^ (1 << next(8));
      if ((await askAndRepair(files)) > 0) repaired++;
      tried++;
    }
  }
  assert.ok(tried > 700 && repaired > 100, `${repaired} of ${tried} were noticed: those that were read`);
});

test("a file that is cut off, emptied, filled with zeros or gone is rebuilt", async () => {
  for (const path of whole.keys()) {
    const bytes = whole.get(path) as Buffer;
    const harms: ((files: MemoryFiles) => void)[] = [
      (files) => files.content.set(path, bytes.subarray(0, bytes.byteLength - 1)),
      (files) => files.content.set(path, Buffer.concat([bytes, Buffer.from([0])])),
      (files) => files.content.set(path, Buffer.alloc(0)),
      (files) => files.content.set(path, Buffer.alloc(bytes.byteLength)),
      (files) => files.content.delete(path),
    ];
    for (const harm of harms) {
      const files = copy();
      harm(files);
      assert.ok((await askAndRepair(files)) > 0, path);
      assert.equal(await askAndRepair(files), 0, "what was rebuilt is whole again");
    }
  }
});

test("a run with another one's records under its own filter is noticed", async () => {
  const [first, second] = runs as [string, string];
  const files = copy();
  const own = files.content.get(first) as Buffer;
  const other = files.content.get(second) as Buffer;
  other.copy(own, 64, 64, 64 + 32 * Math.min(readCount(own), readCount(other)));
  assert.ok((await askAndRepair(files)) > 0);
});

test("a run that the disk cannot read is given up, one that may not be read is an error", async () => {
  const files = copy();
  files.before = (operation, path) => {
    if (operation === "read" && path === runs[1]) throw diskError("EIO");
  };
  assert.ok((await askAndRepair(files)) > 0);

  const forbidden = copy();
  forbidden.before = (operation, path) => {
    if (operation === "open" && path === runs[1]) throw diskError("EACCES");
  };
  await assert.rejects(askAndRepair(forbidden), { code: "DEDUPE_INDEX_UNAVAILABLE" });
  forbidden.before = () => undefined;
  assert.equal(await askAndRepair(forbidden), 0, "nothing was given up for a permission");
});

test("damage to a later run keeps the earlier ones", () => {
  const files = copy();
  files.content.delete(runs.at(-1) as string);
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS, storedTo: STORED - 1 }, files);
  assert.ok(index.coveredTo >= 0 && index.coveredTo < STORED - 1, `covered to ${index.coveredTo}`);
});

test("while part of the index is missing nothing is answered or committed", async () => {
  const files = copy();
  files.content.delete(runs[0] as string);
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS }, files);
  assert.throws(() => index.lookup(asked), { code: "DEDUPE_INDEX_BEHIND" });
  await assert.rejects(index.commit(STORED + 10), { code: "DEDUPE_INDEX_BEHIND" });
});

test("damage met while a commit is under way fails that commit: it must not claim what was lost", async () => {
  const files = copy();
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS, storedTo: STORED - 1 }, files);
  index.stage(packRecords(batchOf([log[STORED] as TestEvent])));
  const { sync } = files;
  files.sync = async (fd) => {
    await sync(fd);
    for (const path of runs) files.content.get(path)?.fill(0, 64, 64 + 32 * 20);
    assert.throws(() => index.lookup(packRecords(batchOf(storedAfter(-1)))), { code: "DEDUPE_INDEX_BEHIND" });
  };
  await assert.rejects(index.commit(STORED), { code: "DEDUPE_INDEX_BEHIND" });
  assert.ok(index.coveredTo < STORED - 1);
  files.sync = sync;
  await index.close();
  assert.ok((await askAndRepair(files)) > 0);
});

test("a longer horizon than the index was kept for asks for a rebuild", () => {
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS * 2 }, copy());
  assert.equal(index.coveredTo, -1);
  assert.throws(() => index.lookup(asked), { code: "DEDUPE_INDEX_BEHIND" });
});

function readCount(run: Buffer): number {
  return run.readDoubleLE(16);
}
