/**
 * `npm run soak -- --hours H | --minutes M [--speed N] [--rate EVENTS_PER_SECOND] [--restart-every MINUTES] [--seed N] [--keep]`: runs the
 * platform under steady work of all kinds with short retention, and shows what grows. Its clock goes N times as fast (60 unless given),
 * so that a run of 20 minutes goes through 20 hours of retention.
 *
 * Exit code 0 when everything kept to its bound and the ledger balances, 1 when not, 2 for wrong usage.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort } from "../chaos/child.ts";
import { Client } from "../chaos/client.ts";
import { SoakLife } from "./life.ts";
import { byLoad, METRICS, type Metric, type MetricName, measure, quantiles, type Sample } from "./measure.ts";
import { type Point, type Trend, trendOf } from "./trend.ts";
import { Work } from "./work.ts";

const { values } = parseArgs({
  options: {
    hours: { type: "string" },
    minutes: { type: "string" },
    speed: { type: "string", default: "60" },
    rate: { type: "string", default: "200" },
    "restart-every": { type: "string" },
    seed: { type: "string", default: "1" },
    keep: { type: "boolean", default: false },
  },
});
const lastsMs = (Number(values.hours ?? 0) * 60 + Number(values.minutes ?? 0)) * 60_000;
const speed = Number(values.speed);
const rate = Number(values.rate);
const restartEveryMs = Number(values["restart-every"] ?? Number.POSITIVE_INFINITY) * 60_000;
if (!(lastsMs > 0) || !(speed >= 1) || !(rate > 0) || !(restartEveryMs > 0)) {
  console.error(
    "usage: soak --hours H | --minutes M [--speed N] [--rate EVENTS_PER_SECOND] [--restart-every MINUTES] [--keep]",
  );
  process.exit(2);
}

const dir = mkdtempSync(join(tmpdir(), "millrace-soak-"));
const dataDir = join(dir, "data");
const port = await freePort();
const life = new SoakLife({ dataDir, port, speed, logFile: join(dir, "platform.log") });
const series = new Map<MetricName, Point[]>();
let interrupted = false;
process.on("SIGINT", () => {
  interrupted = true;
});

console.log(`soak: ${lastsMs / 60_000} min, clock at ${speed} times its speed, ${rate} events/s, in ${dir}`);
await life.start();
const key = readFileSync(join(dataDir, "admin.key"), "utf8").trim();
const backupEveryMs = Math.max(20_000, lastsMs / 8);
const work = new Work({
  port,
  key,
  seed: Number(values.seed),
  eventsPerSecond: rate,
  backupDir: join(dir, "backups"),
  backupEveryMs,
});
const startedMs = performance.now();
const endMs = startedMs + lastsMs;
const everyMs = Math.min(60_000, Math.max(2_000, lastsMs / 60));
let restartAtMs = startedMs + restartEveryMs;
let restarts = 0;
await work.start();
console.log("   min  resident  heap  native  files  ingest 50/99 %  query 50/99 %    log  lake+  index  acknowledged");
while (performance.now() < endMs && !interrupted) {
  await sleep(Math.min(everyMs, endMs - performance.now()));
  if (life.over) break;
  take(await sample());
  if (performance.now() >= restartAtMs) {
    restartAtMs += restartEveryMs;
    restarts++;
    work.pause(true);
    const code = await life.stop();
    if (code !== 0) work.problems.push(`the platform ended with ${code}`);
    await life.start();
    work.pause(false);
  }
}
const unbounded = life.over ? ["the platform ended by itself"] : [];
await finish();

async function sample(): Promise<Sample> {
  const ingest = quantiles(work.ingestMs.splice(0));
  const query = quantiles(work.queryMs.splice(0));
  return {
    ...(await measure(dataDir, life.pid, await life.memory())),
    ...(ingest && { ingestP50: ingest.p50, ingestP99: ingest.p99 }),
    ...(query && { queryP50: query.p50, queryP99: query.p99 }),
    ...byLoad((loadavg()[0] ?? 0) / availableParallelism(), ingest?.p50, query?.p50),
  };
}

function take(found: Sample): void {
  const atMs = performance.now() - startedMs;
  for (const [name, value] of Object.entries(found) as [MetricName, number][]) {
    const points = series.get(name) ?? [];
    series.set(name, points);
    points.push({ atMs, value });
  }
  const mib = (bytes = 0) => (bytes / 1_048_576).toFixed(bytes < 100 * 1_048_576 ? 1 : 0);
  const ms = (value = 0) => value.toFixed(1);
  const cells: [string, number][] = [
    [(atMs / 60_000).toFixed(1), 6],
    [mib(found.rss), 9],
    [mib(found.heap), 5],
    [mib(found.native), 7],
    [String(found.openFiles ?? "-"), 6],
    [`${ms(found.ingestP50)}/${ms(found.ingestP99)}`, 15],
    [`${ms(found.queryP50)}/${ms(found.queryP99)}`, 14],
    [mib(found.log), 6],
    [mib(found.past), 6],
    [mib(found.dedupe), 6],
    [work.acknowledged.toLocaleString("en-US"), 13],
  ];
  console.log(cells.map(([text, width]) => text.padStart(width)).join(" "));
}

async function finish(): Promise<void> {
  if (!life.over) {
    await work.stop();
    unbounded.push(...(await unbalanced()));
  }
  console.log("\njudged: the last two thirds");
  for (const [name, metric] of Object.entries(METRICS) as [MetricName, Metric][]) {
    const points = series.get(name);
    if (points === undefined) continue;
    const trend = trendOf(points, metric.bound ?? { share: Number.POSITIVE_INFINITY, amount: 0 });
    if (trend === undefined) continue;
    console.log(line(metric, trend));
    if (!trend.bounded) unbounded.push(`${metric.name} grows beyond its bound`);
  }
  const { acknowledged, queries, keys, backupsMs, problems } = work;
  for (const problem of problems) console.log(`PROBLEM ${problem}`);
  for (const what of unbounded) console.log(`UNBOUNDED ${what}`);
  const number = (value: number) => value.toLocaleString("en-US");
  const backups = `${backupsMs.length} backups (slowest ${Math.round(Math.max(0, ...backupsMs))} ms)`;
  console.log(
    `soak: ${((performance.now() - startedMs) / 60_000).toFixed(1)} min at ${speed} times the clock, ${number(acknowledged)} acknowledged, ` +
      `${number(queries)} queries, ${number(keys)} keys, ${backups}, ${restarts} restarts, ${problems.length} problems, ${unbounded.length} beyond their bound`,
  );
  const failed = unbounded.length > 0 || problems.length > 0;
  const code = await life.stop();
  if (code !== 0) console.log(`the platform ended with ${code}`);
  if (failed || code !== 0 || values.keep) console.log(`kept in ${dir}`);
  else rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  process.exitCode = failed || code !== 0 ? 1 : 0;
}

function line({ name, unit, bound }: Metric, { first, last, most, perHour, growth, allowed, bounded }: Trend): string {
  const text = (value: number) =>
    unit === "MiB" ? (value / 1_048_576).toFixed(1) : value.toFixed(unit === "ms" ? 1 : 0);
  const judged = bound ? `, ${text(growth)} of ${text(allowed)} allowed${bounded ? "" : "  <-- BEYOND"}` : "";
  return `  ${name.padEnd(44)} ${text(first).padStart(8)} -> ${text(last).padStart(8)} (most ${text(most)}) ${unit}  ${text(perHour)} an hour${judged}`;
}

/** What the ledger says against itself and against the acknowledgements, once everything is stored. */
async function unbalanced(): Promise<string[]> {
  const client = new Client(port, key);
  let ledger:
    | { balanced: boolean; hops: { stream: string; hop: string; accepted: number; pending: number }[] }
    | undefined;
  for (const deadline = performance.now() + 60_000; performance.now() < deadline; await sleep(200)) {
    const answer = await client.send("GET", "/v1/ledger");
    ledger = answer?.status === 200 ? JSON.parse(answer.body) : undefined;
    if (ledger?.hops.every(({ pending }) => pending === 0)) break;
  }
  if (ledger === undefined) return ["the ledger did not answer"];
  const accepted = ledger.hops
    .filter(
      ({ stream, hop }) =>
        hop === `bronze.${stream}` && ["orders", "payments", "stock_levels", "rates"].includes(stream),
    )
    .reduce((sum, hop) => sum + hop.accepted, 0);
  const found = ledger.balanced ? [] : ["the ledger is not balanced"];
  if (ledger.hops.some(({ pending }) => pending > 0)) found.push("events were still pending after a minute");
  if (accepted !== work.acknowledged)
    found.push(`${work.acknowledged} events were acknowledged, the ledger has ${accepted}`);
  return found;
}
