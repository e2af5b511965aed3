/** What runs found, one file each: `seed-N.json`. They are made to be added up. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JudgedReactions } from "./judge-reactions.ts";
import type { Fault } from "./life-plan.ts";
import type { Outcome } from "./oracle.ts";
import { POINTS } from "./points.ts";

interface Result {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Fault[];
  readonly each: number | null;
  readonly startedAt: string;
  readonly cycles: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly violations: readonly string[];
  readonly kills: Readonly<Record<string, number>>;
  readonly otherFaults: Readonly<Record<string, number>>;
  readonly queriesAnswered: number;
  readonly queriesFailed: number;
  readonly reactions: JudgedReactions;
  readonly recoveriesMs: readonly number[];
  readonly stateBackMs: readonly number[];
}

export interface Ran {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Fault[];
  readonly each: number | undefined;
  readonly startedAt: Date;
  readonly outcome: Outcome;
}

export function writeResult(dir: string, { seed, seconds, faults, each, startedAt, outcome }: Ran): void {
  mkdirSync(dir, { recursive: true });
  const result: Result = {
    seed,
    seconds,
    faults,
    each: each ?? null,
    startedAt: startedAt.toISOString(),
    cycles: outcome.cycles,
    acknowledged: outcome.acknowledged,
    lost: outcome.lost,
    duplicated: outcome.duplicated,
    violations: outcome.violations,
    kills: sorted(outcome.kills),
    otherFaults: sorted(outcome.faults),
    queriesAnswered: outcome.queries.answered,
    queriesFailed: outcome.queries.failed,
    reactions: outcome.reactions,
    recoveriesMs: outcome.recoveriesMs.map(Math.round),
    stateBackMs: outcome.stateBackMs.map(Math.round),
  };
  writeFileSync(join(dir, `seed-${seed}.json`), `${JSON.stringify(result, undefined, 1)}\n`);
}

/** The runs of a folder as Markdown: a row for each, their sum, and how often each kind of kill and fault was there. */
export function summary(dir: string): string {
  const names = readdirSync(dir).filter((name) => /^seed-\d+\.json$/.test(name));
  const results = names.map((name) => JSON.parse(readFileSync(join(dir, name), "utf8")) as Result);
  results.sort((a, b) => a.seed - b.seed);
  const kills = added(results.map((result) => result.kills));
  const faults = added(results.map((result) => result.otherFaults));
  const sum = (of: (result: Result) => number) => results.reduce((all, result) => all + of(result), 0);
  const line = (name: string, killed: ReadonlyMap<string, number>, of: (what: (result: Result) => number) => number) =>
    row([
      name,
      of(({ cycles }) => cycles),
      total(killed),
      POINTS.filter((point) => killed.has(point)).length,
      of(({ acknowledged }) => acknowledged),
      of(({ queriesAnswered }) => queriesAnswered),
      of(({ reactions }) => reactions.emitted),
      of(({ reactions }) => reactions.deadLettered),
      of(({ reactions }) => reactions.windows),
      of(({ reactions }) => reactions.alerts),
      of(({ lost }) => lost),
      of(({ duplicated }) => duplicated),
      of(({ violations }) => violations.length),
    ]);
  const head = [
    "Seed",
    "Cycles",
    "Kills",
    "Named points",
    "Acknowledged",
    "Queries",
    "Emitted",
    "Dead letters",
    "Windows",
    "Alerts",
    "Lost",
    "Duplicated",
    "Other violations",
  ];
  const never = POINTS.filter((point) => !kills.has(point));
  const recoveries = results.flatMap((result) => result.recoveriesMs).sort((a, b) => a - b);
  const back = results.flatMap((result) => result.stateBackMs).sort((a, b) => a - b);
  return [
    row(head),
    row(head.map(() => "---")),
    ...results.map((result) => line(String(result.seed), new Map(Object.entries(result.kills)), (of) => of(result))),
    line("**all**", kills, sum),
    "",
    `Named points without a kill: ${never.length === 0 ? "none" : never.join("; ")}.`,
    `Fewest kills at a named point: ${Math.min(...POINTS.map((point) => kills.get(point) ?? 0))}.`,
    `Time to ready after a kill: median ${at(recoveries, 0.5)} ms, 99th of a hundred ${at(recoveries, 0.99)} ms, slowest ${at(recoveries, 1)} ms.`,
    `Records back after PostgreSQL was killed: median ${at(back, 0.5)} ms, slowest ${at(back, 1)} ms, ${back.length} times.`,
    "",
    row(["Killed at", "Times"]),
    row(["---", "---"]),
    ...[...kills].map(row),
    "",
    row(["Further faults", "Times"]),
    row(["---", "---"]),
    ...[...faults].map(row),
  ].join("\n");
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.map((cell) => cell.toLocaleString("en-US")).join(" | ")} |`;
}

function at(ordered: readonly number[], share: number): number {
  return ordered[Math.floor((ordered.length - 1) * share)] ?? 0;
}

function total(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function added(all: readonly Readonly<Record<string, number>>[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const counts of all)
    for (const [what, count] of Object.entries(counts)) sums.set(what, (sums.get(what) ?? 0) + count);
  return new Map([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}
