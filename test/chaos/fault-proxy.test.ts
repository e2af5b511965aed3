import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { type TestContext, test } from "node:test";
import { type Fault, FaultProxy, type FaultRates } from "../../chaos/fault-proxy.ts";

const BODY = "answer ".repeat(20_000);

/** A server that counts what reaches it whole, behind a proxy. */
async function httpBehind(t: TestContext, options: { seed?: number; rates?: FaultRates } = {}) {
  const reached: string[] = [];
  const server = http.createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("error", () => undefined);
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      reached.push(Buffer.concat(pieces).toString());
      response.writeHead(200, { "content-length": BODY.length }).end(BODY);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const target = { host: "127.0.0.1", port };
  const proxy = await FaultProxy.start({
    target,
    protocol: "http",
    seed: options.seed ?? 1,
    rates: options.rates ?? {},
  });
  t.after(async () => {
    await proxy.close();
    server.closeAllConnections();
    server.close();
  });
  const put = async (body: string, path = "/x", signal = AbortSignal.timeout(10_000)) => {
    const response = await fetch(`${proxy.url}${path}`, { method: "PUT", body, signal });
    return { status: response.status, text: await response.text() };
  };
  return { proxy, reached, put };
}

test("without faults everything passes as it is", async (t) => {
  const { proxy, put, reached } = await httpBehind(t);
  assert.deepEqual(await put("hello"), { status: 200, text: BODY });
  assert.deepEqual(reached, ["hello"]);
  assert.deepEqual(proxy.counts, { passed: 1 });
});

test("each fault fails in its own way, and only some let the request have its effect", async (t) => {
  const { proxy, put, reached } = await httpBehind(t);
  const large = "x".repeat(300_000);
  const cases: readonly [Fault, effect: boolean, outcome: number | "fails" | "silent" | "whole"][] = [
    ["slow-down", false, 503],
    ["failed", true, 500],
    ["lost", true, "fails"],
    ["silent", false, "silent"],
    ["mute", true, "silent"],
    ["cut-request", false, "fails"],
    ["cut-answer", true, "fails"],
    ["slow", true, "whole"],
  ];
  for (const [fault, effect, outcome] of cases) {
    reached.length = 0;
    proxy.next([fault]);
    const signal = AbortSignal.timeout(outcome === "silent" ? 300 : 20_000);
    const answer = put(large, "/x", signal);
    if (outcome === "silent") await assert.rejects(answer, { name: "TimeoutError" }, fault);
    else if (outcome === "fails") await assert.rejects(answer, TypeError, fault);
    else if (outcome === "whole") assert.deepEqual(await answer, { status: 200, text: BODY });
    else {
      const { status, text } = await answer;
      assert.equal(status, outcome);
      assert.match(text, outcome === 503 ? /<Code>SlowDown<\/Code>/ : /<Code>InternalError<\/Code>/);
    }
    assert.deepEqual(reached, effect ? [large] : [], fault);
    assert.equal(proxy.counts[fault], 1);
  }
});

test("rates can be changed while it runs, and hit only what they are meant for", async (t) => {
  const { proxy, put } = await httpBehind(t, { rates: { "slow-down": 1 } });
  assert.equal((await put("1")).status, 503);
  proxy.set({ "slow-down": 1 }, ({ path }) => path.startsWith("/log/"));
  assert.equal((await put("2", "/data/1")).status, 200);
  assert.equal((await put("3", "/log/1")).status, 503);
  proxy.set({});
  assert.equal((await put("4", "/log/1")).status, 200);
});

test("the same seed draws the same faults", async (t) => {
  const drawn = async (seed: number) => {
    const { put } = await httpBehind(t, { seed, rates: { "slow-down": 0.3, failed: 0.3 } });
    const statuses: number[] = [];
    for (let i = 0; i < 30; i++) statuses.push((await put(String(i))).status);
    return statuses;
  };
  const first = await drawn(5);
  assert.deepEqual(await drawn(5), first);
  assert.notDeepEqual(await drawn(6), first);
  assert.deepEqual([...new Set(first)].sort(), [200, 500, 503]);
});

test("a server that is down refuses and cuts, and is there again afterwards", async (t) => {
  const { proxy, put } = await httpBehind(t);
  await put("1");
  proxy.down(true);
  await assert.rejects(put("2"), TypeError);
  proxy.down(false);
  assert.equal((await put("3")).status, 200);
});

test("any protocol over TCP passes through, is cut, or meets silence", async (t) => {
  const server = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (piece) => socket.write(piece));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  const proxy = await FaultProxy.start({ target: { host: "127.0.0.1", port }, protocol: "tcp", seed: 3 });
  t.after(async () => {
    await proxy.close();
    server.close();
  });
  /** What comes back of a megabyte, until it is all there, the connection ends, or nothing has come for a while. */
  const echo = () =>
    new Promise<number>((resolve) => {
      const sent = Buffer.alloc(1024 * 1024, 7);
      let got = 0;
      const socket = net.connect(proxy.port, "127.0.0.1", () => socket.write(sent));
      const end = () => {
        socket.destroy();
        resolve(got);
      };
      socket.on("data", (piece) => {
        got += piece.length;
        if (got === sent.length) end();
      });
      socket.setTimeout(1_000, end);
      socket.on("close", end).on("error", end);
    });
  assert.equal(await echo(), 1024 * 1024);
  proxy.next(["lost"]);
  const cut = await echo();
  assert.ok(cut < 64 * 1024 + 1, `${cut}`);
  proxy.next(["cut-request"]);
  assert.ok((await echo()) <= 64 * 1024);
  proxy.next(["silent"]);
  assert.equal(await echo(), 0);
  assert.equal(await echo(), 1024 * 1024);
});
