import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { MillraceError } from "../../src/errors.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { CATALOGUE_QUERIES } from "./catalogue-queries.ts";
import { openServing, type TestServer, testServer } from "./open-serving.ts";

const isCode = (code: string) => (error: unknown) => {
  assert.ok(error instanceof MillraceError, String(error));
  assert.equal(error.code, code);
  return true;
};

describe("users of BI tools", { concurrency: false }, () => {
  let server: TestServer;
  let serving: Awaited<ReturnType<typeof openServing>>;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  before(async () => {
    server = await testServer();
    folder = await temporaryFolder();
    serving = await openServing(folder.path, { ...server.server.connection, database: "millrace" });
    await serving.store("sales", [{ day: "2026-01-01", country: "DE", amount: "1.50" }], ["gold.daily", "gold.totals"]);
    await serving.publisher.again("gold.daily");
  });
  after(async () => {
    await serving[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const connect = async (user: string, password: string, more: pg.ClientConfig = {}) => {
    const { bi } = server.server;
    assert.ok(bi);
    const client = new pg.Client({ host: bi.host, port: bi.port, database: bi.database, user, password, ...more });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  };

  test("a user reads what is published, by its bare name, over the network, and nothing else", async () => {
    const { password } = await serving.publisher.createUser("tableau");
    const client = await connect("tableau", password);
    try {
      assert.deepEqual((await client.query("select country, revenue from daily")).rows, [
        { country: "DE", revenue: "1.50" },
      ]);
      assert.deepEqual((await client.query("show statement_timeout")).rows, [{ statement_timeout: "5min" }]);
      await assert.rejects(client.query("create table gold.mine (n int)"), /read-only transaction/);
      // A user may say otherwise, and has no right all the same.
      await client.query("set default_transaction_read_only = off");
      for (const [statement, refused] of [
        ["select * from millrace_serving.publications", /permission denied for schema millrace_serving/],
        ["delete from gold.daily", /permission denied for table daily/],
        ["create table gold.mine (n int)", /permission denied for schema gold/],
        ["create temporary table mine (n int)", /permission denied to create temporary tables/],
        ["create schema mine", /permission denied for database millrace/],
        ["select rolpassword from pg_authid", /permission denied for table pg_authid/],
        ["select pg_read_file('/etc/passwd')", /permission denied for function pg_read_file/],
      ] as const) {
        await assert.rejects(client.query(statement), refused, statement);
      }
      // What is published later is there for it too.
      await serving.publisher.again("gold.totals");
      assert.deepEqual((await client.query("select country from reports.totals")).rows, [{ country: "DE" }]);
    } finally {
      await client.end();
    }
    const again = await connect("tableau", password);
    assert.deepEqual((await again.query("select country from totals")).rows, [{ country: "DE" }]);
    await again.end();
  });

  test("nobody else comes in over the network: not the platform's own user, no other database, no wrong password", async () => {
    const { password } = await serving.publisher.createUser("looker");
    const own = server.server.connection;
    await assert.rejects(connect("looker", "wrong"), /password authentication failed/);
    await assert.rejects(connect("looker", password, { database: "postgres" }), /no pg_hba.conf entry/);
    await assert.rejects(connect(own.user, own.password), /pg_hba.conf rejects connection/);
    const rows = await serving.rows(
      "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'looker'",
    );
    assert.deepEqual(rows, [[true]]);
    const said = readFileSync(join(server.folder, "server.log"), "utf8");
    assert.ok(!said.includes(password), "the password is in no log");
  });

  test("a revoked user is out at once, its name is free, and a name that is taken or no name is refused", async () => {
    const { password } = await serving.publisher.createUser("metabase");
    const client = await connect("metabase", password);
    const ended = new Promise((resolve) => client.once("end", resolve));
    await assert.rejects(serving.publisher.createUser("metabase"), isCode("BI_USER_TAKEN"));
    assert.deepEqual(
      (await serving.publisher.listUsers()).find(({ name }) => name === "metabase"),
      {
        name: "metabase",
        connections: 1,
      },
    );
    await serving.publisher.revokeUser("metabase");
    await ended;
    await assert.rejects(connect("metabase", password), /no pg_hba.conf entry/);
    await assert.rejects(serving.publisher.revokeUser("metabas"), isCode("BI_USER_UNKNOWN"));
    await assert.rejects(serving.publisher.revokeUser("millrace"), isCode("BI_USER_UNKNOWN"));
    for (const name of ["", "Power BI", "pg_read_all_data", "millrace", 'x"; drop role tableau; --', "a".repeat(64)])
      await assert.rejects(serving.publisher.createUser(name), isCode("BI_USER_INVALID"));
    await serving.publisher.createUser("metabase");
  });

  test("the catalogue queries of BI tools work with a user's rights, and find what is published", async () => {
    const { password } = await serving.publisher.createUser("tools");
    const client = await connect("tools", password);
    try {
      for (const { tool, what, sql, finds } of CATALOGUE_QUERIES) {
        const { rows } = await client.query(sql);
        const text = JSON.stringify(rows);
        assert.ok(finds.test(text), `${tool}, ${what}: ${text.slice(0, 500)}`);
        assert.ok(!/api_keys|publications/.test(text), `${tool}, ${what} shows records of the platform`);
      }
    } finally {
      await client.end();
    }
  });
});
