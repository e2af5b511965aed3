import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endpoint } from "../../engines/endpoints.ts";
import { sparkProcesses } from "../../engines/spark.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { parseSparkUrl } from "../../src/engine/spark/spark-address.ts";
import { openSparkEngine } from "../../src/engine/spark/spark-engine.ts";
import { localSparkFiles } from "../../src/engine/spark/spark-files.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { PlainPyspark } from "../spark/plain-pyspark.ts";
import { type JobTimes, silverJob } from "../spark/silver-job.ts";

/** Raw records, of which one in fifty came twice. */
const RECORDS = Number(process.env["BENCH_SPARK_RECORDS"] ?? 3_000_000);
/** Turns of all three; the best of each counts. The first ones are also what a JVM compiles on. */
const TURNS = Number(process.env["BENCH_SPARK_TURNS"] ?? 3);
const VEHICLES = 400;
const MEMORY_BYTES = 1024 * 2 ** 20;

/** The fleet's silver job three ways, in turn over the same Parquet files. Needs `npm run engines:up -- spark`. */
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
  const [server] = await sparkProcesses();
  const own = () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
  const withServer = () => own() + cpuSecondsOf(server?.pid ?? process.pid);
  const pyspark = new PlainPyspark(python, jars);
  const ofDuckdb: JobTimes[] = [];
  const ofAdapter: JobTimes[] = [];
  const ofPyspark: JobTimes[] = [];
  try {
    const raw = await rawFiles(duckdb, join(dir, "raw"), RECORDS, 4);
    for (let turn = 0; turn < TURNS; turn++) {
      const lake = (of: string) => join(dir, `${of}-${turn}`);
      ofDuckdb.push(await silverJob(duckdb, raw, lake("duckdb"), own));
      ofAdapter.push(await silverJob(spark, raw, lake("adapter"), withServer));
      ofPyspark.push(await pyspark.run(join(dir, "raw"), lake("pyspark")));
      const [first, ...others] = [ofDuckdb, ofAdapter, ofPyspark].map((times) => times.at(-1) as JobTimes);
      if (others.some(({ rows, groups }) => rows !== first?.rows || groups !== first.groups))
        throw new Error(`the three differ: ${JSON.stringify([first, ...others])}`);
    }
  } finally {
    await pyspark.close();
    await spark.close();
    await duckdb.close();
    await rm(dir, { recursive: true, force: true });
  }
  const seconds = (times: readonly JobTimes[]) => Math.min(...times.map((time) => time.seconds));
  const cpu = (times: readonly JobTimes[]) => Math.min(...times.map((time) => time.cpuSeconds));
  const all = [ofDuckdb, ofAdapter, ofPyspark];
  const parts = (part: (time: JobTimes) => number) =>
    all.map((times) => times.map((time) => part(time).toFixed(1)).join(" ")).join(" / ");
  return {
    figures: {
      duckdb: { value: rounded(seconds(ofPyspark) / seconds(ofDuckdb)) },
      adapter: { value: rounded(seconds(ofAdapter) / seconds(ofPyspark)) },
      duckdbCpu: { value: rounded(cpu(ofPyspark) / cpu(ofDuckdb)) },
      adapterCpu: { value: rounded(cpu(ofAdapter) / cpu(ofPyspark)) },
      duckdbSeconds: {
        value: rounded(seconds(ofDuckdb)),
        peers: { "plain PySpark with Delta": rounded(seconds(ofPyspark)) },
      },
      adapterSeconds: {
        value: rounded(seconds(ofAdapter)),
        peers: { "plain PySpark with Delta": rounded(seconds(ofPyspark)) },
      },
    },
    conditions: {
      job: `${RECORDS} records of ${VEHICLES} vehicles in 4 Parquet files, 2 % twice, 1 % broken: cleansed, one per vehicle and time, into a Delta table by day, and hourly metrics of it into another`,
      turns: `${TURNS} of all three in turn, the best of each; a JVM's start is not counted`,
      parts: `DuckDB / adapter / PySpark, turn by turn: silver ${parts((time) => time.silverSeconds)} s, gold ${parts((time) => time.goldSeconds)} s, CPU of both ${parts((time) => time.cpuSeconds)} s`,
      engines:
        "2 threads each; DuckDB 1 GiB, Spark local[2] with 1 GiB of heap and 4 parts of a shuffle; PySpark writes Delta's default (snappy), the platform zstd and a checksum of every file",
    },
  };
}

/** Seconds of CPU that a process has taken since its start. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  // A tick is a hundredth of a second wherever Node runs.
  return (Number(fields[11]) + Number(fields[12])) / 100;
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
