/**
 * `npm run chaos -- --seed N --seconds S [--faults a,b] [--cycles] [--keep]`: runs the oracle once and ends with a line such as
 *
 *     chaos: seed 1, 37 cycles, 41,203 acknowledged, 0 lost, 0 duplicated
 *
 * Exit code 0 when every promise was kept, 1 when one was not, 2 for wrong usage. The same seed makes the same choices again.
 */
import { parseArgs } from "node:util";
import { DEFAULT_FAULTS, FAULTS, type Fault } from "./life-plan.ts";
import { runOracle } from "./oracle.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
    seconds: { type: "string", default: "45" },
    faults: { type: "string", default: DEFAULT_FAULTS.join(",") },
    cycles: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const seconds = Number(values.seconds);
const faults = values.faults.split(",") as Fault[];
const unknown = faults.filter((fault) => !FAULTS.includes(fault));
if (!Number.isSafeInteger(seed) || !(seconds > 0) || unknown.length > 0) {
  console.error(`usage: chaos --seed N --seconds S --faults ${FAULTS.join(",")} --cycles --keep`);
  process.exit(2);
}

console.log(`chaos: seed ${seed}, ${seconds} s of ${faults.join(", ")}`);
const outcome = await runOracle({
  seed,
  seconds,
  faults,
  say: (line) => values.cycles && console.log(line),
  keep: values.keep,
});
const number = (value: number) => value.toLocaleString("en-US");
const listed = (counts: ReadonlyMap<string, number>) =>
  [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, count]) => `  ${String(count).padStart(6)}  ${what}`);
if (values.cycles) {
  console.log(["killed at", ...listed(outcome.kills)].join("\n"));
  console.log(["queries told", ...listed(outcome.queries.refusals)].join("\n"));
}
console.log(["other faults", ...listed(outcome.faults)].join("\n"));
const recoveries = outcome.recoveriesMs.toSorted((a, b) => a - b);
const at = (share: number) => Math.round(recoveries[Math.floor((recoveries.length - 1) * share)] ?? 0);
console.log(`recovery: median ${at(0.5)} ms, slowest ${at(1)} ms, of ${recoveries.length}`);
console.log(
  `queries: ${number(outcome.queries.answered)} answered and right, ${number(outcome.queries.failed)} without an answer`,
);
const kills = [...outcome.kills.values()].reduce((sum, count) => sum + count, 0);
console.log(`kills: ${number(kills)}, at ${outcome.kills.size} places`);
for (const violation of outcome.violations) console.log(`VIOLATION ${violation}`);
if (outcome.violations.length > 0)
  console.log(
    `kept in ${outcome.dir}; again with: npm run chaos -- --seed ${seed} --seconds ${seconds} --faults ${faults.join(",")}`,
  );
console.log(
  `chaos: seed ${seed}, ${outcome.cycles} cycles, ${number(outcome.acknowledged)} acknowledged, ${number(outcome.lost)} lost, ${number(outcome.duplicated)} duplicated`,
);
process.exitCode = outcome.violations.length > 0 ? 1 : 0;
