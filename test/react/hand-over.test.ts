/** Several reactors over one log and one store of checkpoints, in one process: partitions move, owners die, and some do not know that they are owners no more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MillraceError } from "../../src/errors.ts";
import type { Owned } from "../../src/log/assignment.ts";
import type { Batch } from "../../src/log/event-log.ts";
import { markPrefix } from "../../src/react/emission-mark.ts";
import { ObjectCheckpoints } from "../../src/react/object-checkpoints.ts";
import type { OperatorPlan } from "../../src/react/operator.ts";
import type { Reactor } from "../../src/react/reactor.ts";
import type { ReactorOptions } from "../../src/react/reactor-options.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
import { MemoryObjects } from "./memory-objects.ts";
import { counting, openReactor, type World } from "./open-reactor.ts";

const PARTITIONS = 2;

/** A log of which the test may keep back what lanes of some partitions append to `results`: it comes when it lets it, as if the network had it. */
class HoldingLog extends MemoryLog {
  readonly #held: (() => void)[] = [];
  #holding: readonly string[] = [];
  /** Events of batches that were kept back. */
  heldEvents = 0;

  override async append(stream: string, partition: number, batch: Batch) {
    if (stream === "results" && this.#holding.some((prefix) => batch.source.startsWith(prefix))) {
      this.heldEvents += batch.count;
      await new Promise<void>((resolve) => this.#held.push(resolve));
    }
    return super.append(stream, partition, batch);
  }

  /** Keeps back what comes from now on of the lanes of these partitions. */
  hold(partitions: Iterable<number>): void {
    this.#holding = Array.from(partitions, (partition) => markPrefix({ lane: "count", stream: "events", partition }));
  }

  letGo(): void {
    this.#holding = [];
    for (const go of this.#held.splice(0)) go();
  }
}

/** A process: its reactor, and what the group has told it. */
interface Worker {
  readonly reactor: Reactor;
  readonly owns: Set<number>;
  /** Its requests reach nobody any more. */
  dead: boolean;
}

type Step =
  | { readonly append: readonly { readonly partition: number; readonly key: string; readonly trouble?: string }[] }
  | { readonly move: number; readonly how: "handed" | "late" | "crash" }
  | "arrive"
  | "checkpoint"
  | "applied";

class Cluster {
  readonly log = new HoldingLog();
  readonly objects = new MemoryObjects();
  readonly world: World = { log: this.log, disk: new MemoryDisk(), letters: new Map(), reports: [] };
  readonly plan: OperatorPlan;
  /** By partition. */
  readonly owners: Worker[] = [];
  readonly all = new Set<Worker>();
  readonly #late: Worker[] = [];
  appended = 0;

  constructor(plan: OperatorPlan) {
    this.plan = plan;
  }

  async open(): Promise<void> {
    await this.log.open("events", { partitions: PARTITIONS });
    await this.log.open("results", { partitions: 2 });
    const [first, second] = [await this.worker(), await this.worker()];
    await this.#gain(first, 0);
    await this.#gain(second, 1);
  }

  async worker(): Promise<Worker> {
    const owns = new Set<number>();
    const { objects } = this;
    const self: { worker?: Worker } = {};
    // A dead process writes nothing, whatever its code goes on to try.
    const reaches = () => {
      if (self.worker?.dead)
        throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: "", reason: "dead" });
    };
    const store = {
      get: (key: string) => objects.get(key),
      list: (prefix: string, options?: { after?: string }) => objects.list(prefix, options),
      delete: async (key: string) => {
        reaches();
        await objects.delete(key);
      },
      putIfAbsent: async (key: string, bytes: Uint8Array) => {
        reaches();
        return objects.putIfAbsent(key, bytes);
      },
    };
    const reactor = await openReactor(this.world, [this.plan], {
      checkpoints: new ObjectCheckpoints({ store }),
      membership: {
        owns: (_, partition) => !self.worker?.dead && owns.has(partition),
        confirmed: () => !self.worker?.dead,
      },
      drainMs: 0,
    });
    const worker: Worker = { reactor, owns, dead: false };
    self.worker = worker;
    this.all.add(worker);
    return worker;
  }

  async step(step: Step): Promise<void> {
    if (step === "checkpoint") await Promise.all([...this.all].map(({ reactor }) => reactor.checkpoint()));
    else if (step === "applied") await this.applied();
    else if (step === "arrive") this.log.letGo();
    else if ("append" in step) this.#append(step.append);
    else await this.#move(step.move, step.how);
  }

  async applied(): Promise<void> {
    await Promise.all(
      this.owners.map(({ reactor }, partition) =>
        reactor.applied("events", partition, this.log.ends("events", partition).end - 1),
      ),
    );
  }

  async counts(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const [partition, { reactor }] of this.owners.entries())
      for (const key of ["a", "b", "hot"])
        counts[`${partition}/${key}`] = Number((await reactor.read("count", `${partition}/${key}`, partition)) ?? 0);
    return counts;
  }

  results(): { readonly id: string; readonly key: string; readonly count: number }[] {
    return [0, 1].flatMap((partition) => this.log.events("results", partition).map(({ value }) => value as never));
  }

  async close(): Promise<void> {
    this.log.letGo();
    await Promise.all([...this.all, ...this.#late].map(({ reactor }) => reactor.close()));
  }

  #append(events: readonly { partition: number; key: string; trouble?: string }[]): void {
    this.log.nowMs += 10;
    for (const { partition, key, trouble } of events) {
      const n = this.appended++;
      const event = { id: String(n), key: `${partition}/${key}`, n, ...(trouble && { do: trouble }) };
      this.log.add("events", partition, [JSON.stringify(event)], "test");
    }
  }

  async #move(partition: number, how: "handed" | "late" | "crash"): Promise<void> {
    const from = this.owners[partition] as Worker;
    const place: Owned[] = [{ stream: "events", partition }];
    if (how === "handed") {
      const others = [...this.all].filter((worker) => worker !== from);
      from.owns.delete(partition);
      await from.reactor.lose(place, "revoked");
      await this.#gain(others[0] ?? (await this.worker()), partition);
    } else if (how === "late") {
      // It stands still with something on its way, which comes whenever it comes; the group gives it up meanwhile.
      this.log.hold(from.owns);
      await new Promise((resolve) => setTimeout(resolve, 3));
      this.log.hold([]);
      from.owns.clear();
      this.all.delete(from);
      this.#late.push(from);
      const to = await this.worker();
      for (const [orphan, owner] of this.owners.entries()) if (owner === from) await this.#gain(to, orphan);
      // It goes on, and does not know yet.
      await from.reactor.checkpoint();
    } else {
      from.dead = true;
      this.all.delete(from);
      void from.reactor.close();
      const to = await this.worker();
      for (const [orphan, owner] of this.owners.entries()) if (owner === from) await this.#gain(to, orphan);
    }
  }

  async #gain(worker: Worker, partition: number): Promise<void> {
    worker.owns.add(partition);
    this.owners[partition] = worker;
    await worker.reactor.gain([{ stream: "events", partition }]);
  }
}

/** What comes out when nothing is in the way. */
function expected(steps: readonly Step[]) {
  const counts: Record<string, number> = {};
  const results: string[] = [];
  const letters: string[] = [];
  const next = [0, 0];
  for (const step of steps) {
    if (typeof step === "string" || "move" in step) continue;
    for (const { partition, key, trouble } of step.append) {
      const cause = next[partition] as number;
      next[partition] = cause + 1;
      const id = `${partition}/${key}`;
      counts[id] ??= 0;
      if (trouble) letters.push(`events/${partition}/${cause}/react/count`);
      else if (++counts[id] === 13) letters.push(`results/door/count/events/${partition}/${cause}/0`);
      else results.push(`count/events/${partition}/${cause}/0`);
    }
  }
  return { counts, results, letters };
}

async function holds(steps: readonly Step[], plan: OperatorPlan): Promise<Cluster> {
  const cluster = new Cluster(plan);
  try {
    await cluster.open();
    for (const step of steps) await cluster.step(step);
    cluster.log.letGo();
    await cluster.applied();
    const wanted = expected(steps);
    const counts = await cluster.counts();
    for (const [key, count] of Object.entries(wanted.counts)) assert.equal(counts[key], count, `count of ${key}`);
    const got = cluster.results();
    const ids = got.map(({ id }) => id);
    assert.deepEqual([...new Set(ids)].sort(), [...wanted.results].sort());
    assert.deepEqual([...cluster.world.letters.keys()].sort(), [...wanted.letters].sort());
    const { heldEvents } = cluster.log;
    const twice = ids.length - wanted.results.length;
    assert.ok(twice <= heldEvents, `${twice} events are there twice, and ${heldEvents} were on their way`);
    if (heldEvents > 0) return cluster;
    for (const [key, results] of Map.groupBy(got, (result) => result.key)) {
      const of = results.map(({ count }) => count);
      assert.deepEqual(
        of,
        [...of].sort((a, b) => a - b),
        `order of ${key}`,
      );
    }
    return cluster;
  } finally {
    await cluster.close();
  }
}

const some = (partition: number, key: string, count: number, trouble?: string) =>
  Array.from({ length: count }, () => ({ partition, key, ...(trouble && { trouble }) }));

test("a partition that is handed over goes on where it was, and the others are not disturbed", async () => {
  const steps: Step[] = [
    { append: [...some(0, "a", 4), ...some(1, "b", 3), ...some(0, "a", 1, "throw")] },
    "applied",
    { move: 0, how: "handed" },
    { append: [...some(0, "a", 3), ...some(1, "b", 5)] },
    { move: 1, how: "handed" },
    { append: [...some(0, "hot", 3), ...some(1, "b", 2)] },
    { move: 0, how: "handed" },
  ];
  for (const slow of [false, true]) {
    const { objects, owners } = await holds(steps, counting({ emitTo: "results", slow }));
    assert.equal(
      owners.flatMap(({ reactor }) => reactor.status()).reduce((sum, { restarts }) => sum + restarts, 0),
      0,
    );
    assert.ok(objects.requests.putIfAbsent < 40, `${objects.requests.putIfAbsent} writes`);
  }
});

test("an owner that finds its lane taken writes nothing more, and takes it back where the group says that it is its own", async (t) => {
  const cluster = new Cluster(counting({ emitTo: "results" }));
  t.after(() => cluster.close());
  await cluster.open();
  await cluster.step({ append: some(0, "a", 3) });
  await cluster.applied();
  // Somebody who was given the partition long ago and comes only now.
  const late = new ObjectCheckpoints({ store: cluster.objects }).of({ stream: "events", partition: 0, lane: "count" });
  await late.take();
  await cluster.step("checkpoint");
  assert.deepEqual(cluster.world.reports, ["REACT_LANE_TAKEN"]);
  await cluster.step({ append: some(0, "a", 2) });
  const { reactor } = cluster.owners[0] as Worker;
  while ((reactor.states()[0]?.owner ?? 0) <= late.owner) await new Promise((resolve) => setTimeout(resolve, 20));
  await cluster.applied();
  assert.equal((await cluster.counts())["0/a"], 5);
  assert.equal(cluster.results().length, 5);
});

test("a checkpoint whose entries are damaged gives the state back from the log, and emits nothing twice", async (t) => {
  const cluster = new Cluster(counting({ emitTo: "results" }));
  t.after(() => cluster.close());
  await cluster.open();
  for (let i = 0; i < 3; i++) {
    await cluster.step({ append: some(0, "a", 2) });
    await cluster.applied();
    await cluster.step("checkpoint");
  }
  const commits = [...cluster.objects.objects.keys()].filter((key) => key.startsWith("_react/events/0/count/commits/"));
  const first = commits.sort().find((key) => (cluster.objects.objects.get(key)?.[12] ?? 0) === 1) as string;
  cluster.objects.damage(first, (bytes) => bytes.fill(7, 20, 40));
  await cluster.step({ move: 0, how: "handed" });
  await cluster.step({ append: some(0, "a", 1) });
  await cluster.applied();
  assert.equal((await cluster.counts())["0/a"], 7);
  assert.equal(cluster.results().length, 7);
  assert.deepEqual(cluster.world.reports, ["REACT_CHECKPOINT_DAMAGED"]);
});

test("a thread that ends while partitions come and go is followed by one that has them all", async (t) => {
  const cluster = new Cluster(counting({ emitTo: "results" }));
  t.after(() => cluster.close());
  await cluster.open();
  await cluster.step({
    append: [...some(0, "a", 3), ...some(1, "b", 2), ...some(1, "hot", 1, "exit"), ...some(1, "b", 1)],
  });
  await cluster.step({ move: 0, how: "handed" });
  await cluster.step({ append: some(0, "a", 2) });
  await cluster.applied();
  const { "0/a": a, "1/b": b } = await cluster.counts();
  assert.deepEqual([a, b], [5, 3]);
  assert.deepEqual([...cluster.world.letters.keys()], ["events/1/2/react/count"]);
});

test("lanes that cannot be opened while others wait for their thread are told of, and opened later", async (t) => {
  const log = new MemoryLog();
  await log.open("events", { partitions: 3 });
  const objects = new MemoryObjects();
  let threadsFail = false;
  const world: World = { log, disk: new MemoryDisk(), letters: new Map(), reports: [] };
  const reactor = await openReactor(world, [counting()], {
    checkpoints: new ObjectCheckpoints({ store: objects }),
    membership: { owns: () => true, confirmed: () => true },
    async lookups() {
      if (threadsFail) throw new MillraceError("LAKE_UNAVAILABLE", { operation: "read", key: "", reason: "test" });
    },
    drainMs: 0,
  });
  t.after(() => reactor.close());
  const refuse = (partition: number) => {
    objects.fate = (key) => (key.includes(`/events/${partition}/`) ? "lost" : undefined);
  };
  const gain = (partition: number) => reactor.gain([{ stream: "events", partition }]);
  const isOpen = async (partition: number) => {
    for (let tries = 0; tries < 500 && !reactor.has("count", partition); tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(reactor.has("count", partition), `partition ${partition}`);
  };
  await gain(0);
  refuse(1);
  await assert.rejects(gain(1), { code: "LAKE_UNAVAILABLE" });
  // No thread begins any more; the lane waits for one.
  threadsFail = true;
  await assert.rejects(reactor.read("count", "exit"), { code: "REACT_UNAVAILABLE" });
  objects.fate = () => undefined;
  await isOpen(1);
  refuse(2);
  await assert.rejects(gain(2), { code: "LAKE_UNAVAILABLE" });
  threadsFail = false;
  log.add("events", 1, [JSON.stringify({ id: "1", key: "a", n: 1 })], "test");
  await reactor.applied("events", 1, 0);
  assert.match(String(reactor.problem), /lost by the test/);
  objects.fate = () => undefined;
  await isOpen(2);
  log.add("events", 2, [JSON.stringify({ id: "2", key: "a", n: 2 })], "test");
  await reactor.applied("events", 2, 0);
  assert.equal(reactor.problem, undefined);
});

test("dead letters that an owner could not record when it was given up are recorded by the next one", async () => {
  const cluster = new Cluster(counting({ emitTo: "results" }));
  const { world, objects, log } = cluster;
  for (const name of ["events", "results"]) await log.open(name, { partitions: PARTITIONS });
  const place = [{ stream: "events", partition: 0 }];
  const open = (rest: Partial<ReactorOptions> = {}) =>
    openReactor(world, [cluster.plan], {
      checkpoints: new ObjectCheckpoints({ store: objects }),
      membership: { owns: () => true, confirmed: () => true },
      drainMs: 0,
      ...rest,
    });
  const first = await open({
    async deadLetters() {
      throw new MillraceError("LOG_UNAVAILABLE", { stream: "_dead_letters", reason: "away", remedy: "wait" });
    },
  });
  await first.gain(place);
  await cluster.step({ append: [...some(0, "a", 2), ...some(0, "a", 1, "throw"), ...some(0, "b", 1)] });
  while (first.status()[0]?.handled !== 4) await new Promise((resolve) => setTimeout(resolve, 5));
  const checkpoint = first.checkpoint();
  await new Promise((resolve) => setTimeout(resolve, 50)); // it waits for the letter
  // One thing is done about lanes at a time, and another is under way.
  const list = objects.list.bind(objects);
  objects.list = async (...args) => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    return list(...args);
  };
  const gaining = first.gain([{ stream: "events", partition: 1 }]);
  await first.lose(place, "fenced");
  await Promise.all([checkpoint, gaining]);
  const second = await open();
  await second.gain(place);
  await second.applied("events", 0, 3);
  assert.deepEqual([...world.letters.keys()], ["events/0/2/react/count"]);
  assert.equal(cluster.results().length, 3);
  await Promise.all([first.close(), second.close()]);
});

test("random hand-overs, owners that die and owners that do not know lose nothing, and double only what was on its way", async () => {
  const event = fc.record({
    partition: fc.integer({ min: 0, max: PARTITIONS - 1 }),
    key: fc.constantFrom("a", "b", "hot", "hot"),
    trouble: fc.constantFrom("throw", "refuse", undefined, undefined, undefined, undefined),
  });
  const append = fc.array(event, { minLength: 1, maxLength: 25 }).map((append) => ({ append }) as Step);
  const how = fc.constantFrom<"handed" | "late" | "crash">("handed", "handed", "late", "crash");
  const move = fc.record({ move: fc.integer({ min: 0, max: PARTITIONS - 1 }), how });
  const step = fc.oneof(
    { weight: 5, arbitrary: append },
    { weight: 3, arbitrary: move as fc.Arbitrary<Step> },
    { weight: 2, arbitrary: fc.constant<Step>("arrive") },
    { weight: 1, arbitrary: fc.constant<Step>("checkpoint") },
    { weight: 1, arbitrary: fc.constant<Step>("applied") },
  );
  const plan = fc.boolean().map((slow) => counting({ emitTo: "results", slow }));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), plan, async (steps, of) => {
      await holds(steps, of);
    }),
    { numRuns: 15 },
  );
});
