import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type DuckdbEngine, openDuckdbEngine } from "../../../src/engine/duckdb-engine.ts";
import { parseSparkUrl } from "../../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../../src/engine/spark/spark-engine.ts";
import { localSparkFiles, storedSparkFiles } from "../../../src/engine/spark/spark-files.ts";
import type { RunOptions, Statement } from "../../../src/engine/sql-engine.ts";
import { makeBucket, openTestStore } from "../s3-bucket.ts";
import { sparkUrl } from "./server.ts";

let dir: string;
let duckdb: DuckdbEngine;
let spark: SparkEngine;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "spark-failures-"));
  const options = { memoryBytes: 256 * 2 ** 20, threads: 2, tempDir: join(dir, "tmp"), allowedDirs: [dir] };
  duckdb = await openDuckdbEngine(options);
  const address = parseSparkUrl(await sparkUrl());
  assert.ok(typeof address === "object");
  const writing = { local: duckdb.local, files: await localSparkFiles(join(dir, "spark")) };
  spark = openSparkEngine({ address, parse: (sql) => duckdb.inspector.parse(sql), writing });
});
after(async () => {
  await spark?.close();
  await duckdb?.close();
  await rm(dir, { recursive: true, force: true });
});

const inSpark = (sql: string): Statement => ({
  sql: "select 1 as n",
  inputs: new Map(),
  spark: { sql, columns: [{ name: "n", type: { kind: "long" }, nullable: true }] },
});
const ENDLESS = inSpark("select sum(a.id * b.id % 7) as n from range(10000000) a cross join range(10000000) b");

const write = (statement: Statement, options: RunOptions = {}) =>
  spark.write(statement, { path: async () => join(dir, "lake", "file.parquet") }, options);

describe("a statement that does not end well", () => {
  test("is stopped at the server when nobody wants it any more, once it is being computed, and nothing of it stays", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    await assert.rejects(write(ENDLESS, { signal: controller.signal, onProgress }), { code: "QUERY_CANCELLED" });
    await assert.rejects(write(ENDLESS, { signal: controller.signal }), { code: "QUERY_CANCELLED" });
    assert.deepEqual(await readdir(join(dir, "spark")), []);
  });

  test("fails with Spark's reason where the data are to blame, and leaves no file", async () => {
    await assert.rejects(write(inSpark("select cast('x' as bigint) as n")), {
      code: "SQL_FAILED",
      message: /CAST|cast|cannot/,
    });
    await assert.rejects(write(inSpark("select nothing as n")), { code: "SQL_FAILED", message: /nothing/ });
    await assert.rejects(write(inSpark("select 1 as n form t t2")), { code: "SQL_SYNTAX" });
    assert.deepEqual(await readdir(join(dir, "spark")), []);
  });

  test("names the file that is not there", async () => {
    const gone: Statement = {
      sql: "select n from t",
      inputs: new Map([
        [
          "t",
          {
            kind: "files",
            columns: [{ name: "n", type: { kind: "integer" }, nullable: true }],
            files: [{ path: join(dir, "gone.parquet"), partition: {} }],
          },
        ],
      ]),
    };
    await assert.rejects(write(gone), { code: "ENGINE_IO", message: /gone\.parquet/ });
  });

  test("names the bucket that Spark does not reach, and leaves nothing in it where it fails on the way", async (t) => {
    const address = parseSparkUrl(await sparkUrl());
    assert.ok(typeof address === "object");
    const made = await makeBucket(t);
    const store = await openTestStore(t, made, { cacheDir: join(dir, "cache") });
    const parse = (sql: string) => duckdb.inspector.parse(sql);
    const into = async (uri: (key: string) => string, sql: string) => {
      const seen = {
        uri,
        list: (prefix: string) => store.list(prefix),
        delete: (key: string) => store.delete(key),
        hold: (keys: readonly string[]) => store.hold(keys),
        localPath: (key: string) => store.localPath(key),
      };
      const files = await storedSparkFiles(seen, Date.now);
      const engine = openSparkEngine({ address, parse, writing: { local: duckdb.local, files } });
      try {
        return await engine.write(inSpark(sql), { path: async () => join(dir, "lake", "bucket.parquet") });
      } finally {
        await engine.close();
      }
    };
    const elsewhere = (key: string) => store.uri(key).replace(made.bucket, "no-such-bucket");
    await assert.rejects(into(elsewhere, "select 1L as n"), { code: "ENGINE_IO", message: /bucket/i });
    // The first part is written when the second fails.
    const half = "select id div (case when id < 900000 then 1 else 0 end) as n from range(0, 1000000, 1, 2)";
    await assert.rejects(
      into((key) => store.uri(key), half),
      { code: "SQL_FAILED", message: /zero/ },
    );
    assert.deepEqual(await store.list("_spark/"), []);
    assert.equal((await into((key) => store.uri(key), "select 5L as n"))[0]?.stats.max["n"], 5);
    assert.deepEqual(await store.list("_spark/"), []);
  });

  test("and the next one finds the session as it was", async () => {
    const shares: number[] = [];
    const written = await write(inSpark("select count(*) as n from range(3000000) where id % 3 = 0"), {
      onProgress: (share) => shares.push(share),
    });
    assert.equal(written[0]?.stats.rowCount, 1);
    assert.equal(written[0]?.stats.min["n"], 1_000_000);
    assert.equal(shares.at(-1), 1);
  });
});
