/**
 * The duplicate index as it fills: `npx node bench/dedupe.ts [--ids 20000000] [--batch 60000] [--flush 240000] [--peer] [--dir DIR]`.
 *
 * Ids come evenly over one horizon (7 days) and are committed in flushes of `--flush`, as many as 64 MiB of 274-byte
 * events hold, with merges in the background. At 1 M, 20 M, 100 M … ids it prints what a look-up of one batch costs. `--peer` measures at the end what the
 * engine needs for the same question by a join against Parquet files of the stored hashes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DuckDBInstance } from "@duckdb/node-api";
import { type IdBatch, type IdIndex, openIdIndex } from "../src/flow/dedupe/id-index.ts";

const { values } = parseArgs({
  options: {
    ids: { type: "string", default: "20000000" },
    batch: { type: "string", default: "60000" },
    flush: { type: "string", default: "240000" },
    peer: { type: "boolean", default: false },
    dir: { type: "string", default: tmpdir() },
  },
});
const ids = Number(values.ids);
const batchIds = Number(values.batch);
const flushIds = Number(values.flush);
const HORIZON_MS = 7 * 24 * 3_600_000;
const START_MS = 1_700_000_000_000;
const REPEATS = 15;

/** Stand-ins for MD5 halves of the ids `from`, `from + 1`, …: a bijective mixer, so that new ids are new. */
function batch(firstId: number, count: number, offset: number): IdBatch {
  const low = new BigUint64Array(count);
  const high = new BigUint64Array(count);
  const words = [new Uint32Array(low.buffer), new Uint32Array(high.buffer)] as const;
  for (let i = 0; i < count; i++) {
    for (let word = 0; word < 4; word++) {
      const half = words[word >> 1] as Uint32Array;
      half[i * 2 + (word & 1)] = mix((firstId + i) ^ Math.imul(word + 1, 0x9e3779b9));
    }
  }
  const receivedAtMs = new Float64Array(count).fill(START_MS + Math.floor((offset / ids) * HORIZON_MS * 0.999));
  return {
    hashLow: low,
    hashHigh: high,
    offset: Float64Array.from({ length: count }, (_, i) => offset + i),
    receivedAtMs,
  };
}

function mix(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

interface Timing {
  readonly medianMs: number;
  readonly worstMs: number;
  readonly mainThreadMs: number;
}

async function timed(work: (round: number) => Promise<unknown>, repeats = REPEATS): Promise<Timing> {
  const times: number[] = [];
  const before = performance.eventLoopUtilization();
  for (let round = 0; round < repeats; round++) {
    const start = performance.now();
    await work(round);
    times.push(performance.now() - start);
  }
  const { active } = performance.eventLoopUtilization(before);
  times.sort((a, b) => a - b);
  return {
    medianMs: times[times.length >> 1] as number,
    worstMs: times.at(-1) as number,
    mainThreadMs: active / repeats,
  };
}

const ms = (value: number) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
const show = (what: string, t: Timing) =>
  console.log(
    `  ${what.padEnd(44)} median ${ms(t.medianMs)}, worst ${ms(t.worstMs)}, main thread ${ms(t.mainThreadMs)}`,
  );

/** Waits until the merges that the last commits have caused are done. */
async function settled(index: IdIndex): Promise<void> {
  for (;;) {
    const { merging, mergeFault } = await index.stats();
    if (mergeFault !== undefined) throw new Error(`merges fail: ${mergeFault}`);
    if (!merging) return;
    await setTimeout(50);
  }
}

async function report(index: IdIndex, stored: number, commits: number[]): Promise<void> {
  const stats = await index.stats();
  console.log(
    `${(stored / 1e6).toFixed(1)} M ids: ${stats.runs} runs, filters ${mb(stats.memoryBytes)}, on disk ${mb(stats.bytesOnDisk)}, process ${mb(process.memoryUsage().rss)}`,
  );
  const sorted = commits.toSorted((a, b) => a - b);
  if (sorted.length > 0) {
    const [median, p99] = [sorted.length >> 1, Math.floor(sorted.length * 0.99)].map((i) => sorted[i] as number);
    console.log(`${`  commit of ${flushIds} ids`.padEnd(47)}median ${ms(median as number)}, p99 ${ms(p99 as number)}`);
  }
  const fresh = Array.from({ length: REPEATS }, (_, round) =>
    batch(2_000_000_000 + round * batchIds, batchIds, stored),
  );
  const none = await timed((round) => index.lookup(fresh[round] as IdBatch));
  show(`look-up of ${batchIds} new ids`, none);
  const recent = batch(stored - batchIds, batchIds, stored);
  const recentFound = await timed(() => index.lookup(recent), 5);
  show("look-up, all of them the last ids stored", recentFound);
  const old = batch(Math.floor(stored / 3), batchIds, stored);
  show("look-up, all of them stored long ago", await timed(() => index.lookup(old), 5));
  const found = await index.lookup(old);
  if (found.some((offset, i) => offset !== Math.floor(stored / 3) + i)) throw new Error("a duplicate was not found");
}

async function peer(dir: string): Promise<void> {
  const db = await (await DuckDBInstance.create(":memory:")).connect();
  const file = join(dir, "hashes.parquet");
  const hashes = (from: number, to: number) =>
    `select hash(i)::ubigint as hash_low, hash(i + 1000000000000)::ubigint as hash_high, i as _offset from range(${from}, ${to}) r(i)`;
  await db.run(`copy (${hashes(0, ids)}) to '${file}' (compression zstd)`);
  await db.run(`create table batch as ${hashes(ids, ids + batchIds)}`);
  const join2 = `select count(*) from batch semi join '${file}' using (hash_low, hash_high)`;
  show("the same by a join against Parquet", await timed(() => db.runAndReadAll(join2), 5));
}

const dir = mkdtempSync(join(values.dir, "millrace-bench-dedupe-"));
try {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, flushes of ${flushIds} ids, fsync on`);
  let index = await openIdIndex(dir, { horizonMs: HORIZON_MS });
  const marks = [1_000_000, 5_000_000, 20_000_000, 50_000_000, 100_000_000].filter((mark) => mark < ids);
  marks.push(ids);
  let commits: number[] = [];
  let filling = performance.now();
  let filledMs = 0;
  for (let stored = 0; stored < ids; ) {
    const count = Math.min(flushIds, ids - stored);
    index.stage(batch(stored, count, stored));
    const begun = performance.now();
    await index.commit(stored + count - 1);
    commits.push(performance.now() - begun);
    stored += count;
    if (stored < (marks[0] as number)) continue;
    marks.shift();
    filledMs += performance.now() - filling;
    const { runs } = await index.stats();
    await settled(index);
    console.log(
      `\nfilled to ${(stored / 1e6).toFixed(1)} M ids, ${Math.round(stored / filledMs)} k ids/s staged and committed, merges beside it; ${runs} runs when the filling paused`,
    );
    await report(index, stored, commits);
    commits = [];
    filling = performance.now();
  }
  await index.close();
  const opening = performance.now();
  index = await openIdIndex(dir, { horizonMs: HORIZON_MS, storedTo: ids - 1 });
  console.log(`opened again in ${ms(performance.now() - opening)}`);
  await report(index, ids, []);
  await index.close();
  if (values.peer) await peer(dir);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
