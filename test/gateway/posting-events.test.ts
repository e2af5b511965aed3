import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { openDoor, streamOf } from "./open-door.ts";
import { NDJSON, orders } from "./orders.ts";

describe("posting events", () => {
  it("takes one object, an array and lines, and stores each event as it was written", async () => {
    await using door = await openDoor({ streams: [orders] });
    const one = await door.post("orders", ' {"id":"a", "n":1.50}\n');
    assert.equal(one.status, 202);
    assert.deepEqual(one.json, { accepted: 1, rejected: [], partitions: [{ partition: 0, from: 0, to: 0 }] });
    const array = await door.post("orders", '[{"n":2,"id":"b"} ,\n{ "id":"c","n":3e0 }]');
    assert.deepEqual(array.json, { accepted: 2, rejected: [], partitions: [{ partition: 0, from: 1, to: 2 }] });
    const lines = await door.post("orders", '{"id":"d","n":4}\n{"id":"e","n":5,"extra":{"x":[1]}}\n', NDJSON);
    assert.deepEqual(lines.json, { accepted: 2, rejected: [], partitions: [{ partition: 0, from: 3, to: 4 }] });
    assert.deepEqual(door.log.lines("orders"), [
      '{"id":"a", "n":1.50}',
      '{"n":2,"id":"b"}',
      '{ "id":"c","n":3e0 }',
      '{"id":"d","n":4}',
      '{"id":"e","n":5,"extra":{"x":[1]}}',
    ]);
  });

  it("takes the same lines with or without a last line feed, with CRLF, blank lines and space around them", async () => {
    await using door = await openDoor({ streams: [orders] });
    const bodies = [
      '{"id":"a","n":1}\n{"id":"b","n":2}',
      '{"id":"a","n":1}\r\n{"id":"b","n":2}\r\n',
      '\n\n{"id":"a","n":1}\n \t\n{"id":"b","n":2}\n\r\n',
      '  {"id":"a","n":1}  \n\t{"id":"b","n":2}\r',
    ];
    for (const type of [NDJSON, "application/jsonl", "application/x-ndjson; charset=utf-8"]) {
      for (const body of bodies) assert.equal((await door.post("orders", body, type)).json.accepted, 2);
    }
    assert.deepEqual([...new Set(door.log.lines("orders"))], ['{"id":"a","n":1}', '{"id":"b","n":2}']);
  });

  it("turns raw line breaks between tokens into spaces, and leaves everything else alone", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", '{\r\n  "id": "a\\n",\n\t"n": 1\n}');
    await door.post("orders", '{"id":"b",\r"n":2}\n', NDJSON);
    assert.deepEqual(door.log.lines("orders"), ['{    "id": "a\\n", \t"n": 1 }', '{"id":"b", "n":2}']);
  });

  it("judges each event by itself: the good ones are stored, the bad ones named and kept as dead letters", async () => {
    await using door = await openDoor({ streams: [orders] });
    const lines = [
      '{"id":"a","n":1}',
      '{"id":"b"}',
      "{oops}",
      '{"id":"c","n":-1}',
      '{"id":"d","n":4}',
      '{"id":"e","n":1,"n":2}',
      '{"id":"f","n":9007199254740993}',
      "[1]",
      '{"id":"g","n":7}',
    ];
    for (const [body, type] of [
      [`${lines.join("\n")}\n`, NDJSON],
      [`[${lines.filter((line) => line !== "{oops}").join(",")}]`, "application/json"],
    ] as const) {
      const answer = await door.post("orders", body, { "content-type": type, "millrace-source": "till 7" });
      assert.equal(answer.status, 202);
      assert.equal(answer.json.accepted, 3);
      const shift = type === NDJSON ? 0 : -1;
      assert.deepEqual(
        answer.json.rejected.filter((entry: { code: string }) => entry.code !== "EVENT_MALFORMED_JSON"),
        [
          { index: 1, code: "EVENT_INVALID", message: '"/n" must be there' },
          { index: 3 + shift, code: "EVENT_INVALID", message: '"/n" must be >= 0, got -1' },
          {
            index: 5 + shift,
            code: "EVENT_DUPLICATE_KEY",
            message: 'the key "n" stands twice in one object; parsers disagree on which value counts',
          },
          {
            index: 6 + shift,
            code: "EVENT_NOT_STORABLE",
            message: "at byte 14 an integer beyond 2^53 has digits that a double does not keep",
          },
          { index: 7 + shift, code: "EVENT_INVALID", message: "the event must be an object, got an array of 1" },
        ],
      );
    }
    assert.deepEqual(door.log.lines("orders").slice(0, 3), [lines[0], lines[4], lines[8]]);
    const [first, second] = door.deadLetters;
    assert.equal(first?.payload.toString(), '{"id":"b"}');
    assert.deepEqual(
      [second?.stream, second?.stage, second?.code, second?.source, second?.payload.toString()],
      ["orders", "door", "EVENT_MALFORMED_JSON", "till 7", "{oops}"],
    );
    assert.equal(door.deadLetters.length, 11);
  });

  it("answers 422 when every event is refused, with the same body and an error", async () => {
    await using door = await openDoor({ streams: [orders] });
    const answer = await door.post("orders", '[{"id":1},{}]');
    assert.equal(answer.status, 422);
    assert.equal(answer.json.error.code, "EVENTS_ALL_REJECTED");
    assert.match(answer.json.error.message, /none of the 2 events was accepted; the first one: "\/n" must be there/);
    assert.deepEqual([answer.json.accepted, answer.json.rejected.length, answer.json.partitions], [0, 2, []]);
    assert.deepEqual(door.log.lines("orders"), []);
  });

  it("names what was expected and what came, by JSON pointer", async () => {
    await using door = await openDoor({ streams: [orders] });
    const said = async (event: string): Promise<string> => (await door.post("orders", event)).json.rejected[0].message;
    assert.equal(await said('{"id":5,"n":1}'), '"/id" must be a string, got 5');
    assert.equal(await said('{"id":"a","n":"1"}'), '"/n" must be a number, got "1"');
    assert.equal(await said('{"id":"a","n":1,"note":[]}'), '"/note" must be a string or null, got []');
    assert.match(
      await said('{"id":"a","n":1,"at":"2025-06-30T23:59:60Z"}'),
      /^"\/at" must be a moment in RFC 3339 .* got "2025-06-30T23:59:60Z"$/,
    );
    assert.match(await said(`{"id":"a","n":"${"x".repeat(500)}"}`), /got "x{76}… \(502 characters\)$/);
  });

  it("refuses an event that is too large or too deep, and takes the others", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxEventBytes: 300, maxNesting: 3 } });
    const large = `{"id":"a","n":1,"note":"${"x".repeat(300)}"}`;
    const deep = '{"id":"a","n":1,"extra":[[[1]]]}';
    const allowed = '{"id":"a","n":1,"extra":[[1]]}';
    for (const [body, type] of [
      [[large, deep, allowed].join("\n"), NDJSON],
      [`[${large},${deep},${allowed}]`, "application/json"],
    ] as const) {
      const { json } = await door.post("orders", body, type);
      assert.deepEqual(json.rejected, [
        {
          index: 0,
          code: "EVENT_TOO_LARGE",
          message: `the event is ${large.length} bytes; 300 are allowed (maxEventBytes)`,
        },
        { index: 1, code: "EVENT_TOO_DEEP", message: "at byte 26 the event nests deeper than 3 levels (maxNesting)" },
      ]);
    }
    assert.deepEqual(door.log.lines("orders"), [allowed, allowed]);
    assert.equal(door.deadLetters[0]?.payload.length, 300, "a dead letter holds no more than an event may");
  });

  it("lists a thousand refusals and says how many more there were; all are kept as dead letters", async () => {
    const batches: number[] = [];
    await using door = await openDoor({
      streams: [orders],
      recordDeadLetters: async (entries) => void batches.push(entries.length),
    });
    for (const body of [`${"x\n".repeat(2500)}{"id":"a","n":1}`, `${'{"id":"a","n":1}\n'}${"{}\n".repeat(2500)}`]) {
      const { json } = await door.post("orders", body, NDJSON);
      assert.deepEqual([json.accepted, json.rejected.length, json.rejectedMore], [1, 1000, 1500]);
    }
    const array = await door.post("orders", `[${"{},".repeat(2500)}{"id":"a","n":1}]`);
    assert.deepEqual([array.json.accepted, array.json.rejected.length, array.json.rejectedMore], [1, 1000, 1500]);
    assert.equal(door.deadLetters.length, 7500);
    assert.ok(
      Math.max(...batches) <= 1000,
      "refusals are handed on in parts, so a body of refusals needs no memory of its size",
    );
  });

  it("stores and records nothing of an array that turns out to be no JSON, however late", async () => {
    await using door = await openDoor({ streams: [orders] });
    const body = `[{"id":"a","n":1},${"{},".repeat(5000)}{"id":"b","n":2}}`;
    const answer = await door.post("orders", body);
    assert.deepEqual(
      [answer.status, answer.json.error.code, answer.json.error.details],
      [400, "BODY_MALFORMED_JSON", { position: body.length - 1 }],
    );
    assert.deepEqual([door.log.lines("orders"), door.deadLetters], [[], []]);
  });

  it("takes a body of many megabytes in turns", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxBodyBytes: 16 * 1024 * 1024 } });
    const line = `{"id":"a","n":1,"note":"${"é".repeat(400)}"}`;
    const count = 9000;
    for (const [body, type] of [
      [`${line}\n`.repeat(count), NDJSON],
      [`[${`${line},`.repeat(count - 1)}${line}]`, "application/json"],
    ] as const) {
      assert.equal((await door.post("orders", body, type)).json.accepted, count);
    }
    assert.equal(door.log.lines("orders").length, 2 * count);
    assert.ok(door.log.lines("orders").every((stored) => stored === line));
  });

  it("notes the source that the sender names", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", '{"id":"a","n":1}');
    await door.post("orders", '{"id":"a","n":1}', { "content-type": NDJSON, "millrace-source": "import 2025-06-30" });
    assert.deepEqual(door.log.sources("orders"), ["http", "import 2025-06-30"]);
    for (const source of ["", "x".repeat(201), "a\u00e9"]) {
      const answer = await door.post("orders", '{"id":"a","n":1}', {
        "content-type": NDJSON,
        "millrace-source": source,
      });
      assert.deepEqual([answer.status, answer.json.error.code], [400, "SOURCE_INVALID"]);
    }
  });
});

describe("an empty or strange body", () => {
  it("is refused as empty when it holds no event", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const [body, type] of [
      ["", "application/json"],
      ["", NDJSON],
      ["[]", "application/json"],
      [" [ \n] ", "application/json"],
      ["\n \r\n", NDJSON],
      ["  ", "application/json"],
    ] as const) {
      const answer = await door.post("orders", body, type);
      assert.deepEqual([answer.status, answer.json.error.code], [400, "BODY_EMPTY"], JSON.stringify(body));
    }
  });

  it("is refused with what is taken when its type, its charset or its encoding is not", async () => {
    await using door = await openDoor({ streams: [orders] });
    const event = '{"id":"a","n":1}';
    const refused = async (headers: Record<string, string>, status: number, code: string, text: RegExp) => {
      const answer = await door.post("orders", event, headers);
      assert.deepEqual([answer.status, answer.json.error.code], [status, code], JSON.stringify(headers));
      assert.match(answer.json.error.message, text);
    };
    await refused({}, 415, "BODY_TYPE_UNSUPPORTED", /\(none\).*application\/json, application\/x-ndjson/);
    await refused({ "content-type": "text/csv" }, 415, "BODY_TYPE_UNSUPPORTED", /"text\/csv"/);
    await refused(
      { "content-type": "application/json; charset=iso-8859-1" },
      415,
      "BODY_CHARSET_UNSUPPORTED",
      /iso-8859-1/,
    );
    await refused(
      { "content-type": "application/json", "content-encoding": "deflate" },
      415,
      "BODY_ENCODING_UNSUPPORTED",
      /gzip, zstd, br, identity/,
    );
    await refused(
      { "content-type": "application/json", "content-encoding": "gzip, gzip" },
      415,
      "BODY_ENCODING_UNSUPPORTED",
      /"gzip, gzip"/,
    );
    for (const charset of ["utf-8", "UTF-8", '"utf8"', "us-ascii"]) {
      assert.equal(
        (await door.post("orders", event, { "content-type": `Application/JSON;charset=${charset}` })).status,
        202,
      );
    }
  });
});

describe("who may post, and where", () => {
  it("a request without a key, with a wrong one, or one that may not, is refused before its body is looked at", async () => {
    await using door = await openDoor({ streams: [orders] });
    const path = "/v1/streams/orders/events";
    const tries: readonly (readonly [Record<string, string>, number, string])[] = [
      [{}, 401, "UNAUTHENTICATED"],
      [{ authorization: "Bearer nope" }, 401, "UNAUTHENTICATED"],
      [{ authorization: "Basic aW5nZXN0LWtleTo=" }, 401, "UNAUTHENTICATED"],
      [{ authorization: "Bearer" }, 401, "UNAUTHENTICATED"],
      [{ authorization: "Bearer query-key" }, 403, "FORBIDDEN"],
      [{ authorization: "bearer   ingest-key" }, 202, ""],
      [{ authorization: "Bearer admin-key" }, 202, ""],
    ];
    for (const [headers, status, code] of tries) {
      const answer = await door.call("POST", path, {
        key: "",
        headers: { "content-type": "application/json", ...headers },
        body: '{"id":"a","n":1}',
      });
      assert.equal(answer.status, status, JSON.stringify(headers));
      if (code !== "") assert.equal(answer.json.error.code, code);
      assert.equal(answer.headers["www-authenticate"], status === 401 ? 'Bearer realm="millrace"' : undefined);
    }
    assert.equal(door.log.lines("orders").length, 2);
  });

  it("an unknown stream is named with the nearest one", async () => {
    await using door = await openDoor({ streams: [orders] });
    const answer = await door.post("order", "{}");
    assert.deepEqual(
      [answer.status, answer.json.error.code, answer.json.error.details],
      [404, "STREAM_UNKNOWN", { nearest: "orders" }],
    );
    assert.match(answer.json.error.hint, /Did you mean "orders"\?/);
    for (const name of ["%zz", "a".repeat(5000), "_dead_letters", "..%2f..", "constructor"]) {
      assert.equal((await door.post(name, "{}")).status, 404, name);
    }
    assert.equal(
      (await door.post("%6frders", '{"id":"a","n":1}')).status,
      202,
      "a path means the same when it is escaped",
    );
  });
});

describe("events of a stream with several partitions", () => {
  it("go where their key leads, in their order, and the answer says where", async () => {
    const keyed = { ...orders, key: "id" };
    await using door = await openDoor({ streams: [keyed], partitions: 4 });
    const events = Array.from({ length: 200 }, (_, n) => `{"id":"k${n % 10}","n":${n}}`);
    const answer = await door.post("orders", events.join("\n"), NDJSON);
    assert.equal(answer.json.accepted, 200);
    const stored = [0, 1, 2, 3].map((partition) =>
      door.log.lines("orders", partition).map((line) => JSON.parse(line) as { id: string; n: number }),
    );
    assert.deepEqual(
      answer.json.partitions,
      stored.flatMap((lines, partition) => (lines.length === 0 ? [] : [{ partition, from: 0, to: lines.length - 1 }])),
    );
    assert.ok(answer.json.partitions.length > 1);
    for (const lines of stored)
      assert.deepEqual(
        lines.map(({ n }) => n),
        lines.map(({ n }) => n).sort((a, b) => a - b),
      );
    for (let key = 0; key < 10; key++)
      assert.equal(stored.filter((lines) => lines.some(({ id }) => id === `k${key}`)).length, 1);
  });

  it("follow their id when they have no key, and take turns when they have neither", async () => {
    const places = async (stream: typeof orders, events: readonly string[]): Promise<number[]> => {
      await using door = await openDoor({ streams: [stream], partitions: 3 });
      for (const event of events) await door.post("orders", event);
      return [0, 1, 2].map((partition) => door.log.lines("orders", partition).length);
    };
    const same = Array.from({ length: 6 }, (_, n) => `{"id":"a","n":${n}}`);
    assert.deepEqual((await places(orders, same)).sort(), [0, 0, 6]);
    assert.deepEqual(
      (await places({ ...orders, key: "note" }, same)).sort(),
      [0, 0, 6],
      "a key that is absent leaves it to the id",
    );
    assert.deepEqual(await places({ ...orders, id: [] }, same), [2, 2, 2]);
  });

  it("go by what a key means, however it is written, also when its event is read in a hurry", async () => {
    const text = { ...orders, key: "id" };
    const whole = streamOf(
      "whole",
      {
        type: "object",
        properties: {
          k: { type: ["integer", "null"], minimum: -1000, maximum: 1000 },
          o: { type: "object", properties: { k: { type: "string" } } },
        },
      },
      [{ name: "k", type: { kind: "long" }, nullable: true }],
      { key: "k" },
    );
    await using door = await openDoor({ streams: [text, whole], partitions: 7 });
    const place = async (stream: string, event: string): Promise<string[]> => {
      const bodies = [
        [event, "application/json"],
        [`[${event}]`, "application/json"],
        [`${event}\n`, NDJSON],
        [event, NDJSON],
      ] as const;
      return Promise.all(
        bodies.map(async ([body, type]) => String((await door.post(stream, body, type)).json.partitions[0].partition)),
      );
    };
    for (const key of ["a", "b", "é", "0", ""]) {
      const ways = [`"${key}x"`, `"${key}\\u0078"`];
      const places = await Promise.all(ways.map((way) => place("orders", `{"id":${way},"n":1}`)));
      assert.deepEqual([...new Set(places.flat())], [String(partitionOf(`${key}x`, 7))], key);
    }
    const ways = ["5", "5.0", "0.5e1"];
    const places = await Promise.all(ways.map((way) => place("whole", `{"o":{"k":"9"},"k":${way}}`)));
    assert.deepEqual([...new Set(places.flat())], [String(partitionOf("5", 7))]);
    assert.deepEqual(
      [...new Set([await place("whole", '{"k":0}'), await place("whole", '{"k":-0}')].flat())],
      [String(partitionOf("0", 7))],
    );
    const turns = [...(await place("whole", '{"k":null}')), ...(await place("whole", '{"o":{"k":"9"}}'))];
    assert.ok(new Set(turns).size > 1, "without a key they take turns");
  });

  it("do not follow the key of the event before them", async () => {
    await using door = await openDoor({ streams: [{ ...orders, key: "note" }], partitions: 5 });
    const lines = Array.from({ length: 40 }, (_, n) =>
      n % 2 === 0 ? `{"id":"i${n}","n":1,"note":"k${n}"}` : `{"id":"i${n}","n":1}`,
    );
    await door.post("orders", lines.join("\n"), NDJSON);
    for (let partition = 0; partition < 5; partition++) {
      for (const line of door.log.lines("orders", partition)) {
        const { id, note } = JSON.parse(line) as { id: string; note?: string };
        assert.equal(partitionOf(note ?? id, 5), partition, line);
      }
    }
  });

  it("say which partitions were stored when one of them fails", async () => {
    await using door = await openDoor({ streams: [{ ...orders, id: [] }], partitions: 2 });
    door.log.failure = (_stream, partition) =>
      partition === 1
        ? new MillraceError(
            "LOG_UNAVAILABLE",
            { stream: "orders", reason: "disk full", dir: "/data" },
            { retryAfterS: 3 },
          )
        : undefined;
    const answer = await door.post("orders", '[{"id":"a","n":1},{"id":"b","n":2}]');
    assert.deepEqual(
      [answer.status, answer.json.error.code, answer.json.error.details],
      [503, "LOG_UNAVAILABLE", { stored: [{ partition: 0, from: 0, to: 0 }] }],
    );
    assert.match(answer.json.error.message, /disk full/);
  });
});

describe("when the platform cannot take an event", () => {
  const broken = new MillraceError(
    "LOG_UNAVAILABLE",
    { stream: "orders", reason: "disk full", dir: "/data" },
    { retryAfterS: 5 },
  );

  it("a log that fails is a 503 with Retry-After, and nothing is acknowledged", async () => {
    await using door = await openDoor({ streams: [orders] });
    door.log.failure = () => broken;
    const answer = await door.post("orders", '{"id":"a","n":1}');
    assert.deepEqual(
      [answer.status, answer.json.error.code, answer.headers["retry-after"]],
      [503, "LOG_UNAVAILABLE", "5"],
    );
    door.log.failure = undefined;
    assert.equal((await door.post("orders", '{"id":"a","n":1}')).status, 202);
    assert.equal(door.log.lines("orders").length, 1);
  });

  it("dead letters that cannot be written hold up the whole body, so that nothing is refused without a trace", async () => {
    await using door = await openDoor({
      streams: [orders],
      recordDeadLetters: async () => {
        throw broken;
      },
    });
    const answer = await door.post("orders", '{"id":"a","n":1}\n{}', NDJSON);
    assert.deepEqual([answer.status, answer.json.error.code], [503, "LOG_UNAVAILABLE"]);
    assert.deepEqual(door.log.lines("orders"), []);
  });

  it("a failure nobody foresaw is a 500 that tells the sender nothing of its cause, and the log all of it", async () => {
    await using door = await openDoor({ streams: [orders] });
    const cause = new Error("secret: /data/x");
    door.log.failure = () => cause;
    const answer = await door.post("orders", '{"id":"a","n":1}');
    assert.deepEqual([answer.status, answer.json.error.code], [500, "INTERNAL"]);
    assert.doesNotMatch(answer.text, /secret/);
    assert.deepEqual(door.failures, [cause]);
  });

  it("bodies beyond the room for all of them are turned away with 503 and Retry-After, and let in when there is room again", async () => {
    await using door = await openDoor({ streams: [orders], settings: { inflightBytes: 100_000 } });
    const { promise, resolve } = Promise.withResolvers<void>();
    door.log.gate = promise;
    const body = `${'{"id":"a","n":1}\n'.repeat(5000)}`;
    const first = door.post("orders", body, NDJSON);
    while (!(await door.registry.metrics()).includes("millrace_door_inflight_bytes 87048"))
      await new Promise((wake) => setTimeout(wake, 5));
    const second = await door.post("orders", body, NDJSON);
    assert.deepEqual([second.status, second.json.error.code, second.headers["retry-after"]], [503, "OVERLOADED", "1"]);
    const chunked = await door.post("orders", body, { "content-type": NDJSON, "transfer-encoding": "chunked" });
    assert.deepEqual([chunked.status, chunked.json.error.code], [503, "OVERLOADED"]);
    resolve();
    assert.equal((await first).status, 202);
    assert.equal((await door.post("orders", body, NDJSON)).status, 202);
    assert.match(await door.registry.metrics(), /millrace_door_inflight_bytes 0\n/);
  });

  it("counts what it took and what it refused", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", '[{"id":"a","n":1},{"id":"b","n":2},{}]');
    await door.post("orders", "{}");
    await door.post("orders", "{");
    const { text } = await door.call("GET", "/metrics");
    for (const line of [
      'millrace_door_events_accepted_total{stream="orders"} 2',
      'millrace_door_events_rejected_total{stream="orders",code="EVENT_INVALID"} 2',
      'millrace_door_event_bytes_total{stream="orders"} 34',
      'millrace_door_request_duration_seconds_count{status="202"} 1',
      'millrace_door_request_duration_seconds_count{status="422"} 1',
      'millrace_door_request_duration_seconds_bucket{status="400",le="+Inf"} 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
  });
});
