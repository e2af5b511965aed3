import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { afterEach, beforeEach, describe, it } from "node:test";
import { PutRecordCommand, PutRecordsCommand } from "@aws-sdk/client-kinesis";
import { MillraceError } from "../../src/errors.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { MemoryLog } from "../gateway/memory-log.ts";
import { streamOf } from "../gateway/open-door.ts";
import { anything, orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";

const PARTITIONS = 4;
const app = streamOf("app", anything.jsonSchema, anything.columns);
/** Keyed streams, and one with neither key nor id. */
const clicks = streamOf("clicks", orders.jsonSchema, orders.columns, { key: "id" });
const STREAMS = [orders, clicks, anything, app];
let kinesis: OpenKinesis;
let log: MemoryLog;

beforeEach(async () => {
  log = new MemoryLog();
  kinesis = await OpenKinesis.open({ streams: STREAMS, partitions: PARTITIONS, log });
});
afterEach(() => kinesis[Symbol.asyncDispose]());

const event = (id: string, n: unknown = 1) => JSON.stringify({ id, n });
const base64 = (data: string | Uint8Array) => Buffer.from(data as string).toString("base64");
const stored = (stream: string): string[] =>
  Array.from({ length: PARTITIONS }, (_, partition) => log.lines(stream, partition)).flat();

interface Put {
  readonly data: string | Uint8Array;
  readonly key?: string;
  readonly hashKey?: string;
}

async function putRecords(stream: string, records: readonly (Put | string)[]) {
  const Records = records.map((record) => {
    const { data, key = "k", hashKey } = typeof record === "string" ? { data: record } : record;
    return { Data: base64(data), PartitionKey: key, ...(hashKey !== undefined && { ExplicitHashKey: hashKey }) };
  });
  const answer = await kinesis.call("PutRecords", { StreamName: stream, Records });
  assert.equal(answer.status, 200, answer.text);
  return answer.json as {
    FailedRecordCount: number;
    Records: { SequenceNumber?: string; ShardId?: string; ErrorCode?: string; ErrorMessage?: string }[];
  };
}

describe("records that break the contract", () => {
  it("are named one by one, are dead letters, and the others are stored", async () => {
    const big = event("b", 1).replace("}", `,"note":"${"x".repeat(70_000)}"}`);
    const records = [
      event("a"),
      event("a", "one"),
      "no json",
      "",
      Buffer.from([0x7b, 0xff, 0x7d]),
      big,
      event("b"),
      '{"id":"c","n":1,"n":2}',
    ];
    const { FailedRecordCount, Records } = await putRecords(
      "orders",
      records.map((data) => ({ data })),
    );
    assert.equal(FailedRecordCount, 6);
    assert.deepEqual(
      Records.map(({ ErrorCode, ErrorMessage }) => ErrorCode && [ErrorCode, ErrorMessage?.split(":", 1)[0]]),
      [
        undefined,
        ["InvalidArgumentException", "EVENT_INVALID"],
        ["InvalidArgumentException", "EVENT_MALFORMED_JSON"],
        ["InvalidArgumentException", "EVENT_MALFORMED_JSON"],
        ["InvalidArgumentException", "EVENT_NOT_UTF8"],
        ["InvalidArgumentException", "EVENT_TOO_LARGE"],
        undefined,
        ["InvalidArgumentException", "EVENT_DUPLICATE_KEY"],
      ],
    );
    assert.deepEqual(stored("orders").toSorted(), [event("a"), event("b")]);
    const letters = kinesis.door.deadLetters;
    assert.deepEqual(
      letters.map(({ payload }) => Buffer.from(payload).toString("latin1").slice(0, 30)),
      [event("a", "one"), "no json", "", "{\xff}", big.slice(0, 30), '{"id":"c","n":1,"n":2}'],
    );
    assert.ok(
      letters.every(({ stream, stage, source }) => stream === "orders" && stage === "door" && source === "kinesis"),
    );
    const metrics = await kinesis.door.registry.metrics();
    assert.match(metrics, /millrace_door_events_accepted_total\{stream="orders"\} 2/);
    assert.match(metrics, /millrace_door_events_rejected_total\{stream="orders",code="EVENT_NOT_UTF8"\} 1/);
  });

  it("alone are an error of the request", async () => {
    const client = kinesis.client();
    await assert.rejects(
      client.send(new PutRecordCommand({ StreamName: "orders", Data: Buffer.from('{"id":""}'), PartitionKey: "k" })),
      ({ name, message }) => name === "InvalidArgumentException" && message.startsWith("EVENT_INVALID: "),
    );
    assert.equal(kinesis.door.deadLetters.length, 1);
  });

  it("are not acknowledged while they cannot be recorded", async () => {
    await using other = await OpenKinesis.open({
      streams: [orders],
      recordDeadLetters: async () => {
        throw new MillraceError("LOG_UNAVAILABLE", { stream: "_dead_letters", partition: 0, reason: "disk full" });
      },
    });
    const Records = [event("a"), "{"].map((data) => ({ Data: base64(data), PartitionKey: "k" }));
    const answer = await other.call("PutRecords", { StreamName: "orders", Records });
    assert.deepEqual([answer.status, answer.json.__type], [503, "ServiceUnavailable"]);
    assert.equal(other.door.log.ends("orders", 0).end, 0);
  });
});

describe("where a record goes", () => {
  it("its event's key says, and its id for a stream without a key, whatever the partition key", async () => {
    for (const stream of ["orders", "clicks"]) {
      const ids = Array.from({ length: 50 }, (_, n) => `id-${n}`);
      const { Records } = await putRecords(
        stream,
        ids.map((id) => ({ data: event(id), key: "same" })),
      );
      assert.deepEqual(
        Records.map(({ ShardId }) => ShardId),
        ids.map((id) => `shardId-00000000000${partitionOf(id, PARTITIONS)}`),
      );
    }
  });

  it("the partition key says by its MD5 for a stream with neither, and the explicit hash key before it", async () => {
    const keys = Array.from({ length: 50 }, (_, n) => `key-${n}-ü`);
    const { Records } = await putRecords(
      "anything",
      keys.map((key) => ({ data: '{"v":1}', key })),
    );
    const byMd5 = keys.map((key) => Number((BigInt(`0x${hash("md5", key, "hex")}`) * 4n) >> 128n));
    assert.deepEqual(
      Records.map(({ ShardId }) => ShardId),
      byMd5.map((partition) => `shardId-00000000000${partition}`),
    );
    assert.deepEqual(new Set(byMd5), new Set([0, 1, 2, 3]));
    const quarter = 1n << 126n;
    const hashKeys = ["0", String(quarter - 1n), String(quarter), String(4n * quarter - 1n)];
    const explicit = await putRecords(
      "anything",
      hashKeys.map((hashKey) => ({ data: '{"v":1}', key: "k", hashKey })),
    );
    assert.deepEqual(
      explicit.Records.map(({ ShardId }) => ShardId?.at(-1)),
      ["0", "0", "1", "3"],
    );
  });

  it("is where it is read: sequence numbers count up in the order of the records", async () => {
    const { Records } = await putRecords(
      "anything",
      Array.from({ length: 9 }, (_, n) => ({ data: `{"v":${n}}`, key: "k" })),
    );
    const numbers = Records.map(({ SequenceNumber }) => BigInt(SequenceNumber as string));
    assert.ok(numbers.every((number, n) => n === 0 || number > (numbers[n - 1] as bigint)));
    const shard = Number(Records[0]?.ShardId?.slice(8));
    assert.deepEqual(
      log.lines("anything", shard),
      Array.from({ length: 9 }, (_, n) => `{"v":${n}}`),
    );
  });
});

describe("the data of a record", () => {
  it("may be a line with its line feed, several lines, or JSON over several lines", async () => {
    const { Records } = await putRecords("orders", [
      `${event("a")}\n`,
      `${event("b")}\n${event("c")}\r\n\n  ${event("d")}\n`,
      '{\n  "id": "e",\r\n  "n": 2\n}\n',
    ]);
    assert.ok(Records.every(({ SequenceNumber }) => SequenceNumber !== undefined));
    assert.deepEqual(
      stored("orders")
        .map((line) => JSON.parse(line).id)
        .toSorted(),
      ["a", "b", "c", "d", "e"],
    );
    assert.ok(stored("orders").includes('{   "id": "e",    "n": 2 }'));
  });

  it("of several lines of which some are refused is stored as far as it goes, and the others are dead letters", async () => {
    const { FailedRecordCount, Records } = await putRecords("orders", [
      `${event("a")}\n{"id":1}\n${event("b")}`,
      `{"id":2}\n{"id":3}`,
    ]);
    assert.equal(FailedRecordCount, 1);
    assert.match(Records[0]?.SequenceNumber ?? "", /^1\d{32}$/);
    assert.match(Records[1]?.ErrorMessage ?? "", /^EVENT_INVALID: /);
    assert.deepEqual(stored("orders").toSorted(), [event("a"), event("b")]);
    assert.deepEqual(
      kinesis.door.deadLetters.map(({ payload }) => Buffer.from(payload).toString()),
      ['{"id":1}', '{"id":2}', '{"id":3}'],
    );
  });

  it("of the Kinesis Producer Library is taken apart into its records, each with its keys", async () => {
    const data = aggregated([
      { data: '{"v":1}', key: "key-1" },
      { data: '{"v":2}', key: "key-2", hashKey: "0" },
      { data: '{"v":3}\n', key: "key-1" },
      { data: "broken", key: "key-2" },
    ]);
    const { FailedRecordCount, Records } = await putRecords("anything", [{ data: '{"v":0}' }, { data, key: "a" }]);
    assert.equal(FailedRecordCount, 0);
    assert.equal(Records.length, 2);
    assert.deepEqual(stored("anything").toSorted(), ['{"v":0}', '{"v":1}', '{"v":2}', '{"v":3}']);
    const own = Number((BigInt(`0x${hash("md5", "key-1", "hex")}`) * 4n) >> 128n);
    const inOwn = log.lines("anything", own).filter((line) => line === '{"v":1}' || line === '{"v":3}');
    assert.deepEqual(inOwn, ['{"v":1}', '{"v":3}']);
    assert.ok(log.lines("anything", 0).includes('{"v":2}'));
    assert.deepEqual(
      kinesis.door.deadLetters.map(({ payload }) => Buffer.from(payload).toString()),
      ["broken"],
    );
  });

  it("that only begins like one of the library is a dead letter as a whole", async () => {
    const whole = aggregated([{ data: '{"v":1}', key: "k" }]);
    const wrongSum = Buffer.from(whole);
    wrongSum[wrongSum.length - 1]! ^= 1;
    const cut = sealed(whole.subarray(4, whole.length - 18));
    const noKey = sealed(Buffer.from([0x1a, 0x03, 0x1a, 0x01, 0x7b]));
    const { Records } = await putRecords("anything", [{ data: wrongSum }, { data: cut }, { data: noKey }]);
    assert.deepEqual(
      Records.map(({ ErrorMessage }) => ErrorMessage?.replace(/.*: /, "")),
      [
        "its MD5 does not match",
        "its Protocol Buffers message is cut off",
        "a record in it has no data or no partition key",
      ],
    );
    assert.deepEqual(
      kinesis.door.deadLetters.map(({ code, payload }) => [code, Buffer.from(payload).length]),
      [wrongSum, cut, noKey].map(({ length }) => ["KINESIS_AGGREGATE_BROKEN", length]),
    );
  });
});

describe("a request that is wrong as a whole", () => {
  const record = { Data: base64(event("a")), PartitionKey: "k" };
  const many = (count: number) => Array.from({ length: count }, () => record);
  const cases: [string, unknown, string, RegExp, string?][] = [
    ["is no JSON", "{", "SerializationException", /no JSON/],
    ["is no object", "[]", "SerializationException", /no object/],
    ["names no stream", { Records: [record] }, "InvalidArgumentException", /StreamName or StreamARN/],
    [
      "names a stream that is not there",
      { StreamName: "Other-Stream", Records: [record] },
      "ResourceNotFoundException",
      /export const other_stream = stream\("other_stream"/,
    ],
    ["has a wrong ARN", { StreamARN: "arn:aws:s3:::x", Records: [record] }, "ValidationException", /ARN of a stream/],
    ["has no records", { StreamName: "orders", Records: [] }, "ValidationException", /greater than or equal to 1/],
    ["has no list of records", { StreamName: "orders", Records: {} }, "SerializationException", /no list/],
    [
      "has 501 records",
      { StreamName: "orders", Records: many(501) },
      "ValidationException",
      /less than or equal to 500/,
    ],
    [
      "has a record without data",
      { StreamName: "orders", Records: [record, { PartitionKey: "k" }] },
      "ValidationException",
      /'records.2.member.data'.*must not be null/,
    ],
    [
      "has a record without a partition key",
      { StreamName: "orders", Records: [{ Data: "" }] },
      "ValidationException",
      /'partitionKey'.*must not be null/,
    ],
    [
      "has an empty partition key",
      { StreamName: "orders", Records: [{ ...record, PartitionKey: "" }] },
      "ValidationException",
      /greater than or equal to 1/,
    ],
    [
      "has a partition key of 257 characters",
      { StreamName: "orders", Records: [{ ...record, PartitionKey: "x".repeat(257) }] },
      "ValidationException",
      /less than or equal to 256/,
    ],
    [
      "has a hash key beyond 128 bits",
      { StreamName: "orders", Records: [{ ...record, ExplicitHashKey: String(1n << 128n) }] },
      "InvalidArgumentException",
      /ExplicitHashKey/,
    ],
    [
      "has data that is no base64",
      { StreamName: "orders", Records: [record, { ...record, Data: "ab!=" }] },
      "SerializationException",
      /record 1 is no base64/,
    ],
    [
      "has base64 that is cut off",
      { StreamName: "orders", Records: [{ ...record, Data: "abc" }] },
      "SerializationException",
      /multiple of 4/,
    ],
    [
      "has data that is a number",
      { StreamName: "orders", Records: [{ ...record, Data: 1 }] },
      "SerializationException",
      /no blob/,
    ],
    ["asks for what there is not", {}, "UnknownOperationException", /'Kinesis_20131202.PutAll'/, "PutAll"],
  ];
  for (const [what, input, type, message, operation = "PutRecords"] of cases) {
    it(`because it ${what} is refused, and nothing of it is stored`, async () => {
      const answer = await kinesis.call(operation, input);
      assert.deepEqual([answer.status, answer.json.__type], [400, type], answer.text);
      assert.match(answer.json.message, message);
      assert.deepEqual([stored("orders"), kinesis.door.deadLetters], [[], []]);
    });
  }

  it("because it is beyond 10 MiB is refused, whether in data or in its body", async () => {
    await using large = await OpenKinesis.open({
      streams: [orders],
      settings: { maxBodyBytes: 32 * 1024 * 1024, inflightBytes: 256 * 1024 * 1024 },
    });
    const Data = base64(event("a").padEnd(1024 * 1024));
    const Records = Array.from({ length: 10 }, () => ({ Data, PartitionKey: "k" }));
    const tooMuch = await large.call("PutRecords", { StreamName: "orders", Records });
    assert.deepEqual([tooMuch.status, tooMuch.json.__type], [400, "InvalidArgumentException"]);
    assert.match(tooMuch.json.message, /exceeds 10 MB/);
    const answer = await kinesis.call("PutRecords", { StreamName: "orders", Records });
    assert.deepEqual([answer.status, answer.json.__type], [413, "RequestEntityTooLargeException"]);
    assert.deepEqual([large.door.log.ends("orders", 0).end, stored("orders")], [0, []]);
  });
});

describe("who may send", () => {
  it("is said by the scopes of the key", async () => {
    const put = (accessKeyId: string, StreamName: string) =>
      kinesis.call("PutRecord", { StreamName, Data: base64('{"v":1}'), PartitionKey: "k" }, { accessKeyId });
    for (const [key, stream, type] of [
      ["INGEST", "anything", undefined],
      ["ADMIN", "anything", undefined],
      ["WRITE", "app", undefined],
      ["WRITE", "anything", "AccessDeniedException"],
      ["QUERY", "anything", "AccessDeniedException"],
    ] as const) {
      const answer = await put(key, stream);
      assert.equal(answer.json.__type, type, `${key} ${stream} ${answer.text}`);
    }
  });
});

describe("when the log fails", () => {
  it("as a whole the request is one to send again, as AWS's client does by itself", async () => {
    let failures = 2;
    log.failure = (_stream, partition) =>
      failures-- > 0
        ? new MillraceError("LOG_UNAVAILABLE", { stream: "orders", partition, reason: "disk full" })
        : undefined;
    const client = kinesis.client("ADMIN", { maxAttempts: 3 });
    const Records = [{ Data: Buffer.from(event("a")), PartitionKey: "k" }];
    const { FailedRecordCount } = await client.send(new PutRecordsCommand({ StreamName: "orders", Records }));
    assert.equal(FailedRecordCount, 0);
    assert.deepEqual(stored("orders"), [event("a")]);
  });

  it("in one partition only its records fail, with a code that says to send them again", async () => {
    log.failure = (_stream, partition) =>
      partition === 2
        ? new MillraceError("LOG_UNAVAILABLE", { stream: "orders", partition, reason: "disk full" })
        : undefined;
    const ids = Array.from({ length: 20 }, (_, n) => `id-${n}`);
    const { FailedRecordCount, Records } = await putRecords(
      "orders",
      ids.map((id) => event(id)),
    );
    const failed = ids.filter((id) => partitionOf(id, PARTITIONS) === 2);
    assert.ok(failed.length > 0 && failed.length < 20);
    assert.equal(FailedRecordCount, failed.length);
    ids.forEach((id, index) => {
      assert.equal(Records[index]?.ErrorCode, failed.includes(id) ? "InternalFailure" : undefined);
    });
    assert.equal(stored("orders").length, 20 - failed.length);
  });
});

/** As the Kinesis Producer Library puts records together. */
function aggregated(records: readonly { data: string; key: string; hashKey?: string }[]): Buffer {
  const keys = [...new Set(records.map(({ key }) => key))];
  const hashKeys = [...new Set(records.flatMap(({ hashKey }) => hashKey ?? []))];
  const bytes = (field: number, content: string | Uint8Array) => {
    const data = Buffer.from(content as string);
    assert.ok(data.length < 128);
    return Buffer.concat([Buffer.from([field * 8 + 2, data.length]), data]);
  };
  const parts = [
    ...keys.map((key) => bytes(1, key)),
    ...hashKeys.map((key) => bytes(2, key)),
    ...records.map(({ data, key, hashKey }) =>
      bytes(
        3,
        Buffer.concat([
          Buffer.from([0x08, keys.indexOf(key)]),
          ...(hashKey === undefined ? [] : [Buffer.from([0x10, hashKeys.indexOf(hashKey)])]),
          bytes(3, data),
          bytes(4, Buffer.from([0x0a, 0x01, 0x74])),
        ]),
      ),
    ),
  ];
  return sealed(Buffer.concat(parts));
}

function sealed(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from("f3899ac2", "hex"), message, hash("md5", message, "buffer")]);
}
