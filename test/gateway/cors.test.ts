import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type OpenDoor, openDoor } from "./open-door.ts";
import { orders } from "./orders.ts";

const EVENTS = "/v1/streams/orders/events";
const APP = "https://app.example.com";

function send(door: OpenDoor, origin: string | undefined, more: { method?: string; path?: string; key?: string } = {}) {
  return fetch(`${door.url}${more.path ?? EVENTS}`, {
    method: more.method ?? "POST",
    headers: {
      ...(origin === undefined ? {} : { origin }),
      ...(more.method === "OPTIONS"
        ? { "access-control-request-method": "POST" }
        : { authorization: `Bearer ${more.key ?? "ingest-key"}`, "content-type": "application/json" }),
    },
    ...(more.method === undefined ? { body: '{"id": "a", "n": 1}' } : {}),
  });
}

describe("pages of other origins", () => {
  it("may not send events unless the setting says so: no answer has a header for them", async () => {
    await using door = await openDoor({ streams: [orders] });
    const posted = await send(door, APP);
    assert.equal(posted.status, 202);
    assert.equal(posted.headers.get("access-control-allow-origin"), null);
    const preflight = await send(door, APP, { method: "OPTIONS" });
    assert.equal(preflight.status, 405);
    await Promise.all([posted.text(), preflight.text()]);
  });

  it("that are allowed get a preflight that is kept, and every answer of the events door, also an error, with Retry-After exposed", async () => {
    const corsOrigins = `${APP}, https://*.shop.example, http://localhost:5173`;
    await using door = await openDoor({ streams: [orders], settings: { corsOrigins } });
    for (const origin of [APP, "https://de.shop.example", "https://a.b.shop.example", "http://localhost:5173"]) {
      const preflight = await send(door, origin, { method: "OPTIONS" });
      assert.deepEqual(
        [
          preflight.status,
          ...["allow-origin", "allow-methods", "max-age"].map((name) =>
            preflight.headers.get(`access-control-${name}`),
          ),
        ],
        [204, origin, "POST", "7200"],
      );
      const headers = preflight.headers.get("access-control-allow-headers");
      assert.match(headers as string, /authorization.*content-type.*content-encoding/);
      for (const [key, status] of [
        ["ingest-key", 202],
        ["nobody", 401],
      ] as const) {
        const posted = await send(door, origin, { key });
        await posted.text();
        assert.deepEqual(
          [
            posted.status,
            ...["access-control-allow-origin", "access-control-expose-headers", "vary"].map((name) =>
              posted.headers.get(name),
            ),
          ],
          [status, origin, "Retry-After", "Origin"],
        );
        assert.equal(posted.headers.get("access-control-allow-credentials"), null);
      }
    }
    const unknown = await send(door, APP, { path: "/v1/streams/nothing/events" });
    await unknown.text();
    assert.deepEqual([unknown.status, unknown.headers.get("access-control-allow-origin")], [404, APP]);
  });

  it("that are not allowed get no header, and a preflight that says what to do", async () => {
    const corsOrigins = `${APP},https://*.shop.example`;
    await using door = await openDoor({ streams: [orders], settings: { corsOrigins } });
    for (const origin of [
      "https://evil.example",
      `${APP}.evil.example`,
      "https://shop.example",
      "http://app.example.com",
      "null",
    ]) {
      const preflight = await send(door, origin, { method: "OPTIONS" });
      const { error } = (await preflight.json()) as { error: { code: string; hint: string } };
      assert.deepEqual([preflight.status, error.code], [403, "ORIGIN_NOT_ALLOWED"], origin);
      assert.match(error.hint, /corsOrigins/);
      const posted = await send(door, origin);
      await posted.text();
      assert.equal(posted.headers.get("access-control-allow-origin"), null);
    }
  });

  it("may all send with *, and reach no other door even then", async () => {
    await using door = await openDoor({ streams: [orders], settings: { corsOrigins: "*" } });
    const posted = await send(door, "https://anywhere.example");
    await posted.text();
    assert.equal(posted.headers.get("access-control-allow-origin"), "*");
    for (const path of ["/v1/streams", "/healthz", "/v1/streams/orders/schema"]) {
      const answer = await send(door, "https://anywhere.example", { path, method: "GET", key: "admin-key" });
      await answer.text();
      assert.equal(answer.headers.get("access-control-allow-origin"), null, path);
    }
    const own = await send(door, undefined);
    await own.text();
    assert.equal(own.headers.get("access-control-allow-origin"), null, "a sender that is no page");
  });

  it("are named as origins: anything else in the setting is refused at the start", async () => {
    for (const corsOrigins of [
      "app.example.com",
      "https://app.example.com/",
      "https://*",
      "https://a.*.example",
      "file://",
    ]) {
      await assert.rejects(
        openDoor({ streams: [orders], settings: { corsOrigins } }),
        { code: "SETTING_INVALID" },
        corsOrigins,
      );
    }
  });
});
