import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/state/embedded-postgres.ts";
import {
  fencedState,
  type Lease,
  type LeaseOptions,
  type Leases,
  openLeases,
  soleLeases,
  withToken,
} from "../../src/state/leases.ts";
import { openState, type State } from "../../src/state/state.ts";
import { ManualTicker } from "./manual-ticker.ts";

const TTL_MS = 10_000;

describe("leases", { concurrency: false }, () => {
  let dir: string;
  let server: EmbeddedPostgres;
  let state: State;
  let name: string;
  let number = 0;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-leases-"));
    server = await startEmbeddedPostgres({ folder: join(dir, "postgres") });
    state = await openState({ url: urlOf(server) });
    await state.query("create table done (what text)");
  });
  after(async () => {
    await state.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    name = `work-${++number}`;
  });

  const open = (holder: string, options: Partial<LeaseOptions> = {}, on = state): Promise<Leases> =>
    openLeases(on, { holder, ttlMs: TTL_MS, report: (error) => assert.fail(error as Error), ...options });

  test("of many who ask at once one has it, and the next one has a higher token", async (t) => {
    const all = await Promise.all(["a", "b", "c", "d"].map((holder) => open(holder)));
    t.after(() => Promise.all(all.map((leases) => leases.close())));
    for (let token = 1; token <= 5; token++) {
      const taken = (await Promise.all(all.map((leases) => leases.take(name)))).filter((lease) => lease !== undefined);
      assert.deepEqual(
        taken.map((lease) => [lease.token, lease.holds()]),
        [[token, true]],
      );
      await taken[0]!.release();
      assert.equal(taken[0]!.holds(), false);
    }
  });

  test("who waits has it as soon as it is given back, without waiting for its end", async (t) => {
    const [one, two] = [await open("one"), await open("two")];
    t.after(() => Promise.all([one.close(), two.close()]));
    const happened: string[] = [];
    const held = Promise.withResolvers<void>();
    const heldByTwo = Promise.withResolvers<void>();
    const work = (who: string, gained: () => void) => ({
      gained(lease: Lease) {
        happened.push(`${who} gains ${lease.token}`);
        gained();
      },
      async lost() {
        happened.push(`${who} stops`);
      },
    });
    const first = one.want(name, work("one", held.resolve));
    await held.promise;
    const second = two.want(name, work("two", heldByTwo.resolve));
    await first.end();
    await heldByTwo.promise;
    assert.deepEqual(happened, ["one gains 1", "one stops", "two gains 2"]);
    assert.equal(second.lease?.holds(), true);
    assert.equal(first.lease, undefined);
    await second.end();
    assert.equal(happened.at(-1), "two stops");
  });

  test("work that does not begin is reported, ended, and tried again under a new token", async (t) => {
    const reported: string[] = [];
    const leases = await open("one", { report: (error) => void reported.push((error as Error).message) });
    t.after(() => leases.close());
    const began = Promise.withResolvers<number>();
    const seen: string[] = [];
    leases.want(name, {
      gained({ token }) {
        seen.push(`gained ${token}`);
        if (token === 1) throw new Error("no such luck");
        began.resolve(token);
      },
      lost({ token }) {
        seen.push(`lost ${token}`);
      },
    });
    assert.equal(await began.promise, 2);
    assert.deepEqual([reported, seen], [["no such luck"], ["gained 1", "lost 1", "gained 2"]]);
  });

  test("a holder that was paused knows at once that its time is over, before any timer has told it", async (t) => {
    const ticker = new ManualTicker();
    const leases = await open("sleeper", { ticker });
    t.after(() => leases.close());
    const lease = (await leases.take(name))!;
    ticker.pass(TTL_MS * 0.8, { paused: true });
    assert.equal(lease.holds(), true);
    ticker.pass(TTL_MS * 0.15, { paused: true });
    assert.equal(lease.holds(), false);
  });

  test("a zombie's transaction fails, whatever its clock says; the new holder's goes through", async (t) => {
    const [zombie, next] = [await open("zombie", { ticker: new ManualTicker() }), await open("next")];
    t.after(() => Promise.all([zombie.close(), next.close()]));
    const old = (await zombie.take(name))!;
    await state.query("update millrace.leases set expires_at = now() - interval '1 s' where name = $1", [name]);
    const lease = (await next.take(name))!;
    assert.equal(old.holds(), true, "its clock stands still");
    const write = (one: Lease, what: string) =>
      state.transaction(async (session) => {
        await withToken(session, one);
        await session.query("insert into done values ($1)", [what]);
      });
    await write(lease, `${name} by the new one`);
    await assert.rejects(write(old, `${name} by the zombie`), { code: "LEASE_LOST", retryable: true });
    await assert.rejects(fencedState(state, old).query("insert into done values ($1)", [`${name} by the zombie`]), {
      code: "LEASE_LOST",
    });
    await fencedState(state, lease).query("insert into done values ($1)", [`${name} again`]);
    const rows = await state.query("select what from done where what like $1 order by what", [`${name} %`]);
    assert.deepEqual(rows, [{ what: `${name} again` }, { what: `${name} by the new one` }]);
  });

  test("nobody takes over while a holder's transaction is under way; a renewal does not wait for it", async (t) => {
    const ticker = new ManualTicker();
    const [one, two] = [await open("one", { ticker }), await open("two")];
    t.after(() => Promise.all([one.close(), two.close()]));
    const lease = (await one.take(name))!;
    let taking: Promise<Lease | undefined> | undefined;
    await state.transaction(async (session) => {
      await withToken(session, lease);
      await state.query("update millrace.leases set renewals = renewals + 1, expires_at = now() where name = $1", [
        name,
      ]);
      taking = two.take(name);
      await waitingForLock(state);
      await session.query("insert into done values ($1)", [name]);
    });
    assert.equal((await taking)?.token, 2);
    await assert.rejects(
      state.transaction((session) => withToken(session, lease)),
      { code: "LEASE_LOST" },
    );
  });

  test("a renewal keeps it, and one that finds another holder ends it at once", async (t) => {
    const ticker = new ManualTicker();
    const leases = await open("one", { ticker });
    t.after(() => leases.close());
    const lease = (await leases.take(name))!;
    for (let i = 1; i <= 5; i++) {
      ticker.pass(TTL_MS / 3 + 1);
      await until(async () => Number((await rowOf(state, name)).renewals) === i);
      await sleep(200); // the row has it a moment before the holder hears so, and plans the next
      assert.equal(lease.holds(), true);
    }
    await state.query("update millrace.leases set token = token + 1, holder = 'other' where name = $1", [name]);
    const lost = new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
    ticker.pass(TTL_MS / 3 + 1);
    await lost;
    assert.equal(lease.holds(), false);
    await lease.release();
    assert.equal((await rowOf(state, name)).holder, "other");
  });

  test("a server whose clock was set back does not keep a dead holder's lease for longer than its time", async (t) => {
    const dead = await open("dead", { ticker: new ManualTicker() });
    const ticker = new ManualTicker();
    const waiting = await open("waiting", { ticker });
    t.after(() => Promise.all([dead.close(), waiting.close()]));
    await dead.take(name);
    await state.query("update millrace.leases set expires_at = now() + interval '1 day' where name = $1", [name]);
    assert.equal(await waiting.take(name), undefined);
    ticker.pass(TTL_MS - 1);
    assert.equal(await waiting.take(name), undefined);
    ticker.pass(1);
    assert.equal((await waiting.take(name))?.token, 2);
  });

  test("one that is renewed is nobody else's, however long others look at it", async (t) => {
    const holder = await open("holder", { ticker: new ManualTicker() });
    const ticker = new ManualTicker();
    const waiting = await open("waiting", { ticker });
    t.after(() => Promise.all([holder.close(), waiting.close()]));
    await holder.take(name);
    for (let i = 0; i < 5; i++) {
      await state.query("update millrace.leases set renewals = renewals + 1 where name = $1", [name]);
      assert.equal(await waiting.take(name), undefined);
      ticker.pass(TTL_MS);
    }
    assert.equal((await waiting.take(name))?.token, 2, "and once it is not");
  });

  test("of a server that dies the holder lets go in time, and has it again when the server is back", async (t) => {
    const folder = join(dir, "mortal");
    let mortal = await startEmbeddedPostgres({ folder });
    const own = await openState({ url: urlOf(mortal) });
    const ticker = new ManualTicker();
    const reported: unknown[] = [];
    const leases = await open("one", { ticker, report: (error) => reported.push(error) }, own);
    t.after(async () => {
      await leases.close();
      await own.close();
      await mortal.stop();
    });
    let gained = Promise.withResolvers<number>();
    const lost = Promise.withResolvers<number>();
    leases.want("work", { gained: ({ token }) => gained.resolve(token), lost: ({ token }) => lost.resolve(token) });
    assert.equal(await gained.promise, 1);
    gained = Promise.withResolvers();
    process.kill(mortal.pid()!, "SIGKILL");
    await until(async () => (await own.query("select 1").catch(() => "away")) === "away");
    // Renewals fail; the work goes on for as long as nobody else can have it.
    for (let passed = 0; passed < TTL_MS * 0.85; passed += 500) ticker.pass(500);
    assert.equal(reported.length, 0);
    ticker.pass(TTL_MS * 0.1);
    assert.equal(await lost.promise, 1);
    await mortal.stop();
    mortal = await startEmbeddedPostgres({ folder });
    const beating = setInterval(() => ticker.pass(TTL_MS), 50);
    t.after(() => clearInterval(beating));
    assert.equal(await gained.promise, 2);
  });

  test("a process that works alone holds everything at once, each lease for one at a time", async () => {
    const leases = soleLeases((error) => assert.fail(error as Error));
    const lease = (await leases.take("flow"))!;
    assert.equal(lease.holds(), true);
    assert.equal(await leases.take("flow"), undefined);
    await state.transaction((session) => withToken(session, lease));
    const gained = Promise.withResolvers<void>();
    let stopped = 0;
    leases.want("other", { gained: () => gained.resolve(), lost: () => void stopped++ });
    await gained.promise;
    await leases.close();
    assert.deepEqual([stopped, lease.holds()], [1, false]);
  });
});

function urlOf({ connection: { host, port, user, password } }: EmbeddedPostgres): string {
  return `postgres://${user}:${password}@/postgres?host=${encodeURIComponent(host)}&port=${port}`;
}

async function rowOf(state: State, name: string): Promise<{ holder: string; token: number; renewals: string }> {
  const [row] = await state.query<{ holder: string; token: number; renewals: string }>(
    "select holder, token, renewals from millrace.leases where name = $1",
    [name],
  );
  return row!;
}

async function waitingForLock(state: State): Promise<void> {
  await until(async () => {
    const [row] = await state.query<{ waiting: number }>(
      "select count(*)::integer as waiting from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    );
    return row!.waiting > 0;
  });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_000; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("it did not come to pass within ten seconds");
}
