import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EventsOf, Tracker } from "../../packages/tracker/src/browser.ts";
import { createTracker } from "../../packages/tracker/src/browser.ts";
import * as nodeTracker from "../../packages/tracker/src/node.ts";
import type * as streams from "./project/streams.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_Claim extends true>(): void => {};

/*
 * These claims are checked by `npm run types`: a line below `@ts-expect-error` that compiles is an error. Nothing here is called, for what
 * is tested is what may be written.
 */
function claims(): void {
  holds<Equal<keyof EventsOf<typeof streams>, "clicks" | "page_views" | "people" | "teams">>();
  holds<Equal<EventsOf<typeof streams>["teams"]["seats"], number | null | undefined>>();

  const options = { endpoints: "https://collect.example.com", key: "mk_…" };
  const tracker = createTracker<typeof streams>()({
    ...options,
    streams: {
      clicks: ["event_id", "occurred_at", "anonymous_id", "session_id", "session_number", "session_sequence"],
      page_views: ["event_id", "occurred_at", "page_url"],
      people: ["event_id", "anonymous_id"],
    },
    calls: { page: "page_views", identify: "people", alias: "people" },
  });
  void tracker.track("clicks", { n: 1 });
  void tracker.track("clicks", { n: 1, note: null, session_number: 7 });
  void tracker.track("page_views");
  void tracker.page();
  void tracker.page({ section: "blog" });
  void tracker.identify("ada", { plan: "paid" });
  void tracker.alias("ada@example.com");
  // Nothing is filled in for this one, so all of it has to be given.
  void tracker.track("teams", { event_id: "…", group_id: "g" });

  // @ts-expect-error a field that must be there
  void tracker.track("clicks");
  // @ts-expect-error a field of another type
  void tracker.track("clicks", { n: "1" });
  // @ts-expect-error a field that the stream does not have
  void tracker.track("clicks", { n: 1, colour: "red" });
  // @ts-expect-error a stream that is not there
  void tracker.track("klicks", { n: 1 });
  // @ts-expect-error a table is no stream
  void tracker.track("gold.busy", {});
  // @ts-expect-error teams has no fields that are filled in
  void tracker.track("teams", { group_id: "g" });
  // @ts-expect-error a value that the enum does not have
  void tracker.identify("ada", { plan: "gold" });
  // @ts-expect-error calls.screen names no stream
  void tracker.screen({ section: "home" });

  // @ts-expect-error a field that the tracker knows and the stream does not
  createTracker<typeof streams>()({ ...options, streams: { clicks: ["page_url"] } });
  // @ts-expect-error a stream that is not there
  createTracker<typeof streams>()({ ...options, calls: { page: "pages" } });
  // @ts-expect-error an option that is not there
  createTracker<typeof streams>()({ ...options, colour: "red" });
  // @ts-expect-error Node keeps its queue in a folder
  nodeTracker.createTracker<typeof streams>()(options);

  // The shape itself, for who has no definitions at hand.
  const shaped = createTracker<{ clicks: { n: number; event_id: string } }>()({
    ...options,
    streams: { clicks: ["event_id"] },
  });
  void shaped.track("clicks", { n: 1 });
  // @ts-expect-error
  void shaped.track("clicks", { n: true });

  // Without types everything goes.
  const untyped: Tracker = createTracker({
    ...options,
    streams: { clicks: ["event_id", "page_url"] },
    calls: { page: "page_views" },
  });
  void untyped.track("anything", { goes: true });
}

describe("a tracker typed by a project's streams", () => {
  it("is checked by the compiler, and the same function takes the options at once or after the types", () => {
    assert.equal(typeof claims, "function");
    assert.equal(typeof createTracker<typeof streams>(), "function");
    assert.equal(typeof nodeTracker.createTracker<typeof streams>(), "function");
  });
});
