import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { openJournal } from "../../packages/tracker/src/journal.ts";
import { openQueueFolder } from "../../packages/tracker/src/queue-folder.ts";
import type { QueuedEvent, Store } from "../../packages/tracker/src/store.ts";

async function scratch(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "tracker-queue-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const event = (n: number, note = ""): QueuedEvent => {
  const e = JSON.stringify({ n, note });
  return { i: `id-${n}`, s: "clicks", e, b: e.length };
};
const numbers = async (store: Store): Promise<number[]> =>
  (await store.peek(100_000, 1e9)).map(({ e }) => (JSON.parse(e) as { n: number }).n);
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const unexpected = (error: Error): void => assert.fail(error.message);

describe("the file of a queue", () => {
  it("gives back after a restart what was added and not removed, in order", async (t) => {
    const path = join(await scratch(t), "events.log");
    const store = await openJournal(path, unexpected);
    await Promise.all(range(0, 10).map((n) => store.add([event(n), event(n + 100)])));
    const all = await numbers(store);
    await store.remove(await store.peek(3, 1e9));
    await store.close?.();
    const again = await openJournal(path, unexpected);
    assert.deepEqual(await numbers(again), all.slice(3));
    await again.add([event(7_000)]);
    await again.close?.();
    const last = await openJournal(path, unexpected);
    assert.deepEqual(await numbers(last), [...all.slice(3), 7_000]);
    await last.remove(await last.peek(100, 1e9));
    assert.equal((await stat(path)).size, 0, "a queue that is empty takes no room");
    await last.close?.();
  });

  it("cut off at any byte gives the whole events before the cut, and goes on from there", async (t) => {
    const dir = await scratch(t);
    const path = join(dir, "events.log");
    const store = await openJournal(path, unexpected);
    for (const n of range(0, 5)) await store.add([event(n, "ü")]);
    await store.close?.();
    const bytes = await readFile(path);
    const ends = [...bytes.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at + 1);
    for (let cut = 0; cut <= bytes.length; cut++) {
      await writeFile(path, bytes);
      await truncate(path, cut);
      const torn = await openJournal(path, unexpected);
      const whole = ends.filter((end) => end <= cut).length;
      assert.deepEqual(await numbers(torn), range(0, whole), `cut at ${cut}`);
      await torn.add([event(99)]);
      await torn.close?.();
      const next = await openJournal(path, unexpected);
      assert.deepEqual(await numbers(next), [...range(0, whole), 99], `cut at ${cut}, then written on`);
      await next.close?.();
    }
  });

  it("with zeros or rubbish behind the last event cuts them off; a damaged line in the middle is told and costs itself alone", async (t) => {
    const path = join(await scratch(t), "events.log");
    const store = await openJournal(path, unexpected);
    for (const n of range(0, 5)) await store.add([event(n)]);
    await store.close?.();
    const whole = await readFile(path);
    for (const tail of ["\0".repeat(4_096), 'deadbeef {"k":6}\nhalf', '00000000 {"k":9,"i":"x"}\n']) {
      await writeFile(path, whole);
      await appendFile(path, tail);
      const torn = await openJournal(path, unexpected);
      assert.deepEqual(await numbers(torn), range(0, 5));
      await torn.close?.();
      assert.equal((await stat(path)).size, whole.length);
    }
    const damaged = Buffer.from(whole);
    damaged[whole.indexOf(0x0a) + 20] = 0x7e;
    await writeFile(path, damaged);
    const told: string[] = [];
    const mended = await openJournal(path, (error) => told.push(error.message));
    assert.deepEqual(await numbers(mended), [0, 2, 3, 4]);
    assert.match(told.join(), /1 damaged line/);
    await mended.close?.();
  });

  it("is written anew when most of it is sent, and loses nothing on the way", async (t) => {
    const path = join(await scratch(t), "events.log");
    const store = await openJournal(path, unexpected);
    const note = "x".repeat(10_000);
    for (let from = 0; from < 600; from += 100) await store.add(range(from, 100).map((n) => event(n, note)));
    const before = (await stat(path)).size;
    await store.remove(await store.peek(590, 1e9));
    await store.add([event(600)]);
    assert.ok((await stat(path)).size < before / 10);
    await store.close?.();
    const again = await openJournal(path, unexpected);
    assert.deepEqual(await numbers(again), range(590, 11));
    await again.close?.();
  });

  it("bounds a peek by events and bytes, and is never stuck on an event larger than both", async (t) => {
    const store = await openJournal(join(await scratch(t), "events.log"), unexpected);
    await store.add([event(0, "x".repeat(1_000)), event(1), event(2), event(3)]);
    assert.equal((await store.peek(10, 100)).length, 1);
    assert.equal((await store.peek(2, 1e9)).length, 2);
    assert.deepEqual(
      (await store.cut(1, true)).map(({ i }) => i),
      ["id-3"],
    );
    assert.deepEqual(
      (await store.cut(2, false)).map(({ i }) => i),
      ["id-0", "id-1"],
    );
    assert.equal(await store.size(), 1);
    await store.close?.();
  });
});

describe("the folder of queues", () => {
  it("gives each living process its own file, and what is left by a dead one to exactly one of those that come after", async (t) => {
    const dir = await scratch(t);
    const living = await openQueueFolder(dir, unexpected);
    await living.add([event(1)]);
    // A dead process: a folder at whose socket nobody answers.
    await mkdir(join(dir, "queue-dead"));
    const dead = await openJournal(join(dir, "queue-dead/events.log"), unexpected);
    await dead.add([event(2), event(3)]);
    await dead.close?.();
    // And one that died while it took over another's.
    await mkdir(join(dir, "queue-dead/taken-1"));
    const older = await openJournal(join(dir, "queue-dead/taken-1/events.log"), unexpected);
    await older.add([event(0)]);
    await older.close?.();

    const successors = await Promise.all([openQueueFolder(dir, unexpected), openQueueFolder(dir, unexpected)]);
    const got = await Promise.all(successors.map(numbers));
    assert.deepEqual(
      got.toSorted((a, b) => a.length - b.length),
      [[], [0, 2, 3]],
      "the older ones first",
    );
    assert.deepEqual(await numbers(living), [1]);
    for (const store of [living, ...successors]) await store.close?.();
    assert.equal((await readdir(dir)).length, 2, "queues with events stay, empty ones go");
    const last = await openQueueFolder(dir, unexpected);
    assert.deepEqual(
      (await numbers(last)).toSorted((a, b) => a - b),
      [0, 1, 2, 3],
    );
    await last.close?.();
  });

  it("works where its path is longer than a socket's may be", async (t) => {
    const dir = join(await scratch(t), "a".repeat(60), "b".repeat(60));
    const living = await openQueueFolder(dir, unexpected);
    await living.add([event(1)]);
    const other = await openQueueFolder(dir, unexpected);
    assert.deepEqual([await numbers(living), await numbers(other)], [[1], []]);
    await living.close?.();
    await other.close?.();
  });
});
