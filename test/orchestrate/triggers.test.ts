import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { amount, arrival, commit, cron, type MissedRuns } from "../../src/define/triggers.ts";
import { workflow } from "../../src/define/workflow.ts";
import { dueMoments } from "../../src/orchestrate/schedules.ts";
import { Database, TestOrchestrator, until } from "./open-orchestrator.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.parse("2026-03-10T00:30:00Z");

class TestClock {
  ms = START_MS;
  readonly now = () => this.ms;
}

describe("triggers", () => {
  let database: Database;
  before(async () => {
    database = await Database.start();
  });
  after(() => database.stop());

  const hourly = (missed: MissedRuns) => workflow("hourly", { on: [cron("0 * * * *", { missed })] }, () => 1);
  /** Moments that runs were made for, once there are `count`. */
  const scheduled = async (o: TestOrchestrator, count: number): Promise<string[]> => {
    await until(async () => (await o.runs("hourly")).length >= count);
    return (await o.runs("hourly")).map(({ scheduledAt }) => scheduledAt.slice(11, 16));
  };

  for (const [missed, wanted] of [
    ["run-once", ["01:00", "05:00"]],
    ["run-all", ["01:00", "02:00", "03:00", "04:00", "05:00"]],
    ["skip", ["01:00"]],
  ] as const) {
    test(`after hours of downtime a schedule with ${missed} makes up for ${wanted.length - 1} of its missed moments`, async (t) => {
      const url = await database.fresh();
      const clock = new TestClock();
      const first = await TestOrchestrator.open(t, url, [hourly(missed)], { clock: clock.now });
      assert.deepEqual(await first.runs("hourly"), [], "what was due before it was defined is not missed");
      clock.ms += HOUR_MS / 2;
      assert.deepEqual(await scheduled(first, 1), ["01:00"]);
      await first.close();
      clock.ms += 4.5 * HOUR_MS;
      const second = await TestOrchestrator.open(t, url, [hourly(missed)], { clock: clock.now });
      assert.deepEqual(await scheduled(second, wanted.length), wanted);
      clock.ms += HOUR_MS / 2;
      assert.deepEqual(await scheduled(second, wanted.length + 1), [...wanted, "06:00"]);
      const [run] = await second.runs("hourly");
      assert.deepEqual(run?.input, { scheduledAt: "2026-03-10T01:00:00.000Z" });
      assert.deepEqual(run?.cause, { kind: "cron", by: "0 * * * *" });
    });
  }

  test("a clock that jumps ahead and back holds nothing up, and starts nothing twice", async (t) => {
    const clock = new TestClock();
    const at = (time: string) => Date.parse(`2026-03-${time}Z`);
    const options = { clock: clock.now, tickMs: 0 };
    const o = await TestOrchestrator.open(t, await database.fresh(), [hourly("run-once")], options);
    /** Sets the clock and looks until there are `count` runs. */
    const set = async (time: string, count: number) => {
      clock.ms = at(time);
      await until(async () => {
        o.orchestrator.tick();
        return (await o.runs("hourly")).length === count;
      });
    };
    await set("12T00:30", 1);
    await set("10T00:45", 1);
    await set("10T01:05", 2);
    await set("10T00:50", 2);
    await set("10T01:10", 2);
    await set("10T02:05", 3);
    const moments = (await o.runs("hourly")).map(({ scheduledAt }) => scheduledAt.slice(8, 16));
    assert.deepEqual(moments, ["10T01:00", "10T02:00", "12T00:00"]);
  });

  test("local times follow their zone: skipped in spring they are due an hour later, doubled in autumn they are due once", () => {
    const nightly = { expression: "30 2 * * *", timezone: "Europe/Berlin" };
    const moments = (from: string, to: string) =>
      dueMoments(nightly, Date.parse(from), Date.parse(to), 10).map((ms) => new Date(ms).toISOString());
    assert.deepEqual(moments("2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"), [
      "2026-03-28T01:30:00.000Z",
      "2026-03-29T01:30:00.000Z",
      "2026-03-30T00:30:00.000Z",
    ]);
    assert.deepEqual(moments("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"), [
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z",
    ]);
    const newest = dueMoments(nightly, 0, Date.parse("2026-03-29T05:00:00Z"), 1);
    assert.deepEqual(newest, [Date.parse("2026-03-29T01:30:00Z")]);
    const minutely = dueMoments({ expression: "* * * * *", timezone: "UTC" }, 0, Date.parse("2026-01-01T00:00:30Z"), 3);
    assert.deepEqual(
      minutely.map((ms) => new Date(ms).toISOString().slice(11, 16)),
      ["23:58", "23:59", "00:00"],
    );
  });

  test("a commit starts one run, also when the platform died before it heard of it; a compaction starts none", async (t) => {
    const url = await database.fresh();
    const table = {
      version: 5,
      rows: new Map([
        [6, 10],
        [7, 20],
        [9, 5],
      ]),
    };
    const tables = {
      version: () => table.version,
      firstVersion: () => 5,
      changes: async (_: string, after: number, to: number) => {
        const found = [...table.rows].filter(([version]) => version > after && version <= to);
        return { changed: found.length > 0, rows: found.reduce((sum, [, rows]) => sum + rows, 0) };
      },
    };
    const onCommit = workflow("on_commit", { on: [commit("silver.orders")] }, () => 1);
    const onAmount = workflow("on_amount", { on: [amount("silver.orders", { rows: 25 })] }, () => 1);
    const inputs = async (o: TestOrchestrator, name: string, count: number) => {
      await until(async () => (await o.runs(name)).length >= count);
      return (await o.runs(name)).map(({ input }) => input as { fromVersion: number; toVersion: number; rows: number });
    };
    const first = await TestOrchestrator.open(t, url, [onCommit, onAmount], { tables });
    table.version = 6;
    first.orchestrator.committed("silver.orders");
    first.orchestrator.committed("silver.orders");
    assert.deepEqual(await inputs(first, "on_commit", 1), [
      { table: "silver.orders", fromVersion: 6, toVersion: 6, rows: 10 },
    ]);
    await first.close({ crash: true });
    table.version = 7;
    const second = await TestOrchestrator.open(t, url, [onCommit, onAmount], { tables });
    assert.deepEqual((await inputs(second, "on_commit", 2))[1], {
      table: "silver.orders",
      fromVersion: 7,
      toVersion: 7,
      rows: 20,
    });
    const [amounts] = await inputs(second, "on_amount", 1);
    assert.equal(amounts?.rows, 30);
    table.version = 8;
    second.orchestrator.committed("silver.orders");
    table.version = 9;
    second.orchestrator.committed("silver.orders");
    assert.equal((await inputs(second, "on_commit", 3))[2]?.rows, 5);
    assert.equal((await second.runs("on_amount")).length, 1);
  });

  test("a file starts one run once it has stopped growing, also over a restart; a changed file starts another", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "millrace-arrivals-"));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const url = await database.fresh();
    const load = workflow("load", { on: [arrival("*.csv")] }, () => 1);
    const paths = async (o: TestOrchestrator) =>
      (await o.runs("load")).map(({ input }) => input as { path: string; sizeBytes: number });
    const first = await TestOrchestrator.open(t, url, [load], { dir, tickMs: 0 });
    const look = async (o: TestOrchestrator, times = 2) => {
      for (let i = 0; i < times; i++) await o.orchestrator.look();
    };
    writeFileSync(join(dir, "a.csv"), "1");
    writeFileSync(join(dir, "b.txt"), "1");
    await look(first, 1);
    writeFileSync(join(dir, "a.csv"), "1,2");
    await look(first, 1);
    assert.deepEqual(await paths(first), [], "it was still growing");
    await look(first, 3);
    assert.deepEqual(
      (await paths(first)).map(({ path, sizeBytes }) => [path, sizeBytes]),
      [["a.csv", 3]],
    );
    await first.close({ crash: true });
    const second = await TestOrchestrator.open(t, url, [load], { dir, tickMs: 0 });
    writeFileSync(join(dir, "c.csv"), "1");
    await look(second, 3);
    writeFileSync(join(dir, "a.csv"), "1,2,3");
    await look(second, 3);
    assert.deepEqual((await paths(second)).map(({ path, sizeBytes }) => [path, sizeBytes]).sort(), [
      ["a.csv", 3],
      ["a.csv", 5],
      ["c.csv", 1],
    ]);
  });

  test("a file or moment whose concurrency key cannot be told is a failed run, and holds up none after it", async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "millrace-arrivals-"));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const key = (input: unknown) => /shop-(\d+)/.exec((input as { path: string }).path)![1]!;
    const load = workflow("load", { on: [arrival("*.csv")], concurrency: { limit: 1, key } }, () => 1);
    const nightly = workflow("nightly", { on: [cron("* * * * *")], concurrency: { limit: 1, key } }, () => 1);
    let nowMs = Date.UTC(2026, 0, 1);
    const o = await TestOrchestrator.open(t, await database.fresh(), [load, nightly], {
      ...{ dir, tickMs: 0, clock: () => nowMs },
    });
    for (const name of ["shop-1.csv", "nobody.csv", "shop-2.csv"]) writeFileSync(join(dir, name), "1");
    for (let look = 0; look < 2; look++) await o.orchestrator.look();
    const runs = async (name: string) =>
      (await o.runs(name)).map(({ cause, status }) => [cause.by, status === "failed"]).sort();
    const refused = (error: unknown) => (error as { code: string }).code === "RUN_INPUT_INVALID";
    assert.deepEqual(await runs("load"), [
      ["nobody.csv", true],
      ["shop-1.csv", false],
      ["shop-2.csv", false],
    ]);
    writeFileSync(join(dir, "shop-3.csv"), "1");
    for (let look = 0; look < 3; look++) await o.orchestrator.look();
    assert.equal((await o.runs("load")).length, 4);
    assert.deepEqual([o.reported.length, o.reported.every(refused)], [1, true]);
    for (let minute = 1; minute <= 2; minute++) {
      nowMs += 60_000;
      o.orchestrator.tick();
      await until(async () => (await o.runs("nightly")).length === minute);
      await o.orchestrator.look();
    }
    assert.deepEqual(await runs("nightly"), [
      ["* * * * *", true],
      ["* * * * *", true],
    ]);
    await until(() => o.reported.length === 3);
    assert.ok(o.reported.every(refused));
  });

  test("a backfill keeps to its concurrency, goes on after a crash, and can be cancelled", async (t) => {
    const url = await database.fresh();
    let most = 0;
    let now = 0;
    const flow = workflow("flow", {}, async (run) => {
      await run.step("count", () => {
        most = Math.max(most, ++now);
      });
      if ((run.input as { partition: string }).partition === "stuck") await run.waitFor("never");
      await run.step("end", () => void now--);
    });
    const first = await TestOrchestrator.open(t, url, [flow]);
    const names = Array.from({ length: 12 }, (_, i) => `p${String(i).padStart(2, "0")}`);
    const id = await first.orchestrator.backfill({
      ...{ workflow: "flow", concurrency: 3, by: "test" },
      partitions: [...names.map((partition) => ({ partition })), { partition: "stuck" }],
    });
    const left = async (o: TestOrchestrator) =>
      (await o.runs("flow")).filter(({ status }) => status !== "succeeded").length;
    await until(async () => (await left(first)) <= 8);
    await first.close({ crash: true });
    now = 0;
    const second = await TestOrchestrator.open(t, url, [flow]);
    await until(async () => (await left(second)) === 1);
    assert.ok(most <= 3, `${most} at once`);
    assert.equal(await second.orchestrator.cancelBackfill(id, "test"), 1);
    await until(async () => (await second.runs("flow")).every(({ finishedAt }) => finishedAt !== null));
    const runs = await second.runs("flow");
    assert.equal(runs.length, 13);
    assert.deepEqual(
      runs.filter(({ status }) => status === "cancelled").map(({ partition }) => partition),
      ["stuck"],
    );
  });
});
