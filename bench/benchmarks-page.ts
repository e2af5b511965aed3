/** Writes `docs/benchmarks.md` from the kept results; a test holds the committed page to it. */
import { writeFileSync } from "node:fs";
import { quantity } from "./quantities.ts";
import { type Figure, type Machine, type Result, type Results, readResults, verdict } from "./results.ts";
import { type FigureDeclaration, type Row, SPEED_TABLE } from "./speed-table.ts";

export function writeBenchmarksPage(): void {
  writeFileSync(new URL("../docs/benchmarks.md", import.meta.url), benchmarksPage(readResults()));
}

export function benchmarksPage(results: Results): string {
  const rows = SPEED_TABLE.filter((row) => results[row.name] !== undefined);
  const lines = [
    "# Benchmarks",
    "",
    "Written by `npm run bench`, which measures all rows, or `npm run bench -- NAME…` for some; `bench/results.json` has the figures. The load",
    "generator runs on the same machine as what it measures. A *peer* is the bare work, measured in the same run on the same machine: what",
    "its ratio says holds on another machine too, where the figure itself does not. Floor and aim are for two cores.",
    "",
    "| what | | floor | aim | measured | ratio to the peer |",
    "|---|---|---|---|---|---|",
    ...rows.flatMap((row) => tableLines(row, results[row.name] as Result)),
    "",
    ...rows.flatMap((row) => sectionLines(row, results[row.name] as Result)),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

/** The figures that something is asked of, one line each. */
function tableLines({ name, what, figures }: Row, result: Result): string[] {
  const judged = Object.entries(figures).filter(([, { floor }]) => floor !== undefined);
  return judged.map(([id, declaration], index) => {
    const { unit, floor, aim, label } = declaration;
    const figure = result.figures[id];
    const mark = (value: number | undefined) => (value === undefined ? "" : quantity(value, unit));
    const cells = [
      index === 0 ? `[${what}](#${name})` : "",
      label,
      mark(floor),
      mark(aim),
      figure === undefined
        ? "not measured"
        : `**${quantity(figure.value, unit)}**, ${verdict(declaration, figure.value)}`,
      figure === undefined ? "" : ratios(figure).join(", "),
    ];
    return `| ${cells.join(" | ")} |`;
  });
}

function sectionLines({ name, what, figures }: Row, result: Result): string[] {
  const lines = [
    `## ${name}`,
    "",
    `${upperFirst(what)}.`,
    "",
    "| | measured | peers in the same run |",
    "|---|---|---|",
  ];
  for (const [id, declaration] of Object.entries(figures)) {
    const figure = result.figures[id];
    if (figure === undefined) continue;
    lines.push(
      `| ${declaration.label} | ${quantity(figure.value, declaration.unit)} | ${peers(figure, declaration)} |`,
    );
  }
  lines.push("", ...Object.entries(result.conditions).map(([name, value]) => `- ${name}: ${value}`));
  lines.push(`- machine: ${machine(result.measured)}`, "");
  return lines;
}

function peers({ value, peers = {} }: Figure, { unit }: FigureDeclaration): string {
  const texts = Object.entries(peers).map(([what, peer]) => `${quantity(peer, unit)} (${ratio(value, peer)}): ${what}`);
  return texts.join("<br>");
}

function ratios({ value, peers = {} }: Figure): string[] {
  return Object.values(peers).map((peer) => ratio(value, peer));
}

export function ratio(value: number, peer: number): string {
  return `${Number((value / peer).toPrecision(2))} x`;
}

function machine({ at, cores, cpu, memoryGiB, node, system, otherLoad }: Machine): string {
  return `${cores} cores of ${cpu}, ${memoryGiB} GiB, ${system}, Node ${node}, load average before the run ${otherLoad}; ${at.slice(0, 10)}`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
