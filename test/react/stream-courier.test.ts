import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { StreamCourier } from "../../src/react/deliver/stream-courier.ts";
import { change } from "./changes.ts";

test("what another process has delivered is found, though this one has not heard that the stream has grown", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-courier-"));
  const log = await openEmbeddedLog({ dir, segmentBytes: 1 << 20, retentionMs: 3_600_000 });
  t.after(async () => {
    await log.close();
    await rm(dir, { recursive: true });
  });
  await log.open("pages");
  const courier = (over: EventLog) =>
    new StreamCourier({
      ...{ name: "ops", stream: "pages", event: undefined, log: over, may: () => true },
      admit: (_stream, payload) => ({
        kind: "accepted",
        partition: 0,
        line: Buffer.concat([payload, Buffer.from("\n")]),
      }),
    });
  const changes = [0, 1, 2].map((offset) => change(offset, { key: `k${offset}` }));
  const before = courier(log).ends();

  /** As a process sees a log that others write as well. */
  let known = log.ends("pages", 0).end;
  const seen: EventLog = Object.create(log, {
    ends: { value: (stream: string, partition: number) => ({ ...log.ends(stream, partition), end: known }) },
    refresh: {
      value: async () => {
        known = log.ends("pages", 0).end;
      },
    },
    read: {
      value: async (stream: string, partition: number, from: number, maxBytes: number) =>
        from >= known ? undefined : log.read(stream, partition, from, maxBytes),
    },
    append: { value: (...given: Parameters<EventLog["append"]>) => log.append(...given) },
    partitions: { value: (stream: string) => log.partitions(stream) },
  });
  const next = courier(seen);
  await courier(log).take(changes.slice(0, 2));
  await next.recover(before);
  await next.take(changes);
  assert.equal(log.ends("pages", 0).end, 3, "each change once");
});
