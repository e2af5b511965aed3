import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Batch } from "../../src/log/event-log.ts";
import { ObjectCheckpoints } from "../../src/react/object-checkpoints.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
import { MemoryObjects } from "./memory-objects.ts";
import { counting, openReactor, type World } from "./open-reactor.ts";

/** A log whose appends to `results` wait until the test lets them through. */
class SlowLog extends MemoryLog {
  readonly #gate = Promise.withResolvers<void>();
  readonly asked = Promise.withResolvers<void>();

  override async append(stream: string, partition: number, batch: Batch) {
    if (stream === "results") {
      this.asked.resolve();
      await this.#gate.promise;
    }
    return super.append(stream, partition, batch);
  }

  letThrough(): void {
    this.#gate.resolve();
  }
}

test("a reactor that closes waits for what it has on its way, so that the next one finds it and emits nothing twice", async () => {
  const log = new SlowLog();
  const world: World = { log, disk: new MemoryDisk(), letters: new Map(), reports: [] };
  await log.open("events");
  const plans = [counting({ emitTo: "results", every: 1 })];
  const first = await openReactor(world, plans, { drainMs: 0 });
  log.add("events", 0, [JSON.stringify({ id: "a", key: "k", n: 0 })], "test");
  await log.asked.promise;
  const closed = first.close();
  setTimeout(() => log.letThrough(), 50);
  await closed;
  const second = await openReactor(world, plans);
  await second.applied("events", 0, 0);
  await second.close();
  assert.equal(log.events("results").length, 1);
});

test("a reactor that closes while it opens lanes that it has just gained ends, wherever that stands", async () => {
  const log = new MemoryLog();
  const world: World = { log, disk: new MemoryDisk(), letters: new Map(), reports: [] };
  await log.open("events", { partitions: 2 });
  await log.open("results");
  const objects = new MemoryObjects();
  /** Requests to the store that are let through before the next one waits. */
  let through = Number.POSITIVE_INFINITY;
  let waits = Promise.withResolvers<void>();
  let gate = Promise.withResolvers<void>();
  const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
    if (--through === -1) {
      waits.resolve();
      await gate.promise;
    }
    return work();
  };
  const store = {
    get: (key: string) => slowly(() => objects.get(key)),
    list: (prefix: string, options?: { after?: string }) => slowly(() => objects.list(prefix, options)),
    putIfAbsent: (key: string, bytes: Uint8Array) => slowly(() => objects.putIfAbsent(key, bytes)),
    delete: (key: string) => objects.delete(key),
  };
  const membership = { owns: () => true, confirmed: () => true };
  const plans = [counting({ emitTo: "results", every: 1 })];
  const [both, first] = [[0, 1], [0]].map((all) => all.map((partition) => ({ stream: "events", partition })));
  const opened = () =>
    openReactor(world, plans, { checkpoints: new ObjectCheckpoints({ store }), membership, drainMs: 0 });
  for (const has of [[], first ?? []]) {
    for (let requests = 0; ; requests++) {
      const reactor = await opened();
      if (has.length > 0) await reactor.gain(has);
      waits = Promise.withResolvers<void>();
      gate = Promise.withResolvers<void>();
      through = requests;
      const gained = reactor.gain(both ?? []).catch(() => undefined);
      const end = await Promise.race([waits.promise.then(() => "waits"), gained.then(() => "gained")]);
      const closed = reactor.close().then(() => "closed");
      gate.resolve();
      assert.equal(await Promise.race([closed, sleep(20_000, "hangs", { ref: false })]), "closed");
      through = Number.POSITIVE_INFINITY;
      if (end === "gained") break;
    }
  }
});
