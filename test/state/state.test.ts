import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { MillraceError } from "../../src/errors.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import { MIGRATIONS } from "../../src/state/migrations/index.ts";
import { openState } from "../../src/state/state.ts";

describe("the platform's records", { concurrency: false }, () => {
  let dir: string;
  let server: EmbeddedPostgres;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-state-"));
    server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
  });
  after(async () => {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** A database of its own on the running server, by URL as a user would give one. */
  async function freshUrl(name: string): Promise<string> {
    const admin = new pg.Client(server.connection);
    await admin.connect();
    await admin.query(`create database ${name}`);
    await admin.end();
    const { host, port, user, password } = server.connection;
    return `postgres://${user}:${password}@/${name}?host=${encodeURIComponent(host)}&port=${port}`;
  }

  test("opening by URL creates the schema once, and opening again changes nothing", async () => {
    const url = await freshUrl("once");
    for (let i = 0; i < 2; i += 1) {
      const state = await openState({ url });
      const rows = await state.query<{ version: number; name: string }>(
        "select version, name from millrace.schema_version order by version",
      );
      assert.deepEqual(
        rows,
        MIGRATIONS.map(({ version, name }) => ({ version, name })),
      );
      await state.close();
    }
  });

  test("the steps of the schema count up from 1 without gaps", () => {
    assert.deepEqual(
      MIGRATIONS.map(({ version }) => version),
      MIGRATIONS.map((_, i) => i + 1),
    );
  });

  test("two processes that open at once take turns, and each step is applied once", async () => {
    const url = await freshUrl("turns");
    const slow = [{ version: 1, name: "slow", sql: "create table millrace.t (n int); select pg_sleep(0.1)" }];
    const states = await Promise.all([1, 2, 3].map(() => openState({ url, migrations: slow })));
    const rows = await states[0]!.query("select version from millrace.schema_version");
    assert.deepEqual(rows, [{ version: 1 }]);
    for (const state of states) await state.close();
  });

  test("a newer schema is refused with both versions, and nothing is changed", async () => {
    const url = await freshUrl("newer");
    const future = [
      ...MIGRATIONS,
      { version: MIGRATIONS.length + 1, name: "of a later release", sql: "create table millrace.later (n int)" },
    ];
    await (await openState({ url, migrations: future })).close();
    await assert.rejects(openState({ url }), (error) => {
      assert.ok(error instanceof MillraceError);
      assert.equal(error.code, "STATE_NEWER");
      assert.match(error.message, new RegExp(`version ${future.length}\\b.*up to ${MIGRATIONS.length}\\b`));
      return true;
    });
  });

  test("a step that fails leaves no trace of itself or of the steps before it", async () => {
    const url = await freshUrl("failing");
    const steps = [
      { version: 1, name: "fine", sql: "create table millrace.fine (n int)" },
      { version: 2, name: "broken", sql: "create table millrace.broken (n nonsense)" },
    ];
    await assert.rejects(openState({ url, migrations: steps }), {
      code: "STATE_MIGRATION_FAILED",
      message: /version 2 \(broken\): type "nonsense" does not exist/,
    });
    const client = new pg.Client(url);
    await client.connect();
    assert.deepEqual((await client.query("select to_regclass('millrace.fine') as fine")).rows, [{ fine: null }]);
    await client.end();
  });

  test("a transaction is kept whole or not at all", async () => {
    const state = await openState({ url: await freshUrl("whole") });
    await state.query("create table t (n int)");
    await state.transaction(async (session) => {
      await session.query("insert into t values (1)");
      await session.query("insert into t values (2)");
    });
    const failed = state.transaction(async (session) => {
      await session.query("insert into t values (3)");
      throw new Error("changed my mind");
    });
    await assert.rejects(failed, /changed my mind/);
    assert.deepEqual(await state.query("select n from t order by n"), [{ n: 1 }, { n: 2 }]);
    await state.close();
  });

  test("a connection that breaks between two queries of a transaction fails that transaction and nothing else", async () => {
    const state = await openState({ url: await freshUrl("broken") });
    await assert.rejects(
      state.transaction(async (session) => {
        const [own] = await session.query<{ pid: number }>("select pg_backend_pid() as pid");
        await state.query("select pg_terminate_backend($1, 5000)", [own?.pid]);
        await new Promise((resolve) => setTimeout(resolve, 50)); // the end of the connection is told while nobody asks
        await session.query("select 1");
      }),
      (error: MillraceError) => error.code === "STATE_UNAVAILABLE",
    );
    assert.deepEqual(await state.query("select 1 as one"), [{ one: 1 }]);
    await state.close();
  });

  test("a server that is not there is STATE_UNAVAILABLE, an error of SQL is not", async () => {
    await assert.rejects(openState({ url: "postgres://nobody:x@127.0.0.1:1/none" }), {
      code: "STATE_UNAVAILABLE",
      message: /ECONNREFUSED/,
    });
    const state = await openState({ url: await freshUrl("errors") });
    await assert.rejects(state.query("select nonsense"), { code: "42703" });
    await state.close();
    await assert.rejects(state.query("select 1"), { code: "STATE_UNAVAILABLE" });
  });

  test("what a server says of itself is STATE_UNAVAILABLE as well: read-only after a failover, a deadlock, a lock or time that ran out, its disk", async () => {
    const state = await openState({ url: await freshUrl("moods") });
    const raise = (code: string) =>
      state.query(`do $$ begin raise exception 'the server says so' using errcode = '${code}'; end $$`);
    for (const code of ["25006", "40001", "40P01", "55P03", "57014", "57P01", "53100", "58000", "58030"])
      await assert.rejects(raise(code), { code: "STATE_UNAVAILABLE", retryable: true }, code);
    for (const code of ["23505", "22P02", "25P02", "40002", "42501", "55006"])
      await assert.rejects(raise(code), { code });
    await assert.rejects(
      state.transaction(async (session) => {
        await session.query("set transaction read only");
        await session.query("create table t (n int)");
      }),
      { code: "STATE_UNAVAILABLE", message: /read-only/ },
    );
    assert.deepEqual(await state.query("select 1 as one"), [{ one: 1 }]);
    await state.close();
  });

  test("listeners hear every notification, and learn of an interruption when they are back", async () => {
    const state = await openState({ url: await freshUrl("listening") });
    const heard: (string | undefined)[] = [];
    let wake = () => {};
    const stop = await state.listen("news", (payload) => {
      heard.push(payload);
      wake();
    });
    const until = async (count: number) => {
      while (heard.length < count) await new Promise<void>((done) => (wake = done));
    };
    await state.query("select pg_notify('news', 'first')");
    await until(1);
    await state.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' and datname = 'listening'",
    );
    await until(2);
    await state.query("select pg_notify('news', 'second')");
    await until(3);
    assert.deepEqual(heard, ["first", undefined, "second"]);
    await stop();
    await state.close();
  });

  test("a network that drops packets is told as what it is, is no hindrance once it is whole again, and none to an end", async (t) => {
    await freshUrl("dropping");
    const { host, port: number, user, password } = server.connection;
    let drops = false;
    const sockets = new Set<Socket>();
    const relay = createServer((client) => {
      const onward = connect(`${host}/.s.PGSQL.${number}`);
      for (const [from, to] of [[client, onward] as const, [onward, client] as const]) {
        sockets.add(from.on("error", () => undefined));
        from.on("data", (bytes) => drops || to.write(bytes));
        from.on("close", () => drops || to.destroy());
      }
    }).listen(0, "127.0.0.1");
    await once(relay, "listening");
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      relay.close();
    });
    const { port } = relay.address() as AddressInfo;
    const state = await openState({
      url: `postgres://${user}:${password}@127.0.0.1:${port}/dropping`,
      answerWithinMs: 500,
    });
    await state.listen("news", () => undefined);
    await state.query("create table t (n int)");
    drops = true;
    const unavailable = { code: "STATE_UNAVAILABLE" };
    const inTransaction = state.transaction((session) => session.query("insert into t values (1)"));
    await assert.rejects(inTransaction, unavailable);
    await assert.rejects(state.query("select 1"), unavailable);
    drops = false;
    assert.deepEqual(await state.query("select n from t"), []);
    drops = true;
    await state.close();
  });

  test("records in the embedded server outlive the death of the server", async () => {
    const state = await openState({ folder: join(dir, "embedded") });
    await state.query("create table t as select 1 as n");
    const [row] = await state.query<{ pid: number }>(
      "select pg_backend_pid() as pid, split_part(pg_read_file('postmaster.pid'), e'\\n', 1)::int as server",
    );
    process.kill((row as unknown as { server: number }).server, "SIGKILL");
    for (const started = performance.now(); ; ) {
      try {
        assert.deepEqual(await state.query("select n from t"), [{ n: 1 }]);
        break;
      } catch (error) {
        assert.equal((error as MillraceError).code, "STATE_UNAVAILABLE");
        assert.ok(performance.now() - started < 10_000, "it did not come back");
      }
    }
    await state.close();
  });
});
