import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { ArrivalReceipt, Receipt } from "../../src/flow/receipt.ts";
import { DAY_MS, openFlow, temporaryFolder } from "./open-flow.ts";

const order = (id: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  customer: "c",
  country: "DE",
  amount: 10 + id,
  placed_at: "2026-01-01T10:00:00Z",
  ...more,
});

const FATES = [
  order(0),
  order(1, { amount: 250 }),
  order(0, { amount: 99 }),
  order(2, { amount: -5 }),
  order(3, { customer: "test" }),
  order(5, { note: "n=twelve" }),
];

/** Table -> fate, bronze first. */
function fates({ bronze, tables }: ArrivalReceipt): Record<string, string> {
  return Object.fromEntries([["bronze", bronze.fate], ...tables.map(({ table, fate }) => [table, fate])]);
}

function only({ arrivals }: Receipt): ArrivalReceipt {
  assert.equal(arrivals.length, 1);
  return arrivals[0] as ArrivalReceipt;
}

test("a receipt names each table's fate of an event, before the flush and after it", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.append("orders", FATES, "till");
  const early = only(await f.flow.receipt("orders", "o1"));
  assert.equal(early.source, "till");
  assert.equal(early.offset, 1);
  const pending = {
    bronze: "pending",
    "silver.orders": "pending",
    "silver.enriched": "pending",
    "silver.large": "pending",
  };
  assert.deepEqual(fates(early), pending);
  const dead = only(await f.flow.receipt("orders", "o2"));
  assert.deepEqual(fates(dead), { ...pending, "silver.enriched": "dead-lettered" }, "that much is known already");

  await f.flow.flush();
  const stored = { bronze: "stored", "silver.orders": "stored" };
  const late = only(await f.flow.receipt("orders", "o1"));
  assert.deepEqual(fates(late), { ...stored, "silver.enriched": "stored", "silver.large": "stored" });
  for (const placed of [late.bronze, ...late.tables]) {
    assert.ok(placed.fate === "stored");
    assert.equal(placed.version, 1);
    assert.match(placed.file, /\.parquet$/);
  }
  assert.deepEqual(fates(only(await f.flow.receipt("orders", "o3"))), {
    ...stored,
    "silver.enriched": "filtered",
    "silver.large": "filtered",
  });
  const check = only(await f.flow.receipt("orders", "o2")).tables.find((fate) => fate.table === "silver.enriched");
  assert.ok(check?.fate === "dead-lettered");
  assert.deepEqual(
    [check.stage, check.code, check.deadLetterId],
    ["check", "CHECK_FAILED", "orders/0/3/silver.enriched"],
  );
  assert.match(check.message, /positive/);
  await f.close();
});

test("an id that arrived several times shows every arrival, newest first, and which of them counts", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("orders", FATES);
  await f.flow.flush();
  await f.append("orders", [order(7), order(0)]);
  const { arrivals } = await f.flow.receipt("orders", "o0");
  assert.deepEqual(
    arrivals.map(({ offset, original, duplicateOf }) => [offset, original, duplicateOf]),
    [
      [7, false, 0],
      [2, false, 0],
      [0, true, undefined],
    ],
  );
  assert.deepEqual(arrivals[0]?.bronze, { fate: "pending" });
  assert.equal(arrivals[1]?.bronze.fate, "stored");
  for (const again of arrivals.slice(0, 2)) {
    for (const table of again.tables)
      assert.deepEqual(table, { table: table.table, fate: "duplicate", duplicateOf: 0 });
  }
  await f.close();
});

test("an event from before the horizon is found, alone or with its newer namesakes", async () => {
  await using dir = await temporaryFolder();
  let now = Date.UTC(2026, 0, 1);
  const clock = () => now;
  {
    await using f = await openFlow(dir.path, { clock });
    await f.append("orders", [order(1), order(2), order(1)]);
    await f.flow.flush();
    now += 20 * DAY_MS;
    await f.append("orders", [order(2), order(3)]);
    await f.close();
  }
  // An index that is built anew knows the ids of the horizon and no others.
  await rm(join(dir.path, "dedupe"), { recursive: true });
  await using f = await openFlow(dir.path, { clock });
  const offsets = ({ arrivals }: Receipt) => arrivals.map(({ offset, original }) => [offset, original]);
  const old = await f.flow.receipt("orders", "o1");
  assert.deepEqual(offsets(old), [
    [2, false],
    [0, true],
  ]);
  assert.equal(old.searchedOlder, true);
  const recent = await f.flow.receipt("orders", "o2");
  assert.deepEqual(offsets(recent), [[3, true]]);
  assert.equal(recent.searchedOlder, false);
  assert.deepEqual(offsets(await f.flow.receipt("orders", "o2", { older: true })), [
    [3, true],
    [1, true],
  ]);
  await f.close();
});

test("events of a stream without an id are found by partition and offset, and a keyed table says what was superseded", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [
    { country: "DE", rate: 1 },
    { country: "DE", rate: 2 },
    { country: "UK", rate: 3, gone: true },
  ]);
  await f.flow.flush();
  const fate = async (id: string) =>
    only(await f.flow.receipt("rates", id)).tables.find((table) => table.table === "silver.fx")?.fate;
  assert.equal(await fate("0-0"), "superseded");
  assert.equal(await fate("0-1"), "stored");
  assert.equal(await fate("0-2"), "superseded");
  for (const id of ["0-3", "1-0", "o1", ""]) {
    await assert.rejects(f.flow.receipt("rates", id), { code: "EVENT_UNKNOWN", message: /all 3 events/ });
  }
  await assert.rejects(f.flow.receipt("nothing", "0-0"), { code: "STREAM_UNKNOWN" });
  await f.close();
});

test("an id with quotes, or one that looks like a place, is only ever itself", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("orders", [order(1, { order_id: "it's" }), order(2, { order_id: "0-0" })]);
  for (const flushed of [false, true]) {
    if (flushed) await f.flow.flush();
    assert.equal(only(await f.flow.receipt("orders", "it's")).offset, 0);
    assert.equal(only(await f.flow.receipt("orders", "0-0")).offset, 1);
    await assert.rejects(f.flow.receipt("orders", "0-1"), { code: "EVENT_UNKNOWN" });
  }
  await f.close();
});
