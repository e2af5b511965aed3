import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { openDoor, type RawConnection } from "./open-door.ts";
import { NDJSON, orders } from "./orders.ts";

const events = Array.from({ length: 50 }, (_, n) => `{"id":"é${n}","n":${n}}`);
const path = "/v1/streams/orders/events";

describe("reading a stream", () => {
  it("gives the events of a partition as they were sent, from an offset, so many as asked for", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", events.join("\n"), NDJSON);
    const read = async (query: string) => door.call("GET", `${path}${query}`, { key: "query-key" });
    const all = await read("");
    assert.equal(all.text, events.map((event) => `${event}\n`).join(""));
    assert.deepEqual(
      [
        all.headers["content-type"],
        all.headers["millrace-partition"],
        all.headers["millrace-from"],
        all.headers["millrace-end"],
      ],
      ["application/x-ndjson; charset=utf-8", "0", "0", "50"],
    );
    assert.equal((await read("?from=10&limit=2")).text, `${events[10]}\n${events[11]}\n`);
    assert.equal((await read("?partition=0&from=49")).text, `${events[49]}\n`);
    assert.equal((await read("?from=50")).text, "");
    assert.equal((await read("?from=1000")).text, "");
  });

  it("refuses parameters that are wrong, and offsets that are no longer kept", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", events.join("\n"), NDJSON);
    await door.log.release("orders", 0, 5);
    const refused: readonly (readonly [string, number, string])[] = [
      ["?from=-1", 400, "PARAMETER_INVALID"],
      ["?from=x", 400, "PARAMETER_INVALID"],
      ["?limit=0", 400, "PARAMETER_INVALID"],
      ["?limit=1&limit=2", 400, "PARAMETER_INVALID"],
      ["?form=1", 400, "PARAMETER_INVALID"],
      ["?partition=1", 404, "PARTITION_UNKNOWN"],
      ["?from=4", 410, "LOG_OFFSET_GONE"],
    ];
    for (const [query, status, code] of refused) {
      const answer = await door.call("GET", `${path}${query}`);
      assert.deepEqual([answer.status, answer.json?.error.code], [status, code], query);
    }
    assert.equal((await door.call("GET", path)).headers["millrace-from"], "5");
  });

  it("gives runs longer than what is read at once, one after the other", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxBodyBytes: 8 * 1024 * 1024 } });
    const long = `{"id":"a","n":1,"note":"${"x".repeat(10_000)}"}`;
    await door.post("orders", Array.from({ length: 400 }, () => long).join("\n"), NDJSON);
    const answer = await door.call("GET", `${path}?limit=350`);
    assert.equal(answer.text, `${long}\n`.repeat(350));
  });

  it("lists the streams and gives their contracts", async () => {
    await using door = await openDoor({ streams: [orders], partitions: 2 });
    const { json } = await door.call("GET", "/v1/streams");
    assert.deepEqual(json, {
      streams: [
        {
          name: "orders",
          id: ["id"],
          key: null,
          time: null,
          segment: false,
          fields: ["id", "n", "at", "note"],
          partitions: [
            { partition: 0, start: 0, end: 0 },
            { partition: 1, start: 0, end: 0 },
          ],
        },
      ],
    });
    const schema = await door.call("GET", "/v1/streams/orders/schema");
    assert.deepEqual(
      [schema.json, schema.headers["content-type"]],
      [orders.jsonSchema, "application/schema+json; charset=utf-8"],
    );
    assert.equal((await door.call("GET", "/v1/streams/nope/schema")).json.error.code, "STREAM_UNKNOWN");
  });

  it("is for keys that may query", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const url of ["/v1/streams", "/v1/streams/orders/schema", path]) {
      assert.equal((await door.call("GET", url, { key: "" })).status, 401);
      assert.equal((await door.call("GET", url, { key: "ingest-key" })).status, 403);
      assert.equal((await door.call("GET", url, { key: "query-key" })).status, 200);
    }
  });
});

async function follow(connection: RawConnection, query = "", headers = ""): Promise<void> {
  connection.write(
    `GET ${path}${query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer query-key\r\nAccept: text/event-stream\r\n${headers}\r\n`,
  );
  await connection.until(/following|HTTP\/1.1 4/);
}

function messages(received: string): string[] {
  return [...received.matchAll(/id: (\S+)\ndata: (.*)\n/g)].map(([, id, data]) => `${id} ${data}`);
}

describe("following a stream", () => {
  it("shows events as they come, each with its place", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", '{"id":"before","n":0}');
    const connection = await door.socket();
    await follow(connection);
    await door.post("orders", '[{"id":"a","n":1},{"id":"b","n":2}]');
    await connection.until("data: ", 2);
    await door.post("orders", '{"id":"c","n":3}');
    await connection.until("data: ", 3);
    assert.match(connection.received, /Content-Type: text\/event-stream/i);
    assert.deepEqual(messages(connection.received), [
      '0-1 {"id":"a","n":1}',
      '0-2 {"id":"b","n":2}',
      '0-3 {"id":"c","n":3}',
    ]);
    connection.end();
  });

  it("goes on after the last event seen, or from an offset", async () => {
    await using door = await openDoor({ streams: [orders] });
    await door.post("orders", '[{"id":"a","n":1},{"id":"b","n":2},{"id":"c","n":3}]');
    for (const [query, headers, first] of [
      ["", "Last-Event-ID: 0-0\r\n", "0-1"],
      ["?from=2", "", "0-2"],
      ["?from=0", "Last-Event-ID: 0-1\r\n", "0-2"],
    ] as const) {
      const connection = await door.socket();
      await follow(connection, query, headers);
      await connection.until("data: ");
      assert.ok(messages(connection.received)[0]?.startsWith(`${first} `), connection.received);
      connection.end();
    }
    await door.log.release("orders", 0, 2);
    const late = await door.socket();
    await follow(late, "", "Last-Event-ID: 0-0\r\n");
    assert.match(await late.until("}}"), /410 Gone.*LOG_OFFSET_GONE/s);
    late.end();
    const wrong = await door.socket();
    await follow(wrong, "", "Last-Event-ID: nonsense\r\n");
    assert.match(await wrong.until("}}"), /400 Bad Request.*PARAMETER_INVALID/s);
    wrong.end();
  });

  it("of several partitions shows them all, and its ids lead back to the place in each", async () => {
    await using door = await openDoor({ streams: [{ ...orders, id: [] }], partitions: 2 });
    const connection = await door.socket();
    await follow(connection);
    for (let n = 0; n < 6; n++) await door.post("orders", `{"id":"a","n":${n}}`);
    await connection.until("data: ", 6);
    const seen = messages(connection.received);
    assert.equal(seen.at(-1)?.split(" ")[0], "0-2,1-2");
    connection.end();
    const again = await door.socket();
    await follow(again, "", `Last-Event-ID: ${seen[3]?.split(" ")[0]}\r\n`);
    await again.until("data: ", 2);
    assert.deepEqual(
      messages(again.received)
        .map((message) => message.split(" ")[1])
        .sort(),
      seen
        .slice(4)
        .map((message) => message.split(" ")[1])
        .sort(),
    );
    again.end();
    const one = await door.socket();
    await follow(one, "?partition=1&from=0");
    await one.until("data: ", 3);
    assert.deepEqual(
      messages(one.received).map((message) => message.split(" ")[0]),
      ["1-0", "1-1", "1-2"],
    );
    one.end();
  });

  it("gives signs of life while nothing comes, and ends when the platform closes", async () => {
    await using door = await openDoor({ streams: [orders], timing: { heartbeatMs: 20 } });
    const connection = await door.socket();
    await follow(connection);
    await connection.until(": still here\n\n", 3);
    await door.gateway.close();
    await connection.untilClosed();
  });

  it("lets go of everything when the client has gone", async () => {
    await using door = await openDoor({ streams: [orders] });
    let waiting = 0;
    const wait = door.log.wait.bind(door.log);
    door.log.wait = async (...parameters) => {
      waiting++;
      await wait(...parameters);
      waiting--;
    };
    const connections = await Promise.all(Array.from({ length: 10 }, () => door.socket()));
    for (const connection of connections) await follow(connection);
    assert.equal(waiting, 10);
    for (const connection of connections) connection.end();
    const deadlineMs = performance.now() + 5000;
    while (waiting > 0) {
      assert.ok(performance.now() < deadlineMs, `${waiting} still wait`);
      await new Promise((wake) => setTimeout(wake, 5));
    }
  });

  it("reads no further than the client does", async () => {
    await using door = await openDoor({
      streams: [orders],
      settings: { maxBodyBytes: 32 * 1024 * 1024, maxEventBytes: 300_000 },
    });
    const long = `{"id":"a","n":1,"note":"${"x".repeat(250_000)}"}`;
    for (let i = 0; i < 8; i++) await door.post("orders", Array.from({ length: 25 }, () => long).join("\n"), NDJSON);
    let reads = 0;
    const read = door.log.read.bind(door.log);
    door.log.read = (...parameters) => {
      reads++;
      return read(...parameters);
    };
    const client = connect(door.port, "127.0.0.1").pause();
    client.write(
      `GET ${path}?from=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer query-key\r\nAccept: text/event-stream\r\n\r\n`,
    );
    await new Promise((wake) => setTimeout(wake, 300));
    assert.ok(reads > 0 && reads < 60, `${reads} of 100 runs were read for a client that reads nothing`);
    let received = 0;
    for await (const chunk of client as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received >= 200 * long.length) break;
    }
    assert.ok(reads >= 100);
  });
});
