import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c } from "@node-rs/crc32";
import { Reader, readRecordsBatch } from "@platformatic/kafka";
import fc from "fast-check";
import type { Batch } from "../../src/log/event-log.ts";
import { FOREIGN_SOURCE, readRecords, splitBatches, UnreadableBatch } from "../../src/log/kafka/read-records.ts";
import { encodedBound, encodeRecordBatch, FIELDS, sealRecordBatch } from "../../src/log/kafka/record-batch.ts";
import { batchOf } from "./batches.ts";

const BROKER_TIME = 8;
const CONTROL = 32;

/** A batch as the broker keeps it: with its offset, and its time of arrival when it gives that. */
async function stored(
  batches: readonly Batch[],
  from: number,
  compression: "none" | "lz4" | "zstd" = "none",
  appendTimeMs?: number,
) {
  const bytes = await encodeRecordBatch(batches, 1_000, compression);
  if (appendTimeMs !== undefined) {
    bytes.writeInt16BE(bytes.readInt16BE(FIELDS.attributes) | BROKER_TIME, FIELDS.attributes);
    bytes.writeBigInt64BE(BigInt(appendTimeMs), FIELDS.maxTimestamp);
  }
  sealRecordBatch(bytes, { id: 7n, epoch: 2 }, 40);
  bytes.writeBigInt64BE(BigInt(from), FIELDS.baseOffset);
  return bytes;
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();

test("a batch is what any client of Kafka reads as records: plain values, no keys, the source where it changes", async () => {
  const bytes = await stored(
    [batchOf(['{"a":1}', "{}"], "web"), batchOf(['{"ü":2}'], "web"), batchOf(["3"], "sdk")],
    10,
  );
  const batch = readRecordsBatch(Reader.from(bytes));
  assert.deepEqual([batch.firstOffset, batch.lastOffsetDelta, batch.magic], [10n, 3, 2]);
  assert.deepEqual([batch.producerId, batch.producerEpoch, batch.firstSequence], [7n, 2, 40]);
  assert.equal(batch.crc, crc32c(bytes.subarray(FIELDS.attributes)));
  const records = batch.records.map(({ key, value, headers, offsetDelta }) => [
    ...[offsetDelta, key, value?.toString()],
    ...headers.flatMap(([name, content]) => [name?.toString(), content?.toString()]),
  ]);
  assert.deepEqual(records, [
    [0, null, '{"a":1}', "source", "web"],
    [1, null, "{}"],
    [2, null, '{"ü":2}'],
    [3, null, "3", "source", "sdk"],
  ]);
});

const lines = fc.array(fc.json({ maxDepth: 1 }), { minLength: 1, maxLength: 8 });
const source = fc.oneof(fc.constantFrom("http", "sdk"), fc.string({ maxLength: 200, unit: "binary" }));

test("any batches are read as they were written, from any offset and with any limit", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.tuple(lines, source), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("none" as const, "lz4" as const, "zstd" as const),
      fc.nat(),
      fc.integer({ min: 1, max: 300 }),
      async (groups, compression, start, maxBytes) => {
        const events: { line: string; source: string; receivedAtMs: number }[] = [];
        const kept: Buffer[] = [];
        for (const [i, group] of groups.entries()) {
          const batches = group.map(([lines, source]) => batchOf(lines, source));
          assert.ok(
            (await encodeRecordBatch(batches, 0, "none")).length <=
              batches.reduce((sum, b) => sum + encodedBound(b), 0),
          );
          kept.push(await stored(batches, events.length, compression, 5_000 + i));
          for (const [lines, source] of group)
            for (const line of lines) events.push({ line, source: source.slice(0, 200), receivedAtMs: 5_000 + i });
        }
        const batches = splitBatches(Buffer.concat(kept));
        assert.equal(batches.at(-1)?.to, events.length - 1);
        for (let next = start % events.length; next < events.length; ) {
          const run = await readRecords(batches, next, maxBytes);
          assert.equal(run.from, next);
          const read = textOf(run.bytes).split("\n");
          assert.equal(read.pop(), "");
          assert.deepEqual(
            read,
            events.slice(run.from, run.to + 1).map(({ line }) => line),
          );
          assert.ok(run.bytes.length <= maxBytes || read.length === 1);
          for (const { from, to, source, receivedAtMs } of run.spans)
            for (const event of events.slice(from, to + 1))
              assert.deepEqual([event.source, event.receivedAtMs], [source, receivedAtMs]);
          assert.deepEqual([run.spans[0]?.from, run.spans.at(-1)?.to], [run.from, run.to]);
          next = run.to + 1;
        }
      },
    ),
    { numRuns: 150 },
  );
});

test("a batch that was cut off at the end of an answer is left out", async () => {
  const whole = await stored([batchOf(["1", "2"])], 0);
  const cut = (await stored([batchOf(["3", "4"])], 2)).subarray(0, -3);
  for (const tail of [cut, cut.subarray(0, 30), Buffer.alloc(0)])
    assert.deepEqual(
      splitBatches(Buffer.concat([whole, tail])).map(({ from, to }) => [from, to]),
      [[0, 1]],
    );
});

test("offsets without an event are lines of null: marks of transactions, and what compaction has taken", async () => {
  const marks = await stored([batchOf(["x"])], 2);
  marks.writeInt16BE(CONTROL, FIELDS.attributes);
  sealRecordBatch(marks, { id: 7n, epoch: 2 }, 0);
  marks.writeBigInt64BE(2n, FIELDS.baseOffset);
  const batches = splitBatches(
    Buffer.concat([await stored([batchOf(["0", "1"])], 0), marks, await stored([batchOf(["6"])], 6)]),
  );
  const run = await readRecords(batches, 0, 1_000);
  assert.equal(textOf(run.bytes), "0\n1\nnull\nnull\nnull\nnull\n6\n");
  assert.deepEqual(
    run.spans.map(({ from, to, source }) => [from, to, source]),
    [
      [0, 1, "test"],
      [2, 5, FOREIGN_SOURCE],
      [6, 6, "test"],
    ],
  );
});

test("a value of somebody else that has line breaks is one line", async () => {
  const bytes = await stored([batchOf(["[1,@ 2,@3]", "[4]"])], 0);
  for (let at = bytes.indexOf("@"); at !== -1; at = bytes.indexOf("@")) bytes[at] = 10;
  sealRecordBatch(bytes, { id: 7n, epoch: 2 }, 0);
  const run = await readRecords(splitBatches(bytes), 0, 1_000);
  assert.equal(textOf(run.bytes), "[1,  2, 3]\n[4]\n");
});

test("a damaged batch ends the run before it, and is an error when it is the first", async () => {
  const good = await stored([batchOf(["1", "2"])], 0);
  const bad = await stored([batchOf(["3", "4"])], 2);
  bad[bad.length - 4] = (bad.at(-4) ?? 0) ^ 1;
  const batches = splitBatches(Buffer.concat([good, bad, await stored([batchOf(["5"])], 4)]));
  assert.equal((await readRecords(batches, 0, 1_000)).to, 1);
  await assert.rejects(readRecords(batches, 2, 1_000), (error: unknown) => {
    assert.ok(error instanceof UnreadableBatch);
    assert.deepEqual([error.batch.from, error.batch.to], [2, 3]);
    return true;
  });
  assert.equal(textOf((await readRecords(batches, 4, 1_000)).bytes), "5\n");
});

test("a batch that is not as many lines as it says is refused", async () => {
  for (const count of [1, 3])
    await assert.rejects(encodeRecordBatch([{ ...batchOf(["1", "2"]), count }], 0, "none"), RangeError);
});
