import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Stream } from "../../src/define/project.ts";
import { openDoor, streamOf } from "./open-door.ts";
import { orders } from "./orders.ts";

const STRUCTURED = "application/cloudevents+json";
const BATCH = "application/cloudevents-batch+json";

/** A stream of envelopes. */
const envelopes: Stream = streamOf(
  "envelopes",
  {
    type: "object",
    properties: {
      specversion: { type: "string" },
      id: { type: "string" },
      source: { type: "string" },
      type: { type: "string" },
      data: {},
    },
    required: ["specversion", "id", "source", "type"],
  },
  [
    { name: "specversion", type: { kind: "string" }, nullable: false },
    { name: "id", type: { kind: "string" }, nullable: false },
    { name: "source", type: { kind: "string" }, nullable: false },
    { name: "type", type: { kind: "string" }, nullable: false },
    { name: "data", type: { kind: "json" }, nullable: true },
  ],
);

const attributes = { specversion: "1.0", id: "e1", source: "/tills/7", type: "shop.order" };

describe("CloudEvents", () => {
  it("structured: the data is the event, byte for byte, and the source its source", async () => {
    await using door = await openDoor({ streams: [orders] });
    const data = '{ "n": 1.50 , "id":"a\\u00e9" }';
    const envelope = `{"specversion":"1.0","id":"e1","data" : ${data} ,"source":"/tills/7","type":"shop.order"}`;
    const answer = await door.post("orders", envelope, STRUCTURED);
    assert.deepEqual(answer.json, { accepted: 1, rejected: [], partitions: [{ partition: 0, from: 0, to: 0 }] });
    assert.deepEqual([door.log.lines("orders"), door.log.sources("orders")], [[data], ["/tills/7"]]);
  });

  it("batch: each by itself, in their order, with their own sources", async () => {
    await using door = await openDoor({ streams: [orders] });
    const envelope = (n: number, source: string) => ({ ...attributes, source, data: { id: `o${n}`, n } });
    const batch = [
      envelope(1, "a"),
      envelope(2, "a"),
      { ...envelope(3, "b"), type: undefined },
      envelope(4, "b"),
      { ...attributes, data: { id: "x" } },
      envelope(6, "a"),
    ];
    const answer = await door.post("orders", JSON.stringify(batch, null, 1), BATCH);
    assert.equal(answer.json.accepted, 4);
    assert.deepEqual(answer.json.rejected, [
      {
        index: 2,
        code: "CLOUDEVENT_INVALID",
        message: 'not a CloudEvent of version 1.0: the attribute "type" is missing',
      },
      { index: 4, code: "EVENT_INVALID", message: '"/n" must be there' },
    ]);
    assert.deepEqual(
      door.log.lines("orders").map((line) => (JSON.parse(line) as { n: number }).n),
      [1, 2, 4, 6],
    );
    assert.deepEqual(door.log.sources("orders"), ["a", "a", "b", "a"]);
    assert.equal(door.deadLetters.length, 2);
  });

  it("binary: the body is the event, the headers its envelope", async () => {
    await using door = await openDoor({ streams: [orders] });
    const headers = {
      "content-type": "application/json",
      "ce-specversion": "1.0",
      "ce-id": "e1",
      "ce-source": "/caf%C3%A9/1",
      "ce-type": "shop.order",
    };
    assert.equal((await door.post("orders", '{"id":"a","n":1}', headers)).status, 202);
    assert.equal(
      (await door.post("orders", '{"id":"b","n":2}', { ...headers, "content-type": "application/vnd.shop+json" }))
        .status,
      202,
    );
    assert.deepEqual(
      [door.log.lines("orders"), door.log.sources("orders")],
      [
        ['{"id":"a","n":1}', '{"id":"b","n":2}'],
        ["/café/1", "/café/1"],
      ],
    );

    const array = await door.post("orders", '[{"id":"a","n":1}]', headers);
    assert.match(array.json.rejected[0].message, /the event must be an object, got an array of 1/);
    const text = await door.post("orders", "hello", { ...headers, "content-type": "text/plain" });
    assert.deepEqual([text.status, text.json.error.code], [415, "BODY_TYPE_UNSUPPORTED"]);
    const { "ce-type": _, ...without } = headers;
    const missing = await door.post("orders", "{}", without);
    assert.deepEqual([missing.status, missing.json.error.code], [400, "CLOUDEVENT_INVALID"]);
  });

  it("a stream with a property specversion takes the whole envelope, in every mode", async () => {
    await using door = await openDoor({ streams: [envelopes] });
    const envelope = JSON.stringify({ ...attributes, data: { any: [1, 2.5] } });
    await door.post("envelopes", envelope, STRUCTURED);
    await door.post("envelopes", `[${envelope}, ${envelope}]`, BATCH);
    assert.deepEqual(door.log.lines("envelopes"), [envelope, envelope, envelope]);
    const binary = await door.post("envelopes", '{"any": [1]}', {
      "content-type": "application/json",
      "ce-specversion": "1.0",
      "ce-id": "e2",
      "ce-source": "s",
      "ce-type": "t",
      "ce-extra": "x",
    });
    assert.equal(binary.status, 202, binary.text);
    assert.equal(
      door.log.lines("envelopes")[3],
      '{"specversion":"1.0","id":"e2","source":"s","type":"t","extra":"x","datacontenttype":"application/json","data":{"any": [1]}}',
    );
    const same = await door.post("envelopes", envelope);
    assert.equal(same.status, 202, "the same envelope as a plain event");
  });

  it("data_base64 that holds JSON is decoded, any other is refused", async () => {
    await using door = await openDoor({ streams: [orders] });
    const post = (more: object) => door.post("orders", JSON.stringify({ ...attributes, ...more }), STRUCTURED);
    const encoded = (text: string | Buffer) => Buffer.from(text as string).toString("base64");
    assert.equal((await post({ data_base64: encoded('\n{"id":"a",\n"n":1}\n') })).status, 202);
    assert.deepEqual(door.log.lines("orders"), ['{"id":"a", "n":1}']);
    const refused: readonly (readonly [object, RegExp])[] = [
      [{ data_base64: "not base64!" }, /data_base64 is not base64/],
      [{ data_base64: encoded(Buffer.from([0xff, 0xfe])) }, /it is not UTF-8/],
      [{ data_base64: encoded("hello") }, /not valid JSON: at byte 0/],
      [{ data_base64: 5 }, /data_base64 is not base64/],
      [{ data_base64: encoded("{}"), data: {} }, /both data and data_base64/],
      [{}, /it has no data/],
    ];
    for (const [more, message] of refused) {
      const answer = await post(more);
      assert.equal(answer.status, 422);
      assert.match(answer.json.rejected[0].message, message);
    }
    assert.equal(door.log.lines("orders").length, 1);
  });

  it("an envelope that is no envelope is refused for what is wrong with it", async () => {
    await using door = await openDoor({ streams: [orders] });
    const data = { id: "a", n: 1 };
    const refused: readonly (readonly [string, RegExp])[] = [
      [JSON.stringify({ ...attributes, data, specversion: "0.3" }), /specversion is "0.3", "1.0" is taken/],
      [JSON.stringify({ ...attributes, data, id: "" }), /"id" must be a non-empty string/],
      [JSON.stringify({ ...attributes, data, source: 5 }), /"source" must be a non-empty string/],
      [
        JSON.stringify({ ...attributes, data, source: "x".repeat(201) }),
        /the source has 201 characters; 200 are allowed/,
      ],
      [JSON.stringify({ ...attributes, data, type: "a\nb" }), /"type" holds a control character/],
      ["[]", /it is not an object/],
      [`{"data":{},${JSON.stringify({ ...attributes, data }).slice(1)}`, /the key "data" stands twice/],
      [JSON.stringify({ ...attributes, data, note: "\ud800" }), /half of a surrogate pair/],
    ];
    for (const [envelope, message] of refused) {
      const answer = await door.post("orders", envelope, STRUCTURED);
      assert.equal(answer.status, 422, envelope);
      assert.match(answer.json.rejected[0].message, message);
    }
    const cut = await door.post("orders", JSON.stringify({ ...attributes, data }).slice(0, -1), STRUCTURED);
    assert.deepEqual([cut.status, cut.json.error.code], [400, "BODY_MALFORMED_JSON"]);
    assert.deepEqual([door.log.lines("orders"), door.failures], [[], []]);
  });
});
