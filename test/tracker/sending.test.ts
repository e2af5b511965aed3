import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { memoryStore } from "../../packages/tracker/src/store.ts";
import { ScriptedEndpoint } from "./scripted-endpoint.ts";
import { testTracker } from "./test-tracker.ts";

const BUSY = { error: { code: "OVERLOADED", message: "too much at once" } };

describe("a packet", () => {
  it("holds the events of one stream in the order they were tracked, as NDJSON with the key", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker } = testTracker({ endpoints: `${door.url}/` });
    for (let n = 0; n < 3; n++) {
      await tracker.track("clicks", { n });
      await tracker.track("pages", { n });
    }
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(
      door.received.map(({ stream, events }) => [stream, events.map((event) => event["n"])]),
      [
        ["clicks", [0, 1, 2]],
        ["pages", [0, 1, 2]],
      ],
    );
    const [first] = door.received;
    assert.equal(first?.headers.authorization, "Bearer mk_test");
    assert.equal(first?.headers["content-type"], "application/x-ndjson");
    assert.equal(first?.headers["content-encoding"], undefined, "small packets are sent as they are");
  });

  it("is compressed when it is large, and has at most packetEvents events and packetBytes bytes", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker } = testTracker({ endpoints: door.url, packetEvents: 10, packetBytes: 3_000 });
    const note = "x".repeat(1_000);
    for (let n = 0; n < 4; n++) await tracker.track("clicks", { n, note });
    for (let n = 4; n < 18; n++) await tracker.track("clicks", { n });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(
      door.received.map(({ events }) => events.length),
      [2, 10, 6],
    );
    assert.deepEqual(
      door.values("n"),
      Array.from({ length: 18 }, (_, n) => n),
    );
    assert.equal(door.received[0]?.headers["content-encoding"], "gzip");
  });

  it("goes out by itself when flushEvents wait, and after flushIntervalMs when fewer do", async () => {
    await using door = await ScriptedEndpoint.open();
    const full = testTracker({ endpoints: door.url, flushEvents: 3 });
    for (let n = 0; n < 3; n++) await full.tracker.track("clicks", { n });
    await until(() => door.received.length === 1);
    const slow = testTracker({ endpoints: door.url, flushIntervalMs: 20 });
    await slow.tracker.track("clicks", { n: 3 });
    await until(() => door.received.length === 2);
    assert.deepEqual(door.values("n"), [0, 1, 2, 3]);
  });
});

describe("an answer", () => {
  it("with rejected events tells them to onDrop and sends them no more", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker, drops, store } = testTracker({ endpoints: door.url });
    const rejected = [{ index: 1, code: "EVENT_INVALID", message: '"/n" must be number' }];
    door.answer = () => ({ status: 202, body: { accepted: 1, rejected, partitions: [] } });
    await tracker.track("clicks", { n: 0 });
    await tracker.track("clicks", { n: "one" });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(drops, [
      { stream: "clicks", event: { n: "one" }, ...{ code: "EVENT_INVALID", message: '"/n" must be number' } },
    ]);
    assert.equal(await store.size(), 0);
    assert.equal(door.received.length, 1);
  });

  it("of 422 says why all are refused, 404 STREAM_UNKNOWN that there is no such stream: neither is retried", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker, drops } = testTracker({ endpoints: door.url });
    door.answer = ({ stream }) =>
      stream === "clicks"
        ? {
            status: 422,
            body: {
              error: { code: "EVENTS_ALL_REJECTED", message: "" },
              rejected: [{ index: 0, code: "EVENT_INVALID", message: "no" }],
            },
          }
        : { status: 404, body: { error: { code: "STREAM_UNKNOWN", message: 'did you mean "clicks"?' } } };
    await tracker.track("clicks", { n: 0 });
    await tracker.track("klicks", { n: 1 });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(
      drops.map(({ stream, code }) => [stream, code]),
      [
        ["clicks", "EVENT_INVALID"],
        ["klicks", "STREAM_UNKNOWN"],
      ],
    );
    assert.equal(door.received.length, 2);
  });

  it("of 413 or 400 halves the packet until the event that is too much stands alone", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker, drops, troubles } = testTracker({ endpoints: door.url });
    door.answer = ({ events }) => {
      if (events.some((event) => event["n"] === 5)) return { status: 413, body: "too large, says a proxy" };
      if (events.some((event) => event["n"] === 2))
        return { status: 400, body: { error: { code: "BODY_NOT_UTF8", message: "" } } };
      return undefined;
    };
    for (let n = 0; n < 8; n++) await tracker.track("clicks", { n });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(
      drops.map(({ event, code }) => [event, code]),
      [
        [{ n: 2 }, "BODY_NOT_UTF8"],
        [{ n: 5 }, "EVENT_TOO_LARGE"],
      ],
    );
    const whole = door.received.filter(({ events }) => !events.some(({ n }) => n === 2 || n === 5));
    assert.deepEqual(
      whole.flatMap(({ events }) => events.map(({ n }) => n)),
      [0, 1, 3, 4, 6, 7],
    );
    assert.deepEqual(troubles, []);
  });

  it("that no door gives (200 with a login page, 202 without a count) is no acknowledgement", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker, troubles, store } = testTracker({ endpoints: door.url }, { random: () => 1 });
    const answers = [
      { status: 200, body: "<html>Welcome to Hotel Wifi</html>" },
      { status: 202, body: "" },
    ];
    door.answer = () => answers.shift();
    await tracker.track("clicks", { n: 0 });
    assert.equal(await tracker.flush(), false);
    assert.equal(await store.size(), 1);
    assert.equal(troubles[0]?.status, 200);
    await until(() => door.received.length === 3 && troubles.length === 2);
    assert.equal(await tracker.flush(), true);
  });
});

describe("retrying", () => {
  it("waits as long as Retry-After says, in seconds or as a date, and goes on by itself", async () => {
    for (const form of ["seconds", "date"]) {
      const retryAfter = form === "seconds" ? "1" : new Date(Date.now() + 2_500).toUTCString();
      await using door = await ScriptedEndpoint.open();
      const { tracker, troubles } = testTracker({ endpoints: door.url });
      door.answer = () =>
        door.received.length === 1 ? { status: 429, headers: { "Retry-After": retryAfter }, body: BUSY } : undefined;
      await tracker.track("clicks", { n: 0 });
      assert.equal(await tracker.flush(), false);
      assert.ok((troubles[0]?.retryInMs as number) >= 900, `${retryAfter}: ${troubles[0]?.retryInMs}`);
      await tracker.flush();
      assert.equal(door.received.length, 1, "asking again does not go before the time");
      await until(() => door.received.length === 2);
      const [first, second] = door.received;
      const waitedMs = (second?.at as number) - (first?.at as number);
      assert.ok(waitedMs >= (troubles[0]?.retryInMs as number) - 50, `waited ${waitedMs} ms`);
      assert.equal(await tracker.flush(), true);
    }
  });

  it("backs off exponentially with full jitter, up to five minutes", async () => {
    await using door = await ScriptedEndpoint.open();
    door.answer = () => ({ status: 503, body: BUSY });
    const waits: number[] = [];
    const drawn = [0.5, 0.25, 0.1, 0];
    const random = () => drawn[troubles.length] ?? 1;
    const { tracker, troubles, wake } = testTracker({ endpoints: door.url }, { random });
    await tracker.track("clicks", { n: 0 });
    assert.equal(await tracker.flush(), false);
    // An endpoint that answers is not one that could not be reached.
    wake();
    await until(() => troubles.length === 5);
    for (const { retryInMs } of troubles) waits.push(retryInMs as number);
    assert.deepEqual(waits, [500, 500, 400, 0, 16_000]);
    await tracker.optOut();
    const long = testTracker({ endpoints: door.url }, { random: () => (long.troubles.length < 20 ? 0 : 1) });
    await long.tracker.track("clicks", { n: 0 });
    assert.equal(await long.tracker.flush(), false);
    assert.equal(long.troubles.at(-1)?.retryInMs, 300_000);
  });

  it("goes to the next endpoint when one fails, and back to the first once it answers", async () => {
    await using first = await ScriptedEndpoint.open();
    await using second = await ScriptedEndpoint.open();
    let down = true;
    first.answer = () => (down ? { status: 503, headers: { "Retry-After": "1" }, body: BUSY } : undefined);
    const { tracker } = testTracker({ endpoints: [first.url, second.url] });
    await tracker.track("clicks", { n: 0 });
    assert.equal(await tracker.flush(), true);
    await tracker.track("clicks", { n: 1 });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual([first.values("n"), second.values("n")], [[0], [0, 1]]);
    down = false;
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await tracker.track("clicks", { n: 2 });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(
      [first.values("n"), second.values("n")],
      [
        [0, 2],
        [0, 1],
      ],
    );
  });

  it("counts a silent server as lost after requestTimeoutMs, and tries again at once when the network is back", async () => {
    const silent = createServer((socket) => void socket.resume()).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const { tracker, troubles, wake } = testTracker(
      { endpoints: `http://127.0.0.1:${port}`, requestTimeoutMs: 50 },
      { random: () => 1_000 },
    );
    await tracker.track("clicks", { n: 0 });
    assert.equal(await tracker.flush(), false);
    assert.deepEqual([troubles.length, troubles[0]?.status, troubles[0]?.retryInMs], [1, 0, 1_000_000]);
    wake();
    await until(() => troubles.length === 2);
    await tracker.optOut();
    silent.close();
  });
});

describe("when the page goes", () => {
  it("what was not sent leaves with it, at most 64 KiB, and the rest by the next tracker over the same store", async () => {
    await using door = await ScriptedEndpoint.open();
    const store = memoryStore();
    const { tracker, leave } = testTracker({ endpoints: door.url }, { store });
    // It begins by sending what an earlier page left.
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(await tracker.flush(), true);
    for (let n = 0; n < 100; n++) await tracker.track("clicks", { n, note: "x".repeat(1_000) });
    leave();
    leave();
    await until(() => door.received.length === 1);
    const sent = door.values("n").length;
    assert.ok(sent > 50 && sent < 65, `${sent} events of a kilobyte`);
    assert.equal(
      door.received[0]?.headers["content-encoding"],
      undefined,
      "compressing takes time that a page has not",
    );
    await until(async () => (await store.size()) === 100 - sent);
    const next = testTracker({ endpoints: door.url }, { store });
    assert.equal(await next.tracker.flush(), true);
    assert.deepEqual(
      door.values("n"),
      Array.from({ length: 100 }, (_, n) => n),
    );
  });
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("it did not come about within ten seconds");
}
