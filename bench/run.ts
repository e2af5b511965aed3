/**
 * Measures the speed table: `npm run bench [-- NAME…] [--seconds N] [--dry]`.
 *
 * Every row is a file in `bench/rows/` and measures its peers in the same run. What a row gives is printed, kept in
 * `bench/results.json` and shown by `docs/benchmarks.md`; `--dry` only prints. `--seconds` is the time under load of each row that has one
 * (default 6). Speed alone never fails a run: the exit code is 1 only when a row could not be measured.
 */
import { parseArgs } from "node:util";
import { ratio, writeBenchmarksPage } from "./benchmarks-page.ts";
import { quantity } from "./quantities.ts";
import { keepResult, type Measurement, thisMachine, verdict } from "./results.ts";
import { writeScalePage } from "./scale-page.ts";
import { type Row, SPEED_TABLE } from "./speed-table.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: "string", default: "6" }, dry: { type: "boolean", default: false } },
});
const names = SPEED_TABLE.map((row) => row.name);
const unknown = positionals.filter((name) => !names.includes(name));
const seconds = Number(values.seconds);
if (unknown.length > 0 || !(seconds > 0)) {
  console.error(`npm run bench -- [NAME…] [--seconds N] [--dry]\nNAME is one of: ${names.join(", ")}`);
  process.exit(2);
}

const machine = thisMachine();
console.log(`${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, load average before ${machine.otherLoad}`);
for (const row of SPEED_TABLE) {
  if (positionals.length > 0 && !positionals.includes(row.name)) continue;
  console.log(`\n${row.name}: ${row.what}`);
  const startedMs = performance.now();
  try {
    const { measure } = (await import(`./rows/${row.name}.ts`)) as { measure(seconds: number): Promise<Measurement> };
    const measurement = await measure(seconds);
    show(row, measurement);
    if (!values.dry) keepResult(row.name, machine, measurement);
  } catch (error) {
    process.exitCode = 1;
    console.log(`  could not be measured: ${error instanceof Error ? error.stack : error}`);
  }
  console.log(`  took ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
}
if (!values.dry) {
  writeBenchmarksPage();
  writeScalePage();
}

function show({ figures }: Row, measurement: Measurement): void {
  for (const [id, declaration] of Object.entries(figures)) {
    const figure = measurement.figures[id];
    if (figure === undefined) continue;
    const { unit, label, floor, aim } = declaration;
    const asked = [
      floor !== undefined && `floor ${quantity(floor, unit)}`,
      aim !== undefined && `aim ${quantity(aim, unit)}`,
    ];
    const said = [...asked.filter(Boolean), verdict(declaration, figure.value)].filter(Boolean).join(", ");
    console.log(`  ${label.padEnd(58)} ${quantity(figure.value, unit).padEnd(18)} ${said}`);
    for (const [what, peer] of Object.entries(figure.peers ?? {}))
      console.log(`      ${ratio(figure.value, peer)} of ${quantity(peer, unit)}: ${what}`);
  }
  for (const [name, value] of Object.entries(measurement.conditions)) console.log(`  ${name}: ${value}`);
}
