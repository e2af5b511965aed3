import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { millrace, RunningPlatform } from "../platform/running-platform.ts";

const PROJECT = "chaos/project";
/** Small and often, so that there are many files and the log has several segments. */
const FLAGS = ["--flush-interval", "150ms", "--refresh-debounce", "50ms", "--segment", "8KiB", "--log-level", "error"];

let dir: string;
let data: string;
let backups: string;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-backup-"));
  data = join(dir, "data");
  backups = join(dir, "backups");
});
after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }));

const order = (n: number) => ({
  ...{ order_id: `o${n}`, lane: "l", n, customer: n % 10 === 0 ? "test" : "c1", country: "DE" },
  ...{ amount: "10.00", placed_at: "2026-01-02T10:00:00Z", note: "Grüße \u2028 ☃" },
});

async function sendOrders(platform: RunningPlatform, from: number, count: number): Promise<void> {
  const { status } = await platform.post(
    "orders",
    Array.from({ length: count }, (_, i) => order(from + i)),
  );
  assert.equal(status, 202);
}

test("a backup made under traffic brings back every event acknowledged before it, once, after the original was killed", async () => {
  const platform = await RunningPlatform.start(PROJECT, data, FLAGS);
  let next = 0;
  let acknowledged = 0;
  let going = true;
  const traffic = (async () => {
    await platform.post("rates", [{ rate_id: "DE", country: "DE", rate: "1.000" }]);
    while (going) {
      await sendOrders(platform, next, 20);
      next += 20;
      acknowledged = next;
      await platform.post("stock_levels", [{ change_id: `s${next}`, lane: "l", n: next, sku: "a", level: next }]);
      await platform.post("orders", [order(0), { order_id: "bad", amount: "much" }]);
    }
  })();
  const key = await platform.command("keys", "create", "--name", "till", "--scopes", "query", "--json");
  const { token } = JSON.parse(key.stdout) as { token: string };
  while (acknowledged < 100) await sleep(20);

  const first = await platform.command("backup", backups, "--json");
  assert.equal(first.code, 0, first.stderr);
  const had = acknowledged;
  while (acknowledged < had + 100) await sleep(20);
  const before = acknowledged;
  const second = await platform.command("backup", backups, "--json");
  assert.equal(second.code, 0, second.stderr);
  const report = JSON.parse(second.stdout) as { backup: string; linkedFiles: number; files: number };
  assert.ok(report.linkedFiles > 0 && report.linkedFiles < report.files, second.stdout);
  const after = acknowledged;
  while (acknowledged < after + 40) await sleep(20); // it goes on
  going = false;
  await traffic;
  await platform.stop("SIGKILL");

  const restored = join(dir, "restored");
  const done = await millrace(["restore", backups, "--data", restored, "--json"]);
  assert.equal(done.code, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).backup, report.backup);

  await using copy = await RunningPlatform.start(PROJECT, restored, FLAGS);
  assert.equal(copy.key, platform.key);
  const [[there] = []] = (await copy.sql(
    `select count(distinct order_id)::int from orders where n < ${before}`,
  )) as number[][];
  assert.equal(there, before);
  for (const sql of [
    "select count(*)::int, count(distinct _id)::int from bronze.orders where _duplicate_of is null",
    "select count(*)::int, count(distinct order_id)::int from orders",
  ]) {
    const [[rows, ids] = []] = (await copy.sql(sql)) as number[][];
    assert.equal(rows, ids, sql);
    assert.ok(rows! >= before, `${sql}: ${rows} of ${before}`);
  }
  const [[all, enriched, totals] = []] = (await copy.sql(
    `select (select count(*) from orders where customer <> 'test')::int, (select count(*) from silver.enriched)::int,
            (select orders from gold.totals)::int`,
  )) as number[][];
  assert.deepEqual([enriched, totals], [all, all]);
  const note = (await copy.sql("select distinct note from orders"))[0]?.[0];
  assert.equal(note, "Grüße \u2028 ☃");

  // Keys work, and the same events again are duplicates.
  const asked = await fetch(`${copy.url}/v1/status`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(asked.status, 200);
  await sendOrders(copy, 0, before);
  const [[again] = []] = (await copy.sql(`select count(*)::int from orders where n < ${before}`)) as number[][];
  assert.equal(again, before);
  await copy.sql("select count(*) from silver.enriched");
  let ledger: { balanced: boolean; hops: { pending: number; duplicate: number; hop: string; stream: string }[] };
  do {
    await sleep(50);
    ledger = (await copy.get<typeof ledger>("/v1/ledger")).body;
  } while (ledger.hops.some(({ pending }) => pending > 0));
  assert.equal(ledger.balanced, true, JSON.stringify(ledger));
  const hop = ledger.hops.find((one) => one.hop === "silver.enriched");
  assert.ok(hop!.duplicate >= before, JSON.stringify(hop));
});

test("restore takes the newest backup or the one named, and refuses what is not whole or not empty", async () => {
  const [oldest = ""] = (await readdir(backups)).sort();
  const target = join(dir, "refused");
  const refusal = async (from: string, to: string) => {
    const { code, stderr } = await millrace(["restore", from, "--data", to]);
    assert.equal(code, 1, stderr);
    return stderr;
  };
  assert.match(await refusal(backups, data), /RESTORE_TARGET_REFUSED[\s\S]*not empty/);
  assert.match(await refusal(join(dir, "nowhere"), target), /BACKUP_UNUSABLE[\s\S]*no such folder/);

  const named = await millrace(["restore", join(backups, oldest), "--check"]);
  assert.equal(named.code, 0, named.stderr);

  const manifest = JSON.parse(await readFile(join(backups, oldest, "backup.json"), "utf8"));
  const { path } = manifest.files.find((file: { path: string }) => /data\/log\/orders.*0\.ndjson$/.test(file.path));
  const file = join(backups, oldest, path);
  const bytes = await readFile(file);
  bytes[10]! ^= 1;
  await writeFile(file, bytes);
  assert.match(await refusal(join(backups, oldest), target), new RegExp(`BACKUP_DAMAGED.*${path}`));
  assert.ok(!existsSync(target), "nothing stays of a restore that failed");
  await rm(file);
  assert.match(await refusal(join(backups, oldest), target), /BACKUP_DAMAGED[\s\S]*gone/);

  await rm(join(backups, oldest, "backup.json"));
  assert.match(await refusal(join(backups, oldest), target), /BACKUP_UNUSABLE/);
  assert.equal((await stat(backups)).mode & 0o77, 0, "for its owner only");
});
