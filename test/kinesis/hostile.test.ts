/** Whatever comes, the door answers as AWS would, reports no failure of its own, and stores or records every byte it took. */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { userRecords } from "../../src/gateway/kinesis/aggregated-record.ts";
import { anything, orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";

let kinesis: OpenKinesis;

before(async () => {
  kinesis = await OpenKinesis.open({ streams: [orders, anything], partitions: 2 });
});
after(() => kinesis[Symbol.asyncDispose]());

const OPERATIONS = [
  ...["PutRecord", "PutRecords", "GetRecords", "GetShardIterator", "DescribeStream", "ListShards", "ListStreams"],
  ...["AddTagsToStream", "RemoveTagsFromStream", "ListTagsForStream", "CreateStream", "SplitShard", "SubscribeToShard"],
  ...["IncreaseStreamRetentionPeriod", "ListTagsForResource", "DeleteStream"],
];
const value: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, "orders", "anything", "", "shardId-000000000000", "TRIM_HORIZON", "AT_TIMESTAMP", "LATEST"),
  fc.constantFrom("AAAA", "e30=", "1".repeat(33), "arn:aws:kinesis:x:0:stream/orders", -1, 0, 1, 1e300, 1.5, [], {}),
  fc.jsonValue(),
);
const NAMES = [
  ...[
    "StreamName",
    "StreamARN",
    "ResourceARN",
    "ConsumerARN",
    "ShardId",
    "ShardIteratorType",
    "ShardIterator",
    "Limit",
  ],
  ...["Timestamp", "StartingSequenceNumber", "Data", "PartitionKey", "ExplicitHashKey", "Tags", "TagKeys", "NextToken"],
  ...["MaxResults", "ExclusiveStartShardId", "ShardFilter", "RetentionPeriodHours", "ExclusiveStartTagKey"],
];
const record = fc.oneof(value, fc.dictionary(fc.constantFrom("Data", "PartitionKey", "ExplicitHashKey"), value));
const input = fc
  .tuple(fc.dictionary(fc.constantFrom(...NAMES), value), fc.option(fc.oneof(value, fc.array(record))))
  .map(([fields, records]) => (records === null ? fields : { ...fields, Records: records }));

describe("the Kinesis door", () => {
  it("takes any parameters of any type for any operation without failing itself", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...OPERATIONS), input, async (operation, parameters) => {
        const { status, json, text } = await kinesis.call(operation, parameters);
        assert.ok(status === 200 || (status === 400 && /^[A-Za-z]+Exception$/.test(json.__type)), text);
      }),
      { numRuns: 400 },
    );
    assert.deepEqual(kinesis.door.failures, []);
  });

  it("takes any bytes as data: each record is stored, or is refused and a dead letter", async () => {
    const event = fc
      .record({ id: fc.string(), n: fc.oneof(fc.double(), fc.integer()) })
      .map((made) => JSON.stringify(made));
    const data = fc.oneof(
      event,
      fc.array(event).map((events) => events.join("\n")),
      fc.string(),
      fc.json(),
    );
    const bytes = fc.oneof(
      data.map((text) => Buffer.from(text)),
      fc.uint8Array().map((made) => Buffer.from(made)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 8 }), async (records) => {
        const { door } = kinesis;
        const count = () => door.log.lines("orders", 0).length + door.log.lines("orders", 1).length;
        const [stored, letters] = [count(), door.deadLetters.length];
        const Records = records.map((made) => ({ Data: made.toString("base64"), PartitionKey: "k" }));
        const { status, json, text } = await kinesis.call("PutRecords", { StreamName: "orders", Records });
        assert.equal(status, 200, text);
        const outcomes = json.Records as { ErrorCode?: string }[];
        assert.equal(outcomes.length, records.length);
        assert.equal(json.FailedRecordCount, outcomes.filter(({ ErrorCode }) => ErrorCode !== undefined).length);
        // Of every record at least one event is here or there.
        assert.ok(count() - stored + door.deadLetters.length - letters >= records.length);
        assert.ok(count() - stored >= records.length - json.FailedRecordCount);
      }),
      { numRuns: 200 },
    );
    assert.deepEqual(kinesis.door.failures, []);
  });

  it("reads any bytes that say they are aggregated", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (message) => {
        const bytes = Buffer.concat([Buffer.from("f3899ac2", "hex"), message, hash("md5", message, "buffer")]);
        const found = userRecords(bytes, 0, bytes.length);
        if (typeof found === "string") return;
        for (const { start, end } of found) assert.ok(start >= 4 && end >= start && end <= bytes.length - 16);
      }),
      { numRuns: 5000 },
    );
  });
});
