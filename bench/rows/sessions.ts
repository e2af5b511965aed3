import { join } from "node:path";
import { pino } from "pino";
import { loadProject } from "../../src/define/load-project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { Flow } from "../../src/flow/flow.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { withFolder } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";

const EVENTS = 10_000_000;
/** Of the sessions whose people are linked, which cost more. */
const LINKED_EVENTS = 2_000_000;
const DAYS = 30;
const PEOPLE = 300_000;
const WEEK_MS = 7 * 86_400_000;

/** Sessions of stored events, from nothing; then late arrivals on top. */
export async function measure(): Promise<Measurement> {
  const one = await measured(EVENTS, ["silver.visits_events", "silver.visits"]);
  const linked = await measured(LINKED_EVENTS, ["gold.linked_people", "gold.linked_events", "gold.linked"]);
  const plain = "a plain DuckDB query that numbers the same events' sessions by two windows and stores nothing";
  const nothing = "all of it from nothing";
  return {
    figures: {
      scratch: { value: one.scratchS, peers: { [plain]: one.windowS, "storing the same events": one.storedS } },
      late: { value: one.lateS, peers: { [nothing]: one.scratchS } },
      lateSpread: { value: one.spreadS, peers: { [nothing]: one.scratchS } },
      few: { value: one.fewS, peers: { [nothing]: one.scratchS } },
      linked: { value: linked.scratchS, peers: { [plain]: linked.windowS, "storing the same events": linked.storedS } },
      lateLinked: { value: linked.lateS, peers: { [nothing]: linked.scratchS } },
    },
    conditions: {
      events: `${EVENTS / 1e6} M, linked ${LINKED_EVENTS / 1e6} M, of ${PEOPLE / 1000} k people over ${DAYS} days; about ${one.bytes} bytes each as JSON, a gap of 30 minutes, about 8 events a session`,
      stored:
        "every event with its session, and the sessions with entry, exit and referrer, as committed Parquet, divided by day",
      late: `1 % of the events, of the last two days; spread: of all ${DAYS} days, so that no file is left out; few: 1,000 events of the last day`,
      fsync: "of every file before its commit, and of the commit",
      "CPU time": `${one.scratchCpuS} s from nothing, ${one.lateCpuS} s for late ones, ${one.windowCpuS} s for the plain query`,
    },
  };
}

async function measured(events: number, tables: readonly string[]) {
  return withFolder(async (dir) => {
    const engine = await openDuckdbEngine({
      ...{ memoryBytes: 2 * 1024 ** 3, threads: 2, tempDir: join(dir, "tmp"), allowedDirs: [dir] },
    });
    const log = await openEmbeddedLog({ dir: join(dir, "log"), segmentBytes: 128 << 20, retentionMs: WEEK_MS });
    const flow = await Flow.open({
      project: await loadProject(join(import.meta.dirname, "../sessions-project"), engine.inspector),
      ...{ log, engine, store: await openFsStore(join(dir, "lake")), dataDir: dir },
      ...{ flushIntervalMs: WEEK_MS, flushBytes: 64 << 20, maxEventBytes: 1 << 20, refreshDebounceMs: WEEK_MS },
      ...{ retentionMs: WEEK_MS, horizonMs: WEEK_MS, partitions: 1, clock: Date.now },
      // Events that are in no log are an imbalance, as the ledger's recount rightly says. Failures are thrown.
      logger: pino({ level: "silent" }),
    });
    const late = events / 100;
    const run = () => timed(() => refreshed(flow, tables));
    try {
      const stored = await timed(() => store(flow, 0, events, 0, DAYS));
      const window = await timed(() => plainWindow(flow, engine));
      const scratch = await run();
      await store(flow, events, late, DAYS - 2, 2);
      const lateRun = await run();
      await store(flow, events + late, late, 0, DAYS);
      const spread = await run();
      await store(flow, events + 2 * late, 1_000, DAYS - 1, 1);
      const few = await run();
      return {
        ...{ storedS: stored.seconds, windowS: window.seconds, windowCpuS: window.cpuS },
        ...{ scratchS: scratch.seconds, scratchCpuS: scratch.cpuS, lateS: lateRun.seconds, lateCpuS: lateRun.cpuS },
        ...{ spreadS: spread.seconds, fewS: few.seconds, bytes: await eventBytes(flow, engine) },
      };
    } finally {
      await flow.close({ drain: false });
      await log.close();
      await engine.close();
    }
  });
}

async function timed(work: () => Promise<void>): Promise<{ seconds: number; cpuS: number }> {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: rounded((performance.now() - startedMs) / 1000), cpuS: rounded((user + system) / 1e6) };
}

/** Brings tables up to date, in the order given. */
async function refreshed(flow: Flow, tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    const { kind, elapsedMs } = await flow.refresh(table);
    if (process.env["BENCH_VERBOSE"]) console.log(`  ${table} ${kind} ${(elapsedMs / 1000).toFixed(2)} s`);
  }
}

/** Puts events straight into the table that stores the stream. */
async function store(flow: Flow, from: number, count: number, firstDay: number, days: number): Promise<void> {
  const table = flow.lake.get("silver.clicks");
  // Eight consecutive numbers are one visit: a person, a beginning, and moments within the hour after it.
  const sql = `
    select 'c' || n as click_id, case when hash(n, 1) % 3 = 0 then 'user-' || (p % 200000) end as user_id, 'device-' || p as anonymous_id,
      timestamptz '2026-01-01' + to_seconds(${firstDay * 86_400}::bigint + (hash(n // 8, 2) % ${days * 86_400 - 3600})::bigint
        + (hash(n, 3) % 3600)::bigint) as clicked_at,
      '/page/' || (hash(n, 4) % 500) as page, 'https://example.com/' || (hash(n // 8, 5) % 50) as referrer,
      'c' || n as _id, 0 as _partition, n as _offset, timestamptz '2026-02-01' as _received_at, 'bench' as _source
    from (select n, (hash(n // 8) % ${PEOPLE})::bigint as p from range(${from}, ${from + count}) r(n))`;
  const add = await flow.lake.write(table, { sql, inputs: new Map() });
  const request = { operation: "FLUSH", readVersion: table.snapshot.version, add };
  const result = await flow.lake.commit(table, request);
  if (result.kind !== "committed") throw new Error(`storing events ended as ${result.kind}`);
}

async function plainWindow(flow: Flow, engine: DuckdbEngine): Promise<void> {
  const table = flow.lake.get("silver.clicks");
  const { batches } = await engine.query({
    sql: `select count(*), max(session) from (
        select sum(new) over (partition by anonymous_id order by clicked_at rows unbounded preceding) as session from (
          select anonymous_id, clicked_at, case when lag(clicked_at) over (partition by anonymous_id order by clicked_at)
            >= clicked_at - interval 30 minute then 0 else 1 end as new from clicks))`,
    inputs: new Map([["clicks", flow.lake.relation(table)]]),
  });
  for await (const _ of batches);
}

/** What an event is as JSON, on average of some. */
async function eventBytes(flow: Flow, engine: DuckdbEngine): Promise<number> {
  const { batches } = await engine.query({
    sql: `select round(avg(strlen(to_json({click_id: click_id, user_id: user_id, anonymous_id: anonymous_id,
      clicked_at: clicked_at::varchar, page: page, referrer: referrer}))))::integer as bytes from (select * from clicks limit 10000)`,
    inputs: new Map([["clicks", flow.lake.relation(flow.lake.get("silver.clicks"))]]),
  });
  for await (const batch of batches) return Number(batch[0]?.[0]);
  throw new Error("no events are stored");
}
