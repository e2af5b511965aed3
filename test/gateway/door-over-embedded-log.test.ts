import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Registry } from "prom-client";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { createGateway } from "../../src/gateway/gateway.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { NDJSON, orders } from "./orders.ts";

let dir: string;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-door-"));
});

after(async () => {
  await rm(dir, { recursive: true });
});

interface Running {
  readonly log: EventLog;
  readonly gateway: Gateway;
  readonly url: string;
}

async function start(): Promise<Running> {
  const log = await openEmbeddedLog({ dir });
  await log.open("orders", { partitions: 2 });
  const gateway = createGateway({
    log,
    streams: new Map([["orders", { ...orders, key: "id" }]]),
    keys: { verify: () => ({ id: "k", name: "k", scopes: new Set(["admin"] as const) }) },
    deadLetters: { record: async () => {} },
    ready: async () => ({ ready: true, checks: {} }),
    registry: new Registry(),
    settings: {
      host: "127.0.0.1",
      port: 0,
      maxBodyBytes: 1024 * 1024,
      maxEventBytes: 64 * 1024,
      maxNesting: 64,
      inflightBytes: 16 * 1024 * 1024,
      requestTimeoutMs: 5000,
    },
    partitionOf,
    report: (error) => assert.fail(String(error)),
  });
  const { url } = await gateway.listen();
  return { log, gateway, url: `${url}/v1/streams/orders/events` };
}

async function stop({ gateway, log }: Running): Promise<void> {
  await gateway.close();
  await log.close();
}

const headers = { authorization: "Bearer x", "content-type": NDJSON };

async function post(
  url: string,
  body: string,
): Promise<{ status: number; accepted: number; partitions: { partition: number; from: number; to: number }[] }> {
  const response = await fetch(url, { method: "POST", headers, body });
  return { status: response.status, ...((await response.json()) as { accepted: number; partitions: [] }) };
}

async function readAll(url: string): Promise<string[][]> {
  return Promise.all(
    [0, 1].map(async (partition) => {
      const response = await fetch(`${url}?partition=${partition}&limit=100000`, { headers });
      return (await response.text()).split("\n").slice(0, -1);
    }),
  );
}

describe("the door over the embedded log", () => {
  it("acknowledges what is then in the log, each event at the offset the answer names, also after a restart", async () => {
    const promised = new Map<string, string[]>();
    for (const round of [0, 1]) {
      const running = await start();
      const posts = Array.from({ length: 40 }, async (_, request) => {
        const events = Array.from({ length: 1 + (request % 7) }, (_, n) => `{"id":"r${round}-${request}","n":${n}}`);
        const lines = request % 3 === 0 ? `${events.join("\n")}\n` : events.join("\r\n");
        const answer = await post(running.url, lines);
        assert.deepEqual([answer.status, answer.accepted, answer.partitions.length], [202, events.length, 1]);
        const [{ partition, from, to }] = answer.partitions as [{ partition: number; from: number; to: number }];
        assert.equal(to - from + 1, events.length);
        promised.set(`${partition}/${from}`, events);
      });
      await Promise.all(posts);
      const stored = await readAll(running.url);
      assert.equal(stored.flat().length, [...promised.values()].flat().length);
      for (const [place, events] of promised) {
        const [partition, from] = place.split("/").map(Number) as [number, number];
        assert.deepEqual(stored[partition]?.slice(from, from + events.length), events);
      }
      await stop(running);
    }
  });

  it("can be followed beyond its end: the event that comes there is shown", async () => {
    const running = await start();
    const { end } = running.log.ends("orders", 0);
    const leave = new AbortController();
    const response = await fetch(`${running.url}?partition=0&from=${end + 1}`, {
      headers: { ...headers, accept: "text/event-stream" },
      signal: leave.signal,
    });
    const key = Array.from({ length: 20 }, (_, n) => `k${n}`).find((name) => partitionOf(name, 2) === 0);
    await post(running.url, `{"id":"${key}","n":1}\n{"id":"${key}","n":2}`);
    let received = "";
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      received += Buffer.from(chunk).toString();
      if (received.includes("data: ")) break;
    }
    leave.abort();
    assert.match(received, new RegExp(`id: 0-${end + 1}\\ndata: \\{"id":"${key}","n":2\\}\\n\\n`));
    await stop(running);
  });
});
