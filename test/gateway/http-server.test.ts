import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { createHttpServer } from "../../src/gateway/http-server.ts";
import { openDoor } from "./open-door.ts";
import { orders } from "./orders.ts";

describe("routes that are not there", () => {
  it("are a 404 in the form of all errors, and a wrong method a 405 with Allow", async () => {
    await using door = await openDoor({ streams: [orders] });
    const tries: readonly (readonly [string, string, number, string, string | undefined])[] = [
      ["GET", "/", 404, "ROUTE_UNKNOWN", undefined],
      ["GET", "/v1/streams/orders/eventz", 404, "ROUTE_UNKNOWN", undefined],
      ["POST", "/v1/streams/orders/events/", 404, "ROUTE_UNKNOWN", undefined],
      ["PUT", "/v1/streams/orders/events", 405, "METHOD_NOT_ALLOWED", "GET, HEAD, POST"],
      ["DELETE", "/v1/streams?x=1", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
      ["POST", "/healthz", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ];
    for (const [method, path, status, code, allow] of tries) {
      const answer = await door.call(method, path);
      assert.deepEqual(
        [answer.status, answer.json.error.code, answer.headers.allow],
        [status, code, allow],
        `${method} ${path}`,
      );
      assert.match(answer.headers["content-type"] as string, /^application\/json/);
      assert.ok(answer.json.error.message && answer.json.error.hint);
    }
  });
});

describe("routes of other parts", () => {
  it("are registered on the app, and their failures have the same form", async () => {
    const failures: unknown[] = [];
    const server = createHttpServer({
      host: "127.0.0.1",
      port: 0,
      maxBodyBytes: 1000,
      requestTimeoutMs: 5000,
      hotPath: () => false,
      hotRoutes: [],
      report: (error) => failures.push(error),
    });
    const cause = new Error("internal detail");
    server.app.get("/fails", async () => {
      throw cause;
    });
    server.app.get("/refuses", async () => {
      throw new MillraceError("OVERLOADED", { reason: "a test" }, { retryAfterS: 7, details: { a: 1 } });
    });
    server.app.post("/echo", async (request) => request.body);
    const { url } = await server.listen();
    try {
      const get = async (path: string, init?: RequestInit) => {
        const response = await fetch(`${url}${path}`, init);
        return {
          status: response.status,
          headers: response.headers,
          json: (await response.json()) as { error: { code: string; message: string; details?: unknown } },
        };
      };
      const failed = await get("/fails");
      assert.deepEqual([failed.status, failed.json.error.code], [500, "INTERNAL"]);
      assert.doesNotMatch(failed.json.error.message, /detail/);
      assert.deepEqual(failures, [cause]);
      const refused = await get("/refuses");
      assert.deepEqual(
        [refused.status, refused.headers.get("retry-after"), refused.json.error.details],
        [503, "7", { a: 1 }],
      );
      const json = { "content-type": "application/json" };
      assert.deepEqual((await get("/echo", { method: "POST", headers: json, body: '{"a":1}' })).json, { a: 1 });
      const codes: readonly (readonly [RequestInit, number, string])[] = [
        [{ headers: json, body: "{" }, 400, "REQUEST_INVALID"],
        [{ headers: json, body: "" }, 400, "REQUEST_INVALID"],
        [{ headers: { "content-type": "text/csv" }, body: "a,b" }, 415, "BODY_TYPE_UNSUPPORTED"],
        [{ headers: json, body: `"${"x".repeat(2000)}"` }, 413, "BODY_TOO_LARGE"],
      ];
      for (const [init, status, code] of codes) {
        const answer = await get("/echo", { method: "POST", ...init });
        assert.deepEqual([answer.status, answer.json.error.code], [status, code]);
      }
      assert.equal(failures.length, 1, "what the sender did wrong is no failure of ours");
    } finally {
      await server.close();
    }
  });
});

describe("draining", () => {
  it("goes on answering, and ends each connection with its next answer", async () => {
    const server = createHttpServer({
      ...{ host: "127.0.0.1", port: 0, maxBodyBytes: 1000, requestTimeoutMs: 5000 },
      hotPath: (request, response) => {
        if (request.url !== "/hot") return false;
        response.writeHead(202).end();
        return true;
      },
      hotRoutes: [],
      report: (error) => assert.fail(error as Error),
    });
    server.app.get("/cold", async () => ({ ok: true }));
    const { url } = await server.listen();
    try {
      const answers = async () => {
        const got = [];
        for (const path of ["/hot", "/cold"]) {
          const response = await fetch(`${url}${path}`);
          await response.arrayBuffer();
          got.push([response.status, response.headers.get("connection")]);
        }
        return got;
      };
      assert.deepEqual(await answers(), [
        [202, "keep-alive"],
        [200, "keep-alive"],
      ]);
      server.drain();
      assert.deepEqual(await answers(), [
        [202, "close"],
        [200, "close"],
      ]);
    } finally {
      await server.close();
    }
  });
});

describe("listening", () => {
  it("on a port that is taken fails with the port and the way out", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((listening) => other.once("listening", listening));
    const { port } = other.address() as { port: number };
    await assert.rejects(openDoor({ streams: [orders], settings: { port } }), (error: MillraceError) => {
      assert.equal(error.code, "PORT_IN_USE");
      assert.equal(error.message, `port ${port} on 127.0.0.1 is taken by another process`);
      assert.match(error.hint, /--port/);
      return true;
    });
    other.close();
  });

  it("on an address that is not this machine's fails with the address", async () => {
    await assert.rejects(openDoor({ streams: [orders], settings: { host: "192.0.2.1" } }), { code: "LISTEN_FAILED" });
  });
});

describe("health", () => {
  it("needs no key: the process answers, and the whole path says whether it works", async () => {
    let ready = false;
    await using door = await openDoor({
      streams: [orders],
      ready: async () => ({ ready, checks: { log: { ok: ready, ...(ready ? {} : { message: "disk full" }) } } }),
    });
    assert.deepEqual(
      [
        (await door.call("GET", "/healthz", { key: "" })).status,
        (await door.call("GET", "/metrics", { key: "" })).status,
      ],
      [200, 200],
    );
    const not = await door.call("GET", "/readyz", { key: "" });
    assert.deepEqual(
      [not.status, not.json],
      [503, { ready: false, checks: { log: { ok: false, message: "disk full" } } }],
    );
    ready = true;
    assert.deepEqual((await door.call("GET", "/readyz", { key: "" })).json, {
      ready: true,
      checks: { log: { ok: true } },
    });
  });
});

describe("a contract that cannot be checked", () => {
  it("is named with its stream and file before the door opens", async () => {
    const broken = { ...orders, jsonSchema: { type: "object", properties: { id: { type: "text" } } } };
    await assert.rejects(openDoor({ streams: [broken] }), (error: MillraceError) => {
      assert.equal(error.code, "CONTRACT_NOT_COMPILABLE");
      assert.match(error.message, /the contract of stream "orders" cannot be checked/);
      assert.match(error.hint, /streams\.ts/);
      return true;
    });
  });
});
