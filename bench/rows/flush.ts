import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { quoteLiteral } from "../../src/define/sql-text.ts";
import { duckdbType } from "../../src/define/types.ts";
import { BenchFlow } from "../open-flow.ts";
import { withFolder } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const EVENTS = 1_200_000;
/** The first flush pays for loading code and growing memory; it is not what a running platform sees. */
const WARMUP_EVENTS = 60_000;
/** What a flush takes at once by default: 64 MiB. */
const PEER_EVENTS = 240_000;

/** Times the flush of events that are in the log, with no door and no queries beside it. */
export async function measure(_seconds: number): Promise<Measurement> {
  return withFolder(async (dir) => {
    const bench = await BenchFlow.open(dir);
    try {
      await bench.append(WARMUP_EVENTS);
      await bench.openFlow();
      await bench.timedFlush();
      const storedBefore = storedBytes(bench);
      // Closed meanwhile, lest it begin by itself.
      await bench.closeFlow();
      await bench.append(EVENTS);
      await bench.openFlow();
      const cpuBefore = process.cpuUsage();
      const ms = await bench.timedFlush();
      const { user, system } = process.cpuUsage(cpuBefore);
      const bare = await bareCopy(dir, bench);
      return {
        figures: {
          rate: { value: rounded((EVENTS / ms) * 1000), peers: { [PEER]: rounded(bare.eventsPerSecond) } },
          cpu: { value: rounded((user + system) / EVENTS), peers: { [PEER]: rounded(bare.cpuMicroseconds) } },
          stored: {
            value: rounded((storedBytes(bench) - storedBefore) / EVENTS),
            peers: { [PEER]: rounded(bare.bytesPerEvent) },
          },
        },
        conditions: {
          events: `${EVENTS} of ${EVENT_BYTES} bytes, none of them a duplicate`,
          batch: "flushes of 64 MiB, from a log to which 2,000 events were appended at a time",
          fsync: "of every data file and commit",
        },
      };
    } finally {
      await bench.close();
    }
  });
}

const PEER = "DuckDB copying the same NDJSON to one typed Parquet file, nothing checked, no payload, no fsync";

function storedBytes({ flow }: BenchFlow): number {
  const files = ["bronze.telemetry", "silver.telemetry"].flatMap((name) => flow.lake.get(name).snapshot.files);
  return files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

async function bareCopy(dir: string, { flow }: BenchFlow) {
  const from = join(dir, "bare.ndjson");
  await writeFile(from, new TelemetryEvents().ndjson(PEER_EVENTS));
  const columns = flow.project.streams.get("telemetry")?.columns ?? [];
  const types = columns.map(({ name, type }) => `${quoteLiteral(name)}: ${quoteLiteral(duckdbType(type))}`);
  const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
  const connection = await instance.connect();
  await connection.run("set TimeZone = 'UTC'");
  const copy = `copy (select * from read_ndjson(${quoteLiteral(from)}, columns = {${types.join(", ")}}))
    to ${quoteLiteral(join(dir, "bare.parquet"))} (format parquet, compression zstd, compression_level 1, return_stats)`;
  await connection.run(copy);
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  const result = await connection.runAndReadAll(copy);
  const ms = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  const [{ file_size_bytes: bytes } = {}] = result.getRowObjects();
  connection.closeSync();
  instance.closeSync();
  return {
    eventsPerSecond: (PEER_EVENTS / ms) * 1000,
    cpuMicroseconds: (user + system) / PEER_EVENTS,
    bytesPerEvent: Number(bytes) / PEER_EVENTS,
  };
}
