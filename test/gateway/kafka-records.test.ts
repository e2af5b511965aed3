/** What records of a topic become, without a broker: which of them count, and what event each is. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { RecordsBatch } from "@platformatic/kafka";
import avro from "avsc";
import { avroToJson, avroType } from "../../src/gateway/kafka/avro-json.ts";
import { committedRecords, type TopicRecord } from "../../src/gateway/kafka/committed-records.ts";
import { type RecordRules, recordEvent } from "../../src/gateway/kafka/record-event.ts";
import { RegistryFailure, SchemaRegistry } from "../../src/gateway/kafka/schema-registry.ts";
import { batchMark, markedTo, markPrefix } from "../../src/gateway/kafka/source-mark.ts";

const TRANSACTIONAL = 16;
const CONTROL = 32;

function batch(first: number, values: readonly (string | null)[], more: Partial<RecordsBatch> = {}): RecordsBatch {
  const records = values.map((value, offsetDelta) => ({
    ...{ length: 0, attributes: 0, timestampDelta: BigInt(offsetDelta), offsetDelta, key: null, headers: [] },
    value: value === null ? null : Buffer.from(value),
  }));
  return {
    ...{ firstOffset: BigInt(first), length: 0, partitionLeaderEpoch: 0, magic: 2, crc: 0, attributes: 0 },
    ...{ lastOffsetDelta: values.length - 1, firstTimestamp: 1000n, maxTimestamp: 5000n, producerId: -1n },
    ...{ producerEpoch: 0, firstSequence: 0, records, ...more },
  };
}

/** The marker that ends a transaction. */
function marker(at: number, producerId: bigint, kind: "abort" | "commit"): RecordsBatch {
  const made = batch(at, [null], { attributes: CONTROL | TRANSACTIONAL, producerId });
  const key = Buffer.from([0, 0, 0, kind === "abort" ? 0 : 1]);
  return { ...made, records: made.records.map((record) => ({ ...record, key })) };
}

const offsets = (records: readonly TopicRecord[]) => records.map(({ offset }) => offset);

test("aborted transactions do not count, whether their marker is in the answer or behind it; committed ones of the same producer do", () => {
  const of = (first: number, producerId: bigint) => batch(first, ["a", "b"], { attributes: TRANSACTIONAL, producerId });
  const batches = [
    ...[of(0, 7n), of(2, 8n), marker(4, 7n, "abort"), of(5, 7n), marker(7, 8n, "commit"), marker(8, 7n, "commit")],
    ...[batch(9, ["plain"]), of(10, 7n)],
  ];
  const aborted = [
    { producerId: 7n, firstOffset: 10n },
    { producerId: 7n, firstOffset: 0n },
  ];
  const { records, next } = committedRecords(batches, aborted, 0);
  assert.deepEqual(offsets(records), [2, 3, 5, 6, 9]);
  assert.equal(next, 12);
});

test("a transaction that was aborted before the answer begins is known by its first offset", () => {
  const batches = [
    batch(20, ["a"], { attributes: TRANSACTIONAL, producerId: 7n }),
    marker(21, 7n, "abort"),
    batch(22, ["b"]),
  ];
  const { records } = committedRecords(batches, [{ producerId: 7n, firstOffset: 3n }], 20);
  assert.deepEqual(offsets(records), [22]);
});

test("gaps that compaction left move the position on, and records before the one asked for are left out", () => {
  const compacted = batch(10, ["a", "b", "c", "d"], { lastOffsetDelta: 9 });
  const kept = { ...compacted, records: [compacted.records[1]!, compacted.records[3]!] };
  const found = committedRecords([kept], [], 12);
  assert.deepEqual([offsets(found.records), found.next], [[13], 20]);
  assert.deepEqual(committedRecords([{ ...kept, records: [] }], [], 10), { records: [], next: 20 });
});

test("times are the producer's, or the broker's where the topic says so", () => {
  assert.deepEqual(
    committedRecords([batch(0, ["a", "b"])], [], 0).records.map(({ timestampMs }) => timestampMs),
    [1000, 1001],
  );
  const ofBroker = committedRecords([batch(0, ["a", "b"], { attributes: 8 })], [], 0);
  assert.deepEqual(
    ofBroker.records.map(({ timestampMs }) => timestampMs),
    [5000, 5000],
  );
});

test("records in an old format are refused, not misread", () => {
  assert.throws(() => committedRecords([batch(4, ["a"], { magic: 1 })], [], 0), /format 1/);
});

const RULES: RecordRules = { format: "json", fields: [], tombstones: "dead-letter" };
const field = (
  name: string,
  part: "key" | "timestamp" | "partition" | "offset" | "header",
  header = "",
  text = true,
) => ({
  ...{ field: name, part, header, text },
});

function record(value: string | Buffer | undefined, more: Partial<TopicRecord> = {}): TopicRecord {
  const bytes = typeof value === "string" ? Buffer.from(value) : value;
  return { offset: 42, key: Buffer.from("k1"), value: bytes, headers: [], timestampMs: 1_700_000_000_000, ...more };
}

function event(made: TopicRecord, rules: Partial<RecordRules> = {}): string {
  const outcome = recordEvent(made, 3, { ...RULES, ...rules });
  return outcome.kind === "event"
    ? outcome.payload.toString()
    : `${outcome.kind} ${"code" in outcome ? outcome.code : ""}`;
}

test("a value is the event byte for byte", () => {
  assert.equal(event(record(' {"a" : 1}\n')), ' {"a" : 1}\n');
});

test("fields from around the value stand in front of its own", () => {
  const fields = [
    ...[field("key", "key"), field("at", "timestamp"), field("p", "partition"), field("o", "offset")],
    ...[field("trace", "header", "trace"), field("n", "header", "n", false), field("none", "header", "none")],
  ];
  const headers = [
    [Buffer.from("trace"), Buffer.from('first "one"')],
    [Buffer.from("trace"), Buffer.from('"é"')],
    [Buffer.from("n"), Buffer.from("12.50")],
  ] as const;
  const made = '"key":"k1","at":"2023-11-14T22:13:20.000Z","p":3,"o":42,"trace":"\\"é\\"","n":12.50';
  assert.equal(event(record('\n { "a":1}', { headers }), { fields }), `\n {${made}, "a":1}`);
  assert.equal(event(record("{ }", { headers }), { fields }), `{${made} }`);
  assert.equal(event(record("{}", { key: undefined }), { fields: [field("key", "key")] }), "{}");
  assert.equal(event(record("[1]"), { fields }), "[1]");
  assert.equal(
    event(record("{}", { key: Buffer.from("x12") }), { fields: [field("n", "key", "", false)] }),
    '{"n":"x12"}',
  );
});

test("bytes that are no text are refused with a reason and kept", () => {
  const bytes = Buffer.from([0x7b, 0xff, 0x7d]);
  const outcome = recordEvent(record(bytes), 0, RULES);
  assert.ok(outcome.kind === "refused" && outcome.code === "SOURCE_RECORD_UNREADABLE" && outcome.payload.equals(bytes));
  assert.match(event(record("{}", { key: Buffer.from([0xff]) }), { fields: [field("k", "key")] }), /UNREADABLE/);
});

test("JSON behind the prefix of a schema registry is taken without it", () => {
  assert.equal(event(record(Buffer.concat([Buffer.from([0, 0, 0, 0, 9]), Buffer.from("{}")]))), "{}");
});

test("a tombstone is what the definition says", () => {
  assert.equal(event(record(undefined)), "refused SOURCE_TOMBSTONE");
  assert.equal(event(record(undefined), { tombstones: "skip" }), "skipped ");
  const flagged = { tombstones: { flag: "gone" }, fields: [field("id", "key")] };
  assert.equal(event(record(undefined), flagged), '{"id":"k1","gone":true}');
});

test("a mark says which records a batch holds, also under names that are too long", () => {
  const prefix = markPrefix({ topic: "billing.payments", group: undefined }, 3);
  assert.equal(batchMark(prefix, 100, 250), "kafka:billing.payments/3@100-250");
  assert.equal(markedTo(prefix, "kafka:billing.payments/3@100-250"), 250);
  for (const other of [
    "kafka:billing.payments/31@1-2",
    "kafka:billing.payments/3@17",
    "http",
    "kafka:billing.payments+g/3@1-2",
  ])
    assert.equal(markedTo(prefix, other), undefined);
  const long = { topic: "t".repeat(249), group: "g".repeat(200) };
  const mark = batchMark(markPrefix(long, 1023), Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER);
  assert.ok(mark.length <= 200, mark);
  assert.notEqual(markPrefix(long, 1), markPrefix({ ...long, group: "g".repeat(199) }, 1));
});

const SCHEMA = {
  ...{ type: "record", name: "Payment", namespace: "shop" },
  fields: [
    { name: "id", type: "string" },
    { name: "count", type: ["null", { type: "long", "connect.type": "int64" }] },
    { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
    { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
    { name: "exact", type: ["null", { type: "long", logicalType: "timestamp-micros" }] },
    { name: "day", type: { type: "int", logicalType: "date" } },
    { name: "by", type: ["null", "shop.Person"] },
    { name: "tags", type: { type: "map", values: { type: "array", items: "double" } } },
    { name: "raw", type: "bytes" },
  ],
};
const PERSON = { type: "record", name: "Person", namespace: "shop", fields: [{ name: "name", type: "string" }] };

/** As a producer of another language writes it. */
function written(more: Record<string, unknown> = {}): Buffer {
  const options = { registry: {}, logicalTypes: {}, wrapUnions: true } as unknown as avro.ForSchemaOptions;
  avro.Type.forSchema(structuredClone(PERSON) as avro.Schema, options);
  return avro.Type.forSchema(structuredClone(SCHEMA) as unknown as avro.Schema, options).toBuffer({
    ...{ id: "p1", count: { long: 7 }, amount: Buffer.from([0xff, 0x38]), at: 1_700_000_000_123, exact: { long: -1 } },
    ...{ day: 19_000, by: { "shop.Person": { name: "Zoë" } }, tags: { a: [1.5, -2] }, raw: Buffer.from("hi") },
    ...more,
  });
}

test("Avro becomes the JSON that people expect", () => {
  const type = avroType(SCHEMA, [PERSON]);
  assert.deepEqual(JSON.parse(avroToJson(type, written())), {
    ...{ id: "p1", count: 7, amount: "-2.00", at: "2023-11-14T22:13:20.123Z", exact: "1969-12-31T23:59:59.999999Z" },
    ...{ day: "2022-01-08", by: { name: "Zoë" }, tags: { a: [1.5, -2] }, raw: "aGk=" },
  });
  assert.match(
    avroToJson(type, written({ count: null, exact: null, by: null })),
    /"count":null.*"exact":null.*"by":null/,
  );
  assert.throws(() => avroToJson(type, written({ tags: { a: [Number.NaN] } })), /NaN/);
  assert.throws(() => avroToJson(type, written().subarray(0, 9)), /./);
  const long = avro.Type.forSchema("long").toBuffer(2 ** 52);
  assert.equal(avroToJson(avroType("long"), long), "4503599627370496");
  const widest = Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
  assert.equal(avroToJson(avroType({ type: "long" }), widest), "9223372036854775807");
});

test("schemas come from a registry with their references, once each; one that it does not know concerns its record alone", async (t) => {
  const asked: string[] = [];
  let answers = true;
  // The protocol as Confluent documents it, answered by hand.
  const server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    const [status, answer] = !answers
      ? [503, {}]
      : request.url === "/api/schemas/ids/7"
        ? [
            200,
            { schema: JSON.stringify(SCHEMA), references: [{ name: "shop.Person", subject: "people/x", version: 2 }] },
          ]
        : request.url === "/api/subjects/people%2Fx/versions/2"
          ? [200, { subject: "people/x", version: 2, id: 3, schema: JSON.stringify(PERSON) }]
          : request.url === "/api/schemas/ids/9"
            ? [200, { schema: 'syntax = "proto3";', schemaType: "PROTOBUF" }]
            : [404, { error_code: 40403, message: "Schema not found" }];
    response.writeHead(status as number, { "content-type": "application/vnd.schemaregistry.v1+json" });
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/`;
  const registry = new SchemaRegistry({ url, username: "u", password: "p" });
  const [found, again] = await Promise.all([registry.find(7), registry.find(7)]);
  assert.equal(found, again);
  const basic = `Basic ${Buffer.from("u:p").toString("base64")}`;
  assert.deepEqual(asked, [`/api/schemas/ids/7 ${basic}`, `/api/subjects/people%2Fx/versions/2 ${basic}`]);
  const value = Buffer.concat([Buffer.from([0, 0, 0, 0, 7]), written()]);
  const rules: RecordRules = { ...RULES, format: "avro", fields: [field("key", "key")] };
  const outcome = recordEvent(record(value), 0, rules, registry.known(7));
  assert.ok(outcome.kind === "event" && outcome.payload.toString().startsWith('{"key":"k1","id":"p1"'));
  const other = recordEvent(record(Buffer.from([0, 0, 0, 0, 9, 1])), 0, rules, await registry.find(9));
  assert.ok(other.kind === "refused" && /PROTOBUF/.test(other.message));
  const unknown = recordEvent(record(Buffer.from([0, 0, 0, 0, 8, 1])), 0, rules, await registry.find(8));
  assert.ok(unknown.kind === "refused" && /no schema 8/.test(unknown.message));
  assert.match(event(record("{}"), rules), /UNREADABLE/);
  answers = false;
  await assert.rejects(registry.find(10), (error) => error instanceof RegistryFailure && /503/.test(error.message));
  answers = true;
  assert.deepEqual(await registry.find(10), { problem: "the registry knows no schema 10" });
  server.closeAllConnections();
  server.close();
  await assert.rejects(registry.find(11), RegistryFailure);
});
