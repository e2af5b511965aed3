import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { FaultProxy } from "../../chaos/fault-proxy.ts";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import type { TableDetails } from "../../src/serve/catalogue.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { millrace, RunningPlatform } from "../platform/running-platform.ts";
import { makeBucket, removeBucket } from "./s3-bucket.ts";

const order = (id: number, more: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  country: "DE",
  amount: "3.00",
  placed_at: "2026-01-05T10:00:00Z",
  ...more,
});
const orders = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => order(from + i));

const DAILY = "select day, country, orders, revenue from gold.daily order by day desc, country";
const COUNTS = "select count(*), count(distinct order_id) from silver.orders";

type Bucket = Awaited<ReturnType<typeof makeBucket>>;

/** The four lines of configuration that put the tables into a bucket. */
function inBucket({ bucket, server }: Bucket, endpoint = server.endpoint): Record<string, string> {
  return {
    MILLRACE_STORE_URL: `s3://${bucket}/lake`,
    MILLRACE_S3_ENDPOINT: endpoint,
    MILLRACE_S3_ACCESS_KEY_ID: server.accessKeyId,
    MILLRACE_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
    MILLRACE_BI_PORT: "0",
    MILLRACE_FLUSH_INTERVAL_MS: "300",
  };
}

const start = (dir: string, env: Record<string, string>, project = "test/engines/projects/orders") =>
  RunningPlatform.start(project, dir, [], env);

async function proxied(t: TestContext, made: Bucket, seed: number): Promise<FaultProxy> {
  const { hostname: host, port } = new URL(made.server.endpoint);
  const proxy = await FaultProxy.start({ target: { host, port: Number(port) }, protocol: "http", seed });
  t.after(() => proxy.close());
  return proxy;
}

async function keys({ client, bucket }: Bucket): Promise<string[]> {
  const found: string[] = [];
  for (let token: string | undefined; ; ) {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket: bucket, ...(token && { ContinuationToken: token }) }),
    );
    found.push(...(page.Contents ?? []).map(({ Key = "" }) => Key));
    token = page.NextContinuationToken;
    if (!page.IsTruncated) return found;
  }
}

test("all tables are in the bucket, and what runs on them does: after a kill, without the copies, and after a stop", async (t) => {
  const made = await makeBucket(t);
  const env = inBucket(made);
  await using dir = await temporaryFolder();
  {
    await using platform = await start(dir.path, env);
    const { status, body } = await platform.post("orders", [...orders(0, 50), "{broken", order(9, { amount: "many" })]);
    assert.equal(status, 202);
    assert.equal(body.accepted, 50);
    assert.deepEqual(await platform.sql(DAILY), [["2026-01-05", "DE", 50, "150.00"]]);
    await stored(platform, "silver.orders", 50);
    await stored(platform, "system.dead_letters", 2);
    await platform.stop("SIGKILL");
  }
  await rm(join(dir.path, "cache"), { recursive: true });
  {
    await using platform = await start(dir.path, env);
    assert.deepEqual(await platform.sql(COUNTS), [[50, 50]]);
    assert.deepEqual(await platform.sql("select code from system.dead_letters order by code"), [
      ["EVENT_INVALID"],
      ["EVENT_MALFORMED_JSON"],
    ]);
    await platform.post("orders", [...orders(40, 60), order(60, { placed_at: "2026-01-04T00:00:00Z" })]);
    const expected = [
      ["2026-01-05", "DE", 60, "180.00"],
      ["2026-01-04", "DE", 1, "3.00"],
    ];
    assert.deepEqual(await platform.sql(DAILY), expected);
    await stored(platform, "silver.orders", 61);
    const { version = 0, history, files } = (await platform.get<TableDetails>("/v1/tables/silver.orders")).body;
    assert.ok(history.length >= 3 && files.length > 0);
    const before = await platform.sql(`select count(*) from silver.orders at (version => ${history.at(-2)?.version})`);
    assert.ok(Number(before[0]?.[0]) <= 50 && version > 1, String(before));
    const ledger = await ledgerOf(platform);
    assert.ok(
      ledger.every(({ balanced }) => balanced),
      JSON.stringify(ledger.filter(({ balanced }) => !balanced)),
    );
    const refused = await platform.command("backup", join(dir.path, "..", "backup-of-nothing"));
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, new RegExp(`BACKUP_TARGET_REFUSED.*s3://${made.bucket}/lake`));
    const replayed = await platform.command("replay", "silver.orders");
    assert.equal(replayed.code, 0, replayed.stderr);
    assert.deepEqual(await platform.sql(COUNTS), [[61, 61]]);
    assert.equal(await platform.stop(), 0);
  }
  assert.ok(!(await readdir(dir.path)).includes("lake"), "nothing of the lake is in the data folder");
  const names = await keys(made);
  for (const table of ["bronze/orders", "silver/orders", "gold/daily", "system/dead_letters"]) {
    assert.ok(
      names.some((name) => name.startsWith(`lake/${table}/_delta_log/`)),
      table,
    );
    assert.ok(
      names.some((name) => name.startsWith(`lake/${table}/`) && name.endsWith(".parquet")),
      table,
    );
  }
  assert.deepEqual(
    names.filter((name) => name.includes("_millrace/probe")),
    [],
  );
});

test("a data folder whose tables are in a bucket starts with that bucket only", async (t) => {
  const made = await makeBucket(t);
  await using dir = await temporaryFolder();
  await (await start(dir.path, inBucket(made))).stop();
  const refused = async (env: Record<string, string>, message: RegExp) => {
    await assert.rejects(start(dir.path, env), (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
  };
  await refused({ MILLRACE_BI_PORT: "0" }, new RegExp(`STORE_ELSEWHERE.*s3://${made.bucket}/lake`));
  const { bucket } = await makeBucket(t);
  await refused(inBucket({ ...made, bucket }), /STORE_ELSEWHERE/);
  await using local = await temporaryFolder();
  await (await start(local.path, { MILLRACE_BI_PORT: "0" })).stop();
  await assert.rejects(start(local.path, inBucket(made)), /STORE_ELSEWHERE/);
});

test("what the bucket refuses ends the start with its name", async (t) => {
  const made = await makeBucket(t);
  await using dir = await temporaryFolder();
  const env = { ...inBucket(made), MILLRACE_STORE_TIMEOUT_MS: "1000" };
  for (const [wrong, message] of [
    [{ MILLRACE_S3_SECRET_ACCESS_KEY: "wrong" }, /STORE_CREDENTIALS.*s3SecretAccessKey/s],
    [{ MILLRACE_STORE_URL: "s3://no-such-bucket-of-ours" }, /STORE_BUCKET_MISSING.*no-such-bucket-of-ours/s],
    [{ MILLRACE_S3_ENDPOINT: "http://127.0.0.1:9" }, /STORE_UNAVAILABLE.*s3Endpoint/s],
    [{ MILLRACE_S3_ENCRYPTION: "kms", MILLRACE_S3_KMS_KEY: "nobody's" }, /STORE_ENCRYPTION.*s3KmsKey/s],
    [{ MILLRACE_S3_KMS_KEY: "engines" }, /SETTING_INVALID.*s3Encryption/s],
  ] as const) {
    await assert.rejects(start(dir.path, { ...env, ...wrong }), message);
  }
});

test("while the bucket is away events are taken and answered, /readyz says why, and all of them are stored once it is back", async (t) => {
  const made = await makeBucket(t);
  const proxy = await proxied(t, made, 11);
  await using dir = await temporaryFolder();
  await using platform = await start(dir.path, { ...inBucket(made, proxy.url), MILLRACE_STORE_TIMEOUT_MS: "2000" });
  await platform.post("orders", orders(0, 20));
  await stored(platform, "silver.orders", 20);
  assert.deepEqual(await platform.sql(COUNTS), [[20, 20]]);
  proxy.down(true);
  for (let i = 20; i < 60; i += 10) {
    assert.equal((await platform.post("orders", orders(i, i + 10))).status, 202);
    assert.deepEqual(await platform.sql(COUNTS), [[i + 10, i + 10]], "the copies and the log answer");
  }
  await until(async () => {
    const { status, body } = await platform.get<{ checks: Record<string, { ok: boolean; message?: string }> }>(
      "/readyz",
    );
    return status === 503 && /s3:\/\//.test(body.checks["store"]?.message ?? "") && body.checks["flow"]?.ok === false;
  });
  assert.equal((await platform.get("/healthz")).status, 200);
  await platform.post("orders", orders(60, 70));
  proxy.down(false);
  await until(async () => (await platform.get("/readyz")).status === 200);
  await stored(platform, "silver.orders", 70);
  assert.deepEqual(await platform.sql(COUNTS), [[70, 70]]);
});

test("a bucket that vanishes while the platform runs is named, and events are taken all the same", async (t) => {
  const made = await makeBucket(t);
  await using dir = await temporaryFolder();
  await using platform = await start(dir.path, { ...inBucket(made), MILLRACE_STORE_TIMEOUT_MS: "2000" });
  await platform.post("orders", orders(0, 20));
  await stored(platform, "silver.orders", 20);
  await removeBucket(made.client, made.bucket);
  assert.equal((await platform.post("orders", orders(20, 30))).status, 202);
  await until(async () => {
    const { status, body } = await platform.get<{ checks: Record<string, { message?: string }> }>("/readyz");
    return status === 503 && new RegExp(`no bucket "${made.bucket}"`).test(body.checks["store"]?.message ?? "");
  });
  assert.deepEqual(await platform.sql(COUNTS), [[30, 30]]);
});

test("through a network that fails all the time every event is stored once, also over kills", async (t) => {
  const made = await makeBucket(t);
  const seed = Number(process.env["SEED"] ?? 1);
  const proxy = await proxied(t, made, seed);
  await using dir = await temporaryFolder();
  const env = { ...inBucket(made, proxy.url), MILLRACE_STORE_TIMEOUT_MS: "10000" };
  let sent = 0;
  for (let life = 0; life < 3; life++) {
    proxy.set({});
    await using platform = await start(dir.path, env);
    proxy.set({ "slow-down": 0.05, failed: 0.08, lost: 0.08, "cut-request": 0.03, "cut-answer": 0.05, slow: 0.02 });
    for (let i = 0; i < 15; i++) {
      const { status } = await platform.post("orders", orders(sent, sent + 40));
      assert.equal(status, 202);
      sent += 40;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await platform.stop(life === 2 ? "SIGTERM" : "SIGKILL");
  }
  proxy.set({});
  assert.ok((proxy.counts["lost"] ?? 0) > 3, JSON.stringify(proxy.counts));
  await using platform = await start(dir.path, env);
  await stored(platform, "silver.orders", sent);
  assert.deepEqual(await platform.sql(COUNTS), [[sent, sent]], `seed ${seed}, ${JSON.stringify(proxy.counts)}`);
  assert.deepEqual(await platform.sql("select count(*), count(distinct _offset) from bronze.orders"), [[sent, sent]]);
  assert.deepEqual(await platform.sql(DAILY), [["2026-01-05", "DE", sent, (sent * 3).toFixed(2)]]);
});

for (const example of ["securecart", "fleet", "timesheets"]) {
  test(`the example ${example} runs on a bucket, and its ledger balances`, async (t) => {
    const made = await makeBucket(t);
    await using dir = await temporaryFolder();
    const env = inBucket(made);
    const args = ["start", `examples/${example}`, "--data", dir.path, "--port", "0", "--simulate", "--for", "12s"];
    const ran = await millrace(args, env);
    assert.equal(ran.code, 0, ran.stderr);
    await rm(join(dir.path, "cache"), { recursive: true });
    await using platform = await start(dir.path, env, `examples/${example}`);
    const ledger = await ledgerOf(platform);
    assert.ok(ledger.length > 0);
    assert.deepEqual(
      ledger.filter(({ balanced }) => !balanced),
      [],
    );
    const events = ledger.reduce((sum, { accepted }) => sum + accepted, 0);
    assert.ok(events > 500, `${events} events`);
    assert.ok((await keys(made)).length > 50);
  });
}

async function ledgerOf(platform: RunningPlatform): Promise<LedgerAnswer["hops"]> {
  return (await platform.get<LedgerAnswer>("/v1/ledger")).body.hops;
}

/** Waits until so many rows of a table are in its files. */
async function stored(platform: RunningPlatform, table: string, rows: number): Promise<void> {
  await until(async () => {
    const { body } = await platform.get<TableDetails>(`/v1/tables/${table}`);
    return body.rows === rows;
  }, `${table} has ${rows} rows`);
}

async function until(condition: () => Promise<boolean>, what = "it"): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`${what} did not come about within 30 s`);
}
