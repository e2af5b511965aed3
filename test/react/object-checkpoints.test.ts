import assert from "node:assert/strict";
import { test } from "node:test";
import { type Commit, EntriesDamaged, type LaneCheckpoints } from "../../src/react/checkpoint-store.ts";
import { ObjectCheckpoints } from "../../src/react/object-checkpoints.ts";
import { EntryWriter, readEntries } from "../../src/react/state-entries.ts";
import { MemoryObjects } from "./memory-objects.ts";

const LANE = { stream: "events", partition: 0, lane: "function-count" };
const COMMITS = "_react/events/0/function-count/commits/";

function commit(next: number, takes: Commit["takes"] = { to: next, without: [] }): Commit {
  return {
    ...{ format: 1, takes, done: { next, pending: [] }, nowMs: 0, begun: 0, epoch: 0 },
    ...{ operators: [], targets: [], counts: { handled: next, dead: 0, emitted: 0 } },
  };
}

function block(entries: Readonly<Record<string, string>>): Uint8Array {
  let full: Uint8Array = new Uint8Array();
  const writer = new EntryWriter("count/counts", 1024, (one) => {
    full = one;
  });
  for (const [key, value] of Object.entries(entries)) writer.add(key, 0, Buffer.from(value));
  writer.end();
  return full;
}

async function restored(lane: LaneCheckpoints): Promise<{ next: number; entries: Record<string, string> }> {
  const found = await lane.take();
  if (found.kind !== "whole") assert.fail(`it is ${found.kind}`);
  const entries: Record<string, string> = {};
  await lane.read(found.checkpoint, async (bytes) =>
    readEntries(bytes, (key, _, value) => {
      entries[key] = Buffer.from(value ?? "").toString();
    }),
  );
  return { next: found.checkpoint.commit.done.next, entries };
}

async function begun(store: MemoryObjects) {
  const lane = new ObjectCheckpoints({ store }).of(LANE);
  assert.equal((await lane.take()).kind, "none");
  const writer = await lane.create(1);
  await writer.commit(commit(0));
  return { lane, writer };
}

test("who takes a lane has what the last commit says, and whoever had it before can commit nothing more", async () => {
  const store = new MemoryObjects();
  const first = await begun(store);
  await first.writer.entries(1, block({ a: "1", b: "1" }));
  await first.writer.commit(commit(2));
  const second = new ObjectCheckpoints({ store }).of(LANE);
  const found = await second.take();
  assert.equal(found.kind === "whole" && found.checkpoint.commit.done.next, 2);
  assert.equal(second.owner, first.lane.owner + 1);
  await first.writer.entries(2, block({ a: "lost" }));
  await assert.rejects(first.writer.commit(commit(3)), { code: "REACT_LANE_TAKEN" });
  const writer = await second.resume(found.kind === "whole" ? found.checkpoint : assert.fail());
  await writer.entries(2, block({ a: "2" }));
  await writer.commit(commit(3));
  assert.deepEqual(await restored(new ObjectCheckpoints({ store }).of(LANE)), { next: 3, entries: { a: "2", b: "1" } });
});

test("of two that take a lane at the same moment each has another owner, and the later one keeps it", async () => {
  const store = new MemoryObjects();
  await begun(store);
  const lanes = Array.from({ length: 5 }, () => new ObjectCheckpoints({ store }).of(LANE));
  await Promise.all(lanes.map((lane) => lane.take()));
  const owners = lanes.map(({ owner }) => owner);
  assert.equal(new Set(owners).size, lanes.length);
  for (const lane of lanes) {
    const committed = (await lane.create(2)).commit(commit(1));
    if (lane.owner === Math.max(...owners)) await committed;
    else await assert.rejects(committed, { code: "REACT_LANE_TAKEN" });
  }
});

test("a commit whose call failed though it was there costs nothing but its number", async () => {
  const store = new MemoryObjects();
  const { writer } = await begun(store);
  for (const fate of ["kept", "lost"] as const) {
    await writer.entries(1, block({ a: fate }));
    store.fate = () => fate;
    await assert.rejects(writer.commit(commit(7)), { code: "LAKE_UNAVAILABLE" });
    store.fate = () => undefined;
    await assert.rejects(writer.commit(commit(7)));
    await writer.recover();
    await writer.entries(2, block({ b: fate }));
    await writer.commit(commit(8));
  }
  assert.deepEqual(await restored(new ObjectCheckpoints({ store }).of(LANE)), { next: 8, entries: { b: "lost" } });
});

test("takes that a thread did not live to finish do not count, nor does what came behind the last commit", async () => {
  const store = new MemoryObjects();
  const { writer } = await begun(store);
  await writer.entries(1, block({ a: "1" }));
  await writer.entries(2, block({ a: "broken off" }));
  await writer.entries(3, block({ b: "3" }));
  await writer.commit(commit(5, { to: 3, without: [2] }));
  await writer.entries(4, block({ a: "never committed" }));
  await writer.close();
  assert.deepEqual(await restored(new ObjectCheckpoints({ store }).of(LANE)), { next: 5, entries: { a: "1", b: "3" } });
});

test("entries that come while a commit is under way belong to the next one", async () => {
  const store = new MemoryObjects();
  const { writer } = await begun(store);
  await writer.entries(1, block({ a: "1" }));
  const first = writer.commit(commit(1, { to: 1, without: [] }));
  await writer.entries(2, block({ b: "2" }));
  await first;
  await writer.commit(commit(2, { to: 2, without: [] }));
  assert.deepEqual(await restored(new ObjectCheckpoints({ store }).of(LANE)), { next: 2, entries: { a: "1", b: "2" } });
});

test("large states go in pieces, a new generation removes those of the one before, and the newest commits stay for late ones to meet", async () => {
  const store = new MemoryObjects();
  const { lane, writer } = await begun(store);
  const large = block({ a: "x".repeat(3_000_000) });
  for (let i = 0; i < 4; i++) await writer.entries(1, large);
  await writer.commit(commit(1));
  const pieces = () => [...store.objects.keys()].filter((key) => key.includes("/entries/"));
  assert.equal(pieces().length, 2);
  for (let next = 2; next < 150; next++) await writer.commit(commit(next));
  // Somebody else's piece, which a late owner must not take for his own rubbish.
  store.objects.set("_react/events/0/function-count/entries/99-1", new Uint8Array(1));
  const anew = await lane.create(2);
  await anew.entries(2, block({ b: "2" }));
  await anew.commit(commit(150));
  await anew.close();
  assert.deepEqual(pieces(), ["_react/events/0/function-count/entries/99-1"]);
  assert.equal([...store.objects.keys()].filter((key) => key.startsWith(COMMITS)).length, 100);
  assert.deepEqual(await restored(new ObjectCheckpoints({ store }).of(LANE)), { next: 150, entries: { b: "2" } });
});

test("an owner that was away for long meets his successor though the next numbers are gone", async () => {
  const store = new MemoryObjects();
  let nowMs = 0;
  const late = new ObjectCheckpoints({ store, monotonicMs: () => nowMs }).of(LANE);
  await late.take();
  const writer = await late.create(1);
  await writer.commit(commit(1));
  const last = [...store.objects.keys()].at(-1) as string;
  const successor = new ObjectCheckpoints({ store }).of(LANE);
  const found = await successor.take();
  const next = await successor.resume(found.kind === "whole" ? found.checkpoint : assert.fail());
  for (let i = 2; i < 10; i++) await next.commit(commit(i));
  for (const key of store.objects.keys()) if (key > last && !key.endsWith("11")) store.objects.delete(key);
  nowMs += 3_600_000;
  await assert.rejects(writer.commit(commit(2)), { code: "REACT_LANE_TAKEN" });
});

test("so many commits that a restore would read too many objects ask for a new generation", async () => {
  const store = new MemoryObjects();
  const { writer } = await begun(store);
  let next = 1;
  while (!writer.worn) {
    await writer.entries(next, block({ [`key-${next}`]: String(next) }));
    await writer.commit(commit(next++));
  }
  assert.ok(next > 100 && next < 500, `${next} commits`);
  const { entries } = await restored(new ObjectCheckpoints({ store }).of(LANE));
  assert.equal(Object.keys(entries).length, next - 1);
});

test("a newest commit that cannot be read is left out, and entries that cannot are told of", async () => {
  const store = new MemoryObjects();
  const { writer } = await begun(store);
  await writer.entries(1, block({ a: "1" }));
  await writer.commit(commit(1));
  await writer.commit(commit(2));
  const keys = [...store.objects.keys()].sort();
  store.damage(keys.at(-1) as string, (bytes) => bytes.subarray(0, bytes.length - 3));
  assert.equal((await restored(new ObjectCheckpoints({ store }).of(LANE))).next, 1);
  store.damage(keys.at(-2) as string, (bytes) => bytes.fill(0, 0, 40));
  await assert.rejects(restored(new ObjectCheckpoints({ store }).of(LANE)), EntriesDamaged);
  for (const key of store.objects.keys()) store.damage(key, () => Buffer.from("rubbish"));
  const lost = new ObjectCheckpoints({ store }).of(LANE);
  assert.equal((await lost.take()).kind, "damaged");
  // Taking it did not make a lane of it that was never there.
  assert.equal((await new ObjectCheckpoints({ store }).of(LANE).take()).kind, "damaged");
});

test("a partition is newer than its lane when the stream had fewer of them as the lane was first begun, whoever asks first", async () => {
  const store = new MemoryObjects();
  const checkpoints = new ObjectCheckpoints({ store });
  assert.equal(await checkpoints.isLater({ ...LANE, partition: 1 }, 2), false);
  assert.equal(await checkpoints.isLater({ ...LANE, partition: 0 }, 2), false);
  assert.equal(await checkpoints.isLater({ ...LANE, partition: 3 }, 4), true);
  assert.equal(await checkpoints.isLater({ ...LANE, lane: "other", partition: 3 }, 4), false);
});
