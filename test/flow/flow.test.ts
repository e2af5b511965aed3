import assert from "node:assert/strict";
import { test } from "node:test";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const order = (id: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  customer: `c${id % 3}`,
  country: "DE",
  amount: 10 + id,
  placed_at: "2026-01-01T10:00:00Z",
  ...more,
});

/** Every fate an event can have, one after the other. */
const FATES = [
  order(0),
  order(1, { amount: 250, placed_at: "2026-01-02T00:00:00Z" }),
  order(0, { amount: 99 }), // a second arrival, whatever else it says
  order(2, { amount: -5 }), // fails a check
  order(3, { customer: "test" }), // filtered
  order(4, { note: "n=12" }),
  order(5, { note: "n=twelve" }), // its transform fails
  order(6, { country: "XX" }), // fails the other check
  order(7, { country: "FR", placed_at: "2026-01-02T23:59:59.999999Z" }),
];

const NAMES = ["silver.enriched"];
const ENRICHED = "select order_id, amount::varchar, amount_eur, n, _offset from silver.enriched order by _offset";
const EXPECTED = [
  ["o0", "10.00", 20, null, 0],
  ["o1", "250.00", 500, null, 1],
  ["o4", "14.00", 28, 12, 5],
  ["o7", "17.00", null, null, 8],
];

test("an event acknowledged before a query is in its answer, and the same rows are stored by the flush", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.append("orders", FATES);
  assert.deepEqual(await f.query(ENRICHED, NAMES, "committed"), []);
  assert.deepEqual(await f.query(ENRICHED, NAMES), EXPECTED);
  await f.flow.flush();
  assert.deepEqual(await f.query(ENRICHED, NAMES, "committed"), EXPECTED);
  assert.deepEqual(await f.query(ENRICHED, NAMES), EXPECTED);
  await f.append("orders", [order(8)]);
  assert.equal((await f.query(ENRICHED, NAMES)).length, 5);
  await f.close();
});

test("every event has exactly one fate at every hop, and the ledger adds up", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.append("orders", FATES);
  const hop = (name: string) => f.flow.ledger().find((entry) => entry.hop === name);
  assert.equal(hop("bronze.orders")?.pending, 9);
  await f.flow.flush();
  const bare = (name: string) => {
    const { accepted, stored, duplicate, filtered, deadLettered, pending, balanced } = hop(name) ?? assert.fail(name);
    return { accepted, stored, duplicate, filtered, deadLettered, pending, balanced };
  };
  const settled = { accepted: 9, pending: 0, balanced: true };
  assert.deepEqual(bare("bronze.orders"), { ...settled, stored: 9, duplicate: 0, filtered: 0, deadLettered: 0 });
  assert.deepEqual(bare("silver.orders"), { ...settled, stored: 8, duplicate: 1, filtered: 0, deadLettered: 0 });
  assert.deepEqual(bare("silver.enriched"), { ...settled, stored: 4, duplicate: 1, filtered: 1, deadLettered: 3 });
  assert.deepEqual(bare("silver.large"), { ...settled, stored: 1, duplicate: 1, filtered: 7, deadLettered: 0 });
  const letters = await f.query(
    "select table_name, stage, code, event_offset, payload::json->>'order_id' from system.dead_letters order by event_offset",
    ["system.dead_letters"],
  );
  assert.deepEqual(letters, [
    ["silver.enriched", "check", "CHECK_FAILED", 3, "o2"],
    ["silver.enriched", "transform", "TRANSFORM_FAILED", 6, "o5"],
    ["silver.enriched", "check", "CHECK_FAILED", 7, "o6"],
  ]);
  const ledger = await f.query("select hop, stored, balanced from system.ledger where stream = 'orders' order by hop", [
    "system.ledger",
  ]);
  assert.deepEqual(ledger, [
    ["bronze.orders", 9, true],
    ["door", null, true],
    ["silver.enriched", 4, true],
    ["silver.large", 1, true],
    ["silver.orders", 8, true],
  ]);
  await f.close();
});

test("bronze holds every event byte for byte, and names the event a second arrival repeats", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const text =
    '{ "order_id":"a\\u00e9/\\/", "customer":"c", "country":"DE",\t"amount":1.10,"placed_at":"2026-01-01T00:00:00Z","extra":{"x":[1, 2]}}';
  await f.append("orders", [text, text], "somewhere");
  const read = () =>
    f.query("select payload, _id, _partition, _offset, _source, _duplicate_of from bronze.orders order by _offset", [
      "bronze.orders",
    ]);
  const expected = [
    [text, "aé//", 0, 0, "somewhere", null],
    [text, "aé//", 0, 1, "somewhere", 0],
  ];
  assert.deepEqual(await read(), expected);
  await f.flow.flush();
  assert.deepEqual(await read(), expected);
  await f.close();
});

test("a crash before, between and after flushes loses nothing, doubles nothing and repeats no dead letter", async () => {
  await using dir = await temporaryFolder();
  await using first = await openFlow(dir.path);
  await first.append("rates", [{ country: "DE", rate: 2 }]);
  await first.append("orders", FATES.slice(0, 4));
  await first.query(ENRICHED, NAMES); // staged, dead letters recorded, nothing stored
  await first.crash();

  await using second = await openFlow(dir.path);
  await second.append("orders", FATES.slice(4));
  await second.flow.flush(["orders"]);
  await second.crash();

  await using third = await openFlow(dir.path);
  await third.append("orders", [order(0), order(9)]);
  assert.deepEqual((await third.query(ENRICHED, NAMES)).slice(0, 4), EXPECTED);
  const count = "select count(*) from system.dead_letters";
  assert.deepEqual(await third.query(count, ["system.dead_letters"]), [[3]]);
  await third.flow.flush();
  assert.ok(third.flow.ledger().every((entry) => entry.balanced && entry.pending === 0));
  assert.deepEqual(
    await third.query("select _offset, _duplicate_of from bronze.orders where _duplicate_of is not null order by 1", [
      "bronze.orders",
    ]),
    [
      [2, 0],
      [9, 0],
    ],
  );
  await third.close();
});

test("a keyed table keeps the newest row per key, before and after the flush, and a tombstone removes the key", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const fx = () => f.query("select country, rate from silver.fx order by country", ["silver.fx"]);
  await f.append("rates", [
    { country: "DE", rate: 1 },
    { country: "FR", rate: 3 },
    { country: "DE", rate: 2 },
  ]);
  assert.deepEqual(await fx(), [
    ["DE", 2],
    ["FR", 3],
  ]);
  await f.flow.flush();
  assert.deepEqual(await fx(), [
    ["DE", 2],
    ["FR", 3],
  ]);
  await f.append("rates", [
    { country: "FR", rate: 0, gone: true },
    { country: "UK", rate: 5 },
  ]);
  assert.deepEqual(await fx(), [
    ["DE", 2],
    ["UK", 5],
  ]);
  await f.flow.flush();
  assert.deepEqual(await fx(), [
    ["DE", 2],
    ["UK", 5],
  ]);
  assert.equal(f.flow.lake.get("silver.fx").snapshot.files.length, 1);
  await f.close();
});

test("replaying a table gives the rows it has, and the ledger stays balanced", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.append(
    "orders",
    FATES.filter((event) => event.order_id !== "o5"),
  );
  await f.flow.flush();
  const before = await f.query(ENRICHED, NAMES);
  await f.flow.replay("silver.enriched");
  await f.flow.replay("silver.large");
  await f.flow.replay("silver.fx");
  assert.deepEqual(await f.query(ENRICHED, NAMES), before);
  assert.ok(f.flow.ledger().every((entry) => entry.balanced && entry.pending === 0));
  assert.deepEqual(await f.query("select order_id from silver.large", ["silver.large"]), [["o1"]]);
  assert.deepEqual(await f.query("select country, rate from silver.fx", ["silver.fx"]), [["DE", 2]]);
  await f.close();
});
