import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
import { counting, openReactor, type World } from "./open-reactor.ts";

const PLAN = counting({ emitTo: "results" });

function append({ log }: World, keys: readonly string[]): void {
  const { end } = log.ends("events", 0);
  log.add(
    "events",
    0,
    keys.map((key, i) => JSON.stringify({ id: String(end + i), key, n: end + i })),
    "test",
  );
}

/** A world with two checkpoints in the lane's file, and events behind them. */
async function lived(): Promise<World> {
  const world: World = { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
  const reactor = await openReactor(world, [PLAN]);
  for (const keys of [["a", "b", "a"], ["b", "c"], ["a"]]) {
    append(world, keys);
    await reactor.applied("events", 0, world.log.ends("events", 0).end - 1);
    await reactor.checkpoint();
  }
  await reactor.close();
  return world;
}

const counts = async (world: World, plan = PLAN) => {
  const reactor = await openReactor(world, [plan]);
  append(world, ["a"]);
  await reactor.applied("events", 0, world.log.ends("events", 0).end - 1);
  const read = await Promise.all(["a", "b", "c"].map((key) => reactor.read("count", key)));
  const [status] = reactor.status();
  await reactor.close();
  return { counts: read, status };
};
const causes = ({ log }: World) => log.events("results").map(({ value }) => value["cause"]);

test("a checkpoint with any byte flipped, or its last commit torn, gives the state back from the log, and emits nothing twice", async () => {
  const whole = await lived();
  const [path] = whole.disk.files();
  let length = 0;
  whole.disk.damage(path!, (bytes) => {
    length = bytes.length;
    return bytes;
  });
  for (let i = 0; i < 14; i++) {
    const world = await lived();
    const at = i % 2 === 1 ? length - i * 10 : Math.floor((length * i) / 14);
    world.disk.damage(world.disk.files()[0]!, (bytes) => {
      if (i % 2 === 1) return Buffer.from(bytes.subarray(0, at));
      bytes[at]! ^= 0x40;
      return bytes;
    });
    const { counts: got } = await counts(world);
    assert.deepEqual(got, [4, 2, 1], `byte ${at} of ${length}`);
    assert.deepEqual(causes(world), [0, 1, 2, 3, 4, 5, 6], `byte ${at} of ${length}`);
  }
});

test("a damaged checkpoint whose events the log no longer has is told of by lane, and the lane goes on", async () => {
  const world = await lived();
  world.disk.damage(world.disk.files()[0]!, (bytes) => bytes.fill(0, 0, 40));
  world.log.trim("events", 0, 3);
  const { counts: got } = await counts(world);
  assert.deepEqual(got, [2, 1, 1]);
  assert.deepEqual(world.reports, ["REACT_CHECKPOINT_DAMAGED", "REACT_STATE_LOST"]);
  assert.deepEqual(causes(world), [0, 1, 2, 3, 4, 5, 6]);
});

test("a disk that refuses for a while stops no event, and the next checkpoints make up for it", async () => {
  const world = await lived();
  const reactor = await openReactor(world, [PLAN]);
  for (const operation of ["write", "datasync", "create", "rename", "syncDir"]) {
    world.disk.before = (met) => {
      if (met === operation) throw Object.assign(new Error(`ENOSPC: ${met}`), { code: "ENOSPC" });
    };
    append(world, ["a", "c"]);
    await reactor.applied("events", 0, world.log.ends("events", 0).end - 1);
    await reactor.checkpoint();
    await reactor.checkpoint();
    world.disk.before = () => undefined;
    // A new file takes some of them.
    for (let i = 0; i < 8; i++) await reactor.checkpoint();
    const [status] = reactor.status();
    assert.equal(status?.checkpoint?.position, world.log.ends("events", 0).end, operation);
    assert.equal(status?.problem, undefined);
  }
  await reactor.close();
  assert.deepEqual((await counts(world)).counts, [9, 2, 6]);
});

test("a thread that ends while a checkpoint is on its way to the disk is followed by one that has what it holds, from its first event on", async () => {
  const world: World = { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
  const reactor = await openReactor(world, [PLAN]);
  append(world, ["a", "b", "a"]);
  await reactor.applied("events", 0, 2);
  const [reached, durable] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  world.disk.syncing = () => {
    reached.resolve();
    return durable.promise;
  };
  const checkpoint = reactor.checkpoint();
  await reached.promise;
  world.log.add("events", 0, [JSON.stringify({ id: "3", key: "x", n: 3, do: "exit" })], "test");
  await assert.rejects(async () => {
    for (;;) await reactor.read("count", "a");
  });
  await sleep(200); // the lanes are told
  world.disk.syncing = () => undefined;
  durable.resolve();
  await checkpoint;
  append(world, ["a"]);
  await reactor.applied("events", 0, 4);
  assert.deepEqual(await Promise.all(["a", "b"].map((key) => reactor.read("count", key))), [3, 1]);
  await reactor.close();
  assert.deepEqual((await counts(world)).counts, [4, 1, undefined]);
  assert.deepEqual([...new Set(causes(world))].toSorted(), [0, 1, 2, 4, 5]);
});

test("a file that has grown is written anew, and only what counts is in it", async () => {
  const world: World = { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
  const reactor = await openReactor(world, [counting()]);
  const keys = Array.from({ length: 5_000 }, (_, i) => `key-${i}`);
  let most = 0;
  for (let round = 0; round < 50; round++) {
    append(world, keys);
    await reactor.applied("events", 0, world.log.ends("events", 0).end - 1);
    await reactor.checkpoint();
    const [path] = world.disk.files().filter((file) => file.endsWith(".checkpoint"));
    world.disk.damage(path!, (bytes) => {
      most = Math.max(most, bytes.length);
      return bytes;
    });
  }
  await reactor.close();
  const files = world.disk.files();
  assert.equal(files.length, 1);
  assert.ok(!files[0]!.includes("0000000001."), files[0]);
  assert.ok(most < 6_500_000, `${most} bytes`);
  const again = await openReactor(world, [counting()]);
  assert.equal(await again.read("count", "key-4999"), 50);
  await again.close();
});

test("what has changed begins again, and what has not goes on as it was", async () => {
  const world = await lived();
  const emitted = causes(world).length;
  const added = [PLAN, counting({ emitTo: "others" }, { name: "second" })];
  const both = await openReactor(world, added);
  await both.applied("events", 0, 5);
  assert.deepEqual([await both.read("count", "a"), await both.read("second", "a")], [3, 3]);
  assert.equal(causes(world).length, emitted);
  assert.equal(world.log.events("others").length, 6);
  await both.close();
  const changed = counting({ emitTo: "others" }, { stateHash: "2" });
  const again = await openReactor(world, [changed]);
  await again.applied("events", 0, 5);
  assert.equal(await again.read("count", "a"), 3);
  assert.equal(world.log.events("others").length, 12);
  await again.close();
});

test("state that was written otherwise is built again, and what it emitted stays once", async () => {
  const world = await lived();
  assert.deepEqual((await counts(world, counting({ emitTo: "results", version: "other" }))).counts, [4, 2, 1]);
  assert.deepEqual(world.reports, ["STATE_INCOMPATIBLE"]);
  assert.deepEqual(causes(world), [0, 1, 2, 3, 4, 5, 6]);
});

test("a lane that begins now takes no past event, and no event that comes while it is away is missed", async () => {
  const world: World = { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
  await world.log.open("events");
  append(world, ["a", "a"]);
  const plan = counting({ emitTo: "results" }, { from: "now" });
  await (await openReactor(world, [plan])).close();
  append(world, ["b"]);
  assert.deepEqual((await counts(world, plan)).counts, [1, 1, undefined]);
  const floor = await openReactor(world, [plan]);
  assert.equal(floor.floor("events", 0), 4);
  assert.equal(floor.floor("others", 0), Number.POSITIVE_INFINITY);
  await floor.close();
});
