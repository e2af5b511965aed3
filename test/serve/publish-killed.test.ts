import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { RunningPlatform } from "../platform/running-platform.ts";
import { testServer } from "./open-serving.ts";

/** Lives that are cut short while they publish. */
const LIVES = 3;
const ROWS = 20_000;

test("a platform that publishes to a server by URL and is killed again and again leaves whole versions only, and ends with the newest", async () => {
  await using server = await testServer();
  const dir = await mkdtemp(join(tmpdir(), "millrace-publish-"));
  const { host, port, user, password, database } = await server.database();
  const url = `postgres://${user}:${password}@/${database}?host=${encodeURIComponent(String(host))}&port=${port}`;
  const start = () =>
    RunningPlatform.start("test/serve/projects/served", join(dir, "data"), [], { MILLRACE_POSTGRES_URL: url });
  const reader = new pg.Client({ host, port, user, password, database } as pg.ClientConfig);
  await reader.connect();
  const there = async (): Promise<boolean> =>
    (await reader.query("select to_regclass('silver.accounts') is not null as there")).rows[0].there;
  let platform: RunningPlatform | undefined;
  try {
    for (let life = 0; life <= LIVES; life++) {
      platform = await start();
      const events = Array.from({ length: ROWS }, (_, id) => ({ id, name: `life ${life}` }));
      for (let i = 0; i < ROWS; i += 5_000)
        assert.equal((await platform.post("accounts", events.slice(i, i + 5_000))).status, 202);
      const stored = platform.command("refresh", "gold.totals");
      if (life < LIVES) {
        await sleep(Math.random() * 1_500);
        await platform.stop("SIGKILL");
        await stored;
        // Requests and so flushes are of 5,000 rows: another count would be a version that was cut.
        if (await there())
          assert.equal((await reader.query("select count(*)::int as n from silver.accounts")).rows[0].n % 5_000, 0);
      }
    }
    const last = `life ${LIVES}`;
    for (let look = 0; ; look++) {
      const found = (await there())
        ? (await reader.query("select name, count(*)::int as n from silver.accounts group by 1")).rows
        : [];
      if (found.length === 1 && found[0].name === last && found[0].n === ROWS) break;
      assert.ok(look < 600, JSON.stringify(found.slice(0, 5)));
      await sleep(100);
    }
  } finally {
    await platform?.stop();
    await reader.end();
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
});
