/**
 * What every adapter of the `EventLog` port must do; each adapter's test calls `describeEventLog` with a way to open a log, `describeHistories`
 * with one that removes released events at once, and `describeSharedLog` when several processes may have the log open.
 */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import type { MillraceError } from "../../src/errors.ts";
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

    it("is brought up to everything that was acknowledged, for all streams or some", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      await log.open("clicks");
      await log.append("orders", 0, batchOf(numbered(0, 3)));
      await Promise.all([log.refresh(), log.refresh(["orders"]), log.refresh(["clicks"]), log.refresh([])]);
      assert.deepEqual(log.ends("orders", 0), { start: 0, end: 3 });
      assert.deepEqual(log.ends("clicks", 0), { start: 0, end: 0 });
      await assert.rejects(log.refresh(["orders", "views"]), { code: "LOG_PARTITION_UNKNOWN" });
      await log.close();
      await assert.rejects(log.refresh(["orders"]), { code: "SHUTTING_DOWN" });
    });

    it("keeps a batch of many small events whole, and one large event", async (test) => {
      const log = await openLog(test)();
      await log.open("orders");
      const small = numbered(0, 50_000);
      const large = [JSON.stringify({ large: "z".repeat(3_000_000) })];
      const [first, second] = await Promise.all([
        log.append("orders", 0, batchOf(small)),
        log.append("orders", 0, batchOf(large, "other")),
      ]);
      assert.deepEqual([first.from, first.to, second.from, second.to], [0, 49_999, 50_000, 50_000]);
      assert.deepEqual(await readLines(log, "orders"), [...small, ...large]);
      assert.deepEqual(await readLines(log, "orders", { from: 49_990, maxBytes: 100 }), [
        ...small.slice(49_990),
        ...large,
      ]);
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

/** What a log that several processes have open must do besides: each call of `openLog(test)` opens the same log for another process. */
export function describeSharedLog(adapter: string, openLog: OpenLog): void {
  describe(`event log contract, shared by processes: ${adapter}`, () => {
    it("has one identity for all of them", async (test) => {
      const open = openLog(test);
      const [one, other] = [await open(), await open()];
      assert.ok(one.identity);
      assert.equal(one.identity, other.identity);
      await Promise.all([one.close(), other.close()]);
    });

    it("shows one process everything that another was told is durable, once it is refreshed", async (test) => {
      const open = openLog(test);
      const [writer, reader] = [await open(), await open()];
      await Promise.all([writer.open("orders", { partitions: 3 }), reader.open("orders", { partitions: 3 })]);
      for (let round = 0; round < 20; round++) {
        const partition = round % 3;
        const { to, receivedAtMs } = await writer.append("orders", partition, batchOf(numbered(round, 2), `s${round}`));
        await reader.refresh(["orders"]);
        assert.equal(reader.ends("orders", partition).end, to + 1);
        const run = await reader.read("orders", partition, to - 1, 10_000);
        assert.deepEqual(run?.spans, [{ from: to - 1, to, receivedAtMs, source: `s${round}` }]);
      }
      await Promise.all([writer.close(), reader.close()]);
    });

    it("gives the events of all processes offsets with no gap, each once", async (test) => {
      const open = openLog(test);
      const logs = [await open(), await open(), await open()];
      for (const log of logs) await log.open("orders");
      const batches = Array.from({ length: 150 }, (_, i) => numbered(i * 10, 1 + (i % 4)));
      const answers = await Promise.all(
        batches.map((lines, i) => (logs[i % 3] as EventLog).append("orders", 0, batchOf(lines))),
      );
      const [first] = logs as [EventLog];
      await first.refresh();
      const lines = await readLines(first, "orders");
      assert.equal(lines.length, batches.flat().length);
      for (const [i, { from, to }] of answers.entries()) assert.deepEqual(lines.slice(from, to + 1), batches[i]);
      await Promise.all(logs.map((log) => log.close()));
    });

    it("wakes a reader when another process appends, in any partition that is waited for", async (test) => {
      const open = openLog(test);
      const [writer, reader] = [await open(), await open()];
      await Promise.all([writer.open("orders", { partitions: 4 }), reader.open("orders", { partitions: 4 })]);
      const { signal } = new AbortController();
      for (let round = 0; round < 3; round++) {
        const woken = [0, 1, 2, 3].map((partition) => reader.wait("orders", partition, round, signal));
        for (const partition of [2, 0, 3, 1]) {
          await writer.append("orders", partition, batchOf(numbered(round, 1)));
          await woken[partition];
          assert.deepEqual(await readLines(reader, "orders", { partition, from: round }), numbered(round, 1));
        }
      }
      await Promise.all([writer.close(), reader.close()]);
    });

    it("opens a stream that other processes open in the same moment", async (test) => {
      const open = openLog(test);
      const logs = await Promise.all([open(), open(), open()]);
      await Promise.all(logs.map((log, i) => log.open("orders", { partitions: 1 + i })));
      const again = await open();
      await again.open("orders");
      assert.equal(again.partitions("orders"), 3);
      await Promise.all([...logs, again].map((log) => log.close()));
    });
  });
}

const payload = fc.array(fc.json({ maxDepth: 1 }), { minLength: 1, maxLength: 6 });
const source = fc.oneof(fc.constantFrom("http", "sdk"), fc.string({ maxLength: 20, unit: "binary" }));
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      batches: fc.array(fc.tuple(payload, source), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      from: fc.nat(),
      maxBytes: fc.integer({ min: 1, max: 400 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("release" as const), offset: fc.nat() }) },
);

/** Storage of a history's own: the log over it is opened again and again, and in the end the storage is removed. */
export interface HistoryStorage {
  open(): Promise<EventLog>;
  remove(): Promise<void>;
}

/** Compares random histories with a plain list. `storage` is given a number that may decide about sizes; released events must go at once. */
export function describeHistories(
  adapter: string,
  storage: (test: TestContext, run: number, size: number) => Promise<HistoryStorage>,
  { histories, limitMs }: { histories: number; limitMs: number },
): void {
  it(`event log contract, ${adapter}: behaves as a plain list under any history of appends, reads, releases and restarts`, async (test) => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.integer({ min: 1, max: 300 }), async (steps, size) => {
        const { open, remove } = await storage(test, runs++, size);
        const opened = async () => {
          const log = await open();
          await log.open("s");
          return log;
        };
        let log = await opened();
        const model: { line: string; source: string; receivedAtMs: number }[] = [];
        let released = 0;
        for (const action of steps) {
          if (action.kind === "append") {
            const answers = await Promise.all(
              action.batches.map(([lines, source]) =>
                log.append("s", 0, {
                  payload: Buffer.from(lines.map((line) => `${line}\n`).join("")),
                  count: lines.length,
                  source,
                }),
              ),
            );
            for (const [i, [lines, source]] of action.batches.entries()) {
              const { from, to, receivedAtMs } = answers[i]!;
              assert.deepEqual([from, to], [model.length, model.length + lines.length - 1]);
              for (const line of lines) model.push({ line, source, receivedAtMs });
            }
          } else if (action.kind === "reopen") {
            await log.close();
            log = await opened();
          } else if (action.kind === "release") {
            const offset = action.offset % (model.length + 1);
            await log.release("s", 0, offset);
            released = Math.max(released, offset);
            assert.ok(log.ends("s", 0).start <= released, "nothing that is still needed is removed");
          } else {
            const { start, end } = log.ends("s", 0);
            assert.equal(end, model.length);
            const from = start + (action.from % (end - start + 1));
            try {
              const events = await readAll(log, "s", { from, maxBytes: action.maxBytes });
              assert.deepEqual(
                events,
                model.slice(from).map((event, i) => ({ ...event, offset: from + i })),
              );
            } catch (error) {
              // What was released may go at any moment, in the middle of a read too; nothing else may.
              if ((error as MillraceError).code !== "LOG_OFFSET_GONE") throw error;
              const kept = log.ends("s", 0).start;
              assert.ok(from < kept && kept <= released, "only released events are gone");
            }
          }
        }
        await log.close();
        await remove();
      }),
      { numRuns: histories, interruptAfterTimeLimit: limitMs, markInterruptAsFailure: true },
    );
  });
}
