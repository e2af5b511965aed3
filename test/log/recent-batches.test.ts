/** What is read from memory while more comes in: readers take their time, and the newest batches change meanwhile. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KafkaPartition } from "../../src/log/kafka/kafka-partition.ts";
import { readRecords, splitBatches } from "../../src/log/kafka/read-records.ts";
import { RecentBatches } from "../../src/log/kafka/recent-batches.ts";
import { encodeRecordBatch, FIELDS, sealRecordBatch } from "../../src/log/kafka/record-batch.ts";
import { batchOf } from "./batches.ts";

const topic = { name: "orders", id: "t", partitions: 1, minInSync: 1, keepsAll: true, maxMessageBytes: 1 << 24 };

/** Batches of three events each, as a broker gives them; event n is `{"n":n}` and some filling. */
async function batches(from: number, count: number, bytes = 0) {
  const stored: Buffer[] = [];
  for (let at = from; at < from + 3 * count; at += 3) {
    const lines = [at, at + 1, at + 2].map((n) => JSON.stringify({ n, fill: "x".repeat(bytes) }));
    const one = await encodeRecordBatch([batchOf(lines, "http")], 1_000, "none");
    sealRecordBatch(one, { id: 1n, epoch: 0 }, 0);
    one.writeBigInt64BE(BigInt(at), FIELDS.baseOffset);
    stored.push(one);
  }
  return splitBatches(Buffer.concat(stored));
}

async function read(recent: RecentBatches, partition: KafkaPartition, more: () => void) {
  const running = readRecords(recent.from(partition, 0), 0, 1 << 26);
  more();
  const run = await running;
  const numbers = Buffer.from(run.bytes)
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { n: number } | null)?.n);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
  );
  assert.equal(run.to, numbers.length - 1);
  return numbers.length;
}

test("a reader has the batches that were there when it began, also when a poll begins behind them meanwhile", async () => {
  const [recent, partition] = [new RecentBatches(), new KafkaPartition("orders", topic as never, 0)];
  recent.read(partition);
  recent.add(partition, await batches(0, 2));
  const later = await batches(12, 4);
  assert.equal(await read(recent, partition, () => recent.add(partition, later)), 6);
  assert.deepEqual(recent.from(partition, 0), []);
  assert.equal(recent.from(partition, 12).length, 4);
});

test("a reader has the batches that were there when it began, also when the first ones make room meanwhile", async () => {
  const [recent, partition] = [new RecentBatches(), new KafkaPartition("orders", topic as never, 0)];
  recent.read(partition);
  recent.add(partition, await batches(0, 5, 500_000));
  const later = await batches(15, 2, 500_000);
  assert.equal(await read(recent, partition, () => recent.add(partition, later)), 15);
  assert.deepEqual(recent.from(partition, 0), [], "they have made room");
});
