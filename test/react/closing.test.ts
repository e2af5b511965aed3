import assert from "node:assert/strict";
import { test } from "node:test";
import type { Batch } from "../../src/log/event-log.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { MemoryLog } from "./memory-log.ts";
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
