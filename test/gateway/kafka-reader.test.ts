/** One partition of a topic into a stream's log, through crashes and appends that fail: each record once, in order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { type Admitted, PartitionReader, type SourceLetter } from "../../src/gateway/kafka/partition-reader.ts";
import { type CheckpointStore, SourceCheckpoints } from "../../src/gateway/kafka/source-checkpoint.ts";
import { markPrefix } from "../../src/gateway/kafka/source-mark.ts";
import type { Appended, Batch } from "../../src/log/event-log.ts";
import { MemoryLog } from "./memory-log.ts";

const STREAM = "payments";
const TOPIC = { topic: "billing.payments", group: undefined };

function memoryStore(): CheckpointStore & { readonly objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    async get(key) {
      const found = objects.get(key);
      if (!found) throw new MillraceError("OBJECT_NOT_FOUND", { key });
      return found;
    },
    async put(key, bytes) {
      objects.set(key, bytes);
    },
    async putIfAbsent(key, bytes) {
      if (objects.has(key)) return false;
      objects.set(key, bytes);
      return true;
    },
    list: async (prefix) => [...objects.keys()].filter((key) => key.startsWith(prefix)).map((key) => ({ key })),
  };
}

/** Appends fail, with their batch in the log or without it. */
class FailingLog extends MemoryLog {
  fails: () => "before" | "after" | undefined = () => undefined;
  /** Counts up with each process that dies; what such a one had on its way is in the log by then, or never comes there. */
  life = 0;

  override async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const { life } = this;
    const how = this.fails();
    await new Promise(setImmediate);
    if (life !== this.life) return new Promise(() => undefined);
    if (how === "before") throw new MillraceError("LOG_UNAVAILABLE", { reason: "test" });
    const appended = await super.append(stream, partition, batch);
    if (how === "after") throw new MillraceError("LOG_UNAVAILABLE", { reason: "test" });
    return appended;
  }
}

/** The answer of a broker: values at offsets, with gaps. */
function answer(records: readonly { readonly offset: number; readonly value: string }[], next: number) {
  const batches = records.map(({ offset, value }) => ({
    ...{ firstOffset: BigInt(offset), length: 0, partitionLeaderEpoch: 0, magic: 2, crc: 0, attributes: 0 },
    ...{
      lastOffsetDelta: 0,
      firstTimestamp: 1n,
      maxTimestamp: 1n,
      producerId: -1n,
      producerEpoch: 0,
      firstSequence: 0,
    },
    records: [
      {
        ...{ length: 0, attributes: 0, timestampDelta: 0n, offsetDelta: 0, key: null, headers: [] as [null, null][] },
        value: Buffer.from(value),
      },
    ],
  }));
  // What lies behind the last record is a marker, or was compacted.
  const last = batches.at(-1);
  if (last) last.lastOffsetDelta = next - 1 - Number(last.firstOffset);
  return { batches, aborted: [], end: next };
}

interface World {
  readonly log: FailingLog;
  readonly store: ReturnType<typeof memoryStore>;
  readonly letters: Map<string, SourceLetter>;
  lettersFail: () => boolean;
}

async function world(partitions: number): Promise<World> {
  const log = new FailingLog();
  await log.open(STREAM, { partitions });
  return { log, store: memoryStore(), letters: new Map(), lettersFail: () => false };
}

/** A process: what it does after its end comes to nothing. */
function process({ log, store, letters, lettersFail }: World) {
  let alive = true;
  const dead = <T>() => new Promise<T>(() => undefined);
  const mortal = new Proxy(log, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (!alive && name !== "ends" && name !== "partitions") return dead();
        return (value as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
  const mortalStore: CheckpointStore = {
    ...store,
    put: (key, bytes) => (alive ? store.put(key, bytes) : dead()),
  };
  const reader = new PartitionReader({
    ...{ subject: "test", stream: STREAM, partition: 2, prefix: markPrefix(TOPIC, 2), registry: undefined },
    ...{ maxEventBytes: 1000, log: mortal, owns: () => alive, pause: () => new Promise(setImmediate) },
    rules: { format: "json", fields: [], tombstones: "dead-letter" },
    checkpoints: new SourceCheckpoints(mortalStore, "", STREAM, { topic: TOPIC.topic, group: "g" }),
    admit(_stream, payload, partitions, otherwise): Admitted {
      const { key, bad } = JSON.parse(Buffer.from(payload).toString()) as { key?: number; bad?: true };
      if (bad) return { kind: "refused", code: "EVENT_INVALID", message: "bad" };
      const line = Buffer.concat([payload, Buffer.from("\n")]);
      return { kind: "accepted", partition: key === undefined ? otherwise : key % partitions, line };
    },
    async deadLetters(recorded) {
      if (!alive) return dead();
      if (lettersFail()) throw new MillraceError("LOG_UNAVAILABLE", { reason: "test" });
      for (const letter of recorded) letters.set(letter.id, letter);
    },
  });
  return {
    reader,
    kill: () => {
      alive = false;
      log.life++;
    },
  };
}

async function events(log: MemoryLog): Promise<{ number: number; partition: number }[]> {
  const all: { number: number; partition: number }[] = [];
  for (let partition = 0; partition < log.partitions(STREAM); partition++) {
    const run = await log.read(STREAM, partition, 0, 1e9);
    for (const line of run ? Buffer.from(run.bytes).toString().trim().split("\n") : [])
      all.push({ number: (JSON.parse(line) as { number: number }).number, partition });
  }
  return all;
}

/** Numbers of one seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

for (const partitions of [1, 3]) {
  test(`of ${partitions} partitions, each record is in the log once and in order, whatever dies and fails when`, async () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = randomOf(seed * 7 + partitions);
      const w = await world(partitions);
      const topic: { offset: number; value: string }[] = [];
      let end = 0;
      for (let number = 0; number < 40; number++) {
        const bad = random(6) === 0 ? { bad: true } : {};
        const key = random(5) === 0 ? {} : { key: random(4) };
        topic.push({ offset: end, value: JSON.stringify({ number, ...key, ...bad }) });
        end += 1 + (random(4) === 0 ? random(3) : 0);
      }
      w.log.fails = () => (["before", "after", ...Array(6)] as const)[random(8)];
      w.lettersFail = () => random(8) === 0;
      for (let life = 0; ; life++) {
        assert.ok(life < 200, `seed ${seed} comes to no end`);
        const { reader, kill } = process(w);
        await reader.begin(async () => 0);
        // Other doors write into the stream as well.
        if (random(2) === 0)
          await MemoryLog.prototype.append.call(w.log, STREAM, random(partitions), {
            ...{ payload: Buffer.from('{"number":-1}\n'), count: 1, source: "http" },
          });
        const dies = random(3) > 0;
        for (let steps = dies ? random(30) : 400; steps > 0 && reader.position < end; steps--) {
          const from = reader.fetched;
          const some = topic.filter(({ offset }) => offset >= from).slice(0, 1 + random(12));
          if (reader.hasRoom && some.length > 0) {
            const behind = topic.find(({ offset }) => offset > (some.at(-1)?.offset ?? 0))?.offset ?? end;
            reader.take(answer(some, behind), from);
          }
          if (random(3) === 0) await reader.tick();
          await new Promise(setImmediate);
        }
        if (dies) kill();
        else {
          await reader.close();
          if (reader.position >= end) break;
        }
      }
      const own = (await events(w.log)).filter(({ number }) => number >= 0);
      const good = topic.filter(({ value }) => !value.includes("bad"));
      assert.equal(own.length, good.length, `seed ${seed}`);
      assert.equal(new Set(own.map(({ number }) => number)).size, good.length, `seed ${seed}`);
      for (let partition = 0; partition < partitions; partition++) {
        const numbers = own.filter((one) => one.partition === partition).map(({ number }) => number);
        assert.deepEqual(
          numbers,
          [...numbers].sort((a, b) => a - b),
          `seed ${seed}: order`,
        );
      }
      const refused = topic
        .filter(({ value }) => value.includes("bad"))
        .map(({ offset }) => `payments/door/kafka:billing.payments/2@${offset}`);
      assert.deepEqual([...w.letters.keys()].sort(), refused.sort(), `seed ${seed}: dead letters`);
    }
  });
}

test("a stream that got more partitions in between loses and doubles nothing of what was under way", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomOf(seed);
    const w = await world(2);
    const topic = Array.from({ length: 20 }, (_, number) => ({
      offset: number,
      value: JSON.stringify({ number, key: number }),
    }));
    const first = process(w);
    await first.reader.begin(async () => 0);
    first.reader.take(answer(topic.slice(0, 5), 5), 0);
    while (first.reader.position < 5) await new Promise(setImmediate);
    await first.reader.tick();
    // Of the last round one partition has its batch, or both, or none.
    w.log.fails = () => (random(2) === 0 ? "before" : undefined);
    first.reader.take(answer(topic.slice(5, 12), 12), 5);
    for (let turns = random(6); turns > 0; turns--) await new Promise(setImmediate);
    first.kill();
    w.log.fails = () => undefined;
    const wider = await world(5);
    for (let partition = 0; partition < 2; partition++) {
      const run = await w.log.read(STREAM, partition, 0, 1e9);
      for (const [i, line] of (run ? Buffer.from(run.bytes).toString().trim().split("\n") : []).entries())
        await wider.log.append(STREAM, partition, {
          ...{ payload: Buffer.from(`${line}\n`), count: 1, source: run?.spans[i]?.source ?? "" },
        });
    }
    for (const [key, bytes] of w.store.objects) wider.store.objects.set(key, bytes);
    const second = process(wider);
    await second.reader.begin(async () => assert.fail("it was begun"));
    while (second.reader.position < 20) {
      const from = second.reader.fetched;
      if (from < 20) second.reader.take(answer(topic.slice(from, from + 4), from + 4), from);
      await new Promise(setImmediate);
    }
    await second.reader.close();
    const numbers = (await events(wider.log)).map(({ number }) => number).sort((a, b) => a - b);
    assert.deepEqual(
      numbers,
      topic.map(({ offset }) => offset),
      `seed ${seed}`,
    );
    const spread = (await events(wider.log)).filter(({ number }) => number >= 12);
    assert.ok(
      spread.some(({ partition }) => partition > 1),
      "the new partitions are used",
    );
  }
});

test("a log that has forgotten what says how far it is stops the source with a clear error", async () => {
  const w = await world(1);
  const { reader } = process(w);
  await reader.begin(async () => 0);
  reader.take(answer([{ offset: 0, value: '{"number":0}' }], 1), 0);
  while (reader.position < 1) await new Promise(setImmediate);
  await w.log.release(STREAM, 0, 1);
  await assert.rejects(
    process(w).reader.begin(async () => 0),
    (error) => {
      assert.ok(error instanceof MillraceError && error.code === "SOURCE_PROGRESS_GONE");
      assert.match(error.message, /begins at offset 1 of partition 0, .* behind 0/);
      return true;
    },
  );
});

test("a partition that went to somebody else appends nothing more", async () => {
  const w = await world(1);
  const { reader, kill } = process(w);
  await reader.begin(async () => 0);
  kill();
  reader.take(answer([{ offset: 0, value: '{"number":0}' }], 1), 0);
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
  assert.deepEqual([await events(w.log), reader.position, reader.problem], [[], 0, undefined]);
});
