import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { MillraceError } from "../../src/errors.ts";
import { MemoryLog } from "../gateway/memory-log.ts";
import type { Answer, OpenDoor } from "../gateway/open-door.ts";
import { openDoor } from "../gateway/open-door.ts";
import { message, segmentStream } from "./segment-stream.ts";

const BASIC = { authorization: `Basic ${Buffer.from("write-key:").toString("base64")}` };

function post(door: OpenDoor, path: string, body: unknown, headers: Record<string, string> = BASIC): Promise<Answer> {
  const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return door.call("POST", path, { key: "", headers, body: bytes });
}

const stored = (door: OpenDoor) => door.log.lines("app").map((line) => JSON.parse(line) as Record<string, unknown>);
const open = (options: Partial<Parameters<typeof openDoor>[0]> = {}) =>
  openDoor({ streams: [segmentStream()], ...options });

describe("who may send to the Segment door", () => {
  it("takes a write key as the user of Basic, as Bearer, in the query and in the body", async () => {
    await using door = await open();
    const pair = Buffer.from("write-key").toString("base64");
    const answers = [
      await post(door, "/v1/batch", { batch: [message({ messageId: "1" })] }),
      await post(door, "/v1/batch", { batch: [message({ messageId: "2" })] }, { authorization: `basic ${pair}` }),
      await post(door, "/v1/batch", { batch: [message({ messageId: "3" })] }, { authorization: "Bearer write-key" }),
      await post(door, "/v1/batch?writeKey=write-key", { batch: [message({ messageId: "4" })] }, {}),
      await post(door, "/v1/batch", { batch: [message({ messageId: "5" })], writeKey: "write-key" }, {}),
      await post(door, "/v1/t", message({ messageId: "6", writeKey: "write-key" }), {}),
    ];
    assert.deepEqual(
      new Set(answers.map(({ status, text }) => `${status} ${text}`)),
      new Set(['200 {"success":true}']),
    );
    assert.deepEqual(
      stored(door).map(({ messageId }) => messageId),
      ["1", "2", "3", "4", "5", "6"],
    );
    assert.ok(!door.log.lines("app").join().includes("write-key"), "the key is nobody's data");
    assert.deepEqual([...new Set(door.log.sources("app"))], ["segment"]);
  });

  it("refuses wrong, missing and unfit keys, wherever they stand, and stores nothing", async () => {
    await using door = await open();
    const one = { batch: [message()] };
    const answers = [
      await post(door, "/v1/batch", one, {}),
      await post(door, "/v1/batch", one, { authorization: `Basic ${Buffer.from("nobody:").toString("base64")}` }),
      await post(door, "/v1/batch?writeKey=nobody", one, {}),
      await post(door, "/v1/batch", { ...one, writeKey: "nobody" }, {}),
      await post(door, "/v1/batch", { ...one, writeKey: 7 }, {}),
      await post(door, "/v1/batch", { batch: [message({ properties: { writeKey: "write-key" } })] }, {}),
      await post(door, "/v1/batch", one, { authorization: "Digest x" }),
      await post(door, "/v1/batch", one, { authorization: "Bearer query-key" }),
    ];
    assert.deepEqual(
      answers.map(({ status, json }) => [status, json.error.code]),
      [...Array(7).fill([401, "UNAUTHENTICATED"]), [403, "WRITE_KEY_UNFIT"]],
    );
    assert.deepEqual(stored(door), []);
    assert.deepEqual(door.deadLetters, []);
  });

  it("lets a write key send to its own stream and do nothing else", async () => {
    await using door = await open({ streams: [segmentStream(), segmentStream({}, "other")] });
    const own = await door.call("POST", "/v1/streams/app/events", {
      key: "write-key",
      body: JSON.stringify(message()),
      headers: { "content-type": "application/json" },
    });
    const other = await door.call("POST", "/v1/streams/other/events", {
      key: "write-key",
      body: "{}",
      headers: { "content-type": "application/json" },
    });
    const read = await door.call("GET", "/v1/streams", { key: "write-key" });
    assert.deepEqual([own.status, other.status, read.status], [202, 403, 403]);
    const { status, json } = await post(door, "/v1/batch", { batch: [] }, { authorization: "Bearer ingest-key" });
    assert.deepEqual(
      [status, json.error.code],
      [403, "WRITE_KEY_UNFIT"],
      "a key for all must say which of two sources",
    );
    assert.match(json.error.message, /app, other/);
  });

  it("answers who asks for settings with where to send, and nobody without a key", async () => {
    await using door = await open();
    const answer = await door.call("GET", "/v1/projects/write-key/settings", { key: "" });
    assert.equal(answer.status, 200);
    const { apiHost, protocol } = answer.json.integrations["Segment.io"];
    assert.deepEqual([apiHost, protocol], [`127.0.0.1:${door.port}/v1`, "http"]);
    const headers = { "x-forwarded-proto": "https", host: "events.example.com" };
    const proxied = await door.call("GET", "/v1/projects/write-key/settings", { key: "", headers });
    const behind = proxied.json.integrations["Segment.io"];
    assert.deepEqual([behind.apiHost, behind.protocol], ["events.example.com/v1", "https"]);
    assert.equal((await door.call("GET", "/v1/projects/nobody/settings", { key: "" })).status, 401);
  });

  it("is not there in a project without a source", async () => {
    await using door = await open({ streams: [{ ...segmentStream(), segment: undefined } as never] });
    assert.equal((await post(door, "/v1/batch", { batch: [message()] })).status, 404);
  });
});

describe("what becomes of messages", () => {
  it("takes single messages on the paths of their types, long and short, with or without a slash", async () => {
    await using door = await open();
    const bodies: Record<string, Record<string, unknown>> = {
      track: { event: "E" },
      identify: { traits: {} },
      page: { name: "P" },
      screen: {},
      group: { groupId: "g" },
      alias: { previousId: "old" },
    };
    for (const [type, fields] of Object.entries(bodies)) {
      for (const path of [`/v1/${type}`, `/v1/${type.charAt(0)}`, `/v1/${type}/`]) {
        assert.equal((await post(door, path, { userId: "u", messageId: path, ...fields })).status, 200, path);
      }
    }
    assert.deepEqual(
      stored(door).map(({ type }) => type),
      Object.keys(bodies).flatMap((type) => [type, type, type]),
    );
    const { status, json } = await post(door, "/v1/page", message());
    assert.deepEqual(
      [status, json.rejected[0].message],
      [400, '"/type" must be "page", as the path says, got "track"'],
    );
  });

  it("puts what the batch says into each message, wherever in the body it stands, and keeps what a message says itself", async () => {
    await using door = await open();
    const context = { library: { name: "go" }, ip: "1.2.3.4" };
    await post(door, "/v1/import", {
      batch: [
        message({ messageId: "1" }),
        message({ messageId: "2", sentAt: "2001-01-01T00:00:00Z", context: { ip: "9.9.9.9", app: { name: "A" } } }),
        message({ messageId: "3", context: null, integrations: { All: false } }),
      ],
      sentAt: "2020-01-01T00:00:00Z",
      context,
      integrations: { All: true },
    });
    const [first, second, third] = stored(door);
    assert.deepEqual(first, {
      ...message({ messageId: "1" }),
      sentAt: "2020-01-01T00:00:00Z",
      context,
      integrations: { All: true },
    });
    assert.deepEqual(second?.context, { ip: "9.9.9.9", app: { name: "A" }, library: { name: "go" } });
    assert.equal(second?.sentAt, "2001-01-01T00:00:00Z");
    assert.deepEqual([third?.context, third?.integrations], [context, { All: false }]);
  });

  it("keeps a message's own bytes: long numbers, escapes, the order of fields", async () => {
    await using door = await open();
    const own = '"properties":{"z":1.10,"a":12345678901234567.5e0,"\\u0062":"\\/ü"}';
    await post(door, "/v1/batch", `{"batch":[\n{"messageId":"1",${own},"type":"track",\n"userId":"u","event":"E"}]}`);
    assert.deepEqual(door.log.lines("app"), [`{"messageId":"1",${own},"type":"track","userId":"u","event":"E"}`]);
  });

  it("puts a messageId into the same partition always, whichever way it takes through the door", async () => {
    await using door = await open({ partitions: 4 });
    const ids = Array.from({ length: 40 }, (_, i) => `id-${i}`);
    const batch = (more: object) => ({ batch: ids.map((messageId) => message({ messageId, ...more })) });
    assert.equal((await post(door, "/v1/batch", batch({}))).status, 200);
    // An escape takes the exact way.
    assert.equal((await post(door, "/v1/batch", batch({ name: '"' }))).status, 200);
    const lines = [0, 1, 2, 3].map((partition) => door.log.lines("app", partition));
    for (const of of lines) {
      const found = of.map((line) => (JSON.parse(line) as { messageId: string }).messageId);
      assert.ok(found.length > 0);
      assert.deepEqual(found.slice(found.length / 2), found.slice(0, found.length / 2));
    }
    assert.equal(lines.flat().length, 80);
  });

  it("gives a message without an id the same one when it is sent again, and its like in one body another", async () => {
    await using door = await open();
    const { messageId: _none, ...plain } = message({ timestamp: "2020-01-01T00:00:00Z" });
    await post(door, "/v1/batch", {
      batch: [plain, plain, { ...plain, event: "Other" }],
      sentAt: "2020-01-01T00:00:01Z",
    });
    await post(door, "/v1/batch", {
      batch: [plain, plain, { ...plain, event: "Other" }],
      sentAt: "2020-01-01T00:00:09Z",
    });
    const ids = stored(door).map(({ messageId }) => messageId);
    assert.deepEqual(ids.slice(0, 3), ids.slice(3));
    assert.equal(new Set(ids).size, 3);
    const { timestamp: _no, ...timeless } = plain;
    await post(door, "/v1/batch", { batch: [timeless, { ...timeless, messageId: null }] });
    await post(door, "/v1/batch", { batch: [timeless] });
    assert.equal(
      new Set(stored(door).map(({ messageId }) => messageId)).size,
      6,
      "two clicks without a time may be two",
    );
  });

  it("stores the good half of a batch and keeps the bad half as dead letters with reasons; the answer names each", async () => {
    await using door = await open();
    const { status, json } = await post(door, "/v1/batch", {
      sentAt: "2020-01-01T00:00:00Z",
      batch: [
        message({ messageId: "ok1" }),
        message({ type: "purchase" }),
        { type: "track", userId: "u", messageId: "m" },
        { type: "group", userId: "u", messageId: "m" },
        { type: "alias", userId: "u", messageId: "m" },
        { type: "page", messageId: "m" },
        message({ userId: 7 }),
        message({ properties: [1] }),
        message({ properties: { text: "x".repeat(33_000) } }),
        "not a message",
        message({ messageId: "ok2" }),
      ],
    });
    assert.equal(status, 200, "an SDK would send all of them again");
    assert.deepEqual([json.success, json.accepted], [true, 2]);
    assert.deepEqual(
      json.rejected.map(({ index, code, message }: { index: number; code: string; message: string }) => [
        index,
        code,
        message,
      ]),
      [
        [
          1,
          "EVENT_INVALID",
          '"/type" must be one of "track", "identify", "page", "screen", "group", "alias", got "purchase"',
        ],
        [2, "EVENT_INVALID", '"/event" must be there'],
        [3, "EVENT_INVALID", '"/groupId" must be there'],
        [4, "EVENT_INVALID", '"/previousId" must be there'],
        [5, "EVENT_INVALID", 'the event must have "userId" or "anonymousId"'],
        [6, "EVENT_INVALID", '"/userId" must be a string, got 7'],
        [7, "EVENT_INVALID", '"/properties" must be an object or null, got an array of 1'],
        [8, "EVENT_TOO_LARGE", json.rejected[7].message],
        [9, "EVENT_INVALID", 'the event must be an object, got "not a message"'],
      ],
    );
    assert.match(json.rejected[7].message, /32768/);
    assert.deepEqual(
      stored(door).map(({ messageId }) => messageId),
      ["ok1", "ok2"],
    );
    assert.equal(door.deadLetters.length, 9);
    assert.deepEqual(JSON.parse(String(door.deadLetters[1]?.payload)), {
      type: "track",
      userId: "u",
      messageId: "m",
      sentAt: "2020-01-01T00:00:00Z",
    });
  });

  it("says of a batch that is refused whole that nothing succeeded, with a 200: its messages are dead letters already", async () => {
    await using door = await open();
    const { status, json } = await post(door, "/v1/batch", { batch: [{}] });
    assert.deepEqual([status, json.success, json.accepted], [200, false, 0]);
    assert.equal(door.deadLetters.length, 1);
    assert.equal((await post(door, "/v1/batch", { batch: [] })).text, '{"success":true}');
  });

  it("refuses what the lake cannot hold, and stores its neighbours", async () => {
    await using door = await open();
    const bad = [
      '{"a":"\\ud800"}',
      '{"a":"\\u0000"}',
      '{"a":1e999}',
      '{"a":1,"a":2}',
      `${'{"a":'.repeat(70)}1${"}".repeat(70)}`,
    ];
    const messages = bad.map(
      (properties, i) => `{"type":"track","event":"E","userId":"u","messageId":"${i}","properties":${properties}}`,
    );
    const { json } = await post(door, "/v1/batch", `{"batch":[${messages.join(",")},${JSON.stringify(message())}]}`);
    assert.deepEqual(
      json.rejected.map(({ code }: { code: string }) => code),
      ["EVENT_NOT_STORABLE", "EVENT_NOT_STORABLE", "EVENT_NOT_STORABLE", "EVENT_DUPLICATE_KEY", "EVENT_TOO_DEEP"],
    );
    assert.equal(stored(door).length, 1);
  });

  it("judges a batch's context as part of each message", async () => {
    await using door = await open();
    const { json } = await post(
      door,
      "/v1/batch",
      `{"batch":[${JSON.stringify(message())}],"context":{"a":"\\ud800"}}`,
    );
    assert.equal(json.rejected[0].code, "EVENT_NOT_STORABLE");
    const twice = await post(door, "/v1/batch", `{"batch":[${JSON.stringify(message())}],"context":{"a":1,"a":2}}`);
    assert.equal(twice.json.rejected[0].code, "EVENT_DUPLICATE_KEY");
  });
});

describe("bodies", () => {
  it("takes gzip, and any content type", async () => {
    await using door = await open();
    const body = gzipSync(JSON.stringify({ batch: [message()] }));
    for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]) {
      const headers = { ...BASIC, "content-encoding": "gzip", ...(type === "" ? {} : { "content-type": type }) };
      assert.equal((await post(door, "/v1/batch", body, headers)).status, 200, type);
    }
    assert.equal(stored(door).length, 4);
  });

  it("refuses what is no batch, whole, with its reason, and with a status after which no SDK sends again", async () => {
    await using door = await open();
    const cases: [unknown, number, string][] = [
      ["", 400, "BODY_EMPTY"],
      ["[]", 400, "SEGMENT_BODY_INVALID"],
      ["{}", 400, "SEGMENT_BODY_INVALID"],
      ['{"batch":{}}', 400, "SEGMENT_BODY_INVALID"],
      ['{"batch":[],"batch":[]}', 400, "SEGMENT_BODY_INVALID"],
      ['{"batch":[{"type":"track"', 400, "BODY_MALFORMED_JSON"],
      ['{"batch":[{}],}', 400, "BODY_MALFORMED_JSON"],
      ['{"batch":[{},]}', 400, "BODY_MALFORMED_JSON"],
      ['{"batch":[]}x', 400, "BODY_MALFORMED_JSON"],
      ["{batch:[]}", 400, "BODY_MALFORMED_JSON"],
      [Buffer.from('{"batch":[{"type":"\xff"}]}', "latin1"), 400, "BODY_NOT_UTF8"],
      [`{"batch":["${"x".repeat(524_288)}"]}`, 413, "BODY_TOO_LARGE"],
    ];
    for (const [body, status, code] of cases) {
      const answer = await post(door, "/v1/batch", body);
      assert.deepEqual([answer.status, answer.json.error.code], [status, code], String(body).slice(0, 40));
    }
    const bomb = gzipSync(Buffer.alloc(5_000_000, 0x20));
    assert.equal(
      (await post(door, "/v1/batch", bomb, { ...BASIC, "content-encoding": "gzip" })).json.error.code,
      "BODY_TOO_LARGE",
    );
    assert.deepEqual(stored(door), []);
    assert.deepEqual(door.deadLetters, []);
  });

  it("does not let a large context in many small messages become a flood", async () => {
    await using door = await open();
    const batch = Array.from({ length: 2_000 }, (_, i) => message({ messageId: `${i}` }));
    const { status, json } = await post(door, "/v1/batch", { batch, context: { text: "x".repeat(30_000) } });
    assert.deepEqual([status, json.error.code], [413, "BODY_TOO_LARGE"]);
    assert.deepEqual(stored(door), []);
  });
});

describe("when the platform cannot store", () => {
  it("answers 429 with Retry-After, which every SDK sends again after, and stores the batch once it can", async () => {
    const log = new MemoryLog();
    await using door = await open({ log });
    log.failure = () => new MillraceError("LOG_UNAVAILABLE", { reason: "the disk is full" });
    const refused = await post(door, "/v1/batch", { batch: [message()] });
    assert.deepEqual([refused.status, refused.json.error.code], [429, "LOG_UNAVAILABLE"]);
    assert.ok(Number(refused.headers["retry-after"]) >= 1);
    log.failure = undefined;
    assert.equal((await post(door, "/v1/batch", { batch: [message()] })).status, 200);
    assert.equal(stored(door).length, 1);
  });

  it("goes through admission: more than there is room for is sent away with 429, also when the key stands in the body", async () => {
    const log = new MemoryLog();
    await using door = await open({ log, settings: { inflightBytes: 400_000 } });
    let release = () => {};
    log.gate = new Promise((resolve) => {
      release = resolve;
    });
    const large = (headers: Record<string, string>, more: object) =>
      post(
        door,
        "/v1/batch",
        {
          batch: [
            message({ properties: { t: "x".repeat(20_000) } }),
            ...Array(8).fill(message({ properties: { t: "x".repeat(20_000) } })),
          ],
          ...more,
        },
        headers,
      );
    const held = [large(BASIC, {}), large({}, { writeKey: "write-key" })];
    const refused = await Promise.race([...held, large(BASIC, {}), large({}, { writeKey: "write-key" })]);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers["retry-after"]) >= 1);
    release();
    const answers = await Promise.all(held);
    assert.ok(answers.some(({ status }) => status === 200));
  });

  it("keeps refused messages before it answers: when the dead letters cannot be written the batch is to be sent again", async () => {
    await using door = await open({
      recordDeadLetters: async () => {
        throw new MillraceError("LOG_UNAVAILABLE", { reason: "the disk is full" });
      },
    });
    assert.equal((await post(door, "/v1/batch", { batch: [{}, message()] })).status, 429);
    assert.deepEqual(stored(door), [], "nothing of it is stored beside");
  });
});
