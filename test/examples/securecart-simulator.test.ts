import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import type { Summary } from "../../examples/simulation/tally.ts";

const SIMULATOR = resolve(import.meta.dirname, "../../examples/securecart/simulator.ts");

test("what the summary says was accepted and rejected is what the door answered, stream by stream", async (t) => {
  const door = await openDoor(t);
  const { code, stdout, stderr } = await simulate(door.url, [
    "--rate",
    "2000",
    "--for",
    "2s",
    "--seed",
    "11",
    "--json",
  ]);
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout) as Summary & { seed: number };
  assert.equal(summary.seed, 11);
  assert.ok(summary.sent > 3_800 && summary.sent < 4_400, `${summary.sent} sent in 2 s at 2,000 a second`);
  assert.equal(summary.accepted + summary.rejected, summary.sent);
  assert.equal(summary.rejected, summary.kinds.malformed);
  assert.ok(summary.kinds.malformed > 0 && summary.kinds.duplicate > 0);
  assert.equal(
    Object.values(summary.kinds).reduce((a, b) => a + b),
    summary.sent,
  );
  for (const [stream, count] of Object.entries(summary.streams)) {
    const seen = door.streams.get(stream);
    assert.deepEqual(
      { accepted: count.accepted, rejected: count.rejected, duplicates: count.kinds.duplicate },
      {
        accepted: seen?.accepted.length,
        rejected: seen?.rejected,
        duplicates: (seen?.accepted.length ?? 0) - new Set(seen?.accepted).size,
      },
      stream,
    );
  }
  assert.equal(summary.rejectedByCode.BROKEN, summary.rejected);
  assert.equal(door.mostAtOnce, 1, "batches of one stream overtook each other");
  assert.equal(door.firstStream, "countries");
});

test("a door that asks to wait or breaks the connection gets the same bytes again, and no event is left out", async (t) => {
  let requests = 0;
  const door = await openDoor(t, (request, response) => {
    requests++;
    if (requests % 5 === 2) {
      response.writeHead(requests % 2 === 0 ? 429 : 503, { "retry-after": "0" }).end("{}");
      return true;
    }
    if (requests % 5 === 4) {
      request.socket.destroy();
      return true;
    }
    return false;
  });
  const args = ["--rate", "300", "--for", "2s", "--seed", "5", "--batch", "40", "--json"];
  const { code, stdout, stderr } = await simulate(door.url, args);
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout) as Summary;
  assert.ok(summary.throttled > 0 && summary.resent > 0, stdout);
  assert.equal(summary.requests, requests);
  const stored = [...door.streams.values()].reduce((sum, s) => sum + s.accepted.length + s.rejected, 0);
  assert.equal(stored, summary.sent);
});

test("a door that refuses the key ends the run with its words", async (t) => {
  const door = await openDoor(t, (_request, response) => {
    response.writeHead(401).end('{"error":{"code":"KEY_INVALID","message":"this key is not known"}}');
    return true;
  });
  const { code, stderr } = await simulate(door.url, ["--for", "1s"]);
  assert.equal(code, 1);
  assert.match(stderr, /stream "countries" was answered 401: .*this key is not known/);
});

test("SIGTERM ends the run with the summary of what was sent until then", async (t) => {
  const door = await openDoor(t);
  const { code, stdout, stderr } = await simulate(door.url, ["--rate", "500", "--json"], {
    stopWhen: () => door.requests > 10,
  });
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout) as Summary;
  const stored = [...door.streams.values()].reduce((sum, s) => sum + s.accepted.length + s.rejected, 0);
  assert.equal(summary.sent, stored);
});

test("wrong options and a missing key are usage errors that name what is wrong", async () => {
  const wrong = await simulate("http://127.0.0.1:9", ["--rate", "fast", "--for", "soon"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--rate takes a number above 0, got "fast"\n--for takes a time such as 30s/);
  const unknown = await simulate("http://127.0.0.1:9", ["--fast"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /--fast/);
  const keyless = await simulate("http://127.0.0.1:9", ["--for", "1s"], { key: "" });
  assert.equal(keyless.code, 2);
  assert.match(keyless.stderr, /MILLRACE_KEY is not set/);
});

interface Door {
  readonly url: string;
  readonly streams: Map<string, { accepted: string[]; rejected: number }>;
  requests: number;
  firstStream: string | undefined;
  /** The most requests of one stream under way at the same time. */
  mostAtOnce: number;
}

/** A door that takes what the shop's contracts allow, as far as the simulator breaks them. `refuse` answers instead where it likes. */
async function openDoor(
  t: TestContext,
  refuse?: (request: IncomingMessage, response: ServerResponse) => boolean,
): Promise<Door> {
  const server: Server = createServer((request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const door: Door = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    streams: new Map(),
    requests: 0,
    firstStream: undefined,
    mostAtOnce: 0,
  };
  const underWay = new Map<string, number>();
  return door;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const stream = /^\/v1\/streams\/(\w+)\/events$/.exec(request.url ?? "")?.[1] as string;
    underWay.set(stream, (underWay.get(stream) ?? 0) + 1);
    door.mostAtOnce = Math.max(door.mostAtOnce, underWay.get(stream) as number);
    const body = await text(request);
    underWay.set(stream, (underWay.get(stream) as number) - 1);
    if (refuse?.(request, response)) return;
    assert.equal(request.headers.authorization, "Bearer test-key");
    assert.equal(request.headers["content-type"], "application/x-ndjson");
    door.requests++;
    door.firstStream ??= stream;
    const seen = door.streams.get(stream) ?? { accepted: [], rejected: 0 };
    door.streams.set(stream, seen);
    const lines = body.split("\n").slice(0, -1);
    const rejected = lines.flatMap((line, index) =>
      isGood(stream, line) ? [] : [{ index, code: "BROKEN", message: "broken" }],
    );
    seen.accepted.push(...lines.filter((line) => isGood(stream, line)));
    seen.rejected += rejected.length;
    response.writeHead(lines.length === rejected.length ? 422 : 202, { "content-type": "application/json" });
    response.end(JSON.stringify({ accepted: lines.length - rejected.length, rejected, partitions: [] }));
  }
}

const FIRST_FIELD: Readonly<Record<string, string>> = {
  order_lines: "invoice_no",
  clicks: "click_id",
  payments: "payment_id",
  inventory: "stock_code",
  countries: "country",
};

function isGood(stream: string, line: string): boolean {
  try {
    const fields = JSON.parse(line) as Record<string, unknown>;
    return (
      Object.keys(fields)[0] === FIRST_FIELD[stream] &&
      Object.values(fields).every((value) => typeof value !== "object")
    );
  } catch {
    return false;
  }
}

async function simulate(url: string, args: string[], options: { key?: string; stopWhen?: () => boolean } = {}) {
  const { key = "test-key", stopWhen } = options;
  const child = spawn(process.execPath, [SIMULATOR, ...args], {
    env: { ...process.env, MILLRACE_URL: url, MILLRACE_KEY: key },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setInterval(() => {
    if (!stopWhen?.()) return;
    clearInterval(timer); // a second signal would end it at once
    child.kill("SIGTERM");
  }, 50);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  clearInterval(timer);
  return { code: code as number | null, stdout, stderr };
}
