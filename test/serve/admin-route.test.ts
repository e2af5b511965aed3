import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fastify, { type FastifyInstance } from "fastify";
import { MillraceError } from "../../src/errors.ts";
import { type Administration, adminRoute, type KeyView } from "../../src/serve/admin-route.ts";

const key: KeyView = {
  id: "abcabcabcabc",
  name: "till",
  scopes: ["ingest"],
  createdAt: new Date(0),
  revokedAt: undefined,
  accessKeyId: undefined,
};
const hop = {
  stream: "orders",
  hop: "bronze.orders",
  accepted: 3,
  stored: 2,
  duplicate: 1,
  filtered: 0,
  deadLettered: 0,
};
const heard: unknown[] = [];

/** What the routes were asked for, and answers that can be told apart. */
const administration: Administration = {
  keys: {
    async create(request) {
      heard.push(request);
      return { key, token: "mk_abcabcabcabc_secret" };
    },
    async list() {
      return [key];
    },
    async revoke(id) {
      if (id !== key.id) throw new MillraceError("KEY_UNKNOWN", { id });
      return { ...key, revokedAt: new Date(1_000) };
    },
  },
  config: () => [{ name: "port", value: "8080", source: "default", doc: "Port." }],
  async status() {
    return {
      project: "shop",
      version: "0.1.0",
      startedAtMs: 1,
      uptimeMs: 2,
      ready: true,
      problems: [],
      residentBytes: 3,
      door: { accepted: 4, rejected: 5, eventsPerSecond: 6 },
      streams: [],
      tables: [],
      functions: [],
    };
  },
  async ledger() {
    const verified = { verified: 3, verifiedAt: "1970-01-01T00:00:01.000Z" };
    const hops = [
      { ...hop, ...verified, pending: 0, balanced: true },
      { ...hop, ...verified, hop: "silver.orders", stored: 1, pending: 0, balanced: false },
    ];
    return { balanced: false, hops, imbalances: [] };
  },
  async refresh(table, { full, signal }) {
    if (table === "gold.endless") {
      await once(signal, "abort");
      heard.push("aborted");
    }
    heard.push({ table, full });
    return { kind: full ? "full" : "by", version: 7 };
  },
  async replay(table, order, { signal, onProgress }) {
    heard.push({ table, ...order });
    onProgress?.({ phase: "rebuild", table, events: 5, total: 9 });
    if (table === "silver.endless") {
      await once(signal, "abort");
      heard.push("aborted");
    }
    if (table === "silver.taken") throw new MillraceError("REPLAY_RUNNING", { table, with: "" });
    if (table === "silver.slow") await sleep(500);
    return { version: table.length, tables: [{ table, kind: "rebuilt" }] };
  },
};

let app: FastifyInstance;
let url: string;

before(async () => {
  app = fastify();
  app.setErrorHandler((error, _request, reply) => {
    assert.ok(error instanceof MillraceError, String(error));
    return reply.code(error.status).send({ error });
  });
  await app.register(adminRoute, {
    administration,
    requireScope: (scope) => async (request) => {
      const scopes = String(request.headers.authorization ?? "").split(",");
      if (!scopes.includes(scope)) throw new MillraceError("FORBIDDEN", { name: "x", scope, scopes: "none" });
    },
  });
  url = await app.listen({ port: 0, host: "127.0.0.1" });
});
after(() => app.close());

async function call(method: string, path: string, scopes: string, body?: unknown) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: scopes, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown> & { error?: { code: string } },
  };
}

test("keys are made, listed and revoked; the token is in the answer to the making only", async () => {
  const made = await call("POST", "/v1/keys", "admin", { name: "till", scopes: ["ingest"] });
  assert.deepEqual([made.status, made.body.token], [201, "mk_abcabcabcabc_secret"]);
  assert.deepEqual(heard.pop(), { name: "till", scopes: ["ingest"] });
  const listed = await call("GET", "/v1/keys", "admin");
  assert.deepEqual(listed.body, {
    keys: [{ id: key.id, name: "till", scopes: ["ingest"], createdAt: "1970-01-01T00:00:00.000Z" }],
  });
  const revoked = await call("DELETE", `/v1/keys/${key.id}`, "admin");
  assert.equal((revoked.body.key as { revokedAt: string }).revokedAt, "1970-01-01T00:00:01.000Z");
  assert.equal((await call("DELETE", "/v1/keys/nobody", "admin")).body.error?.code, "KEY_UNKNOWN");
});

test("what is not a key's name and scopes is refused before anything is made", async () => {
  for (const wrong of [
    {},
    { name: 1, scopes: [] },
    { name: "x", scopes: "ingest" },
    { name: "x", scopes: [1] },
    [],
    "x",
  ]) {
    const answer = await call("POST", "/v1/keys", "admin", wrong);
    assert.deepEqual([answer.status, answer.body.error?.code], [400, "REQUEST_INVALID"], JSON.stringify(wrong));
  }
  assert.deepEqual(heard, []);
});

test("reading needs the scope query, changing the scope admin", async () => {
  for (const [method, path, scope] of [
    ["GET", "/v1/keys", "admin"],
    ["POST", "/v1/keys", "admin"],
    ["DELETE", "/v1/keys/x", "admin"],
    ["GET", "/v1/config", "admin"],
    ["POST", "/v1/tables/gold.t/refresh", "admin"],
    ["POST", "/v1/tables/gold.t/replay", "admin"],
    ["GET", "/v1/status", "query"],
    ["GET", "/v1/ledger", "query"],
  ] as const) {
    const others = ["ingest", "query", "admin"].filter((other) => other !== scope).join(",");
    assert.equal((await call(method, path, others)).status, 403, `${method} ${path}`);
  }
});

test("config, status and ledger are passed on, and the ledger says whether all of it balances", async () => {
  assert.deepEqual((await call("GET", "/v1/config", "admin")).body.settings, administration.config());
  assert.deepEqual((await call("GET", "/v1/status", "query")).body, await administration.status());
  const ledger = await call("GET", "/v1/ledger", "query");
  assert.deepEqual(ledger.body, await administration.ledger());
});

test("a refresh is by what was touched unless all of it is asked for, and says how long it took", async () => {
  const some = await call("POST", "/v1/tables/gold.sales/refresh", "admin");
  assert.deepEqual([some.body.table, some.body.kind, some.body.version], ["gold.sales", "by", 7]);
  assert.equal(typeof some.body.elapsedMs, "number");
  const all = await call("POST", "/v1/tables/gold.sales/refresh", "admin", { full: true });
  assert.equal(all.body.kind, "full");
  assert.equal((await call("POST", "/v1/tables/gold.sales/refresh", "admin", { full: "yes" })).status, 400);
  assert.deepEqual(heard.splice(0), [
    { table: "gold.sales", full: false },
    { table: "gold.sales", full: true },
  ]);
});

test("a replay answers the table's new version and which tables changed, and is told what was asked", async () => {
  const path = "/v1/tables/silver.orders/replay";
  const { body } = await call("POST", path, "admin");
  assert.deepEqual(
    [body.table, body.version, body.tables],
    ["silver.orders", 13, [{ table: "silver.orders", kind: "rebuilt" }]],
  );
  await call("POST", path, "admin", { fromOffset: 5000, source: "log", only: true });
  await call("POST", path, "admin", { fromOffset: { "1": 7 } });
  await call("POST", path, "admin", { fromTime: "2026-01-31T12:00:00Z" });
  const nothing = { source: undefined, only: undefined, fromTimeMs: undefined };
  assert.deepEqual(heard.splice(0), [
    { table: "silver.orders", ...nothing },
    { table: "silver.orders", ...nothing, fromOffset: 5000, source: "log", only: true },
    { table: "silver.orders", ...nothing, fromOffset: new Map([[1, 7]]) },
    { table: "silver.orders", ...nothing, fromTimeMs: Date.parse("2026-01-31T12:00:00Z") },
  ]);
});

test("a replay that is asked for wrongly is refused before anything is done", async () => {
  for (const wrong of [
    { fromOffset: -1 },
    { fromOffset: 1.5 },
    { fromOffset: "7" },
    { fromOffset: {} },
    { fromOffset: { first: 7 } },
    { fromTime: 7 },
    { fromTime: "yesterday" },
    { source: "gold" },
    { only: "yes" },
    { offset: 7 },
  ]) {
    const answer = await call("POST", "/v1/tables/silver.orders/replay", "admin", wrong);
    assert.deepEqual([answer.status, answer.body.error?.code], [400, "REQUEST_INVALID"], JSON.stringify(wrong));
  }
  assert.deepEqual(heard.splice(0), []);
});

test("a replay tells its progress line by line to whoever asks for lines, and how it ended", async () => {
  const lines = async (table: string) => {
    const response = await fetch(`${url}/v1/tables/${table}/replay`, {
      method: "POST",
      headers: { authorization: "admin", accept: "application/x-ndjson" },
    });
    const text = await response.text();
    return text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, Record<string, unknown>>);
  };
  const slow = await lines("silver.slow");
  assert.deepEqual(slow[0], { progress: { phase: "rebuild", table: "silver.slow", events: 5, total: 9 } });
  assert.equal(slow.at(-1)?.["replayed"]?.["version"], 11);
  assert.equal((await lines("silver.taken"))[0]?.["error"]?.["code"], "REPLAY_RUNNING");
  heard.splice(0);
});

test("a replay whose caller has gone is told so, whether it answers at once or line by line", async () => {
  for (const accept of ["application/json", "application/x-ndjson"]) {
    const request = httpRequest(`${url}/v1/tables/silver.endless/replay`, {
      method: "POST",
      headers: { authorization: "admin", accept },
    });
    request.on("error", () => undefined);
    request.end();
    setTimeout(() => request.destroy(), 300);
    for (let waited = 0; !heard.includes("aborted"); waited += 5) {
      assert.ok(waited < 5_000, `${accept}: the replay never heard of it`);
      await sleep(5);
    }
    heard.splice(0);
  }
});

test("work whose caller has gone is told so", async () => {
  const request = httpRequest(`${url}/v1/tables/gold.endless/refresh`, {
    method: "POST",
    headers: { authorization: "admin" },
  });
  request.on("error", () => undefined);
  request.end();
  setTimeout(() => request.destroy(), 50);
  for (
    const started = performance.now();
    !heard.includes("aborted");
    await new Promise((done) => setTimeout(done, 5))
  ) {
    assert.ok(performance.now() - started < 5_000, "the work never heard of it");
  }
});
