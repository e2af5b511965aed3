import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LocalIndex } from "../../../src/flow/dedupe/local-index.ts";
import { packRecords } from "../../../src/flow/dedupe/records.ts";
import { memoryFiles } from "./memory-files.ts";
import { batchOf, duplicatesByDefinition, random, randomLog, type TestEvent } from "./naive-partition.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-dedupe-"));
after(() => rmSync(root, { recursive: true, force: true }));

/**
 * Plays a platform's life on one log: loads of all sizes, flushes at odd places, loads done again, restarts that lose what is not
 * committed, tables that are ahead of the index or behind it. Every answer must be the definition's.
 */
async function live(seed: number, log: readonly TestEvent[], horizonMs: number): Promise<{ merged: boolean }> {
  const expected = duplicatesByDefinition(log, horizonMs);
  const next = random(seed);
  const files = memoryFiles();
  const dir = "history";
  let table = -1; // last offset committed in the bronze table
  let loaded = -1;
  let commits = 0;
  const storedAfter = (offset: number) =>
    log.filter((e) => e.offset > offset && e.offset <= table && expected[e.offset] === -1);
  const open = async () => {
    const index = LocalIndex.open(dir, { horizonMs, storedTo: table }, files);
    assert.ok(index.coveredTo <= table);
    if (index.coveredTo < table) {
      assert.throws(() => index.lookup(packRecords(batchOf(log.slice(0, 1)))), { code: "DEDUPE_INDEX_BEHIND" });
      index.stage(packRecords(batchOf(storedAfter(index.coveredTo))));
      await index.commit(table, true);
    }
    loaded = table;
    return index;
  };
  let index = await open();
  while (table < log.length - 1) {
    const action = next(10);
    if (action < 6 && loaded < log.length - 1) {
      const again = next(4) === 0 ? Math.min(loaded - table, next(30)) : 0; // a load that broke off and is done again
      const events = log.slice(loaded + 1 - again, loaded + 1 + next(60));
      const batch = batchOf(events);
      const found = index.lookup(packRecords(batch));
      assert.deepEqual(
        [...found],
        events.map((e) => expected[e.offset]),
        `seed ${seed}, offsets ${events[0]?.offset}…`,
      );
      index.stage(packRecords(batch, found));
      loaded = Math.max(loaded, events.at(-1)?.offset ?? loaded);
    } else if (action < 9) {
      table += next(loaded - table + 1);
      await index.commit(table);
      assert.equal(index.coveredTo, table);
      commits++;
    } else {
      const before = table;
      // A crash between the two commits leaves the table ahead; an older copy of the table puts it behind.
      if (next(2) === 0) table += next(loaded - table + 1);
      else table = Math.max(-1, table - next(200));
      if (next(2) === 0)
        await index.close(); // else: what a kill leaves, the files as they are
      else await index.settled();
      index = await open();
      assert.ok(index.coveredTo === table, `${before} -> ${table}`);
    }
  }
  await index.settled();
  const { runs } = index.stats();
  await index.close();
  return { merged: runs < commits / 2 };
}

test("whatever a partition lives through, every answer is the definition's", async () => {
  const seed = Number(process.env.SEED ?? 20_260_101);
  let merged = 0;
  for (let i = 0; i < 40; i++) {
    const next = random(seed + i);
    const ids = [3, 40, 400, 5000][next(4)] as number;
    const horizonMs = [0, 50, 1000, 100_000][next(4)] as number;
    const outcome = await live(seed + i, randomLog(seed + i, 1200, ids, 30), horizonMs);
    if (outcome.merged) merged++;
  }
  assert.ok(merged > 12, `merges must have happened in many of the histories, not in ${merged}`);
});

test("an id comes again just within the horizon and is a duplicate, a millisecond later it is not", () => {
  const index = LocalIndex.open(join(root, "edge"), { horizonMs: 1000 });
  const at = (offset: number, receivedAtMs: number) => ({ offset, id: "a", receivedAtMs });
  const events = [at(0, 5000), at(1, 6000), at(2, 6001), at(3, 7001), at(4, 7002)];
  assert.deepEqual([...index.lookup(packRecords(batchOf(events)))], [-1, 0, -1, 2, -1]);
});

test("a batch out of order is judged in the order of its offsets", () => {
  const index = LocalIndex.open(join(root, "order"), { horizonMs: 1000 });
  const events = [7, 3, 5].map((offset) => ({ offset, id: "a", receivedAtMs: 1000 + offset }));
  assert.deepEqual([...index.lookup(packRecords(batchOf(events)))], [3, -1, 3]);
});

test("offsets and times at the ends of their ranges come back exactly", async () => {
  const dir = join(root, "range");
  const index = LocalIndex.open(dir, { horizonMs: 10 });
  const offset = Number.MAX_SAFE_INTEGER - 5;
  const receivedAtMs = 2 ** 43 - 5;
  index.stage(packRecords(batchOf([{ offset, id: "a", receivedAtMs }])));
  await index.commit(offset);
  await index.close();
  const again = LocalIndex.open(dir, { horizonMs: 10 });
  const later = batchOf([{ offset: offset + 1, id: "a", receivedAtMs: receivedAtMs + 4 }]);
  assert.deepEqual([...again.lookup(packRecords(later))], [offset]);
  assert.throws(() => packRecords(batchOf([{ offset: -1, id: "a", receivedAtMs: 0 }])), RangeError);
  assert.throws(() => packRecords(batchOf([{ offset: 0, id: "a", receivedAtMs: 2 ** 43 }])), RangeError);
});
