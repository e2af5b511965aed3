import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  GetRecordsCommand,
  type GetRecordsCommandOutput,
  GetShardIteratorCommand,
  type KinesisClient,
  PutRecordsCommand,
  type ShardIteratorType,
} from "@aws-sdk/client-kinesis";
import { MillraceError } from "../../src/errors.ts";
import type { Run } from "../../src/log/event-log.ts";
import { MemoryLog } from "../gateway/memory-log.ts";
import { streamOf } from "../gateway/open-door.ts";
import { anything, orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";

const MINUTE_MS = 60_000;
const composite = streamOf("composite", orders.jsonSchema, orders.columns, { id: ["id", "n"] });
let log: MemoryLog;
let kinesis: OpenKinesis;
let client: KinesisClient;

beforeEach(async () => {
  log = new MemoryLog();
  kinesis = await OpenKinesis.open({ streams: [orders, anything, composite], partitions: 2, log });
  client = kinesis.client();
});
afterEach(() => kinesis[Symbol.asyncDispose]());

/** Puts records into one shard of a stream without a key; `{"v":0}`, `{"v":1}`, … */
async function fill(count: number, from = 0): Promise<string[]> {
  const Records = Array.from({ length: count }, (_, n) => ({
    Data: Buffer.from(`{"v":${from + n}}`),
    PartitionKey: "k",
    ExplicitHashKey: "0",
  }));
  const put = await client.send(new PutRecordsCommand({ StreamName: "anything", Records }));
  return (put.Records ?? []).map(({ SequenceNumber }) => SequenceNumber as string);
}

async function iterator(type: ShardIteratorType, more: object = {}, shard = 0): Promise<string> {
  const { ShardIterator } = await client.send(
    new GetShardIteratorCommand({
      StreamName: "anything",
      ShardId: `shardId-00000000000${shard}`,
      ShardIteratorType: type,
      ...more,
    }),
  );
  return ShardIterator as string;
}

const read = (ShardIterator: string | undefined, Limit?: number): Promise<GetRecordsCommandOutput> =>
  client.send(new GetRecordsCommand({ ShardIterator, Limit }));
const values = ({ Records = [] }: GetRecordsCommandOutput): number[] =>
  Records.map(({ Data }) => JSON.parse(Buffer.from(Data as Uint8Array).toString()).v);

describe("a shard iterator", () => {
  it("of each type begins where AWS's does", async () => {
    const numbers = await fill(5);
    const at = { StartingSequenceNumber: numbers[2] };
    assert.deepEqual(values(await read(await iterator("TRIM_HORIZON"))), [0, 1, 2, 3, 4]);
    assert.deepEqual(values(await read(await iterator("LATEST"))), []);
    assert.deepEqual(values(await read(await iterator("AT_SEQUENCE_NUMBER", at))), [2, 3, 4]);
    assert.deepEqual(values(await read(await iterator("AFTER_SEQUENCE_NUMBER", at))), [3, 4]);
    const last = { StartingSequenceNumber: numbers[4] };
    const after = await iterator("AFTER_SEQUENCE_NUMBER", last);
    const latest = await iterator("LATEST");
    await fill(1, 5);
    assert.deepEqual(values(await read(after)), [5]);
    assert.deepEqual(values(await read(latest)), [5]);
  });

  it("at a moment begins with the first record that arrived then or later", async () => {
    const times = [1000, 1000, 2000, 2000, 2000, 5000];
    for (const v of times.keys()) {
      await log.append("anything", 0, { payload: Buffer.from(`{"v":${v}}\n`), count: 1, source: "x" });
    }
    log.retime("anything", 0, times);
    for (const [ms, first] of [
      [0, 0],
      [1000, 0],
      [1001, 2],
      [2000, 2],
      [2001, 5],
      [5000, 5],
      [5001, 6],
    ] as const) {
      const found = values(await read(await iterator("AT_TIMESTAMP", { Timestamp: new Date(ms) })));
      assert.deepEqual(found, [0, 1, 2, 3, 4, 5].slice(first), `at ${ms}`);
    }
  });

  it("goes on from answer to answer, in steps as large as asked for, until the tip", async () => {
    await fill(10);
    let next: string | undefined = await iterator("TRIM_HORIZON");
    const seen: number[][] = [];
    const behind: boolean[] = [];
    for (let step = 0; step < 4; step++) {
      const answer: GetRecordsCommandOutput = await read(next, 4);
      seen.push(values(answer));
      behind.push((answer.MillisBehindLatest ?? -1) >= 0);
      next = answer.NextShardIterator;
    }
    assert.deepEqual(seen, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]);
    assert.ok(behind.every(Boolean));
    await fill(1, 10);
    assert.deepEqual(values(await read(next)), [10]);
  });

  it("says how far behind the tip the last record is that it gave", async () => {
    await fill(3);
    log.retime("anything", 0, [Date.now() - 90_000, Date.now() - 60_000, Date.now()]);
    const { MillisBehindLatest = 0, NextShardIterator } = await read(await iterator("TRIM_HORIZON"), 2);
    assert.ok(MillisBehindLatest >= 60_000 && MillisBehindLatest < 80_000, String(MillisBehindLatest));
    assert.equal((await read(NextShardIterator)).MillisBehindLatest, 0);
  });

  it("expires after five minutes, and each answer gives a fresh one", async () => {
    await fill(1);
    const first = await iterator("TRIM_HORIZON");
    kinesis.later(4 * MINUTE_MS);
    const { NextShardIterator } = await kinesis
      .client("ADMIN", { systemClockOffset: 4 * MINUTE_MS })
      .send(new GetRecordsCommand({ ShardIterator: first }));
    kinesis.later(2 * MINUTE_MS);
    await assert.rejects(
      read(first),
      ({ name, message }) => name === "ExpiredIteratorException" && /Iterator expired/.test(message),
    );
    assert.deepEqual(values(await read(NextShardIterator)), []);
  });

  it("that was trimmed meanwhile goes on with the oldest record there is", async () => {
    const numbers = await fill(6);
    const first = await iterator("TRIM_HORIZON");
    await log.release("anything", 0, 3);
    assert.deepEqual(values(await read(first)), [3, 4, 5]);
    assert.deepEqual(
      values(await read(await iterator("AT_SEQUENCE_NUMBER", { StartingSequenceNumber: numbers[1] }))),
      [3, 4, 5],
    );
    assert.deepEqual(values(await read(await iterator("AT_TIMESTAMP", { Timestamp: new Date(0) }))), [3, 4, 5]);
  });

  it("passes over damage in the log and gives what is around it", async () => {
    await fill(6);
    const whole = log.read.bind(log);
    log.read = async (stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> => {
      if (from === 2 || from === 3) {
        const details = {
          stream,
          partition,
          file: "x.ndjson",
          from: 2,
          to: 3,
          at: 0,
          bytes: 1,
          receivedAtMs: 1000,
          source: "",
        };
        throw new MillraceError("LOG_CORRUPT", details, { details });
      }
      const run = await whole(stream, partition, from, maxBytes);
      if (run === undefined || from > 3 || run.to < 2) return run;
      const bytes = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.length);
      const kept = bytes
        .toString()
        .split("\n")
        .slice(0, 2 - from);
      return { ...run, to: 1, bytes: Buffer.from(`${kept.join("\n")}\n`), spans: run.spans.slice(0, 2 - from) };
    };
    assert.deepEqual(values(await read(await iterator("TRIM_HORIZON"))), [0, 1, 4, 5]);
    assert.deepEqual(
      values(await read(await iterator("AT_TIMESTAMP", { Timestamp: new Date(Date.now() - MINUTE_MS) }))).slice(-2),
      [4, 5],
    );
  });

  it("that is none is refused by name", async () => {
    const numbers = await fill(2);
    const invalid = { name: "InvalidArgumentException" };
    for (const text of ["x", "%%%", "AAAA", Buffer.from("1\nanything\n0\n99").toString("base64url")]) {
      await assert.rejects(read(text), { ...invalid, message: "Invalid ShardIterator." });
    }
    const made = (parts: readonly (string | number)[]) => Buffer.from(parts.join("\n")).toString("base64url");
    await assert.rejects(read(made([1, "anything", 7, 0, Date.now()])), invalid);
    await assert.rejects(read(made([1, "anything", 0, 99, Date.now()])), /beyond the end/);
    await assert.rejects(read(made([1, "anything", 0, 0, Date.now() + 60 * MINUTE_MS])), invalid);
    await assert.rejects(read(made([1, "nothing", 0, 0, Date.now()])), { name: "ResourceNotFoundException" });
    await assert.rejects(read("y".repeat(513)), { name: "ValidationException" });

    const at = (StartingSequenceNumber: string | undefined, shard = 0) =>
      iterator("AT_SEQUENCE_NUMBER", { StartingSequenceNumber }, shard);
    await assert.rejects(at(numbers[0], 1), /invalid because it did not come from this shard/);
    await assert.rejects(at("49590338271490256608559692538361571095921575989136588898"), invalid);
    await assert.rejects(at(numbers[1]?.replace(/1(0{12})$/, "9$1")), invalid);
    await assert.rejects(at(undefined), { name: "ValidationException" });
    await assert.rejects(iterator("AT_TIMESTAMP"), /has no timestamp/);
    await assert.rejects(
      iterator("AT_TIMESTAMP", { Timestamp: new Date(Date.now() + MINUTE_MS) }),
      /cannot be greater than/,
    );
    await assert.rejects(iterator("SOMEWHERE" as ShardIteratorType), /enum value set: \[AT_SEQUENCE_NUMBER/);
    await assert.rejects(iterator("LATEST", {}, 5), { name: "ResourceNotFoundException" });
    await assert.rejects(iterator("LATEST", { StreamName: "nothing" }), { name: "ResourceNotFoundException" });
    await assert.rejects(read(await iterator("LATEST"), 10_001), /less than or equal to 10000/);
  });

  it("is for who may query, also when another made it", async () => {
    await fill(1);
    const made = await iterator("TRIM_HORIZON");
    for (const [key, name] of [
      ["INGEST", "AccessDeniedException"],
      ["WRITE", "AccessDeniedException"],
    ] as const) {
      const other = kinesis.client(key);
      await assert.rejects(other.send(new GetRecordsCommand({ ShardIterator: made })), { name });
      const input = { StreamName: "anything", ShardId: "shardId-000000000000", ShardIteratorType: "LATEST" } as const;
      await assert.rejects(other.send(new GetShardIteratorCommand(input)), { name });
    }
    const { Records } = await kinesis.client("QUERY").send(new GetRecordsCommand({ ShardIterator: made }));
    assert.equal(Records?.length, 1);
  });
});

describe("a record that is read", () => {
  it("has the event as it is in the log, its key as partition key, and the time of its arrival", async () => {
    const lines = ['{"id":"a","n":1}', '{"n":2, "id":"ü"}'];
    await log.append("orders", 1, { payload: Buffer.from(`${lines.join("\n")}\n`), count: 2, source: "http" });
    log.retime("orders", 1, [1234, 5678]);
    const { Records = [] } = await read(await iterator("TRIM_HORIZON", { StreamName: "orders" }, 1));
    assert.deepEqual(
      Records.map(({ Data, PartitionKey, SequenceNumber, ApproximateArrivalTimestamp }) => [
        Buffer.from(Data as Uint8Array).toString(),
        PartitionKey,
        SequenceNumber,
        ApproximateArrivalTimestamp?.getTime(),
      ]),
      [
        [lines[0], "a", "100000000000000000000000000000001", 1234],
        [lines[1], "ü", "100000000000000000001000000000001", 5678],
      ],
    );
  });

  it("has the values of its id where that is several fields, and its shard's id where it has neither", async () => {
    await log.append("composite", 0, { payload: Buffer.from('{"id":"a","n":1}\n'), count: 1, source: "http" });
    const { Records: [one] = [] } = await read(await iterator("TRIM_HORIZON", { StreamName: "composite" }));
    assert.equal(one?.PartitionKey, '["a",1]');
    await fill(1);
    const { Records: [other] = [] } = await read(await iterator("TRIM_HORIZON"));
    assert.equal(other?.PartitionKey, "shardId-000000000000");
  });

  it("comes with at most 10,000 others and 10 MiB, and none is lost between two answers", async () => {
    const line = `{"v":"${"x".repeat(100_000)}"}\n`;
    const count = 150;
    await log.append("anything", 0, { payload: Buffer.from(line.repeat(count)), count, source: "http" });
    let next: string | undefined = await iterator("TRIM_HORIZON");
    const sizes: number[] = [];
    for (let answers = 0; answers < 3; answers++) {
      const answer = await read(next);
      sizes.push(answer.Records?.length ?? 0);
      next = answer.NextShardIterator;
    }
    assert.equal(
      sizes.reduce((sum, size) => sum + size),
      count,
    );
    assert.ok((sizes[0] as number) > 100 && (sizes[0] as number) < 120, String(sizes));
  });
});

describe("readers that ask for more than there is room for", () => {
  it("get shorter answers or are told to slow down, and lose nothing", async () => {
    const inflightBytes = 4 * 1024 * 1024;
    await using small = await OpenKinesis.open({
      streams: [anything],
      log: new MemoryLog(),
      settings: { inflightBytes },
    });
    const line = `{"v":"${"x".repeat(50_000)}"}\n`;
    const count = 100;
    await small.door.log.append("anything", 0, { payload: Buffer.from(line.repeat(count)), count, source: "http" });
    const reader = small.client("QUERY", { maxAttempts: 30, retryMode: "standard" });
    const start = {
      StreamName: "anything",
      ShardId: "shardId-000000000000",
      ShardIteratorType: "TRIM_HORIZON",
    } as const;
    const { ShardIterator } = await reader.send(new GetShardIteratorCommand(start));
    let most = 0;
    const watch = setInterval(async () => {
      const text = await small.door.registry.getSingleMetricAsString("millrace_door_inflight_bytes");
      most = Math.max(most, Number(/ (\d+)$/m.exec(text)?.[1] ?? 0));
    }, 1);
    try {
      const readers = Array.from({ length: 4 }, async () => {
        let [next, seen] = [ShardIterator, 0];
        while (seen < count) {
          const answer: GetRecordsCommandOutput = await reader.send(new GetRecordsCommand({ ShardIterator: next }));
          seen += answer.Records?.length ?? 0;
          next = answer.NextShardIterator;
        }
        return seen;
      });
      assert.deepEqual(await Promise.all(readers), [count, count, count, count]);
    } finally {
      clearInterval(watch);
    }
    // One that is alone may have more: the whole of a step of the log.
    assert.ok(most < 2 * inflightBytes + 8 * 1024 * 1024, String(most));
  });
});
