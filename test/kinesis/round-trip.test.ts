import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  DescribeStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  type KinesisClient,
  PutRecordCommand,
  PutRecordsCommand,
} from "@aws-sdk/client-kinesis";
import { orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";

let kinesis: OpenKinesis;
let client: KinesisClient;

before(async () => {
  kinesis = await OpenKinesis.open({ streams: [orders] });
  client = kinesis.client();
});
after(() => kinesis[Symbol.asyncDispose]());

describe("AWS's client, as it comes", () => {
  it("puts records and reads them back", async () => {
    const Records = Array.from({ length: 500 }, (_, n) => ({
      Data: Buffer.from(JSON.stringify({ id: `a${n}`, n })),
      PartitionKey: `a${n}`,
    }));
    const put = await client.send(new PutRecordsCommand({ StreamName: "orders", Records }));
    assert.equal(put.FailedRecordCount, 0);
    assert.equal(put.Records?.length, 500);
    const one = await client.send(
      new PutRecordCommand({ StreamName: "orders", Data: Buffer.from('{"id":"b","n":1}'), PartitionKey: "b" }),
    );
    const { StreamDescription } = await client.send(new DescribeStreamCommand({ StreamName: "orders" }));
    const [shard] = StreamDescription?.Shards ?? [];
    const { ShardIterator } = await client.send(
      new GetShardIteratorCommand({
        StreamName: "orders",
        ShardId: shard?.ShardId,
        ShardIteratorType: "TRIM_HORIZON",
      }),
    );
    const read = await client.send(new GetRecordsCommand({ ShardIterator }));
    assert.equal(read.Records?.length, 501);
    assert.equal(read.MillisBehindLatest, 0);
    assert.deepEqual(
      read.Records?.slice(0, 500).map(({ Data }) => Buffer.from(Data as Uint8Array).toString()),
      Records.map(({ Data }) => Data.toString()),
    );
    assert.deepEqual(
      read.Records?.map(({ SequenceNumber }) => SequenceNumber),
      [...(put.Records ?? []), one].map(({ SequenceNumber }) => SequenceNumber),
    );
    assert.equal(read.Records?.[3]?.PartitionKey, "a3");
    assert.ok(Math.abs((read.Records?.[0]?.ApproximateArrivalTimestamp?.getTime() ?? 0) - Date.now()) < 60_000);
  });
});
