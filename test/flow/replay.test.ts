import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { ReplayProgress } from "../../src/flow/replay.ts";
import { DAY_MS, openFlow, temporaryFolder } from "./open-flow.ts";

type Flow = Awaited<ReturnType<typeof openFlow>>;

const order = (n: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${n}`,
  customer: "c",
  country: "DE",
  amount: 100 + n,
  placed_at: `2026-01-0${1 + (n % 5)}T00:00:00Z`,
  ...more,
});
const orders = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => order(from + i));
const rated = "select order_id, amount_eur from silver.enriched order by _offset";

/** Every hop balances, and what it counts is what is there. */
async function assertLedger(f: Flow): Promise<void> {
  await f.flow.flush();
  for (const entry of f.flow.ledger()) {
    assert.ok(entry.balanced && entry.pending === 0, JSON.stringify(entry));
    if (entry.hop === "silver.fx") continue;
    const [[stored] = []] = await f.query(
      `select count(distinct (_partition, _offset)) from ${entry.hop}`,
      [entry.hop],
      "committed",
    );
    assert.equal(entry.stored, stored, entry.hop);
    if (entry.hop.startsWith("bronze.")) continue;
    const [[dead] = []] = await f.query(
      `select count(distinct event_offset) from system.dead_letters where stream = '${entry.stream}' and status <> 'retried'
         and event_offset is not null and (table_name is null or table_name = '${entry.hop}')`,
      ["system.dead_letters"],
    );
    assert.equal(entry.deadLettered, dead, `${entry.hop}: dead letters`);
  }
}

async function failsWith(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.stack);
    assert.match(error.message, message);
    return true;
  });
}

/** Holds back every file of the replay until it is let go. */
function holdBack(f: Flow, table: string): { reached: Promise<void>; letGo: () => void } {
  const [reached, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const write = f.flow.lake.write.bind(f.flow.lake);
  let first = true;
  f.flow.lake.write = async (into, statement, options) => {
    if (into.name === table && first) {
      first = false;
      reached.resolve();
      await held.promise;
    }
    return write(into, statement, options);
  };
  return { reached: reached.promise, letGo: held.resolve };
}

test("a replay from an offset leaves earlier rows and computes later ones anew, here, in the tables over it and in gold", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.append("orders", orders(0, 30));
  await f.flow.flush();
  await f.append("orders", [...orders(30, 60), order(3), order(60, { customer: "test" }), order(61, { amount: -1 })]);
  await f.flow.flush();
  await f.flow.refresh("gold.daily");
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  const outcome = await f.flow.replay("silver.enriched", { fromOffset: 20 });
  const rows = await f.query(rated, ["silver.enriched"], "committed");
  const expected = Array.from({ length: 60 }, (_, n) => [`o${n}`, (100 + n) * (n < 20 ? 1 : 2)]);
  assert.deepEqual(
    rows.map(([id, eur]) => [id, Number(eur)]),
    expected,
  );
  assert.deepEqual(
    outcome.tables.map(({ table, kind }) => [table, kind]),
    [
      ["silver.enriched", "rebuilt"],
      ["silver.large", "rebuilt"],
      ["gold.daily", "refreshed"],
      ["gold.totals", "refreshed"],
    ],
  );
  const [first] = outcome.tables;
  assert.deepEqual([first?.from, first?.rowsBefore, first?.rowsAfter], [[20], 60, 60]);
  assert.ok((first?.toVersion ?? 0) > (first?.fromVersion ?? 0));
  assert.equal(outcome.version, first?.toVersion);
  await assertLedger(f);
  const receipt = await f.flow.receipt("orders", "o40");
  const fate = receipt.arrivals[0]?.tables.find(({ table }) => table === "silver.enriched");
  assert.deepEqual([fate?.fate, fate && "version" in fate && fate.version], ["stored", outcome.version]);
});

test("a replay from a moment begins with the first event received then; one that is not there is refused by name", async () => {
  await using dir = await temporaryFolder();
  let now = Date.parse("2026-03-01T00:00:00Z");
  await using f = await openFlow(dir.path, { clock: () => now });
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.append("orders", orders(0, 10));
  now += 60_000;
  await f.append("orders", orders(10, 20));
  await f.flow.flush();
  await f.append("rates", [{ country: "DE", rate: 3 }]);
  const { tables } = await f.flow.replay("silver.enriched", { fromTimeMs: now - 1 });
  assert.deepEqual(tables[0]?.from, [10]);
  const factors = await f.query("select amount_eur / amount as f from silver.enriched order by _offset", [
    "silver.enriched",
  ]);
  assert.deepEqual(factors.map(Number), [...Array(10).fill(1), ...Array(10).fill(3)]);
  const replay = (request: object) => f.flow.replay("silver.enriched", request);
  await failsWith(replay({ fromTimeMs: now + 1 }), "REPLAY_RANGE", /in the future/);
  await failsWith(replay({ fromOffset: 20 }), "REPLAY_RANGE", /offset 20 lies beyond.*19/);
  await failsWith(replay({ fromOffset: new Map([[4, 0]]) }), "REPLAY_RANGE", /partitions 0 to 0, and not 4/);
  await failsWith(replay({ fromOffset: 1, fromTimeMs: 1 }), "REPLAY_RANGE", /not both/);
  await failsWith(f.flow.replay("silver.enrichd"), "TABLE_UNKNOWN", /silver\.enriched/);
  await failsWith(f.flow.replay("gold.totals", { fromOffset: 1 }), "REPLAY_NOT_POSSIBLE", /no `by`/);
  await failsWith(f.flow.replay("gold.daily", { source: "log" }), "REPLAY_NOT_POSSIBLE", /combines rows/);
  await failsWith(f.flow.replay("bronze.orders", { source: "bronze" }), "REPLAY_NOT_POSSIBLE", /is the source/);
  now += 1000;
  assert.deepEqual((await replay({ fromTimeMs: now })).tables, [], "nothing came since");
});

test("a table by day that is replayed from an offset computes the days of those events", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.append("orders", orders(0, 10));
  await f.flow.flush();
  await f.flow.replay("gold.daily");
  const before = await f.query("select * from gold.daily order by all", ["gold.daily"], "committed");
  // Nobody else writes there; what a person broke is mended where the events reach.
  const daily = f.flow.lake.get("gold.daily");
  await f.flow.lake.commit(daily, {
    operation: "DELETE",
    readVersion: daily.snapshot.version,
    remove: daily.snapshot.files.map((file) => file.path),
  });
  const { tables } = await f.flow.replay("gold.daily", { fromOffset: 8 });
  assert.deepEqual(
    tables.map(({ table, kind }) => [table, kind]),
    [
      ["gold.daily", "refreshed"],
      ["gold.totals", "refreshed"],
    ],
  );
  const after = await f.query("select * from gold.daily order by all", ["gold.daily"], "committed");
  assert.deepEqual(after, before.slice(3, 5), "the days of the orders 8 and 9");
});

test("bronze whose file is gone is named, and rebuilt from the log with the same duplicates; the tables over it follow", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.append("orders", orders(0, 20));
  await f.flow.flush();
  await f.append("orders", [
    order(3),
    '{"order_id":  "o20","customer":"c","country":"DE","amount":1,"placed_at":"2026-01-01T00:00:00Z"}',
  ]);
  await f.append("orders", orders(21, 30));
  await f.flow.flush();
  const bronze =
    "select payload, _id, _offset, _received_at, _source, _duplicate_of from bronze.orders order by _offset";
  const before = await f.query(bronze, ["bronze.orders"], "committed");
  const silver = await f.query(rated, ["silver.enriched"], "committed");
  const table = f.flow.lake.get("bronze.orders");
  const newest = table.snapshot.files.at(-1)?.path ?? "";
  await rm(join(dir.path, "lake", table.delta.location, newest));
  await failsWith(f.flow.replay("silver.enriched"), "REPLAY_SOURCE_DAMAGED", /bronze\.orders cannot be replayed from/);
  const { tables } = await f.flow.replay("bronze.orders", { source: "log", fromOffset: 20 });
  assert.deepEqual(await f.query(bronze, ["bronze.orders"], "committed"), before);
  assert.deepEqual(await f.query(rated, ["silver.enriched"], "committed"), silver);
  assert.deepEqual(
    tables.slice(0, 3).map((one) => [one.table, one.rowsAfter]),
    [
      ["bronze.orders", 31],
      ["silver.enriched", 30],
      ["silver.large", 29],
    ],
  );
  await assertLedger(f);
  await f.flow.replay("bronze.orders");
  assert.deepEqual(await f.query(bronze, ["bronze.orders"], "committed"), before, "whole");
});

test("what the log no longer keeps is refused with the oldest offset that it has", async () => {
  await using dir = await temporaryFolder();
  let now = Date.parse("2026-03-01T00:00:00Z");
  await using f = await openFlow(dir.path, { clock: () => now });
  const note = "x".repeat(10_000);
  for (let i = 0; i < 3; i++) {
    await f.append(
      "orders",
      orders(i * 60, i * 60 + 60).map((one) => ({ ...one, note })),
    );
    await f.flow.flush();
    now += 4 * DAY_MS;
  }
  await f.log.append("orders", 0, {
    payload: Buffer.from(`${JSON.stringify(order(999, { note }))}\n`),
    count: 1,
    source: "t",
  });
  await f.flow.flush();
  const { start } = f.log.ends("orders", 0);
  assert.ok(start > 0, "the log has let go of a segment");
  const gone = new RegExp(`no longer has offset 0: the oldest one kept is ${start}`);
  await failsWith(f.flow.replay("bronze.orders"), "REPLAY_LOG_GONE", gone);
  await failsWith(f.flow.replay("silver.enriched", { source: "log" }), "REPLAY_LOG_GONE", gone);
  const { tables } = await f.flow.replay("silver.enriched", { source: "log", fromOffset: start });
  assert.deepEqual(tables[0]?.from, [start]);
  await assertLedger(f);
});

test("a poisonous event in a replay is put aside alone, with the letter it has, one attempt more, and the rest goes on", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("orders", [order(0), order(1, { note: "n=many" }), order(2, { country: "XX" }), "{}", order(4)]);
  await f.flow.flush();
  const letters =
    "select event_offset, table_name, stage, status, attempts from system.dead_letters order by event_offset, table_name";
  const first = await f.query(letters, ["system.dead_letters"]);
  assert.deepEqual(first, [
    [1, "silver.enriched", "transform", "open", 1],
    [2, "silver.enriched", "check", "open", 1],
    [3, null, "parse", "open", 1],
  ]);
  for (let again = 2; again <= 3; again++) {
    const { tables } = await f.flow.replay("silver.enriched");
    assert.deepEqual([tables[0]?.lettersOpened, tables[0]?.lettersClosed, tables[0]?.rowsAfter], [0, 0, 2]);
    const now = await f.query(letters, ["system.dead_letters"]);
    assert.deepEqual(
      now,
      first.map((letter) => [...letter.slice(0, 4), again]),
    );
    await assertLedger(f);
  }
});

test("a keyed table is replayed whole whatever the offset, removed keys stay removed, and its pieces do not show", async () => {
  await using dir = await temporaryFolder();
  // Pieces of a few events.
  await using f = await openFlow(dir.path, { flushBytes: 100 });
  await f.append("rates", [
    { country: "DE", rate: 1 },
    { country: "FR", rate: 2 },
    { country: "FR", rate: 2, gone: true },
    ...Array.from({ length: 40 }, (_, n) => ({ country: `C${n % 7}`, rate: n })),
    { country: "DE", rate: 3 },
    { country: "C3", rate: 3, gone: true },
  ]);
  await f.flow.flush();
  const rates = "select country, rate, _offset from silver.fx order by all";
  const before = await f.query(rates, ["silver.fx"], "committed");
  assert.equal(before.length, 7);
  const held = holdBack(f, "silver.fx");
  const replay = f.flow.replay("silver.fx", { fromOffset: 30 });
  await held.reached;
  await f.append("rates", [
    { country: "C4", rate: 77 },
    { country: "C5", rate: 0, gone: true },
    { country: "NL", rate: 5 },
  ]);
  held.letGo();
  const { tables } = await replay;
  assert.deepEqual(tables[0]?.from, [0]);
  await f.flow.flush();
  const after = new Map((await f.query(rates, ["silver.fx"], "committed")).map(([country, rate]) => [country, rate]));
  const expected = new Map(before.map(([country, rate]) => [country, rate]));
  expected.set("C4", 77).set("NL", 5).delete("C5");
  assert.deepEqual(after, new Map([...expected].sort()));
  const entry = f.flow.ledger().find(({ hop }) => hop === "silver.fx");
  assert.deepEqual([entry?.stored, entry?.balanced], [48, true]);
});

test("while a replay is under way events are stored in the old version, seen, and in the new one after the swap", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.append("orders", orders(0, 50));
  await f.flow.flush();
  const held = holdBack(f, "silver.enriched");
  const progress: ReplayProgress[] = [];
  const replay = f.flow.replay("silver.enriched", {}, { onProgress: (now) => progress.push(now) });
  await held.reached;
  const { version } = f.flow.lake.get("silver.enriched").snapshot;
  await f.append("orders", orders(50, 80));
  await f.append("rates", [{ country: "FR", rate: 1 }]);
  await f.flow.flush();
  assert.equal(f.flow.lake.get("silver.enriched").snapshot.version, version + 1, "its own stream is flushed");
  assert.deepEqual(await f.query("select count(*) from silver.fx", ["silver.fx"], "committed"), [[2]], "and others");
  await f.append("orders", orders(80, 90));
  assert.deepEqual(await f.query("select count(*) from silver.enriched", ["silver.enriched"]), [[90]]);
  await failsWith(f.flow.replay("silver.enriched"), "REPLAY_RUNNING", /silver\.enriched is being replayed/);
  await failsWith(f.flow.replay("silver.large"), "REPLAY_RUNNING", /silver\.large.*with silver\.enriched/);
  held.letGo();
  const { tables } = await replay;
  assert.equal(tables[0]?.rowsAfter, 80);
  await f.flow.flush();
  const all = await f.query("select order_id from silver.enriched order by _offset", ["silver.enriched"], "committed");
  assert.deepEqual(
    all.map(([id]) => id),
    orders(0, 90).map((one) => one.order_id),
  );
  await assertLedger(f);
  assert.deepEqual([progress.at(0)?.phase, progress.at(0)?.total], ["rebuild", 50]);
  assert.ok(progress.some(({ phase }) => phase === "swap") && progress.some(({ phase }) => phase === "refresh"));
  await f.flow.replay("silver.enriched");
});

test("a retry of dead letters during a replay is not undone by its swap", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path, { project: "mended" });
  await f.append("orders", orders(0, 5));
  await f.flow.flush();
  const held = holdBack(f, "silver.newest");
  const second = Promise.withResolvers<void>();
  const replay = f.flow.replay("silver.rated", {}, { onProgress: () => second.resolve() });
  await second.promise;
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  const admit = () => assert.fail("no event of these goes through the door");
  const retried = f.flow.deadLetterDesk.retry({ filter: {} }, { actor: "t", admit });
  held.letGo();
  await Promise.all([replay, retried]);
  await f.flow.flush();
  assert.deepEqual(await f.query("select count(*) from silver.rated", ["silver.rated"], "committed"), [[5]]);
  const open = "select count(*) from system.dead_letters where status = 'open'";
  assert.deepEqual(await f.query(open, ["system.dead_letters"]), [[0]]);
});

test("a cancelled replay leaves the old version in place, and its files to vacuum", async () => {
  await using dir = await temporaryFolder();
  let now = Date.now();
  await using f = await openFlow(dir.path, { clock: () => now });
  await f.append("orders", orders(0, 20));
  await f.flow.flush();
  const { version, files } = f.flow.lake.get("silver.enriched").snapshot;
  const stop = new AbortController();
  const replay = f.flow.replay("silver.enriched", {}, { signal: stop.signal, onProgress: () => stop.abort() });
  await failsWith(replay, "REPLAY_CANCELLED", /silver\.enriched was cancelled; the table is as it was/);
  assert.equal(f.flow.lake.get("silver.enriched").snapshot.version, version);
  now += 8 * DAY_MS;
  const removed = await f.flow.lake.vacuum(7 * DAY_MS, now);
  assert.equal(removed.files, 2, "one of each table that was being built");
  assert.equal(f.flow.lake.get("silver.enriched").snapshot.files.length, files.length);
  assert.deepEqual(await f.query("select count(*) from silver.enriched", ["silver.enriched"]), [[20]]);
  const ended = assert.rejects(f.flow.replay("silver.enriched"), /was cancelled/);
  await f.flow.close();
  await ended;
});

test("a replay that dies behind any of its durable steps leaves each table old or new, and the next one is right", async () => {
  for (let step = 1, died = true; died; step++) {
    await using dir = await temporaryFolder();
    {
      await using f = await openFlow(dir.path, { project: "mended" });
      await f.append("orders", [...orders(0, 3), order(3, { country: "FR" })]);
      await f.flow.flush();
      await f.append("rates", [{ country: "DE", rate: 2 }]);
      let left = step;
      const guard = async <T>(work: () => Promise<T>): Promise<T> => {
        const result = await work();
        left--;
        if (left <= 0) throw new Error("died");
        return result;
      };
      const { lake } = f.flow;
      const [append, write, commit] = [f.log.append.bind(f.log), lake.write.bind(lake), lake.commit.bind(lake)];
      f.log.append = (...given) => guard(() => append(...given));
      lake.write = (table, ...rest) =>
        /rated|large|newest/.test(table.name) ? guard(() => write(table, ...rest)) : write(table, ...rest);
      lake.commit = (table, request) =>
        request.operation === "REPLAY" ? guard(() => commit(table, request)) : commit(table, request);
      died = await f.flow.replay("silver.rated").then(
        () => false,
        (error: unknown) => /died/.test(String(error)) || assert.fail(String(error)),
      );
      await f.crash();
    }
    await using f = await openFlow(dir.path, { project: "mended" });
    for (const entry of f.flow.ledger()) assert.ok(entry.balanced, JSON.stringify(entry));
    const [[rows] = []] = await f.query("select count(*) from silver.rated", ["silver.rated"]);
    assert.ok(rows === 0 || rows === 3, `step ${step}: ${rows} rows`);
    await f.flow.replay("silver.rated");
    assert.deepEqual(await f.query("select count(*) from silver.rated", ["silver.rated"], "committed"), [[3]]);
    const letters = await f.query(
      "select event_offset, status from system.dead_letters where table_name = 'silver.rated' order by event_offset",
      ["system.dead_letters"],
    );
    const expected = [0, 1, 2].map((offset) => [offset, "retried"]);
    assert.deepEqual(letters, [...expected, [3, "open"]], `step ${step}`);
    const rated = f.flow.ledger().find((entry) => entry.hop === "silver.rated");
    assert.deepEqual([rated?.stored, rated?.deadLettered, rated?.balanced], [3, 1, true], `step ${step}`);
    if (!died) assert.ok(step > 6, "every step was died behind");
  }
});
