import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { temporaryFolder } from "../flow/open-flow.ts";
import { openServing, type TestServer, testServer } from "./open-serving.ts";

const sale = (day: number, country: string, amount: string) => ({ day: `2026-01-0${day}`, country, amount });

describe("tables published to PostgreSQL", { concurrency: false }, () => {
  let pg: TestServer;
  before(async () => {
    pg = await testServer();
  });
  after(() => pg[Symbol.asyncDispose]());

  test("a table has the rows, types, key, indexes and comments of its definition", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    await f.store(
      "sales",
      [sale(1, "DE", "10.50"), sale(1, "DE", "1.00"), sale(2, "FR", "7.25")],
      ["gold.daily", "gold.totals"],
    );
    await f.publisher.again("gold.daily");
    await f.publisher.again("gold.totals");
    assert.deepEqual(await f.rows("select day::text, country, orders, revenue from gold.daily order by 1"), [
      ["2026-01-01", "DE", "2", "11.50"],
      ["2026-01-02", "FR", "1", "7.25"],
    ]);
    assert.deepEqual(await f.rows("select * from reports.totals order by 1"), [
      ["DE", "2", "11.50"],
      ["FR", "1", "7.25"],
    ]);
    assert.deepEqual(
      await f.rows(`select attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
        from pg_attribute where attrelid = 'gold.daily'::regclass and attnum > 0 order by attnum`),
      [
        ["day", "date", true, null],
        ["country", "text", true, null],
        ["orders", "bigint", false, null],
        ["revenue", "numeric(18,2)", false, "In EUR, without tax"],
      ],
    );
    assert.deepEqual(await f.rows("select indexdef from pg_indexes where tablename = 'daily' order by 1"), [
      ["CREATE INDEX daily_country_idx ON gold.daily USING btree (country)"],
      ["CREATE INDEX daily_day_revenue_idx ON gold.daily USING btree (day, revenue)"],
      ["CREATE UNIQUE INDEX daily_pkey ON gold.daily USING btree (day, country)"],
    ]);
    assert.deepEqual(await f.rows("select obj_description('gold.daily'::regclass)"), [
      ["Sales by day, in the shop's words"],
    ]);
  });

  test("only what changed is written where a key tells rows apart", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    const account = (id: number, name: string, more = {}) => ({ id, name, ...more });
    await f.store("accounts", [account(1, "a"), account(2, "b"), account(3, "c")]);
    await f.publisher.again("silver.accounts");
    const before = await f.rows("select id, xmin::text from silver.accounts order by id");
    await f.store("accounts", [
      account(2, "b2", { balance: "5.00" }),
      account(3, "c", { gone: true }),
      account(4, "d"),
    ]);
    f.publisher.start();
    await until(async () => f.publisher.states().every((state) => state.versionsBehind === 0));
    assert.deepEqual(await f.rows("select id, name, balance from silver.accounts order by id"), [
      ["1", "a", null],
      ["2", "b2", "5.00"],
      ["4", "d", null],
    ]);
    const after = await f.rows("select id, xmin::text from silver.accounts order by id");
    assert.deepEqual(after[0], before[0], "the row that stayed as it was is not written again");
    const [state] = f.publisher.states();
    assert.equal(state?.published?.rows, 3);
  });
});

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("it did not happen within 20 s");
}
