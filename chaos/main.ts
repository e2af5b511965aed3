/**
 * `npm run chaos -- --seed N --seconds S [--faults a,b] [--each N] [--results DIR] [--cycles] [--keep]`: runs the oracle once and
 * ends with a line such as
 *
 *     chaos: seed 1, 37 cycles, 41,203 acknowledged, 0 lost, 0 duplicated
 *
 * Exit code 0 when every promise was kept, 1 when one was not, 2 for wrong usage. The same seed makes the same choices again.
 * With `--each` the run ends as soon as every named point was met so often, and says which were not.
 *
 * `--on engines` runs it over several workers on Kafka, S3 and PostgreSQL (`npm run engines:up`), with faults of its own: `--faults kill,zombie,broker`.
 *
 * `--sum DIR` adds up the results of runs that were given `--results DIR`, as tables for docs/guarantees.md.
 * `--recovery` measures how long a start takes after a kill with much that is not stored yet.
 */
import { parseArgs } from "node:util";
import { type ClusterOutcome, runClusterOracle } from "./cluster/cluster-oracle.ts";
import { CLUSTER_FAULTS, type ClusterFault } from "./cluster/cluster-plan.ts";
import { TOPOLOGIES, type Topology } from "./cluster/topologies.ts";
import { DEFAULT_FAULTS, FAULTS, type Fault } from "./life-plan.ts";
import { runOracle } from "./oracle.ts";
import { POINTS } from "./points.ts";
import { measureRecovery } from "./recovery.ts";
import { summary, writeResult } from "./results.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
    seconds: { type: "string", default: "45" },
    on: { type: "string", default: "files" },
    workers: { type: "string" },
    faults: { type: "string" },
    each: { type: "string" },
    results: { type: "string" },
    sum: { type: "string" },
    recovery: { type: "boolean", default: false },
    cycles: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});

if (values.sum !== undefined) console.log(summary(values.sum));
else if (values.recovery) await measureRecovery((line) => console.log(line));
else if (values.on === "engines") await runOnEngines();
else await run();

async function run(): Promise<void> {
  const seed = Number(values.seed);
  const seconds = Number(values.seconds);
  const each = values.each === undefined ? undefined : Number(values.each);
  const faults = (values.faults?.split(",") ?? DEFAULT_FAULTS) as Fault[];
  const unknown = faults.filter((fault) => !FAULTS.includes(fault));
  const rightEach = each === undefined || (Number.isSafeInteger(each) && each > 0);
  if (!Number.isSafeInteger(seed) || !(seconds > 0) || !rightEach || unknown.length > 0 || values.on !== "files") {
    console.error(
      `usage: chaos --seed N --seconds S --faults ${FAULTS.join(",")} --each N --results DIR --cycles --keep | --on engines --seed N --seconds S --faults ${CLUSTER_FAULTS.join(",")} | --sum DIR | --recovery`,
    );
    process.exitCode = 2;
    return;
  }

  console.log(`chaos: seed ${seed}, ${seconds} s of ${faults.join(", ")}`);
  const startedAt = new Date();
  const say = (line: string) => values.cycles && console.log(line);
  const outcome = await runOracle({ seed, seconds, faults, each, say, keep: values.keep });
  if (values.results !== undefined) writeResult(values.results, { seed, seconds, faults, each, startedAt, outcome });
  const number = (value: number) => value.toLocaleString("en-US");
  const listed = (counts: ReadonlyMap<string, number>) =>
    [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `  ${String(count).padStart(6)}  ${what}`);
  if (values.cycles) {
    console.log(["killed at", ...listed(outcome.kills)].join("\n"));
    console.log(["queries told", ...listed(outcome.queries.refusals)].join("\n"));
  }
  console.log(["other faults", ...listed(outcome.faults)].join("\n"));
  const times = (ms: readonly number[]) => {
    const sorted = ms.toSorted((a, b) => a - b);
    const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
    return `median ${at(0.5)} ms, slowest ${at(1)} ms, of ${sorted.length}`;
  };
  console.log(`recovery: ${times(outcome.recoveriesMs)}`);
  if (outcome.stateBackMs.length > 0) console.log(`records back: ${times(outcome.stateBackMs)}`);
  console.log(
    `queries: ${number(outcome.queries.answered)} answered and right, ${number(outcome.queries.failed)} without an answer`,
  );
  const { emitted, deadLettered, windows, alerts } = outcome.reactions;
  console.log(
    `reactions: ${number(emitted)} emitted, ${number(deadLettered)} dead-lettered, ${number(windows)} windows, ${number(alerts)} alerts`,
  );
  const kills = [...outcome.kills.values()].reduce((sum, count) => sum + count, 0);
  const met = POINTS.filter((point) => outcome.kills.has(point)).length;
  console.log(`kills: ${number(kills)}, at ${met} of ${POINTS.length} named points`);
  const rare = POINTS.filter((point) => (outcome.kills.get(point) ?? 0) < (each ?? 0));
  if (rare.length > 0) console.log(`not met ${each} times: ${rare.join("; ")}`);
  for (const violation of outcome.violations) console.log(`VIOLATION ${violation}`);
  if (outcome.violations.length > 0) {
    const again = `--seed ${seed} --seconds ${seconds} --faults ${faults.join(",")}${each ? ` --each ${each}` : ""}`;
    console.log(`kept in ${outcome.dir}; again with: npm run chaos -- ${again}`);
  }
  console.log(
    `chaos: seed ${seed}, ${outcome.cycles} cycles, ${number(outcome.acknowledged)} acknowledged, ${number(outcome.lost)} lost, ${number(outcome.duplicated)} duplicated`,
  );
  process.exitCode = outcome.violations.length > 0 ? 1 : 0;
}

async function runOnEngines(): Promise<void> {
  const seed = Number(values.seed);
  const seconds = Number(values.seconds);
  const faults = (values.faults?.split(",") ?? CLUSTER_FAULTS) as ClusterFault[];
  const unknown = faults.filter((fault) => !CLUSTER_FAULTS.includes(fault));
  const topology = values.workers as Topology | undefined;
  const isKnown = topology === undefined || topology in TOPOLOGIES;
  if (!Number.isSafeInteger(seed) || !(seconds > 0) || unknown.length > 0 || !isKnown) {
    const workers = Object.keys(TOPOLOGIES).join("|");
    console.error(
      `usage: chaos --on engines --seed N --seconds S --faults ${CLUSTER_FAULTS.join(",")} --workers ${workers} --cycles --keep`,
    );
    process.exitCode = 2;
    return;
  }
  console.log(`chaos on engines: seed ${seed}, ${seconds} s of ${faults.join(", ")}`);
  const say = (line: string) => values.cycles && console.log(line);
  const outcome: ClusterOutcome = await runClusterOracle({ seed, seconds, faults, topology, say, keep: values.keep });
  const number = (value: number) => value.toLocaleString("en-US");
  const listed = (counts: ReadonlyMap<string, number>) =>
    [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `  ${String(count).padStart(6)}  ${what}`);
  console.log([`workers: ${outcome.workers}`, ...listed(outcome.faults)].join("\n"));
  if (values.cycles) console.log(["queries told", ...listed(outcome.queries.refusals)].join("\n"));
  const sorted = outcome.recoveriesMs.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  console.log(`back: median ${at(0.5)} ms, slowest ${at(1)} ms, of ${sorted.length}`);
  console.log(
    `queries: ${number(outcome.queries.answered)} answered and right, ${number(outcome.queries.failed)} without an answer`,
  );
  const { emitted, deadLettered, windows, alerts } = outcome.reactions;
  console.log(
    `reactions: ${number(emitted)} emitted, ${number(deadLettered)} dead-lettered, ${number(windows)} windows, ${number(alerts)} alerts`,
  );
  for (const violation of outcome.violations) console.log(`VIOLATION ${violation}`);
  if (outcome.violations.length > 0) {
    const again = `--on engines --seed ${seed} --seconds ${seconds} --faults ${faults.join(",")}${topology ? ` --workers ${topology}` : ""}`;
    console.log(`kept in ${outcome.dir}; again with: npm run chaos -- ${again}`);
  }
  const befallen = [...outcome.faults.values()].reduce((sum, count) => sum + count, 0);
  console.log(
    `chaos: seed ${seed}, ${befallen} faults, ${number(outcome.acknowledged)} acknowledged, ${number(outcome.lost)} lost, ${number(outcome.duplicated)} duplicated`,
  );
  process.exitCode = outcome.violations.length > 0 ? 1 : 0;
}
