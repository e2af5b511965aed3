import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { endpoint } from "../../engines/endpoints.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { parseSparkUrl } from "../../src/engine/spark/spark-address.ts";
import { openSparkEngine } from "../../src/engine/spark/spark-engine.ts";
import { localSparkFiles } from "../../src/engine/spark/spark-files.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { silverJob } from "../spark/silver-job.ts";

/** Raw records, of which one in fifty came twice. */
const RECORDS = Number(process.env["BENCH_SPARK_RECORDS"] ?? 3_000_000);
const VEHICLES = 400;
const MEMORY_BYTES = 1024 * 2 ** 20;

/** The fleet's silver job three ways, one after the other over the same Parquet files. Needs `npm run engines:up -- spark`. */
export async function measure(): Promise<Measurement> {
  const { url, python, jars } = await endpoint("spark");
  const dir = await mkdtemp(join(tmpdir(), "millrace-bench-spark-"));
  const duckdb = await openDuckdbEngine({
    memoryBytes: MEMORY_BYTES,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
  });
  const address = parseSparkUrl(url);
  if (typeof address === "string") throw new Error(address);
  const parse = (sql: string) => duckdb.inspector.parse(sql);
  const files = await localSparkFiles(join(dir, "spark"));
  const spark = openSparkEngine({ address, parse, writing: { local: duckdb.local, files } });
  try {
    const raw = await rawFiles(duckdb, join(dir, "raw"), RECORDS, 4);
    const warm = await rawFiles(duckdb, join(dir, "warm"), 20_000, 1);
    await silverJob(duckdb, warm, join(dir, "duckdb-warm"));
    const ofDuckdb = await silverJob(duckdb, raw, join(dir, "duckdb"));
    await silverJob(spark, warm, join(dir, "adapter-warm"));
    const ofAdapter = await silverJob(spark, raw, join(dir, "adapter"));
    const ofPyspark = await plainPyspark(python, jars, dir);
    for (const { rows, groups } of [ofAdapter, ofPyspark]) {
      if (rows !== ofDuckdb.rows || groups !== ofDuckdb.groups)
        throw new Error(`the three differ: ${JSON.stringify({ ofDuckdb, ofAdapter, ofPyspark })}`);
    }
    return {
      figures: {
        duckdb: { value: rounded(ofPyspark.seconds / ofDuckdb.seconds) },
        adapter: { value: rounded(ofAdapter.seconds / ofPyspark.seconds) },
        duckdbSeconds: {
          value: rounded(ofDuckdb.seconds),
          peers: { "plain PySpark with Delta": rounded(ofPyspark.seconds) },
        },
        adapterSeconds: {
          value: rounded(ofAdapter.seconds),
          peers: { "plain PySpark with Delta": rounded(ofPyspark.seconds) },
        },
      },
      conditions: {
        job: `${RECORDS} records of ${VEHICLES} vehicles in 4 Parquet files, 2 % twice, 1 % broken: cleansed, one per vehicle and time, into a Delta table by day, and hourly metrics of it into another`,
        parts: `silver ${ofDuckdb.silverSeconds.toFixed(2)} / ${ofAdapter.silverSeconds.toFixed(2)} / ${ofPyspark.silverSeconds.toFixed(2)} s, gold ${ofDuckdb.goldSeconds.toFixed(2)} / ${ofAdapter.goldSeconds.toFixed(2)} / ${ofPyspark.goldSeconds.toFixed(2)} s (DuckDB / adapter / PySpark)`,
        engines:
          "2 threads each; DuckDB 1 GiB, Spark local[2] with 1 GiB of heap and 4 parts of a shuffle; each warmed by a small run, a JVM's start is not counted",
      },
    };
  } finally {
    await spark.close();
    await duckdb.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Records of vehicles that say something every ten seconds, over some days. */
async function rawFiles(duckdb: DuckdbEngine, folder: string, records: number, count: number): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const each = Math.ceil(records / count);
  const paths: string[] = [];
  for (let part = 0; part < count; part++) {
    const path = join(folder, `raw-${part}.parquet`);
    // One record in fifty is the one before again.
    const n = `(i - (i % 50 = 49)::bigint)`;
    const at = `timestamptz '2026-01-01 00:00:00+00' + to_seconds((n // ${VEHICLES}) * 10)`;
    const noise = (salt: number, scale: number) => `(hash(n, ${salt}) % 10007) / 10007.0e0 * ${scale}`;
    await duckdb.local.run(`copy (
      select 'V-' || lpad((n % ${VEHICLES})::varchar, 4, '0') as vehicle_id,
        case when n % 7 = 0 then null else 'D-' || (n % 97) end as driver_id,
        ${at} as recorded_at, ${at} + to_seconds((n % 90)::double) as received_at,
        48 + ${noise(1, 4)} as latitude, 8 + ${noise(2, 6)} as longitude, ${noise(3, 140)} as speed_kmh,
        case when n % 100 = 3 then -1 else 700 + ${noise(4, 4000)} end as rpm,
        ${noise(5, 100)} as fuel_pct, 10000 + n / 100.0e0 as odometer_km, 70 + ${noise(6, 55)} as coolant_c, ${noise(7, 1)} - 0.6e0 as acceleration_g
      from (select ${n} as n from range(${part * each}, ${Math.min(records, (part + 1) * each)}) t(i))
    ) to '${path}' (format parquet, compression zstd)`);
    paths.push(path);
  }
  return paths;
}

interface PysparkTimes {
  readonly silverSeconds: number;
  readonly goldSeconds: number;
  readonly seconds: number;
  readonly rows: number;
  readonly groups: number;
}

async function plainPyspark(python: string, jars: readonly string[], dir: string): Promise<PysparkTimes> {
  const script = join(import.meta.dirname, "../spark/silver_job.py");
  const child = spawn(python, [script, join(dir, "raw"), join(dir, "pyspark"), join(dir, "warm"), jars.join(":")], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      SPARK_LOCAL_IP: "127.0.0.1",
      PYSPARK_PYTHON: python,
      PYSPARK_SUBMIT_ARGS: "--driver-memory 1g pyspark-shell",
    },
  });
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  if (code !== 0) throw new Error(`the PySpark job ended with ${code}: ${errors.slice(-2000)}`);
  const times = JSON.parse(out.trim().split("\n").at(-1) ?? "") as {
    silver: number;
    gold: number;
    total: number;
    rows: number;
    groups: number;
  };
  return {
    silverSeconds: times.silver,
    goldSeconds: times.gold,
    seconds: times.total,
    rows: times.rows,
    groups: times.groups,
  };
}
