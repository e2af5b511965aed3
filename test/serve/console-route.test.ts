/** How the console's files are served, and the live stream behind it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import fastify from "fastify";
import { consoleRoute, PLACES, readConsole } from "../../src/serve/console-route.ts";
import { type Live, mapRoute, type Pulse } from "../../src/serve/map-route.ts";
import { sessionRoute } from "../../src/serve/session-route.ts";

const SCRIPT = "console.log('x');".repeat(100);

async function served(test: { after(work: () => void): void }) {
  const dir = mkdtempSync(join(tmpdir(), "millrace-console-"));
  test.after(() => rmSync(dir, { recursive: true, force: true }));
  await mkdir(join(dir, "assets"));
  await writeFile(join(dir, "index.html"), '<meta name="csp-nonce" content="__NONCE__"><div id="root">');
  await writeFile(join(dir, "assets", "index-abc.js"), SCRIPT);
  const app = fastify();
  app.register(consoleRoute, { files: await readConsole(dir) });
  return app;
}

test("the page comes for every place of the console, with a policy and a nonce of its own each time", async (t) => {
  const app = await served(t);
  const nonces = new Set<string>();
  for (const path of ["/", ...PLACES.map((place) => `/${place}`), "/tables/silver.orders/history"]) {
    const { statusCode, headers, body } = await app.inject(path);
    assert.equal(statusCode, 200, path);
    const policy = String(headers["content-security-policy"]);
    assert.match(policy, /default-src 'none'; script-src 'self';/);
    assert.doesNotMatch(policy, /unsafe/);
    const nonce = /content="([^"]+)"/.exec(body)?.[1] as string;
    assert.ok(policy.includes(`'nonce-${nonce}'`));
    nonces.add(nonce);
    assert.equal(headers["x-content-type-options"], "nosniff");
  }
  assert.equal(nonces.size, PLACES.length + 2);
});

test("assets are kept for ever and come compressed as the browser likes; others are not there", async (t) => {
  const app = await served(t);
  const get = (encoding?: string) =>
    app.inject({ url: "/assets/index-abc.js", headers: encoding === undefined ? {} : { "accept-encoding": encoding } });
  const plain = await get();
  assert.equal(plain.body, SCRIPT);
  assert.match(String(plain.headers["cache-control"]), /immutable/);
  assert.match(String(plain.headers["content-type"]), /^text\/javascript/);
  assert.equal(gunzipSync((await get("gzip")).rawPayload).toString(), SCRIPT);
  assert.equal(brotliDecompressSync((await get("gzip, br")).rawPayload).toString(), SCRIPT);
  for (const path of ["/assets/other.js", "/assets/../index.html", "/nowhere"]) {
    assert.equal((await app.inject(path)).statusCode, 404, path);
  }
});

test("where there is no build the page says how to make one", async () => {
  assert.equal(await readConsole(join(tmpdir(), "millrace-nowhere")), undefined);
  const app = fastify();
  app.register(consoleRoute, { files: undefined });
  const { statusCode, body } = await app.inject("/");
  assert.equal(statusCode, 404);
  assert.match(body, /CONSOLE_NOT_BUILT/);
});

test("a session's cookie is for the browser alone, and Secure where the platform is reached by https", async () => {
  const principal = { id: "1", name: "ann", scopes: new Set(["query" as const]) };
  const ended: string[] = [];
  const app = fastify();
  app.register(sessionRoute, {
    sessions: {
      begin: async (key) => (key === "mk_1" ? { token: "ms_1", principal, expiresAtMs: 61_000 } : undefined),
      verify: (token) => (token === "ms_1" ? principal : undefined),
      end: async (token) => void ended.push(token),
    },
    ...{ cookie: "millrace_session", tokenOf: ({ cookie }) => cookie?.split("=")[1], clock: () => 1_000 },
  });
  const signIn = (key: unknown, headers = {}) =>
    app.inject({ method: "POST", url: "/v1/session", payload: { key }, headers });
  const { statusCode, headers, body } = await signIn(" mk_1 ");
  assert.deepEqual([statusCode, JSON.parse(body)], [201, { session: { name: "ann", scopes: ["query"] } }]);
  assert.equal(headers["set-cookie"], "millrace_session=ms_1; Path=/; HttpOnly; SameSite=Strict; Max-Age=60");
  assert.match(String((await signIn("mk_1", { "x-forwarded-proto": "https" })).headers["set-cookie"]), /; Secure$/);
  assert.match((await signIn("mk_2")).body, /UNAUTHENTICATED/);
  assert.match((await signIn(7)).body, /REQUEST_INVALID/);
  const mine = { cookie: "millrace_session=ms_1" };
  assert.equal((await app.inject({ url: "/v1/session", headers: mine })).json().session.name, "ann");
  assert.equal((await app.inject("/v1/session")).json().session, null);
  const out = await app.inject({ method: "DELETE", url: "/v1/session", headers: mine });
  assert.deepEqual([out.statusCode, ended], [204, ["ms_1"]]);
  assert.match(String(out.headers["set-cookie"]), /Max-Age=0$/);
});

test("one pulse is made for all who look, and none once nobody does", async (t) => {
  let made = 0;
  const closing = new AbortController();
  const live: Live = {
    map: () => ({ nodes: [], edges: [] }),
    pulse: async () => ({ atMs: ++made, nodes: {} }) as unknown as Pulse,
  };
  const app = fastify({ forceCloseConnections: true });
  app.register(mapRoute, { live, requireScope: () => async () => undefined, closing: closing.signal });
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  t.after(() => app.close());
  const look = async (until: (text: string) => boolean) => {
    const gone = new AbortController();
    const response = await fetch(`${url}/v1/live`, { signal: gone.signal });
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (until(text)) break;
    }
    gone.abort();
    return text;
  };
  const heard = (text: string) => text.split("event: pulse").length - 1;
  const texts = await Promise.all([1, 2, 3].map(() => look((text) => heard(text) >= 3)));
  for (const text of texts) assert.match(text, /event: pulse\ndata: \{"atMs":/);
  const all = texts.reduce((sum, text) => sum + heard(text), 0);
  assert.ok(made < all, `${made} pulses were made, and ${all} heard`);
  const before = made;
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.ok(made - before <= 1, "nobody looks any more");
  const last = look(() => false);
  closing.abort();
  assert.match(await last, /retry: /);
});
