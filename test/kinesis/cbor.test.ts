import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { decode, encode, Token, Type } from "cborg";
import { orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";
import { signedHeaders } from "./sign.ts";

const CBOR_TYPE = "application/x-amz-cbor-1.1";
let kinesis: OpenKinesis;

before(async () => {
  kinesis = await OpenKinesis.open({ streams: [orders] });
});
after(() => kinesis[Symbol.asyncDispose]());

interface CborAnswer {
  readonly status: number;
  readonly type: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly value: any;
}

async function call(operation: string, body: Uint8Array): Promise<CborAnswer> {
  const host = `127.0.0.1:${kinesis.door.port}`;
  const { host: _, ...headers } = signedHeaders(operation, body, host, { contentType: CBOR_TYPE });
  const response = await fetch(kinesis.door.url, { method: "POST", headers, body: Buffer.from(body) });
  const tags = Object.assign([], { 1: (content: () => number) => ({ ms: content() }) });
  const value: unknown = decode(new Uint8Array(await response.arrayBuffer()), { tags });
  return { status: response.status, type: response.headers.get("content-type"), value };
}

describe("CBOR, as the SDK for Java speaks it", () => {
  it("carries data as bytes and moments as milliseconds, both ways", async () => {
    const data = Buffer.from('{"id":"a","n":1}');
    const put = await call(
      "PutRecords",
      encode({ StreamName: "orders", Records: [{ Data: new Uint8Array(data), PartitionKey: "k" }] }),
    );
    assert.deepEqual([put.status, put.type, put.value.FailedRecordCount], [200, CBOR_TYPE, 0]);
    const moment = {
      typeEncoders: { Date: (at: Date) => [new Token(Type.tag, 1), new Token(Type.uint, at.getTime())] },
    };
    const iterator = await call(
      "GetShardIterator",
      encode(
        {
          StreamName: "orders",
          ShardId: "shardId-000000000000",
          ShardIteratorType: "AT_TIMESTAMP",
          Timestamp: new Date(Date.now() - 60_000),
        },
        moment,
      ),
    );
    const { value } = await call("GetRecords", encode({ ShardIterator: iterator.value.ShardIterator, Limit: 10 }));
    const [record] = value.Records;
    assert.deepEqual(Buffer.from(record.Data), data);
    assert.equal(record.SequenceNumber, put.value.Records[0].SequenceNumber);
    assert.ok(Math.abs(record.ApproximateArrivalTimestamp.ms - Date.now()) < 60_000);
  });

  it("may be of indefinite length, as Jackson writes it", async () => {
    // {_ "Limit": 1}
    const { status, value } = await call("ListStreams", Buffer.from("bf654c696d697401ff", "hex"));
    assert.deepEqual([status, value.StreamNames], [200, ["orders"]]);
  });

  it("that is broken, and a key twice, are refused in CBOR", async () => {
    for (const hex of ["bf654c", "a2614101614102", "ff", "01"]) {
      const { status, type, value } = await call("ListStreams", Buffer.from(hex, "hex"));
      assert.deepEqual([status, type, value.__type], [400, CBOR_TYPE, "SerializationException"], hex);
    }
  });
});

describe("a body that is neither JSON nor CBOR", () => {
  it("is refused by its type, or by its encoding", async () => {
    const { json, status } = await kinesis.call("ListStreams", "{}", { contentType: "text/plain" });
    assert.deepEqual([status, json.__type], [400, "UnknownOperationException"]);
    assert.match(json.message, /application\/x-amz-json-1\.1 or application\/x-amz-cbor-1\.1, got 'text\/plain'/);
    const packed = await kinesis.call("ListStreams", "{}", { headers: { "content-encoding": "gzip" } });
    assert.deepEqual([packed.status, packed.json.__type], [400, "SerializationException"]);
  });
});
