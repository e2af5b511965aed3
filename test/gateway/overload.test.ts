import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { REAL_PORTS } from "../../src/gateway/admission.ts";
import type { Answer, OpenDoor, RawConnection } from "./open-door.ts";
import { openDoor } from "./open-door.ts";
import { anything, NDJSON, orders } from "./orders.ts";

const KIB = 1024;
const ORDERS = "/v1/streams/orders/events";

/** The real event loop, and a clock that stands until it is moved. */
function handClock() {
  const clock = { nowMs: 1_000, ports: { ...REAL_PORTS, clock: () => clock.nowMs, random: () => 0 } };
  return clock;
}

/** A log that answers nothing until it is let. */
function holdLog(door: OpenDoor): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  door.log.gate = promise;
  return resolve;
}

/** One event of about so many bytes, told from all others by its id. */
function event(id: string, bytes: number): string {
  return `{"id":"${id}","n":1,"note":"${"x".repeat(bytes)}"}`;
}

function post(door: OpenDoor, key: string, body: string | Uint8Array, path = ORDERS, headers = {}): Promise<Answer> {
  return door.call("POST", path, { key, headers: { "content-type": NDJSON, ...headers }, body });
}

async function inflight(door: OpenDoor): Promise<number> {
  return Number(/^millrace_door_inflight_bytes (\d+)$/m.exec(await door.registry.metrics())?.[1]);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    assert.ok(tries < 2_000, "it did not come about");
    await new Promise((wake) => setTimeout(wake, 5));
  }
}

function ids(door: OpenDoor): string[] {
  return door.log.lines("orders").map((line) => (JSON.parse(line) as { id: string }).id);
}

describe("a log that is slower than its senders", () => {
  it("makes the sender late that sends too much, and no other; all are let in again when it has caught up", async () => {
    const clock = handClock();
    await using door = await openDoor({ streams: [orders, anything], admissionPorts: clock.ports });
    const release = holdLog(door);
    const accepted = Array.from({ length: 20 }, (_, n) => post(door, "ingest-key", event(`a${n}`, 60 * KIB)));
    await until(async () => (await inflight(door)) > 20 * 60 * KIB);
    clock.nowMs += 300;

    const alone = await post(door, "ingest-key", event("refused", 10));
    assert.deepEqual([alone.status, alone.json.error.code], [503, "OVERLOADED"]);
    assert.match(alone.json.error.message, /wait, more than is done in 1000 ms/);
    assert.equal(alone.headers["retry-after"], "2", "1.2 MiB at the least rate that is assumed");

    const otherKey = post(door, "admin-key", event("other key", 10));
    const otherStream = post(door, "ingest-key", '{"v":1}', "/v1/streams/anything/events");
    await until(async () => (await inflight(door)) > 20 * 60 * KIB + 45_000);
    clock.nowMs += 300;
    const beside = await post(door, "ingest-key", event("refused too", 10));
    assert.deepEqual([beside.status, beside.json.error.code], [429, "SHARE_EXCEEDED"]);
    assert.ok(Number(beside.headers["retry-after"]) >= 1);

    assert.equal((await door.call("GET", "/healthz", { key: "" })).status, 200);
    assert.equal((await door.call("GET", ORDERS, { key: "query-key" })).status, 200);

    release();
    for (const answer of await Promise.all([...accepted, otherKey, otherStream])) assert.equal(answer.status, 202);
    assert.equal((await post(door, "ingest-key", event("again", 10))).status, 202);
    assert.equal(await inflight(door), 0);
    const expected = [...Array.from({ length: 20 }, (_, n) => `a${n}`), "other key", "again"];
    assert.deepEqual(ids(door).sort(), expected.sort(), "what was acknowledged, once, and nothing that was refused");
    const metrics = await door.registry.metrics();
    assert.match(metrics, /millrace_door_requests_refused_total\{stream="orders",code="OVERLOADED"\} 1\n/);
    assert.match(metrics, /millrace_door_requests_refused_total\{stream="orders",code="SHARE_EXCEEDED"\} 1\n/);
  });

  it("gets everything in the end from senders that heed Retry-After, once each", async () => {
    const clock = handClock();
    const settings = { inflightBytes: 200 * KIB };
    await using door = await openDoor({ streams: [orders], settings, admissionPorts: clock.ports });
    let refusals = 0;
    const send = async (id: string): Promise<void> => {
      for (let tries = 0; tries < 100; tries++) {
        const answer = await post(door, "ingest-key", event(id, 30 * KIB));
        if (answer.status === 202) return;
        assert.ok(answer.status === 429 || answer.status === 503, answer.text);
        refusals++;
        const dueMs = clock.nowMs + Number(answer.headers["retry-after"]) * 1000;
        while (clock.nowMs < dueMs) await new Promise(setImmediate);
      }
      assert.fail(`${id} was refused a hundred times`);
    };
    const names = Array.from({ length: 40 }, (_, n) => `s${n}`);
    let sending = true;
    const sent = Promise.all(names.map(send)).finally(() => {
      sending = false;
    });
    while (sending) {
      const release = holdLog(door);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      release();
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
      clock.nowMs += 100;
    }
    await sent;
    assert.ok(refusals > 0, "there was more than fits at once");
    assert.deepEqual(ids(door).sort(), names.sort());
    assert.equal(await inflight(door), 0);
  });
});

describe("the memory of the door", () => {
  const LIMIT = 400 * KIB;

  /** Announces a body and sends a part of it. */
  async function slowSender(door: OpenDoor, bytes: number): Promise<RawConnection> {
    const connection = await door.socket();
    const head = `POST ${ORDERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest-key\r\nContent-Type: ${NDJSON}`;
    connection.write(`${head}\r\nContent-Length: ${bytes}\r\n\r\n${" ".repeat(1000)}`);
    return connection;
  }

  it("stays within its bound beside senders that are slow with large bodies, and others are let in", async () => {
    await using door = await openDoor({ streams: [orders], settings: { inflightBytes: LIMIT, maxEventBytes: LIMIT } });
    const slow: RawConnection[] = [];
    for (let n = 0; n < 30; n++) slow.push(await slowSender(door, 50 * KIB));
    await until(async () => slow.filter(({ received }) => received !== "").length >= 26);
    assert.ok((await inflight(door)) <= LIMIT / 2, "half of it for one that is alone");
    for (const { received } of slow)
      if (received !== "") assert.match(received, /^HTTP\/1\.1 503 .*\r\nRetry-After: \d/s);

    const other = await post(door, "admin-key", event("other", 100 * KIB));
    assert.deepEqual([other.status, ids(door)], [202, ["other"]]);

    for (const connection of slow) connection.end();
    await until(async () => (await inflight(door)) === 0);
    assert.equal((await post(door, "ingest-key", event("after", 40 * KIB))).status, 202);
  });

  it("counts what a body becomes when it is unpacked, piece by piece", async () => {
    await using door = await openDoor({ streams: [orders], settings: { inflightBytes: LIMIT, maxEventBytes: LIMIT } });
    const release = holdLog(door);
    const held = post(door, "ingest-key", event("held", 50 * KIB));
    await until(async () => (await inflight(door)) > 50 * KIB);
    const packed = gzipSync(`${" ".repeat(900 * KIB)}${event("packed", 10)}`);
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post(door, "ingest-key", packed, ORDERS, { "content-encoding": "gzip" })),
    );
    for (const { status, headers } of answers) {
      assert.equal(status, 503);
      assert.ok(headers["retry-after"]);
    }
    release();
    assert.equal((await held).status, 202);
    assert.equal((await post(door, "ingest-key", packed, ORDERS, { "content-encoding": "gzip" })).status, 202, "alone");
    assert.deepEqual(ids(door), ["held", "packed"]);
    assert.equal(await inflight(door), 0);
  });

  it("refuses before the body is read, and the connection of a small one serves the next request", async () => {
    await using door = await openDoor({ streams: [orders], settings: { inflightBytes: LIMIT, maxEventBytes: LIMIT } });
    const release = holdLog(door);
    const held = post(door, "ingest-key", event("held", 190 * KIB));
    await until(async () => (await inflight(door)) > 190 * KIB);
    const connection = await door.socket();
    const body = event("small", 30 * KIB);
    const head = `POST ${ORDERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest-key\r\nContent-Type: ${NDJSON}\r\n`;
    connection.write(`${head}Content-Length: ${body.length}\r\n\r\n`);
    assert.match(await connection.until("}}"), /^HTTP\/1\.1 503 /, "answered though nothing of the body was sent");
    release();
    assert.equal((await held).status, 202);
    connection.write(body);
    connection.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    assert.match(await connection.until("partitions"), /HTTP\/1\.1 202 /);
    connection.end();
    assert.deepEqual(ids(door), ["held", "small"]);
  });
});

describe("more refusals than the door can afford", () => {
  it("wait for their time, take it off their Retry-After, and leave others alone", async () => {
    const clock = handClock();
    const settings = { inflightBytes: 100 * KIB, maxEventBytes: 100 * KIB };
    await using door = await openDoor({ streams: [orders], settings, admissionPorts: clock.ports });
    const release = holdLog(door);
    const held = post(door, "ingest-key", event("held", 80 * KIB));
    await until(async () => (await inflight(door)) > 80 * KIB);
    const connections: RawConnection[] = [];
    const body = event("no", 10);
    for (let n = 0; n < 150; n++) {
      const connection = await door.socket();
      const head = `POST ${ORDERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest-key\r\nContent-Type: ${NDJSON}`;
      connection.write(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      connections.push(connection);
    }
    const answered = () => connections.filter(({ received }) => received !== "").length;
    await until(async () => answered() === 100);
    assert.equal((await post(door, "admin-key", "", "/v1/streams/none/events")).status, 404);
    assert.equal(answered(), 100);
    clock.nowMs += 1_100;
    await until(async () => answered() === 150);
    for (const { received } of connections) assert.match(received, /^HTTP\/1\.1 503 .*\r\nRetry-After: 1\r\n/s);
    release();
    assert.equal((await held).status, 202);
    assert.deepEqual(ids(door), ["held"]);
    for (const connection of connections) connection.end();
  });
});
