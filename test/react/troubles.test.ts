import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ReactorOptions } from "../../src/react/reactor-options.ts";
import { Retrying } from "../../src/react/retrying.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
import { counting, openReactor, type World } from "./open-reactor.ts";

function newWorld(): World {
  return { log: new MemoryLog(), disk: new MemoryDisk(), letters: new Map(), reports: [] };
}

/** A world whose events are there before the reactor is. */
async function worldOf(events: readonly { key: string; do?: string; n?: number }[]): Promise<World> {
  const world = newWorld();
  await world.log.open("events");
  append(world, events);
  return world;
}

function append({ log }: World, events: readonly { key: string; do?: string; n?: number }[]): void {
  const { end } = log.ends("events", 0);
  const lines = events.map((event, i) => JSON.stringify({ id: String(end + i), n: end + i, ...event }));
  log.add("events", 0, lines, "test");
}

const last = ({ log }: World) => log.ends("events", 0).end - 1;
const some = (key: string, count: number) => Array.from({ length: count }, () => ({ key }));

/** Limits so short that a test can wait for them; a shared machine may need the tenth of a second. */
const SHORT = { timeoutMs: 500 };

test("an event at which an operator computes for ever becomes a dead letter, and everything else goes on", async () => {
  const world = await worldOf([...some("a", 3), { key: "a", do: "hang" }, ...some("a", 2)]);
  const plans = [
    counting({ emitTo: "results" }, SHORT),
    counting({ emitTo: "others" }, { name: "second", lane: "second" }),
  ];
  // The operator of the other lane hangs at the same event, for both look at the same field; its limit is far longer.
  const reactor = await openReactor(world, [plans[0]!]);
  await reactor.applied("events", 0, last(world));
  assert.deepEqual([...world.letters.keys()], ["events/0/3/react/count"]);
  assert.equal(world.letters.get("events/0/3/react/count")?.code, "REACT_TIMEOUT");
  assert.deepEqual(
    world.log.events("results").map(({ value }) => value["cause"]),
    [0, 1, 2, 4, 5],
  );
  assert.equal(await reactor.read("count", "a"), 5);
  assert.equal(reactor.status()[0]?.restarts, 1);
  await reactor.close();
  const again = await openReactor(world, [plans[0]!]);
  append(world, some("a", 1));
  await again.applied("events", 0, last(world));
  assert.equal(await again.read("count", "a"), 6);
  await again.close();
});

test("an event whose promise ends in a loop that never ends is found, also among others", async () => {
  const world = await worldOf([...some("a", 3), { key: "b", do: "hang-later" }, ...some("c", 4)]);
  const reactor = await openReactor(world, [counting({ slow: true, emitTo: "results" }, SHORT)]);
  await reactor.applied("events", 0, last(world));
  assert.deepEqual(
    [...world.letters.values()].map(({ offset, code }) => [offset, code]),
    [[3, "REACT_TIMEOUT"]],
  );
  assert.equal(await reactor.read("count", "c"), 4);
  assert.equal(world.log.events("results").length, 7);
  await reactor.close();
});

test("an event at which the thread ends is tried some times, then left out", async () => {
  for (const trouble of ["exit", "eat"]) {
    const world = await worldOf([...some("a", 2), { key: "a", do: trouble }, ...some("a", 2)]);
    const reactor = await openReactor(world, [counting({ emitTo: "results" })], { heapBytes: 64 * 2 ** 20 });
    await reactor.applied("events", 0, last(world));
    assert.deepEqual(
      [...world.letters.values()].map(({ offset, code }) => [offset, code]),
      [[2, "REACT_THREAD_DIED"]],
      trouble,
    );
    assert.equal(await reactor.read("count", "a"), 4);
    assert.equal(world.log.events("results").length, 4);
    await reactor.close();
  }
});

test("a read that never ends costs its asker an error and nobody an event", async () => {
  const world = await worldOf(some("a", 3));
  const reactor = await openReactor(world, [counting({}, SHORT)]);
  await reactor.applied("events", 0, last(world));
  await assert.rejects(reactor.read("count", "hang"), { code: "REACT_UNAVAILABLE" });
  assert.equal(await reactor.read("count", "a"), 3);
  assert.equal(world.letters.size, 0);
  await reactor.close();
});

test("a thread that has worked is begun again at once, however many have ended before it", async (t) => {
  const world = await worldOf([]);
  const reactor = await openReactor(world, [counting()]);
  t.after(() => reactor.close());
  const { mock } = t.mock.method(Retrying.prototype, "pause");
  for (let end = 1; end <= 12; end++) {
    append(world, some("a", 1));
    await reactor.applied("events", 0, last(world));
    await reactor.checkpoint();
    await assert.rejects(reactor.read("count", "exit"), { code: "REACT_UNAVAILABLE" });
    // A read waits for the new thread.
    assert.equal(await reactor.read("count", "a"), end);
    const pauses = mock.calls.map(({ arguments: [ms] }) => ms).filter((ms) => ms !== 5_000);
    assert.ok(Math.max(0, ...pauses) < 400, `after ${end} ends: ${pauses}`);
  }
  assert.equal(reactor.status()[0]?.restarts, 12);
});

test("what a handler throws, rejects, refuses and emits as nonsense are dead letters with their reasons", async () => {
  const troubles = ["throw", "reject", "refuse", "emit-nonsense", "throw-later"];
  const world = await worldOf([...troubles.map((trouble) => ({ key: "a", do: trouble })), { key: "a" }]);
  const reactor = await openReactor(world, [counting({ emitTo: "results" })]);
  await reactor.applied("events", 0, last(world));
  const letters = [...world.letters.values()].map(({ offset, code, stage, operator, payload }) => {
    assert.equal(JSON.parse(Buffer.from(payload).toString()).id, String(offset));
    return [offset, code, stage, operator];
  });
  assert.deepEqual(letters, [
    [0, "REACT_FAILED", "react", "count"],
    [1, "REACT_FAILED", "react", "count"],
    [2, "ASKED_TO_REFUSE", "react", "count"],
    [3, "REACT_FAILED", "react", "count"],
  ]);
  // The one that failed after it was done is told of, and counts.
  assert.equal(await reactor.read("count", "a"), 2);
  for (let i = 0; i < 100 && !world.reports.includes("REACT_UNCAUGHT"); i++) await sleep(20);
  assert.ok(world.reports.includes("REACT_UNCAUGHT"));
  await reactor.close();
});

test("a lane whose target cannot be written stands still alone, and nothing is there twice when it can", async () => {
  const world = await worldOf(some("a", 5));
  let full = true;
  let tries = 0;
  // Every other append that fails was written all the same.
  world.log.fate = (stream) => (stream === "others" && full ? (tries++ % 2 === 0 ? "lost" : "kept") : undefined);
  const plans = [counting({ emitTo: "results" }), counting({ emitTo: "others" }, { name: "second", lane: "second" })];
  world.log.fate = (stream) => (stream === "others" && full ? "lost" : undefined);
  const reactor = await openReactor(world, plans);
  await Promise.race([reactor.applied("events", 0, 4), sleep(300)]);
  const positions = () => Object.fromEntries(reactor.status().map(({ lane, position }) => [lane, position]));
  assert.deepEqual(positions(), { count: 5, second: 0 });
  assert.equal(world.log.events("results").length, 5);
  world.log.fate = (stream) => (stream === "others" && full ? (tries++ % 2 === 0 ? "kept" : "lost") : undefined);
  await reactor.applied("events", 0, 4);
  full = false;
  append(world, some("b", 2));
  await reactor.applied("events", 0, 6);
  assert.deepEqual(
    world.log.events("others").map(({ value }) => value["cause"]),
    [0, 1, 2, 3, 4, 5, 6],
  );
  assert.deepEqual(positions(), { count: 7, second: 7 });
  await reactor.close();
});

test("an operator may emit to its own stream, each event once through a restart", async () => {
  const world = await worldOf(some("a", 4));
  // Counts of 1 to 3 give an event of their own: 1 -> 5, 2 -> 6 and so on, until the fourth.
  const plan = counting({ emitTo: "events", every: 4 });
  const first = await openReactor(world, [plan]);
  await first.applied("events", 0, 4);
  await first.close();
  const second = await openReactor(world, [plan]);
  append(world, some("a", 3));
  await second.applied("events", 0, 8);
  assert.deepEqual(
    world.log.events("events").map(({ value }) => value["count"]),
    [...Array(4), 4, ...Array(3), 8],
  );
  await second.close();
});

test("a dead letter is tried again once, whatever answer was lost", async () => {
  const world = await worldOf([...some("a", 2), { key: "a", do: "throw" }]);
  const plan = counting({ emitTo: "results" });
  const reactor = await openReactor(world, [plan]);
  await reactor.applied("events", 0, 2);
  const [letter] = world.letters.values();
  const event = (payload: Uint8Array) => ({ partition: 0, offset: 2, payload, receivedAtMs: 1_000, source: "test" });
  assert.deepEqual(await reactor.retry("count", [event(letter!.payload)]), [
    { outcome: "failed", code: "REACT_FAILED", message: "the handler threw: asked to throw" },
  ]);
  const mended = Buffer.from(JSON.stringify({ id: "2", key: "a", n: 2 }));
  assert.deepEqual(await reactor.retry("count", [event(mended)]), [{ outcome: "done" }]);
  assert.equal(await reactor.read("count", "a"), 3);
  await reactor.close();
  const again = await openReactor(world, [plan]);
  assert.deepEqual(await again.retry("count", [event(mended)]), [{ outcome: "done" }]);
  assert.equal(await again.read("count", "a"), 3);
  assert.deepEqual(
    world.log.events("results").map(({ value }) => value["cause"]),
    [0, 1, 2],
  );
  await assert.rejects(again.retry("nobody", [event(mended)]), { code: "REACT_OPERATOR_UNKNOWN" });
  await again.close();
});

test("a dead letter that is tried again takes its turn among the events of its key, before and behind it", async () => {
  for (const slow of [1, 3]) {
    const world = await worldOf([{ key: "a", do: "throw" }]);
    const reactor = await openReactor(world, [counting({ slow: true, looksFirst: true })]);
    await reactor.applied("events", 0, 0);
    const payload = Buffer.from(JSON.stringify({ id: "0", key: "a", n: slow }));
    const event = { partition: 0, offset: 0, payload, receivedAtMs: 1_000, source: "test" };
    append(world, some("a", 10));
    const retried = reactor.retry("count", [event]);
    for (let i = 0; i < 10; i++) {
      await sleep(2);
      append(world, some("a", 2));
    }
    assert.deepEqual(await retried, [{ outcome: "done" }]);
    await reactor.applied("events", 0, last(world));
    assert.equal(await reactor.read("count", "a"), 31);
    await reactor.close();
  }
});

test("entries expire by the arrival of events, whatever the clock says and wherever a restart falls", async () => {
  const world = await worldOf([]);
  const { log } = world;
  const plan = counting({ ttlMs: 1_000 });
  const step = async (nowMs: number, keys: readonly string[], options: Partial<ReactorOptions> = {}) => {
    log.nowMs = nowMs;
    append(
      world,
      keys.map((key) => ({ key })),
    );
    const reactor = await openReactor(world, [plan], options);
    await reactor.applied("events", 0, last(world));
    const counts = [await reactor.read("count", "a"), await reactor.read("count", "b")];
    const [status] = reactor.status();
    await reactor.close();
    return { counts, entries: status?.stateEntries };
  };
  assert.deepEqual(await step(10_000, ["a", "a", "b"]), { counts: [2, 1], entries: 2 });
  assert.deepEqual((await step(10_999, ["a"], { clock: () => 0 })).counts, [3, 1]);
  assert.deepEqual((await step(11_500, ["a"], { clock: () => 1e15 })).counts, [4, undefined]);
  assert.deepEqual(await step(20_000, ["b"]), { counts: [undefined, 1], entries: 1 });
});

test("events that the log has lost are passed over, and told of", async () => {
  const world = await worldOf(some("a", 6));
  world.log.damaged.add("events/0/2");
  const reactor = await openReactor(world, [counting({ emitTo: "results" })]);
  await reactor.applied("events", 0, 5);
  assert.equal(await reactor.read("count", "a"), 5);
  assert.ok(world.reports.includes("REACT_STATE_LOST"));
  await reactor.close();
});

test("a module or an operator that cannot be opened ends the start with its reason", async () => {
  const world = await worldOf([]);
  await assert.rejects(openReactor(world, [counting({}, { name: "missing" })]), { code: "REACT_OPEN_FAILED" });
  await assert.rejects(openReactor(world, [counting({}, { kind: "alert" })]), { code: "REACT_OPEN_FAILED" });
  const project = { dir: new URL("counting", import.meta.url).pathname, modules: ["nowhere.ts"] };
  await assert.rejects(openReactor(world, [counting()], { project }), { code: "REACT_OPEN_FAILED" });
});
