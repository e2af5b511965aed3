/** What every adapter of the `EventLog` port must do; each adapter's test calls it with a way to open a log. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { EventLog } from "../../src/log/event-log.ts";
import { batchOf, numbered, readAll, readLines } from "./batches.ts";

/** Opens a log over storage of the test's own; called again in the same test, it opens the same storage again. */
export type OpenLog = (test: TestContext) => () => Promise<EventLog>;

export function describeEventLog(adapter: string, openLog: OpenLog): void {
  describe(`event log contract: ${adapter}`, () => {
    it("gives the events of a partition offsets from 0 on, in the order of acknowledgement", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      assert.deepEqual(log.ends("orders", 0), { start: 0, end: 0 });
      const before = Date.now();
      const first = await log.append("orders", 0, batchOf(numbered(0, 3)));
      const second = await log.append("orders", 0, batchOf(numbered(3, 2)));
      assert.deepEqual([first.from, first.to, second.from, second.to], [0, 2, 3, 4]);
      assert.ok(first.receivedAtMs >= before && second.receivedAtMs >= first.receivedAtMs);
      assert.deepEqual(log.ends("orders", 0), { start: 0, end: 5 });
      assert.deepEqual(await readLines(log, "orders"), numbered(0, 5));
      await log.close();
    });

    it("returns every event byte for byte, with the source and time it was acknowledged with", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const lines = [
        '{"a": 1 ,"b":"\\u0000 \\ud83d\\ude00"}',
        '{"ü":"日本語 😀 \u2028"}',
        "{}",
        `{"long":"${"y".repeat(300_000)}"}`,
      ];
      const web = await log.append("orders", 0, batchOf(lines, 'http "quoted" ü'));
      const sdk = await log.append("orders", 0, batchOf(numbered(0, 2), "sdk"));
      const events = await readAll(log, "orders");
      assert.deepEqual(
        events.map(({ line }) => line),
        [...lines, ...numbered(0, 2)],
      );
      assert.deepEqual(
        events.map(({ source, receivedAtMs }) => [source, receivedAtMs]),
        [
          ...lines.map(() => ['http "quoted" ü', web.receivedAtMs]),
          ["sdk", sdk.receivedAtMs],
          ["sdk", sdk.receivedAtMs],
        ],
      );
      await log.close();
    });

    it("keeps each of many concurrent batches whole and gives every event one offset", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const batches = Array.from({ length: 200 }, (_, i) => numbered(i * 10, 1 + (i % 5)));
      const answers = await Promise.all(
        batches.map((lines, i) => log.append("orders", 0, batchOf(lines, `source ${i % 3}`))),
      );
      const events = await readAll(log, "orders");
      for (const [i, { from, to, receivedAtMs }] of answers.entries()) {
        const mine = events.slice(from, to + 1);
        assert.deepEqual(
          mine.map(({ line }) => line),
          batches[i],
        );
        assert.ok(mine.every((event) => event.source === `source ${i % 3}` && event.receivedAtMs === receivedAtMs));
      }
      assert.equal(events.length, batches.flat().length);
      await log.close();
    });

    it("reads from any offset and with any limit, always at least one event", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const lines = numbered(0, 40, 20);
      await log.append("orders", 0, batchOf(lines.slice(0, 25)));
      await log.append("orders", 0, batchOf(lines.slice(25), "other"));
      for (const maxBytes of [1, 40, 100, 1000, 1 << 20]) {
        for (const from of [0, 1, 24, 25, 39, 40]) {
          assert.deepEqual(
            await readLines(log, "orders", { from, maxBytes }),
            lines.slice(from),
            `${from}, ${maxBytes}`,
          );
        }
      }
      await log.close();
    });

    it("has nothing at the end, and refuses an offset beyond it", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      assert.equal(await log.read("orders", 0, 0, 100), undefined);
      await log.append("orders", 0, batchOf(numbered(0, 2)));
      assert.equal(await log.read("orders", 0, 2, 100), undefined);
      await assert.rejects(log.read("orders", 0, 3, 100), { code: "LOG_OFFSET_AHEAD" });
      await log.close();
    });

    it("keeps partitions apart, and never has fewer than there were", async (test) => {
      const open = openLog(test);
      const log = await open();
      await log.open("orders", { partitions: 3 });
      await Promise.all(
        [0, 1, 2].map((partition) =>
          log.append("orders", partition, batchOf(numbered(partition * 100, partition + 1))),
        ),
      );
      assert.deepEqual(
        [0, 1, 2].map((partition) => log.ends("orders", partition).end),
        [1, 2, 3],
      );
      await log.close();
      const again = await open();
      await again.open("orders", { partitions: 1 });
      assert.equal(again.partitions("orders"), 3);
      assert.deepEqual(await readLines(again, "orders", { partition: 2 }), numbered(200, 3));
      await again.close();
    });

    it("has everything again after it was closed and opened, and goes on behind it", async (test) => {
      const open = openLog(test);
      let acknowledged: string[] = [];
      for (let round = 0; round < 3; round++) {
        const log = await open();
        await log.open("orders");
        assert.deepEqual(await readLines(log, "orders"), acknowledged);
        const lines = numbered(round * 10, 4);
        const { from } = await log.append("orders", 0, batchOf(lines));
        assert.equal(from, acknowledged.length);
        acknowledged = [...acknowledged, ...lines];
        await log.close();
      }
    });

    it("wakes a waiting reader when its offset is there, and not before", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const { signal } = new AbortController();
      let woken = false;
      const waiting = log.wait("orders", 0, 1, signal).then(() => {
        woken = true;
      });
      await log.append("orders", 0, batchOf(numbered(0, 1)));
      await new Promise(setImmediate);
      assert.equal(woken, false);
      await log.append("orders", 0, batchOf(numbered(1, 1)));
      await waiting;
      await log.wait("orders", 0, 0, signal);
      await log.close();
    });

    it("lets go of a waiting reader whose signal aborts", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const controller = new AbortController();
      const waiting = log.wait("orders", 0, 0, controller.signal);
      controller.abort();
      await waiting;
      await log.wait("orders", 0, 0, AbortSignal.abort());
      await log.close();
    });

    it("refuses a stream or partition that is not open", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const unknown = { code: "LOG_PARTITION_UNKNOWN" };
      await assert.rejects(log.append("clicks", 0, batchOf(["{}"])), unknown);
      await assert.rejects(log.append("orders", 1, batchOf(["{}"])), unknown);
      await assert.rejects(log.read("orders", 1, 0, 1), unknown);
      await assert.rejects(log.wait("clicks", 0, 0, AbortSignal.abort()), unknown);
      await assert.rejects(log.release("clicks", 0, 0), unknown);
      assert.throws(() => log.ends("clicks", 0), unknown);
      assert.throws(() => log.partitions("clicks"), unknown);
      await log.close();
    });

    it("refuses a name that no log can hold", async (test) => {
      const log = await openLog(test)();
      for (const name of ["", "..", "a/b", "a b", "-a", "x".repeat(300)]) {
        await assert.rejects(log.open(name), { code: "LOG_STREAM_NAME" }, name);
      }
      await log.close();
    });

    it("refuses a malformed batch and stays as it was", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const malformed = [
        { payload: Buffer.from("{}"), count: 1, source: "s" },
        { payload: Buffer.alloc(0), count: 0, source: "s" },
        { payload: Buffer.from("{}\n"), count: 1.5, source: "s" },
        { payload: Buffer.from("\n"), count: 2, source: "s" },
        { payload: Buffer.from("{}\n"), count: 1, source: "s".repeat(201) },
      ];
      for (const batch of malformed)
        await assert.rejects(log.append("orders", 0, batch), { code: "LOG_BATCH_INVALID" });
      assert.deepEqual(log.ends("orders", 0), { start: 0, end: 0 });
      await log.close();
    });

    it("answers what is under way when it closes, and refuses everything after", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const stopping = { code: "SHUTTING_DOWN" };
      const waiting = assert.rejects(log.wait("orders", 0, 100, new AbortController().signal), stopping);
      const underWay = log.append("orders", 0, batchOf(numbered(0, 1)));
      const closing = log.close();
      await assert.rejects(log.append("orders", 0, batchOf(numbered(1, 1))), stopping);
      assert.equal((await underWay).to, 0);
      await closing;
      await waiting;
      await assert.rejects(log.read("orders", 0, 0, 1), stopping);
      await assert.rejects(log.wait("orders", 0, 0, new AbortController().signal), stopping);
      await assert.rejects(log.open("clicks"), stopping);
      await log.close();
    });
  });
}
