import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ListStreamsCommand } from "@aws-sdk/client-kinesis";
import { MemoryLog } from "../gateway/memory-log.ts";
import { orders } from "../gateway/orders.ts";
import { OpenKinesis } from "./open-kinesis.ts";
import { signedHeaders } from "./sign.ts";

let log: MemoryLog;
let kinesis: OpenKinesis;
let session: ClientHttp2Session;

beforeEach(async () => {
  log = new MemoryLog();
  kinesis = await OpenKinesis.open({ streams: [orders], log });
  session = connect(kinesis.door.url);
});
afterEach(async () => {
  session.destroy();
  await kinesis[Symbol.asyncDispose]();
});

const record = (id: string) =>
  JSON.stringify({ StreamName: "orders", Data: btoa(JSON.stringify({ id, n: 1 })), PartitionKey: "k" });

function request(operation: string, body: string): ClientHttp2Stream {
  const { host, ...headers } = signedHeaders(operation, body, `127.0.0.1:${kinesis.door.port}`);
  return session.request({ ":method": "POST", ":path": "/", ":authority": host as string, ...headers });
}

async function answered(stream: ClientHttp2Stream): Promise<{ status: number; text: string }> {
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  let text = "";
  for await (const part of stream) text += part;
  return { status: Number(headers[":status"]), text };
}

describe("a connection that speaks HTTP/2 from its first byte", () => {
  it("carries many requests at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, n) => {
        const body = record(`a${n}`);
        const stream = request("PutRecord", body);
        stream.end(body);
        return answered(stream);
      }),
    );
    assert.ok(answers.every(({ status }) => status === 200));
    assert.equal(log.lines("orders").length, 300);
  });

  it("that dies within a body, or gives the request up, leaves nothing of it", async () => {
    const body = record("a");
    for (const end of [
      (stream: ClientHttp2Stream) => stream.close(constants.NGHTTP2_CANCEL),
      (stream: ClientHttp2Stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
      (stream: ClientHttp2Stream) => stream.session?.destroy(),
    ]) {
      session.destroy();
      session = connect(kinesis.door.url);
      const stream = request("PutRecord", body);
      stream.on("error", () => undefined);
      stream.write(body.slice(0, -10));
      await sleep(50);
      end(stream);
      await new Promise((resolve) => stream.once("close", resolve));
    }
    const { StreamNames } = await kinesis.client().send(new ListStreamsCommand({}));
    assert.deepEqual(StreamNames, ["orders"]);
    assert.deepEqual([log.lines("orders"), kinesis.door.deadLetters, kinesis.door.failures], [[], [], []]);
  });

  it("hears no from the doors that speak HTTP/1.1 alone", async () => {
    for (const path of ["/v1/streams/orders/events", "/healthz", "/v1/streams"]) {
      const stream = session.request({ ":method": "POST", ":path": path, authorization: "Bearer ingest-key" });
      stream.end('{"id":"a","n":1}');
      const { status, text } = await answered(stream);
      assert.equal(status, 400);
      assert.match(text, /"code":"REQUEST_INVALID".*only the Kinesis door/);
    }
    assert.deepEqual(log.lines("orders"), []);
  });

  it("hears at once what is wrong with its headers, and is spared the body", async () => {
    const body = record("a").padEnd(900_000);
    const { host, ...headers } = signedHeaders("PutRecord", body, "x", { secret: "another", accessKeyId: "NOBODY" });
    const stream = session.request({ ":method": "POST", ":path": "/", ":authority": host as string, ...headers });
    stream.on("error", () => undefined);
    const { status, text } = await answered(stream);
    assert.equal(status, 400);
    assert.match(text, /UnrecognizedClientException/);
    const next = request("ListStreams", "{}");
    next.end("{}");
    assert.equal((await answered(next)).status, 200, "the connection goes on");
  });

  it("is closed when the platform stops, once its requests are answered", async () => {
    let open: () => void = () => undefined;
    log.gate = new Promise((resolve) => {
      open = resolve;
    });
    const body = record("a");
    const stream = request("PutRecord", body);
    stream.end(body);
    await sleep(100);
    const closed = kinesis.door.gateway.close();
    const ended = once(session, "close");
    await sleep(50);
    open();
    assert.equal((await answered(stream)).status, 200);
    await Promise.all([closed, ended]);
    assert.equal(log.lines("orders").length, 1);
  });
});

describe("a connection that does not", () => {
  it("may send its first bytes one by one, also those that both versions have in common", async () => {
    const socket = await kinesis.door.socket();
    for (const byte of "POST /v1/streams/orders/events HTTP/1.1\r\n") {
      socket.write(byte);
      await sleep(1);
    }
    const body = '{"id":"a","n":1}';
    socket.write(
      `Host: x\r\nAuthorization: Bearer ingest-key\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    assert.match(await socket.until('"partitions"'), /^HTTP\/1\.1 202 /);
    socket.end();
  });

  it("may fall silent and be served later, or break off, without harm", async () => {
    await using other = await OpenKinesis.open({ streams: [orders], timing: { headersTimeoutMs: 4000 } });
    const silent = await other.door.socket();
    for (let count = 0; count < 5; count++) (await other.door.socket()).end();
    await sleep(1200);
    silent.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert.match(await silent.untilClosed(), /^HTTP\/1\.1 200 /);
  });

  it("and says nothing at all is closed in the end", async () => {
    await using other = await OpenKinesis.open({ streams: [orders], timing: { headersTimeoutMs: 200 } });
    const silent = await other.door.socket();
    assert.match(await silent.untilClosed(), /REQUEST_TIMEOUT/);
  });
});
