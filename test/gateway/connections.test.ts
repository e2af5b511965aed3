import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { openDoor } from "./open-door.ts";
import { NDJSON, orders } from "./orders.ts";

const event = '{"id":"a","n":1}';

function head(more: string, path = "/v1/streams/orders/events"): string {
  return `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest-key\r\nContent-Type: ${NDJSON}\r\n${more}\r\n`;
}

function whole(body: string): string {
  return `${head(`Content-Length: ${Buffer.byteLength(body)}\r\n`)}${body}`;
}

describe("a sender that is slow", () => {
  it("with its headers is told so and shown out, however steadily it drips", async () => {
    await using door = await openDoor({ streams: [orders], timing: { headersTimeoutMs: 200 } });
    const slow = await door.socket();
    const startedMs = performance.now();
    const drip = setInterval(() => slow.write("X-More: x\r\n"), 40);
    slow.write("POST /v1/streams/orders/events HTTP/1.1\r\nHost: x\r\n");
    const said = await slow.untilClosed();
    clearInterval(drip);
    assert.match(said, /^HTTP\/1\.1 408 /);
    assert.match(said, /"code":"REQUEST_TIMEOUT"/);
    assert.ok(performance.now() - startedMs < 3000);
    assert.equal((await door.post("orders", event)).status, 202);
  });

  it("that pauses in its body is told so, and nothing of the body is stored", async () => {
    await using door = await openDoor({ streams: [orders], timing: { idleBodyMs: 200 } });
    for (const framing of ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"]) {
      const slow = await door.socket();
      const body = framing.startsWith("T") ? `${(event.length + 1).toString(16)}\r\n${event}\n\r\n` : `${event}\n`;
      slow.write(`${head(framing)}${body}`);
      const said = await slow.untilClosed();
      assert.match(said, /^HTTP\/1\.1 408 /);
      assert.match(said, /no byte of the body came for 200 ms/);
    }
    assert.deepEqual(door.log.lines("orders"), []);
    assert.match(await door.registry.metrics(), /millrace_door_inflight_bytes 0\n/);
  });

  it("that drips its body is cut off when the whole request takes too long", async () => {
    await using door = await openDoor({
      streams: [orders],
      settings: { requestTimeoutMs: 400 },
      timing: { idleBodyMs: 10_000 },
    });
    const slow = await door.socket();
    slow.write(head("Content-Length: 100000\r\n"));
    const drip = setInterval(() => slow.write(" "), 40);
    const said = await slow.untilClosed();
    clearInterval(drip);
    assert.match(said, /"code":"REQUEST_TIMEOUT"/);
    await until(async () => (await door.registry.metrics()).includes("inflight_bytes 0\n"));
  });

  it("is in nobody's way: others are served while many drip", async () => {
    await using door = await openDoor({ streams: [orders] });
    const drippers = await Promise.all(Array.from({ length: 50 }, () => door.socket()));
    for (const dripper of drippers) dripper.write(head("Content-Length: 1000\r\n"));
    assert.equal((await door.post("orders", event)).status, 202);
    for (const dripper of drippers) dripper.end();
  });
});

describe("a sender that leaves", () => {
  it("in the middle of its body leaves nothing behind", async () => {
    await using door = await openDoor({ streams: [orders] });
    for (const framing of ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"]) {
      const leaver = await door.socket();
      leaver.write(`${head(framing)}${framing.startsWith("T") ? `11\r\n${event}\n\r\n` : `${event}\n`}`);
      await until(async () => !(await door.registry.metrics()).includes("inflight_bytes 0\n"));
      leaver.end();
      await until(async () => (await door.registry.metrics()).includes("inflight_bytes 0\n"));
    }
    assert.deepEqual(door.log.lines("orders"), []);
    assert.deepEqual(door.failures, []);
  });

  it("while its events are being stored loses the answer, not the events", async () => {
    await using door = await openDoor({ streams: [orders] });
    const { promise, resolve } = Promise.withResolvers<void>();
    door.log.gate = promise;
    const leaver = await door.socket();
    leaver.write(whole(event));
    await until(async () => !(await door.registry.metrics()).includes("inflight_bytes 0\n"));
    leaver.end();
    await new Promise((wake) => setTimeout(wake, 50));
    resolve();
    await until(async () => (await door.registry.metrics()).includes("inflight_bytes 0\n"));
    assert.deepEqual(door.log.lines("orders"), [event]);
    assert.deepEqual(door.failures, []);
  });
});

describe("HTTP as senders speak it", () => {
  it("many requests in one packet are answered in their order", async () => {
    await using door = await openDoor({ streams: [orders] });
    const connection = await door.socket();
    const bodies = Array.from({ length: 20 }, (_, n) => (n % 5 === 4 ? "{}" : `{"id":"p${n}","n":${n}}`));
    connection.write(bodies.map(whole).join(""));
    const said = await connection.until("HTTP/1.1 ", 20);
    assert.deepEqual(
      [...said.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
      bodies.map((body) => (body === "{}" ? "422" : "202")),
    );
    assert.deepEqual(
      door.log.lines("orders"),
      bodies.filter((body) => body !== "{}"),
    );
    connection.end();
  });

  it("a request after one that is malformed on the same connection is served as well", async () => {
    await using door = await openDoor({ streams: [orders] });
    const connection = await door.socket();
    connection.write(whole("{") + whole(event));
    const said = await connection.until("HTTP/1.1 ", 2);
    assert.match(said, /EVENT_MALFORMED_JSON.*"accepted":1/s);
    connection.end();
  });

  it("a body in chunks of one byte is one body", async () => {
    await using door = await openDoor({ streams: [orders] });
    const connection = await door.socket();
    connection.write(
      `${head("Transfer-Encoding: chunked\r\n")}${[...event].map((char) => `1\r\n${char}\r\n`).join("")}0\r\n\r\n`,
    );
    assert.match(await connection.until("}"), /"accepted":1/);
    assert.deepEqual(door.log.lines("orders"), [event]);
    connection.end();
  });

  it("a sender that waits for 100 Continue is told to go on, or told no before it sends anything", async () => {
    await using door = await openDoor({ streams: [orders], settings: { maxBodyBytes: 10_000 } });
    const patient = await door.socket();
    patient.write(head(`Content-Length: ${event.length}\r\nExpect: 100-continue\r\n`));
    assert.equal(await patient.until("100 Continue\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    patient.write(event);
    assert.match(await patient.until("partitions"), /HTTP\/1\.1 202 .*"accepted":1/s);
    patient.end();

    const refused: readonly (readonly [string, string])[] = [
      ["Content-Length: 20000\r\nExpect: 100-continue\r\n", "413"],
      ["Content-Length: 10\r\nExpect: 100-continue\r\nContent-Encoding: lzma\r\n", "415"],
      ["Content-Length: 10\r\nExpect: the-impossible\r\n", "417"],
    ];
    for (const [headers, status] of refused) {
      const connection = await door.socket();
      connection.write(head(headers));
      assert.match(await connection.until("}}"), new RegExp(`^HTTP/1\\.1 ${status} `));
      connection.end();
    }
  });

  it("what is not HTTP is refused in the one form of all errors", async () => {
    await using door = await openDoor({ streams: [orders] });
    const tries: readonly (readonly [string, number, string])[] = [
      ["nonsense\r\n\r\n", 400, "REQUEST_INVALID"],
      [`GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431, "REQUEST_HEADERS_TOO_LARGE"],
      [head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "REQUEST_INVALID"],
      [head("Content-Length: -1\r\n"), 400, "REQUEST_INVALID"],
      [`${head("Transfer-Encoding: chunked\r\n")}zz\r\n`, 400, "REQUEST_INVALID"],
      ["GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "REQUEST_INVALID"],
    ];
    for (const [bytes, status, code] of tries) {
      const connection = await door.socket();
      connection.write(bytes);
      const said = await connection.untilClosed();
      assert.match(said, new RegExp(`^HTTP/1\\.1 ${status} `), bytes.slice(0, 100));
      const error = (JSON.parse(said.slice(said.indexOf("\r\n\r\n"))) as { error: { code: string; hint: string } })
        .error;
      assert.equal(error.code, code);
      assert.ok(error.hint);
    }
    assert.deepEqual(door.log.lines("orders"), []);
    assert.deepEqual(door.failures, []);
  });

  it("a refusal reaches a sender that is still sending, and its connection is then closed", async () => {
    await using door = await openDoor({ streams: [orders] });
    const connection = await door.socket();
    connection.write(head("Content-Length: 900000\r\n").replace("ingest-key", "wrong-key"));
    for (let i = 0; i < 10; i++) {
      connection.write(" ".repeat(50_000));
      await new Promise((wake) => setTimeout(wake, 5));
    }
    const said = await connection.untilClosed();
    assert.match(said, /^HTTP\/1\.1 401 /);
    assert.match(said, /Connection: close/);
  });

  it("connections beyond the limit are closed, and the others served", async () => {
    await using door = await openDoor({ streams: [orders], timing: { maxConnections: 2 } });
    const [first, second] = [await door.socket(), await door.socket()];
    const third = await door.socket();
    assert.equal(await third.untilClosed(), "");
    first.write(whole(event));
    assert.match(await first.until("partitions"), /"accepted":1/);
    first.end();
    second.end();
  });
});

describe("closing", () => {
  it("finishes what is under way, takes nothing new, and closes every connection", async () => {
    await using door = await openDoor({ streams: [orders] });
    const { promise, resolve } = Promise.withResolvers<void>();
    door.log.gate = promise;
    const [busy, idle] = [await door.socket(), await door.socket()];
    busy.write(whole(event));
    await until(async () => !(await door.registry.metrics()).includes("inflight_bytes 0\n"));
    let closed = false;
    const closing = door.gateway.close().then(() => {
      closed = true;
    });
    assert.equal(await idle.untilClosed(), "");
    await new Promise((wake) => setTimeout(wake, 100));
    assert.equal(closed, false, "it waits for the request under way");
    const late = connect(door.port, "127.0.0.1");
    await new Promise((wake) => late.once("error", wake));
    busy.write(whole(event));
    resolve();
    const said = await busy.untilClosed();
    await closing;
    assert.deepEqual([...said.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status).slice(0, 1), ["202"]);
    assert.doesNotMatch(said.slice(20), /HTTP\/1\.1 202/, "the request that came while closing was not taken");
    assert.deepEqual(door.log.lines("orders"), [event]);
  });

  it("does not wait for ever for a sender that never ends", async () => {
    await using door = await openDoor({ streams: [orders], timing: { closeTimeoutMs: 200 } });
    const endless = await door.socket();
    endless.write(head("Content-Length: 1000\r\n"));
    await until(async () => !(await door.registry.metrics()).includes("inflight_bytes 0\n"));
    const startedMs = performance.now();
    await door.gateway.close();
    assert.ok(performance.now() - startedMs < 2000);
    await endless.untilClosed();
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 5000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadlineMs, "it did not come about in 5 s");
    await new Promise((wake) => setTimeout(wake, 5));
  }
}
