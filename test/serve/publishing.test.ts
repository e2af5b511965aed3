import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import type { Admit } from "../../src/flow/dead-letter-desk.ts";
import { publishedRecords } from "../../src/serve/publication.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { openServing, type TestServer, testServer } from "./open-serving.ts";

const sale = (day: number, country: string, amount: string) => ({ day: `2026-01-0${day}`, country, amount });

const NOBODY: Admit = () => ({ kind: "refused", code: "EVENT_INVALID", message: "no" });

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

  test("every type comes over as it is, and a row that PostgreSQL cannot hold is a dead letter that others do not wait for", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    const values = [
      { id: 1, v: "12" },
      { id: 2, v: 'tab\tline\nreturn\r back\\slash \\N "quote" {a,b} 漢字 🙂' },
      { id: 3, v: "2026-03-01 10:00:00.123456+02", j: { a: [1, null, "x"], 'b"': 1.5 } },
      { id: 4, v: "0044-03-15 (BC)" },
      { id: 5, v: "nul \0 here" },
      { id: 6, v: "infinity" },
      { id: 7, v: "-0.1", j: "nul \0 nested" },
      { id: 8, v: "ok", j: "\\u0000 is only text" },
    ];
    await f.store("values", values, ["gold.kinds"]);
    await f.publisher.again("gold.kinds");
    const [first, second, third, fourth] =
      await f.rows(`select "Text, quoted ""so""", small, whole, "long", single, twice, exact,
      truth, moment::text, day::text, bytes, j, nested, texts, moments::text, deep, by_name from gold.kinds order by id`);
    assert.deepEqual(first?.slice(0, 8), ["12", 12, 12, "12", 12, 12, "12.0000000000", null]);
    assert.deepEqual(first?.slice(12), [
      { a: "12", b: [1, null] },
      ["12", null, 'x"y\\{}'],
      "{NULL}",
      [[1]],
      { k: 12 },
    ]);
    assert.equal(second?.[0], values[1]?.v);
    assert.deepEqual(second?.[13], [values[1]?.v, null, 'x"y\\{}']);
    assert.deepEqual(third?.slice(8, 12), [
      "2026-03-01 08:00:00.123456+00",
      "2026-03-01",
      Buffer.from(values[2]?.v ?? ""),
      values[2]?.j,
    ]);
    assert.equal(third?.[14], '{"2026-03-01 08:00:00.123456+00"}');
    assert.deepEqual(fourth?.slice(8, 10), ["0044-03-15 00:00:00+00 BC", "0044-03-15 BC"]);
    assert.deepEqual((await f.rows("select id from gold.kinds order by id")).flat(), ["1", "2", "3", "4", "8"]);

    const letters = `select code, status, json_extract_string(payload, '$.id'), message from system.dead_letters
      where stage = 'publish' order by 3`;
    const found = await f.query(letters, ["system.dead_letters"]);
    assert.deepEqual(
      found.map((row) => row.slice(0, 3)),
      ["5", "6", "7"].map((id) => ["PUBLISH_ROW_REFUSED", "open", id]),
    );
    assert.match(String(found[0]?.[3]), /gold\.kinds: column Text, quoted "so" has U\+0000/);
    assert.match(String(found[1]?.[3]), /column moment is a moment that PostgreSQL does not have/);
    assert.match(String(found[2]?.[3]), /column j has U\+0000/);
    const [hop] = f.flow.ledger().filter(({ hop, stream }) => hop === "publish" && stream === "gold.kinds");
    assert.deepEqual([hop?.accepted, hop?.stored, hop?.deadLettered, hop?.publication?.versionsBehind], [8, 5, 3, 0]);

    // Publishing the same again opens nothing anew; a retry says that they are still refused.
    const results = await f.flow.deadLetterDesk.retry(
      { filter: { stage: "publish" } },
      { actor: "test", admit: NOBODY },
    );
    assert.deepEqual(
      results.map(({ outcome, code }) => [outcome, code]),
      Array(3).fill(["failed", "PUBLISH_ROW_REFUSED"]),
    );
    assert.equal((await f.query(letters, ["system.dead_letters"])).length, 3);
  });

  test("a row that only PostgreSQL knows to refuse is found, told and left out; once it is mended its letter is closed", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    // An index entry has at most 2,704 bytes, and these do not compress.
    let state = 7;
    const noise = Array.from({ length: 8_000 }, () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return String.fromCharCode(33 + ((state >> 8) % 90));
    }).join("");
    await f.store("sales", [sale(1, "DE", "1.00"), sale(1, noise, "2.00"), sale(2, "FR", "3.00")], ["gold.daily"]);
    await f.publisher.again("gold.daily");
    assert.deepEqual((await f.rows("select country from gold.daily order by 1")).flat(), ["DE", "FR"]);
    const letters = "select status, message from system.dead_letters where stage = 'publish'";
    const [letter, ...others] = await f.query(letters, ["system.dead_letters"]);
    assert.equal(others.length, 0);
    assert.equal(letter?.[0], "open");
    assert.match(String(letter?.[1]), /index row size \d+ exceeds/);
    // The next version goes the same way, and opens no second letter.
    await f.store("sales", [sale(3, "IT", "1.00")], ["gold.daily"]);
    f.publisher.start();
    await until(async () =>
      f.publisher.states().every((one) => one.table !== "gold.daily" || one.versionsBehind === 0),
    );
    assert.deepEqual((await f.rows("select country from gold.daily order by 1")).flat(), ["DE", "FR", "IT"]);
    assert.equal((await f.query(letters, ["system.dead_letters"])).length, 1);
  });

  test("a key that is not unique is named, and PostgreSQL keeps the version before", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    const kind = (id: number, v: string) => ({ id, v });
    await f.store("values", [kind(1, "a"), kind(2, "b")], ["gold.kinds"]);
    await f.publisher.again("gold.kinds");
    await f.store("values", [kind(2, "c")], ["gold.kinds"]);
    await assert.rejects(f.publisher.again("gold.kinds"), (error) => {
      assert.ok(error instanceof MillraceError);
      assert.equal(error.code, "PUBLISH_KEY_NOT_UNIQUE");
      assert.match(error.message, /gold\.kinds cannot be published: several of its rows have the key \(id\)=\(2\)/);
      return true;
    });
    assert.deepEqual((await f.rows("select id from gold.kinds order by id")).flat(), ["1", "2"]);
    f.publisher.start();
    await until(async () => f.publisher.states().some(({ failure }) => /the key \{"id":2\}/.test(failure ?? "")));
    assert.deepEqual((await f.rows("select id from gold.kinds order by id")).flat(), ["1", "2"]);
  });

  test("a table that is not ours is never touched, and publication goes on once the name is free", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    await f.client.query("create schema gold; create table gold.daily (mine int); insert into gold.daily values (42)");
    await f.store("sales", [sale(1, "DE", "1.00")], ["gold.daily", "gold.totals"]);
    f.publisher.start();
    await until(async () => f.publisher.states().some(({ failure }) => failure !== undefined));
    await until(async () =>
      f.publisher.states().some(({ table, published }) => table === "gold.totals" && published?.rows === 1),
    );
    const state = f.publisher.states().find(({ table }) => table === "gold.daily");
    assert.match(state?.failure ?? "", /"gold"\."daily" exists in PostgreSQL and is not the platform's/);
    assert.deepEqual(await f.rows("select * from gold.daily"), [[42]]);
    await f.client.query("drop table gold.daily");
    await until(async () =>
      f.publisher.states().every(({ failure, versionsBehind }) => failure === undefined && versionsBehind === 0),
    );
    assert.deepEqual(await f.rows("select country, revenue from gold.daily"), [["DE", "1.00"]]);
    // The same for a table of ours that somebody replaced.
    await f.client.query("drop table gold.daily; create table gold.daily (mine int)");
    await assert.rejects(f.publisher.again("gold.daily"), /is not the platform's/);
  });

  test("a reader keeps what it began with, and is in the way of nothing but a new shape, which waits for it", async () => {
    await using dir = await temporaryFolder();
    const connection = await pg.database();
    {
      await using f = await openServing(dir.path, connection);
      await f.store("sales", [sale(1, "DE", "1.00")], ["gold.daily", "gold.totals"]);
      for (const table of ["gold.daily", "gold.totals"]) await f.publisher.again(table);
      await f.client.query("grant select on gold.daily to pg_monitor");
      await f.client.query("begin isolation level repeatable read");
      assert.deepEqual(await f.rows("select revenue from gold.daily"), [["1.00"]]);
      await f.store("sales", [sale(1, "DE", "2.00")], ["gold.daily", "gold.totals"]);
      for (const table of ["gold.daily", "gold.totals"]) await f.publisher.again(table);
      assert.deepEqual(await f.rows("select revenue from gold.daily union all select revenue from reports.totals"), [
        ["1.00"],
        ["1.00"],
      ]);
      await f.client.query("commit");
      assert.deepEqual(await f.rows("select revenue from gold.daily union all select revenue from reports.totals"), [
        ["3.00"],
        ["3.00"],
      ]);
      await f.client.query("begin");
      await f.rows("select 1 from gold.daily");
      await f.publisher.close();
      await f.close();
      const g = await openServing(dir.path, connection, { project: "served-anew" });
      try {
        await assert.rejects(
          g.publisher.again("gold.daily"),
          /gold\.daily has a new shape, and process \d+ of user millrace since/,
        );
        // The others get on with it meanwhile, and nobody is kept waiting for the table.
        await g.publisher.again("gold.totals");
        assert.deepEqual(await g.rows("select revenue from gold.daily"), [["3.00"]]);
        await g.flow.refresh("gold.daily");
        g.publisher.start();
        await f.client.query("commit");
        await until(async () => g.publisher.states().every(({ versionsBehind }) => versionsBehind === 0));
        await until(
          async () =>
            (
              await g.rows(
                "select 1 from information_schema.columns where table_name = 'daily' and column_name = 'last'",
              )
            ).length === 1,
        );
        assert.deepEqual(await g.rows("select country, revenue, last from gold.daily"), [["DE", "3.00", "2.00"]]);
        assert.deepEqual(await g.rows("select count(*)::int from pg_indexes where tablename = 'daily'"), [[1]]);
        const rights =
          "select 1 from information_schema.role_table_grants where table_name = 'daily' and grantee = 'pg_monitor'";
        assert.equal((await g.rows(rights)).length, 1, "what others may read they may still read");
        assert.deepEqual(
          await g.rows(
            "select count(*)::int from pg_class where relnamespace = 'millrace_serving'::regnamespace and relkind = 'r'",
          ),
          [[1]],
        );
      } finally {
        await g[Symbol.asyncDispose]();
      }
    }
  });

  test("PostgreSQL that goes away in mid-publication, or is not there at all, loses nothing: it goes on by itself", async () => {
    await using dir = await temporaryFolder();
    const connection = await pg.database();
    await using f = await openServing(dir.path, connection);
    await f.store("accounts", [{ id: 1, name: "a" }]);
    f.publisher.start();
    const upToDate = async () => f.publisher.states().every(({ versionsBehind }) => versionsBehind === 0);
    await until(upToDate);
    // Each round the connection is killed while it publishes, at another moment.
    for (let round = 2; round < 12; round++) {
      await f.store("accounts", [
        { id: round, name: "n" },
        { id: 1, name: `round ${round}` },
      ]);
      for (let kill = 0; kill < 3; kill++) {
        await new Promise((resolve) => setTimeout(resolve, round * 3));
        await f.client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'millrace publisher'",
        );
      }
    }
    await until(upToDate);
    const want = [["1", "round 11"], ...Array.from({ length: 10 }, (_, i) => [String(i + 2), "n"])];
    assert.deepEqual(await f.rows("select id, name from silver.accounts order by id"), want);
    const [record] = await f.rows(
      "select version, row_count from millrace_serving.publications where source = 'silver.accounts'",
    );
    assert.deepEqual(record, [String(f.flow.lake.get("silver.accounts").snapshot.version), "11"]);
    assert.ok(
      f.reported.some((error) => /PostgreSQL, to which tables are published, cannot be reached/.test(error.message)),
    );
  });

  test("a server that is down at first, and a wrong password, are told, and taken up when they are mended", async () => {
    await using dir = await temporaryFolder();
    const connection = await pg.database();
    const wrong = { ...connection, password: "wrong" };
    await using f = await openServing(dir.path, connection, { publishTo: wrong });
    await f.store("accounts", [{ id: 1, name: "a" }]);
    f.publisher.start();
    await until(async () =>
      f.publisher.states().every(({ failure }) => /password authentication failed/.test(failure ?? "")),
    );
    const behind = f.publisher.states().find(({ table }) => table === "silver.accounts");
    assert.equal(behind?.published, undefined);
    assert.ok((behind?.versionsBehind ?? 0) > 0);
    await f.publisher.stop();
    assert.ok(
      f.publisher.states().every(({ failure }) => failure === undefined),
      "who does not publish has nothing that fails",
    );
    f.publisher.start();
    wrong.password = String(connection.password);
    await until(async () => f.publisher.states().every(({ versionsBehind }) => versionsBehind === 0));
    assert.deepEqual(await f.rows("select id, name from silver.accounts"), [["1", "a"]]);
  });

  test("a retry that fails in a process that does not publish is told to who asked, and leaves no failure behind", async () => {
    await using dir = await temporaryFolder();
    const connection = await pg.database();
    await using f = await openServing(dir.path, connection, { publishTo: { ...connection, port: 1 } });
    await f.store("accounts", [{ id: 1, name: "a" }]);
    const failures = () => f.publisher.states().flatMap(({ failure }) => failure ?? []);
    await assert.rejects(f.publisher.again("silver.accounts"), { code: "PUBLISH_UNAVAILABLE" });
    assert.deepEqual(failures(), []);
    // One that waits for its turn while the work goes to another process.
    f.publisher.start();
    await until(async () => failures().length > 0);
    const late = assert.rejects(f.publisher.again("silver.accounts"), { code: "PUBLISH_UNAVAILABLE" });
    await f.publisher.stop();
    await late;
    assert.deepEqual(failures(), []);
  });

  test("a retry that fails while nothing else is to be published is made up for as soon as PostgreSQL is back", async () => {
    await using dir = await temporaryFolder();
    const connection = await pg.database();
    const to = { ...connection };
    await using f = await openServing(dir.path, connection, { publishTo: to });
    await f.store("accounts", [{ id: 1, name: "a" }]);
    f.publisher.start();
    await until(async () => f.publisher.states().every(({ published }) => published !== undefined));
    // By its turn everything that was begun before is over.
    await f.publisher.again("silver.accounts");
    to.port = 1;
    const end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'millrace publisher'";
    await f.client.query(`${end} and datname = current_database()`);
    await assert.rejects(f.publisher.again("silver.accounts"), { code: "PUBLISH_UNAVAILABLE" });
    assert.ok(f.publisher.states().some(({ failure }) => failure !== undefined));
    to.port = Number(connection.port);
    await until(async () => f.publisher.states().every(({ failure }) => failure === undefined));
  });

  test("letters of rows that were mended are closed, though that failed when the rows were published", async (t) => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database());
    const { publishLetters } = f.flow;
    const settle = publishLetters.settle.bind(publishLetters);
    let fails = false;
    t.mock.method(publishLetters, "settle", async (...given: Parameters<typeof settle>) => {
      if (fails) throw new Error("the log is away");
      await settle(...given);
    });
    const open = async () => (await publishLetters.openLetters("silver.accounts")).size;
    const bad = (id: number) => ({ id, name: "nul \0" });
    const failing = async () => f.publisher.states().some(({ failure }) => /the log is away/.test(failure ?? ""));
    f.publisher.start();
    await f.store("accounts", [bad(1), bad(2), bad(3)]);
    await until(async () => (await open()) === 3);
    await until(async () => f.publisher.states().every(({ versionsBehind }) => versionsBehind === 0));
    fails = true;
    await f.store("accounts", [{ id: 1, name: "mended" }]);
    await until(failing);
    // What comes meanwhile is settled with it.
    await f.store("accounts", [{ id: 2, name: "mended too" }]);
    await until(async () => (await f.rows("select id from silver.accounts")).length === 2);
    fails = false;
    await until(async () => (await open()) === 1);
    // Whoever takes over settles what was left, though it has heard what is published.
    fails = true;
    await f.store("accounts", [{ id: 3, name: "mended at last" }]);
    await until(failing);
    await f.publisher.stop();
    fails = false;
    f.publisher.told(await publishedRecords(f.client));
    f.publisher.start();
    await until(async () => (await open()) === 0);
  });

  test("when the files of the published version are gone, or somebody wrote to the table, all rows are written anew", async () => {
    await using dir = await temporaryFolder();
    await using f = await openServing(dir.path, await pg.database(), { retentionMs: 0 });
    await f.store("accounts", [
      { id: 1, name: "a" },
      { id: 2, name: "b" },
    ]);
    f.publisher.start();
    const upToDate = async () => f.publisher.states().every(({ versionsBehind }) => versionsBehind === 0);
    await until(upToDate);
    await f.client.query("delete from silver.accounts");
    await f.store("accounts", [{ id: 2, name: "c" }]);
    await until(upToDate);
    assert.deepEqual(await f.rows("select id, name from silver.accounts order by id"), [
      ["1", "a"],
      ["2", "c"],
    ]);
  });
});

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("it did not happen within 20 s");
}
