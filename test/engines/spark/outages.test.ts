import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type DuckdbEngine, openDuckdbEngine } from "../../../src/engine/duckdb-engine.ts";
import { parseSparkUrl } from "../../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../../src/engine/spark/spark-engine.ts";
import { localSparkFiles } from "../../../src/engine/spark/spark-files.ts";
import type { RunOptions } from "../../../src/engine/sql-engine.ts";
import { temporaryFolder } from "../../flow/open-flow.ts";
import { RunningPlatform } from "../../platform/running-platform.ts";
import { OwnSpark } from "./own-server.ts";

/*
 * What goes wrong with a Spark: on one of the test's own, that lets in by a token, has little memory, and is killed.
 */
let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let server: OwnSpark;
let duckdb: DuckdbEngine;
let spark: SparkEngine;

function open(url: string, files: Awaited<ReturnType<typeof localSparkFiles>>): SparkEngine {
  const address = parseSparkUrl(url);
  assert.ok(typeof address === "object");
  return openSparkEngine({
    address,
    parse: (sql) => duckdb.inspector.parse(sql),
    writing: { local: duckdb.local, files },
  });
}

before(async () => {
  dir = await temporaryFolder();
  const options = { memoryBytes: 256 * 2 ** 20, threads: 1, tempDir: join(dir.path, "tmp"), allowedDirs: [dir.path] };
  duckdb = await openDuckdbEngine(options);
  server = await OwnSpark.start(join(dir.path, "server"));
  spark = open(server.url, await localSparkFiles(join(dir.path, "spark")));
});
after(async () => {
  await spark?.close();
  await duckdb?.close();
  await server?.close();
  await dir?.[Symbol.asyncDispose]();
});

const write = (sql: string, options: RunOptions = {}) =>
  spark.write(
    {
      sql: "select 1 as n",
      inputs: new Map(),
      spark: { sql, columns: [{ name: "n", type: { kind: "long" }, nullable: true }] },
    },
    { path: async () => join(dir.path, "lake", "file.parquet") },
    options,
  );

describe("a Spark that is not well", () => {
  test("refuses whoever has a wrong token or none, and is told by the setting's name", async () => {
    for (const url of [server.urlWith("wrong"), `sc://${server.host}`]) {
      const refused = open(url, await localSparkFiles(join(dir.path, "refused")));
      await assert.rejects(refused.version(), { code: "SPARK_REFUSED", hint: /sparkUrl/ });
      await refused.close();
    }
    assert.match(await spark.version(), /^4\./);
  });

  test("refuses a platform: it is not ready and says why, while events and queries go on", async (t) => {
    const flags = ["--bi-port", "0", "--spark-url", server.urlWith("wrong")];
    const platform = await RunningPlatform.start("test/engines/spark/project", join(dir.path, "refused-data"), flags);
    t.after(() => platform.stop());
    const { status, body } = await platform.get<{ checks: Record<string, { ok: boolean; message?: string }> }>(
      "/readyz",
    );
    assert.equal(status, 503);
    assert.match(body.checks["spark"]?.message ?? "", /refuses the platform/);
    assert.equal((await platform.post("orders", [{ order_id: "o1", country: "DE" }])).status, 202);
    assert.deepEqual(await platform.sql("select * from gold.counted"), [["DE", 1]]);
    const { code, stderr } = await platform.command("refresh", "gold.counted");
    assert.equal(code, 1);
    assert.match(stderr, /SPARK_REFUSED[\s\S]*sparkUrl/);
  });

  test("computes nothing of a statement that was stopped, wherever it was: planned, between stages or computed", async () => {
    const endless = "cross join range(10000000) y cross join range(10000000) z";
    // So many branches take seconds to plan.
    const branch = (i: number) =>
      `select a.id * ${i} % 1000 as g from range(300) a join range(200) b on a.id % 7 = b.id % 11`;
    const large = (branches: number) =>
      `select count(*) as n from (select g, count(*) from (${Array.from({ length: branches }, (_, i) => branch(i)).join(" union all ")}) group by g) x ${endless}`;
    for (const [sql, ms] of [
      [large(150), 100],
      [large(150), 1_500],
      [large(6), 300],
      [large(6), 3_000],
    ] as const) {
      await assert.rejects(write(sql, { timeoutMs: ms }), { code: "QUERY_TIMEOUT" });
      assert.equal(await server.idle(), 0, `stopped after ${ms} ms`);
    }
  });

  test("lacks the memory for a statement: that is told by the setting's name, and the next one is computed", async () => {
    const full = "select size(collect_list(repeat(cast(id as string), 1000))) as n from range(2000000)";
    await assert.rejects(write(full), { code: "SPARK_OUT_OF_MEMORY", hint: /spark\.executor\.memory/ });
    // What is given to the executor that just dies shares its fate.
    const next = () => write("select count(*) as n from range(1000)");
    const again = (error: { code?: string }) => {
      assert.equal(error.code, "SPARK_OUT_OF_MEMORY");
      return sleep(3_000).then(next);
    };
    assert.equal((await next().catch(again))[0]?.stats.max["n"], 1_000);
    assert.deepEqual(await readdir(join(dir.path, "spark")), []);
  });

  test("is killed in the middle of a refresh: events and queries go on, and the refresh is done when it is there again", async (t) => {
    const flags = ["--bi-port", "0", "--spark-url", server.url];
    const platform = await RunningPlatform.start("test/engines/spark/project", join(dir.path, "data"), flags);
    t.after(() => platform.stop());
    const post = async (from: number, to: number) => {
      const events = Array.from({ length: to - from }, (_, i) => ({ order_id: `o${from + i}`, country: "DE" }));
      assert.equal((await platform.post("orders", events)).status, 202);
    };
    const counts = () => platform.sql("select * from gold.counted");
    const readiness = async () =>
      (await platform.get<{ checks: Record<string, { ok: boolean; message?: string }> }>("/readyz")).body.checks[
        "spark"
      ];
    await post(0, 8);
    const refreshed = platform.command("refresh", "gold.counted");
    for (let tries = 0; (await server.runningJobs()) === 0; tries++) {
      assert.ok(tries < 600, "Spark was given nothing to compute");
      await sleep(100);
    }
    await server.kill();
    await post(8, 10);
    assert.deepEqual(await counts(), [["DE", 10]]);
    for (let tries = 0; (await readiness())?.ok !== false; tries++) {
      assert.ok(tries < 60, "readiness stays green without Spark");
      await sleep(500);
    }
    await server.up();
    // It was taken up again, or told that Spark was away.
    const { code, stderr } = await refreshed;
    if (code !== 0) assert.match(stderr, /SPARK_UNAVAILABLE/);
    let again = await platform.command("refresh", "gold.counted");
    for (let tries = 0; again.code !== 0; tries++) {
      assert.match(again.stderr, /SPARK_UNAVAILABLE/);
      assert.ok(tries < 30, again.stderr);
      await sleep(1_000);
      again = await platform.command("refresh", "gold.counted");
    }
    for (let tries = 0; (await readiness())?.ok !== true; tries++) {
      assert.ok(tries < 120, `readiness stays red: ${JSON.stringify(await readiness())}`);
      await sleep(500);
    }
    assert.deepEqual(await counts(), [["DE", 10]]);
    assert.equal((await platform.get<{ balanced: boolean }>("/v1/ledger")).body.balanced, true);
    assert.deepEqual(await platform.sql("select count(*) from system.dead_letters"), [[0]]);
  });
});
