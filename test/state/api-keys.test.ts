import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ApiKeys, openApiKeys, SCOPES } from "../../src/state/api-keys.ts";
import { openState, type State } from "../../src/state/state.ts";
import { ManualTicker } from "./manual-ticker.ts";

describe("API keys", { concurrency: false }, () => {
  let dir: string;
  let state: State;
  let keys: ApiKeys;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-keys-"));
    state = await openState({ folder: join(dir, "postgres") });
    keys = await openApiKeys(state);
  });
  after(async () => {
    await keys.close();
    await state.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test("a new key is known at once, by name and scopes", async () => {
    const { key, token } = await keys.create({ name: "till 4", scopes: ["ingest", "ingest", "query"] });
    assert.match(token, /^mk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$/);
    const principal = keys.verify(token);
    assert.deepEqual([principal?.id, principal?.name], [key.id, "till 4"]);
    assert.deepEqual([...principal!.scopes], ["ingest", "query"]);
  });

  test("a wrong secret, another key's secret, a cut or a longer token and nonsense get nobody in", async () => {
    const one = (await keys.create({ name: "one", scopes: ["ingest"] })).token;
    const two = (await keys.create({ name: "two", scopes: ["ingest"] })).token;
    const id = one.slice(0, 16);
    for (const wrong of [`${id}${two.slice(16)}`, one.slice(0, -1), `${one}x`, "", "mk_", `${id}${"A".repeat(43)}`]) {
      assert.equal(keys.verify(wrong), undefined, wrong);
    }
  });

  test("the records hold no secret", async () => {
    const { key, token } = await keys.create({ name: "secret", scopes: ["admin"] });
    const [row] = await state.query<Record<string, unknown>>("select * from millrace.api_keys where id = $1", [key.id]);
    assert.equal(JSON.stringify(row).includes(token.slice(16)), false);
    assert.equal((row!.token_sha256 as Buffer).length, 32);
  });

  test("a revoked key is out at once, stays listed, and revoking it again is no error", async () => {
    const { key, token } = await keys.create({ name: "gone", scopes: ["query"] });
    const revoked = await keys.revoke(key.id);
    assert.equal(keys.verify(token), undefined);
    assert.deepEqual((await keys.revoke(key.id)).revokedAt, revoked.revokedAt);
    const listed = (await keys.list()).find(({ id }) => id === key.id);
    assert.ok(listed?.revokedAt instanceof Date);
    await sleep(50);
    assert.equal(keys.verify(token), undefined);
  });

  test("revoking a key that never was, and making one without a name or with a strange scope, say why", async () => {
    await assert.rejects(keys.revoke("nosuchkey000"), { code: "KEY_UNKNOWN" });
    await assert.rejects(keys.create({ name: " ", scopes: ["query"] }), { code: "KEY_INVALID" });
    await assert.rejects(keys.create({ name: "x", scopes: ["root"] }), { code: "KEY_INVALID", message: /"root"/ });
    await assert.rejects(keys.create({ name: "x", scopes: [] }), { code: "KEY_INVALID" });
  });

  test("another process follows changes within moments", async () => {
    const other = await openApiKeys(state);
    const { key, token } = await keys.create({ name: "shared", scopes: ["query"] });
    await until(() => other.verify(token) !== undefined);
    await other.revoke(key.id);
    await until(() => keys.verify(token) === undefined);
    await other.close();
  });

  test("the admin key's file is made once, private, and holds a key of every scope", async () => {
    const path = join(dir, "admin.key");
    const first = await openApiKeys(state, { adminKeyFile: path });
    const token = readFileSync(path, "utf8").trim();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual([...first.verify(token)!.scopes], [...SCOPES]);
    await first.close();
    const second = await openApiKeys(state, { adminKeyFile: path });
    assert.equal(readFileSync(path, "utf8").trim(), token);
    await second.close();
  });

  test("records that do not know the admin key learn it; one that was revoked stays out", async () => {
    const path = join(dir, "moved.key");
    const token = `mk_movedmoved00_${"m".repeat(43)}`;
    await writeFile(path, `${token}\n`);
    const moved = await openApiKeys(state, { adminKeyFile: path });
    assert.equal(moved.verify(token)?.name, "admin");
    await moved.revoke("movedmoved00");
    await moved.close();
    const again = await openApiKeys(state, { adminKeyFile: path });
    assert.equal(again.verify(token), undefined);
    await again.close();
  });

  test("an admin key file that holds no key is refused by its name", async () => {
    const path = join(dir, "broken.key");
    await writeFile(path, "hello\n");
    await assert.rejects(openApiKeys(state, { adminKeyFile: path }), { code: "KEY_INVALID", message: /broken\.key/ });
  });

  test("of processes that share the records one makes the first admin key, and none where there is one", async () => {
    await state.query("delete from millrace.api_keys");
    const paths = [1, 2, 3, 4].map((n) => join(dir, `shared-${n}.key`));
    const all = await Promise.all(paths.map((adminKeyFile) => openApiKeys(state, { adminKeyFile, shared: true })));
    const made = paths.filter((path) => existsSync(path));
    assert.equal(made.length, 1);
    const token = readFileSync(made[0]!, "utf8").trim();
    await until(() => all.every((one) => one.verify(token)?.scopes.has("admin") === true));
    assert.equal((await all[0]!.list()).length, 1);
    // The one that was made is lost with its folder: the records have an admin all the same, and somebody may hold its key.
    const late = await openApiKeys(state, { adminKeyFile: join(dir, "late.key"), shared: true });
    assert.equal(existsSync(join(dir, "late.key")), false);
    for (const one of [...all, late]) await one.close();
  });

  test("an admin key that is given is known to every process, and makes no file", async () => {
    const adminKey = `mk_givenbyhand1_${"A".repeat(43)}`;
    const adminKeyFile = join(dir, "given.key");
    const all = await Promise.all([1, 2, 3].map(() => openApiKeys(state, { adminKey, adminKeyFile, shared: true })));
    await until(() => all.every((one) => one.verify(adminKey)?.scopes.has("admin") === true));
    assert.equal(existsSync(adminKeyFile), false);
    await all[0]!.revoke("givenbyhand1");
    const again = await openApiKeys(state, { adminKey });
    assert.equal(again.verify(adminKey), undefined, "revoked is revoked");
    for (const one of [...all, again]) await one.close();
    await assert.rejects(openApiKeys(state, { adminKey: "secret" }), { code: "KEY_INVALID", message: /adminKey/ });
    const other = `mk_givenbyhand1_${"B".repeat(43)}`;
    await assert.rejects(openApiKeys(state, { adminKey: other }), {
      code: "KEY_INVALID",
      message: /id of another key/,
    });
  });

  test("keys hold for as long as they may without having been read again, and then nobody is let in or called a stranger", async () => {
    const ticker = new ManualTicker();
    const { token } = await keys.create({ name: "cached", scopes: ["ingest"] });
    let away = false;
    const flaky: State = {
      ...{ connection: state.connection, bi: undefined, close: async () => undefined },
      query: (sql, params) => (away ? Promise.reject(new Error("away")) : state.query(sql, params)),
      transaction: (work) => state.transaction(work),
      listen: (channel, handler) => state.listen(channel, handler),
    };
    const cached = await openApiKeys(flaky, { cacheMs: 3_600_000, ticker });
    assert.equal(cached.verify(token)?.name, "cached");
    away = true;
    ticker.pass(3_600_000);
    assert.equal(cached.verify(token)?.name, "cached");
    ticker.pass(1);
    for (const asked of [token, "mk_nonsense"])
      assert.throws(() => cached.verify(asked), { code: "STATE_UNAVAILABLE", retryable: true, message: /keyCacheMs/ });
    away = false;
    ticker.pass(60_000);
    let seen = false;
    await until(() => {
      try {
        seen = cached.verify(token) !== undefined;
      } catch {
        seen = false;
      }
      return seen;
    });
    await cached.close();
  });

  test("keys that hold for less than the time between two looks are read often enough: with healthy records nobody is refused", async () => {
    const ticker = new ManualTicker();
    const { token } = await keys.create({ name: "short", scopes: ["ingest"] });
    let underWay = 0;
    const counted: State = {
      ...{ connection: state.connection, bi: undefined, close: async () => undefined },
      query: async <Row>(sql: string, params?: readonly unknown[]) => {
        underWay += 1;
        return state.query<Row>(sql, params).finally(() => {
          underWay -= 1;
        });
      },
      transaction: (work) => state.transaction(work),
      listen: async () => async () => undefined,
    };
    const short = await openApiKeys(counted, { cacheMs: 30_000, ticker });
    for (let second = 5; second <= 150; second += 5) {
      ticker.pass(5_000);
      assert.equal(short.problem(), undefined, `after ${second} s`);
      await until(() => underWay === 0);
      await sleep(0); // what was read is known
      assert.equal(short.verify(token)?.name, "short");
    }
    await short.close();
  });

  test("several processes derive the same secrets of access keys from the one that is given", async () => {
    const awsSecret = "s".repeat(43);
    const [one, two] = await Promise.all([1, 2].map(() => openApiKeys(state, { shared: true, awsSecret })));
    const { accessKey } = await one!.create({ name: "kinesis", scopes: ["ingest"], aws: true });
    await until(() => two!.accessKey(accessKey!.accessKeyId) !== undefined);
    assert.equal(two!.accessKey(accessKey!.accessKeyId)?.secretAccessKey, accessKey!.secretAccessKey);
    const without = await openApiKeys(state, { shared: true, awsSecretFile: join(dir, "own.secret") });
    await assert.rejects(without.create({ name: "x", scopes: ["ingest"], aws: true }), { message: /awsSecret/ });
    for (const part of [one!, two!, without]) await part.close();
    await assert.rejects(openApiKeys(state, { awsSecret: "short" }), { code: "KEY_INVALID", message: /awsSecret/ });
  });

  test("verifying is fast enough for every request", async () => {
    const { token } = await keys.create({ name: "fast", scopes: ["ingest"] });
    const started = performance.now();
    for (let i = 0; i < 50_000; i += 1) keys.verify(token);
    const perCallUs = ((performance.now() - started) * 1000) / 50_000;
    console.log(`verify: ${perCallUs.toFixed(1)} µs`);
    assert.ok(perCallUs < 50, `${perCallUs} µs`);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (const started = performance.now(); !condition(); await sleep(5)) {
    assert.ok(performance.now() - started < 5_000, "it did not happen within 5 s");
  }
}
