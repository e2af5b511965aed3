import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LocalIndex } from "../../../src/flow/dedupe/local-index.ts";
import { packRecords } from "../../../src/flow/dedupe/records.ts";
import { diskError, type MemoryFiles, memoryFiles } from "./memory-files.ts";
import { batchOf, duplicatesByDefinition, randomLog } from "./naive-partition.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-dedupe-"));
after(() => rmSync(root, { recursive: true, force: true }));

const HORIZON_MS = 3000;
const STEP = 50;
const log = randomLog(3, 800, 250, 20);
const expected = duplicatesByDefinition(log, HORIZON_MS);

/** Loads and commits the events from `from` on, checking every answer; commits that fail are tried again with the next. */
async function play(index: LocalIndex, from: number, onCommitted: (to: number) => void): Promise<void> {
  for (let at = from; at < log.length; at += STEP) {
    const batch = batchOf(log.slice(at, at + STEP));
    const found = index.lookup(packRecords(batch));
    assert.deepEqual([...found], expected.slice(at, at + STEP));
    index.stage(packRecords(batch, found));
    const to = Math.min(at + STEP, log.length) - 1;
    try {
      await index.commit(to);
      onCommitted(to);
    } catch (error) {
      assert.equal((error as { code?: string }).code, "DEDUPE_INDEX_UNAVAILABLE");
      assert.ok(index.coveredTo < to);
    }
    await index.settled();
  }
}

/** Opens what a crash has left beside a table that holds everything up to `table`, and plays on from there. */
async function recover(files: MemoryFiles, table: number): Promise<void> {
  const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS, storedTo: table }, files);
  const { coveredTo } = index;
  if (coveredTo < table) {
    const missed = log.filter((e) => e.offset > coveredTo && e.offset <= table && expected[e.offset] === -1);
    index.stage(packRecords(batchOf(missed)));
    await index.commit(table, true);
  }
  await play(index, table + 1, () => undefined);
  assert.equal(index.coveredTo, log.length - 1);
  await index.close();
}

test("the power may fail before any operation of the disk: what was committed is covered, every answer stays right", async () => {
  const crashes: { files: MemoryFiles; committed: number }[] = [];
  const files = memoryFiles();
  let committed = -1;
  files.before = (operation) => {
    if (operation === "read" || operation === "readWhole") return;
    const left = new Map([...files.content].map(([path, bytes]) => [path, Buffer.from(bytes)]));
    for (const path of files.unsynced) left.set(path, Buffer.from(left.get(path)?.subarray(0, 100) ?? []));
    crashes.push({ files: memoryFiles(left), committed });
  };
  await play(LocalIndex.open("dir", { horizonMs: HORIZON_MS }, files), 0, (to) => {
    committed = to;
  });
  assert.ok(crashes.length > 100);
  for (const crash of crashes) {
    const { coveredTo } = LocalIndex.open("dir", { horizonMs: HORIZON_MS }, memoryFiles(new Map(crash.files.content)));
    assert.ok(coveredTo >= crash.committed, `committed ${crash.committed}, but covered ${coveredTo}`);
    await recover(crash.files, crash.committed);
  }
});

test("a disk that refuses any one operation costs that commit or merge and nothing else", async () => {
  for (const refused of ["open", "write", "sync", "replace"] as const) {
    let failures = 0;
    for (let nth = 1; nth < 40; nth += 3) {
      const files = memoryFiles();
      let count = 0;
      const index = LocalIndex.open("dir", { horizonMs: HORIZON_MS }, files);
      files.before = (operation, path) => {
        if (operation === "open" && files.content.has(path)) return; // opening to read
        if (operation !== refused || ++count !== nth) return;
        failures++;
        throw diskError("ENOSPC");
      };
      await play(index, 0, () => undefined);
      assert.equal(index.coveredTo, log.length - 1, `${refused} ${nth}`);
      await index.close();
      const named = (files.content.get("dir/manifest.json") as Buffer).toString();
      const strays = [...files.content.keys()].filter(
        (path) => path.endsWith(".run") && !named.includes(path.slice(4)),
      );
      assert.deepEqual(strays, [], "a write that failed leaves no file behind");
    }
    assert.ok(failures > 5);
  }
});

test("merges that keep failing are reported, and stop commits before look-ups suffer", async () => {
  const files = memoryFiles();
  const index = LocalIndex.open("dir", { horizonMs: 1e9 }, files);
  let commits = 0;
  const commitOne = async () => {
    index.stage(packRecords(batchOf([{ offset: commits, id: `id-${commits}`, receivedAtMs: 1000 }])));
    await index.commit(commits++);
  };
  await commitOne();
  // A merge is what reads whole runs.
  files.before = (operation) => {
    if (operation === "read") throw diskError("EMFILE");
  };
  await assert.rejects(
    async () => {
      while (commits < 200) {
        await commitOne();
        await index.settled();
      }
    },
    { code: "DEDUPE_INDEX_UNAVAILABLE" },
  );
  assert.ok(commits > 60 && commits < 70, `stopped after ${commits} commits`);
  assert.match(index.stats().mergeFault ?? "", /EMFILE/);
  files.before = () => undefined;
  await commitOne();
  await index.settled();
  assert.equal(index.stats().mergeFault, undefined);
  assert.ok(index.stats().runs < 10);
});

test("a process killed while it commits and merges leaves an index that covers what it had reported", async () => {
  const dir = join(root, "killed");
  let table = -1;
  for (let round = 0; round < 4; round++) {
    const reported = await killedAfter(dir, table, 150 + round * 60);
    assert.ok(reported > table, "the child made progress before it was killed");
    table = reported;
    const index = LocalIndex.open(dir, { horizonMs: 1e12 });
    assert.ok(index.coveredTo >= reported);
    const asked = Array.from({ length: reported + 1 }, (_, offset) => ({
      offset: reported + 1_000_000 + offset,
      id: `id-${offset}`,
      receivedAtMs: 1_000_000,
    }));
    const found = index.lookup(packRecords(batchOf(asked)));
    assert.ok(found.every((original, i) => original === i));
    await index.close();
  }
});

/** Runs a child that stores ids in the index from where its table ends; gives the last offset it reported as committed. */
function killedAfter(dir: string, table: number, ms: number): Promise<number> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "committing-child.ts"), dir, String(table)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (text) => {
    if (output === "") setTimeout(() => child.kill("SIGKILL"), ms); // from the first commit on
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(Number(output.split("\n").at(-2) ?? -1)));
  });
}
