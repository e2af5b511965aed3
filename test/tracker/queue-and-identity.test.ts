import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memoryStore, type Store } from "../../packages/tracker/src/store.ts";
import { ScriptedEndpoint } from "./scripted-endpoint.ts";
import { testTracker } from "./test-tracker.ts";

/** Nothing listens there. */
const NOWHERE = "http://127.0.0.1:9";
const MINUTE_MS = 60_000;

describe("the queue", () => {
  it("keeps at most maxQueue events: the oldest go, or the newest, and onDrop hears of each", async () => {
    for (const whenFull of ["drop-oldest", "drop-newest"] as const) {
      const { tracker, drops, store } = testTracker({ endpoints: NOWHERE, maxQueue: 3, whenFull });
      const stored: boolean[] = [];
      for (let n = 0; n < 5; n++) stored.push(await tracker.track("clicks", { n }));
      const kept = (await store.peek(10, 10_000)).map(({ e }) => (JSON.parse(e) as { n: number }).n);
      const dropped = drops.map(({ event, code }) => [(event as { n: number }).n, code]);
      if (whenFull === "drop-oldest") {
        assert.deepEqual(kept, [2, 3, 4]);
        assert.deepEqual(dropped, [
          [0, "QUEUE_FULL"],
          [1, "QUEUE_FULL"],
        ]);
      } else {
        assert.deepEqual(kept, [0, 1, 2]);
        assert.deepEqual(dropped, [
          [3, "QUEUE_FULL"],
          [4, "QUEUE_FULL"],
        ]);
        assert.deepEqual(stored, [true, true, true, false, false]);
      }
      await tracker.optOut();
    }
  });

  it("takes no event over maxEventBytes, none that JSON cannot say, and none after close, and says so", async () => {
    const { tracker, drops } = testTracker({ endpoints: NOWHERE, maxEventBytes: 100 });
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    assert.deepEqual(
      [
        await tracker.track("clicks", { note: "ü".repeat(60) }),
        await tracker.track("clicks", { n: 1n }),
        await tracker.track("clicks", circular),
        await tracker.track("clicks", { note: "ü".repeat(30) }),
      ],
      [false, false, false, true],
    );
    await tracker.close(10);
    assert.equal(await tracker.track("clicks", { n: 1 }), false);
    assert.deepEqual(
      drops.map(({ code }) => code),
      ["EVENT_TOO_LARGE", "NOT_JSON", "NOT_JSON", "CLOSED"],
    );
  });

  it("goes on in memory when the store refuses: nothing is lost while the page lives, and onError hears why", async () => {
    await using door = await ScriptedEndpoint.open();
    const store: Store = { ...memoryStore(), add: () => Promise.reject(new Error("the quota is used up")) };
    const { tracker, troubles } = testTracker({ endpoints: door.url }, { store });
    assert.equal(await tracker.track("clicks", { n: 0 }), false);
    assert.equal(troubles[0]?.message, "the quota is used up");
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(door.values("n"), [0]);
  });
});

describe("identity", () => {
  it("fills in exactly the fields that are listed for the stream, and given fields go before them", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker } = testTracker({
      endpoints: door.url,
      appVersion: "2.1",
      streams: { clicks: ["event_id", "app_version", "os", "user_id"], bare: [] },
    });
    await tracker.track("clicks", { n: 0 });
    await tracker.track("clicks", { n: 1, os: "mine" });
    await tracker.track("bare", { n: 2 });
    await tracker.track("unlisted", { n: 3 });
    assert.equal(await tracker.flush(), true);
    const [first, second, ...others] = door.received.flatMap(({ events }) => events);
    assert.match(first?.["event_id"] as string, /^[0-9a-f-]{36}$/);
    assert.notEqual(first?.["event_id"], second?.["event_id"]);
    assert.deepEqual({ ...first, event_id: "" }, { event_id: "", app_version: "2.1", os: "value of os", n: 0 });
    assert.equal(second?.["os"], "mine");
    assert.deepEqual(others, [{ n: 2 }, { n: 3 }]);
  });

  it("is the user's from identify on, a new one's after alias, and nobody's after reset", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker } = testTracker({
      endpoints: door.url,
      streams: { clicks: ["anonymous_id", "user_id", "group_id"], people: ["anonymous_id"] },
      calls: { identify: "people", alias: "people", group: "teams" },
    });
    await tracker.track("clicks", {});
    await tracker.identify("ada", { plan: "free" });
    await tracker.group("lovelace", { seats: 3 });
    await tracker.track("clicks", {});
    await tracker.alias("ada@example.com");
    await tracker.track("clicks", {});
    tracker.reset();
    await tracker.track("clicks", {});
    assert.equal(await tracker.flush(), true);
    const of = (stream: string) =>
      door.received.filter((packet) => packet.stream === stream).flatMap(({ events }) => events);
    const [anonymous] = of("clicks");
    const anonymous_id = anonymous?.["anonymous_id"] as string;
    assert.deepEqual(of("people"), [
      { anonymous_id, plan: "free", user_id: "ada" },
      { anonymous_id, previous_id: "ada", user_id: "ada@example.com" },
    ]);
    assert.deepEqual(of("teams"), [{ seats: 3, group_id: "lovelace" }]);
    const [, known, renamed, nobody] = of("clicks");
    assert.deepEqual(anonymous, { anonymous_id });
    assert.deepEqual(known, { anonymous_id, user_id: "ada", group_id: "lovelace" });
    assert.deepEqual(renamed, { anonymous_id, user_id: "ada@example.com", group_id: "lovelace" });
    assert.deepEqual(Object.keys(nobody as object), ["anonymous_id"]);
    assert.notEqual(nobody?.["anonymous_id"], anonymous_id);
  });

  it("of a call without a stream is a clear error; identify, alias and group then only remember", async () => {
    const { tracker } = testTracker({ endpoints: NOWHERE });
    const { page, screen } = tracker as unknown as { page(): void; screen(): void };
    assert.throws(() => page(), /set calls\.page to the stream/);
    assert.throws(() => screen(), /set calls\.screen to the stream/);
    assert.equal(await tracker.identify("ada"), true);
    assert.equal(tracker.ids().userId, "ada");
  });
});

describe("a session", () => {
  it("goes on over reloads, and ends after 30 minutes without an event", async () => {
    await using door = await ScriptedEndpoint.open();
    let now = Date.parse("2026-03-01T10:00:00Z");
    const saved = {};
    const streams = { clicks: ["session_id", "session_started_at", "session_number", "session_sequence"] } as const;
    const open = () => testTracker({ endpoints: door.url, streams }, { now: () => now, saved }).tracker;
    let tracker = open();
    await tracker.track("clicks", { n: 0 });
    now += 30 * MINUTE_MS;
    await tracker.track("clicks", { n: 1 });
    assert.equal(await tracker.flush(), true);
    tracker = open();
    now += 29 * MINUTE_MS;
    await tracker.track("clicks", { n: 2 });
    now += 30 * MINUTE_MS + 1;
    await tracker.track("clicks", { n: 3 });
    assert.equal(await tracker.flush(), true);
    const events = door.received.flatMap((packet) => packet.events);
    const shown = events.map((event) => [
      event["session_number"],
      event["session_sequence"],
      event["session_started_at"],
    ]);
    assert.deepEqual(shown, [
      [1, 1, "2026-03-01T10:00:00.000Z"],
      [1, 2, "2026-03-01T10:00:00.000Z"],
      [1, 3, "2026-03-01T10:00:00.000Z"],
      [2, 1, "2026-03-01T11:29:00.001Z"],
    ]);
    assert.equal(new Set(events.map((event) => event["session_id"])).size, 2);
  });
});

describe("consent", () => {
  it("when required is waited for in memory: nothing is stored or sent before, and everything after", async () => {
    await using door = await ScriptedEndpoint.open();
    const { tracker, saved, store } = testTracker({ endpoints: door.url, consent: "required", flushEvents: 1 });
    const tracked = tracker.track("clicks", { n: 0 });
    await tracker.identify("ada");
    assert.equal(await tracker.flush(), true);
    assert.deepEqual([saved.state, await store.size(), door.received.length], [undefined, 0, 0]);
    await tracker.consent(true);
    assert.equal(await tracked, true);
    await tracker.track("clicks", { n: 1 });
    assert.equal(await tracker.flush(), true);
    assert.deepEqual(door.values("n"), [0, 1]);
    assert.equal(saved.state?.u, "ada");
  });

  it("that is refused, or an opt-out, deletes the queue and every id, also of the next visit", async () => {
    await using door = await ScriptedEndpoint.open();
    const store = memoryStore();
    const saved: { state?: object } = {};
    const away = testTracker({ endpoints: NOWHERE }, { store, saved });
    await away.tracker.identify("ada");
    await away.tracker.track("clicks", { n: 0 });
    await away.tracker.optOut();
    assert.equal(await store.size(), 0);
    assert.deepEqual(
      Object.keys(saved.state ?? {}).filter((name) => name !== "a"),
      ["c"],
    );
    assert.equal(await away.tracker.track("clicks", { n: 1 }), false);
    const next = testTracker({ endpoints: door.url }, { store, saved });
    assert.equal(await next.tracker.track("clicks", { n: 2 }), false);
    assert.equal(await next.tracker.flush(), true);
    assert.equal(door.received.length, 0);
    await next.tracker.consent(true);
    await next.tracker.track("clicks", { n: 3 });
    assert.equal(await next.tracker.flush(), true);
    assert.deepEqual(door.values("n"), [3]);
    assert.equal(next.tracker.ids().userId, undefined);
  });
});
