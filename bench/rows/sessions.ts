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
const LATE = EVENTS / 100;
const DAYS = 30;
const PEOPLE = 300_000;
const WEEK_MS = 7 * 86_400_000;

/** Sessions of ten million stored events, from nothing; then late arrivals on top. */
export async function measure(): Promise<Measurement> {
  return withFolder(async (dir) => {
    const engine = await openDuckdbEngine({
      ...{ memoryBytes: 2 * 1024 ** 3, threads: 2, tempDir: join(dir, "tmp"), allowedDirs: [dir] },
    });
    const log = await openEmbeddedLog({ dir: join(dir, "log"), segmentBytes: 128 << 20, retentionMs: WEEK_MS });
    const flow = await Flow.open({
      project: await loadProject(join(import.meta.dirname, "../sessions-project"), engine.inspector),
      ...{ log, engine, store: await openFsStore(join(dir, "lake")), lakeRoot: join(dir, "lake"), dataDir: dir },
      ...{ flushIntervalMs: WEEK_MS, flushBytes: 64 << 20, maxEventBytes: 1 << 20, refreshDebounceMs: WEEK_MS },
      ...{ retentionMs: WEEK_MS, horizonMs: WEEK_MS, partitions: 1, clock: Date.now },
      logger: pino({ level: "error" }),
    });
    const run = (tables: readonly string[]) => refreshed(flow, tables);
    const visits = ["silver.visits_events", "silver.visits"];
    const linked = ["gold.linked_people", "gold.linked_events", "gold.linked"];
    try {
      await store(flow, 0, EVENTS, 0, DAYS);
      const windowS = await plainWindow(flow, engine);
      const scratchS = await run(visits);
      const linkedS = await run(linked);
      await store(flow, EVENTS, LATE, DAYS - 2, 2);
      const lateS = await run(visits);
      const lateLinkedS = await run(linked);
      await store(flow, EVENTS + LATE, LATE, 0, DAYS);
      const spreadS = await run(visits);
      await store(flow, EVENTS + 2 * LATE, 1_000, DAYS - 1, 1);
      const fewS = await run(visits);
      const peer = {
        "a plain DuckDB query that numbers the same events' sessions by two windows and stores nothing":
          rounded(windowS),
      };
      return {
        figures: {
          scratch: { value: rounded(scratchS), peers: peer },
          late: { value: rounded(lateS), peers: { "all of it from nothing": rounded(scratchS) } },
          lateSpread: { value: rounded(spreadS), peers: { "all of it from nothing": rounded(scratchS) } },
          few: { value: rounded(fewS), peers: { "all of it from nothing": rounded(scratchS) } },
          linked: { value: rounded(linkedS), peers: peer },
          lateLinked: { value: rounded(lateLinkedS), peers: { "all of it from nothing": rounded(linkedS) } },
        },
        conditions: {
          events: `${EVENTS / 1e6} M of ${PEOPLE / 1000} k people over ${DAYS} days, a gap of 30 minutes, about 8 events a session`,
          stored:
            "every event with its session, and the sessions with entry, exit and referrer, as committed Parquet, divided by day",
          late: `${LATE / 1000} k events of the last two days; spread: of all ${DAYS} days, so that no file is left out; few: 1,000 of the last day`,
        },
      };
    } finally {
      await flow.close({ drain: false });
      await log.close();
      await engine.close();
    }
  });
}

/** Seconds to bring tables up to date, in the order given. */
async function refreshed(flow: Flow, tables: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  for (const table of tables) {
    const { kind, elapsedMs } = await flow.refresh(table);
    if (process.env["BENCH_VERBOSE"]) console.log(`  ${table} ${kind} ${(elapsedMs / 1000).toFixed(2)} s`);
  }
  return (performance.now() - startedMs) / 1000;
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

async function plainWindow(flow: Flow, engine: DuckdbEngine): Promise<number> {
  const table = flow.lake.get("silver.clicks");
  const startedMs = performance.now();
  const { batches } = await engine.query({
    sql: `select count(*), max(session) from (
        select sum(new) over (partition by anonymous_id order by clicked_at rows unbounded preceding) as session from (
          select anonymous_id, clicked_at, case when lag(clicked_at) over (partition by anonymous_id order by clicked_at)
            >= clicked_at - interval 30 minute then 0 else 1 end as new from clicks))`,
    inputs: new Map([["clicks", flow.lake.relation(table)]]),
  });
  for await (const _ of batches);
  return (performance.now() - startedMs) / 1000;
}
