/**
 * What storing costs: acknowledged events in the log -> bronze and silver, parsed, checked for duplicates, written as Parquet and
 * committed. `node bench/flush.ts [--events N]`
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBenchFlow } from "./open-flow.ts";
import { EVENT_BYTES, TelemetryEvents } from "./telemetry.ts";

export interface FlushFigures {
  readonly events: number;
  readonly eventBytes: number;
  readonly flushBytes: number;
  readonly eventsPerSecond: number;
}

/** Fills the log with `events` telemetry events and times the flush of all of them. */
export async function benchFlush(events: number): Promise<FlushFigures> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  const { flow, log, close } = await openBenchFlow(dir);
  try {
    const maker = new TelemetryEvents();
    // The first flush pays for loading code and growing memory; it is not what a running platform sees.
    for (const [count, timed] of [
      [50_000, false],
      [events, true],
    ] as const) {
      for (let made = 0; made < count; made += 10_000) {
        const batch = Math.min(10_000, count - made);
        await log.append("telemetry", 0, { payload: maker.ndjson(batch), count: batch, source: "bench" });
      }
      const started = performance.now();
      await flow.flush(["telemetry"]);
      if (!timed) continue;
      const seconds = (performance.now() - started) / 1000;
      return { events, eventBytes: EVENT_BYTES, flushBytes: 64 << 20, eventsPerSecond: Math.round(events / seconds) };
    }
    throw new Error("unreachable");
  } finally {
    await close();
    await rm(dir, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { events: { type: "string", default: "1000000" } } });
  console.log(await benchFlush(Number(values.events)));
}
