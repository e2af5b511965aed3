/**
 * The last measurement of every row, kept in `bench/results.json`:
 *
 *     {"ingest-batched": {
 *        "measured": {"at": "2026-01-05T08:00:00.000Z", "cores": 2, "cpu": "…", "memoryGiB": 8, "node": "v24.1.0",
 *                     "system": "linux x64", "otherLoad": 0.1},
 *        "conditions": {"batch": "100 events a request", "fsync": "before every answer"},
 *        "figures": {"rate": {"value": 512000, "peers": {"a node:http server that only reads the body": 900000}}}}}
 *
 * A peer's figure is in the unit of the figure it stands beside and was measured in the same run.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import type { FigureDeclaration } from "./speed-table.ts";

export interface Measurement {
  readonly figures: Readonly<Record<string, Figure>>;
  /** Event bytes, batch size, fsync mode and whatever else the figures depend on. */
  readonly conditions: Readonly<Record<string, string>>;
}

export interface Figure {
  readonly value: number;
  /** What the machine gives for the bare work: name -> its figure. */
  readonly peers?: Readonly<Record<string, number>>;
}

export interface Result extends Measurement {
  readonly measured: Machine;
}

export interface Machine {
  readonly at: string;
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly system: string;
  /** Load average before the run: well above 0 on a machine that was not quiet, which makes every figure worse. */
  readonly otherLoad: number;
}

export type Results = Readonly<Record<string, Result>>;

const FILE = new URL("results.json", import.meta.url);

export function readResults(): Results {
  return JSON.parse(readFileSync(FILE, "utf8")) as Results;
}

/** Replaces the result of one row and keeps the others. */
export function keepResult(name: string, measured: Machine, measurement: Measurement): void {
  const results: Results = { ...readResults(), [name]: { measured, ...measurement } };
  writeFileSync(FILE, `${JSON.stringify(results, null, 2)}\n`);
}

export function thisMachine(): Machine {
  return {
    at: new Date().toISOString(),
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    system: `${process.platform} ${process.arch}`,
    otherLoad: Number((loadavg()[0] ?? 0).toFixed(1)),
  };
}

export type Verdict = "aim reached" | "floor reached" | "below the floor" | undefined;

/** What a figure's value says of its floor and aim; undefined where it has none. */
export function verdict(declaration: FigureDeclaration, value: number): Verdict {
  const { floor, aim, better } = declaration;
  const reaches = (mark: number) => (better === "higher" ? value >= mark : value <= mark);
  if (aim !== undefined && reaches(aim)) return "aim reached";
  if (floor === undefined) return undefined;
  return reaches(floor) ? "floor reached" : "below the floor";
}
