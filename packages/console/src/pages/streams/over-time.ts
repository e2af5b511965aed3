/** Events over time as bars: of what the lake tells in steps, the largest few by name and the others together. */
import type { Series } from "../../ui/charts.tsx";

export const RANGES = [
  ["1 hour", 1],
  ["6 hours", 6],
  ["1 day", 24],
  ["1 week", 168],
] as const;

const STEPS = 60;
const MINUTE_MS = 60_000;
const MOST_SERIES = 5;

export interface Steps {
  readonly fromMs: number;
  readonly stepMs: number;
  readonly steps: number;
}

/** Whole minutes, so that a bar means the same from one look to the next. */
export function stepsOver(hours: number, nowMs: number): Steps {
  const stepMs = Math.ceil((hours * 60) / STEPS) * MINUTE_MS;
  const steps = Math.ceil((hours * 60 * MINUTE_MS) / stepMs);
  return { fromMs: (Math.floor(nowMs / stepMs) + 1 - steps) * stepMs, stepMs, steps };
}

/** `rows`: a name, the step, how many. */
export function seriesOf(rows: readonly (readonly unknown[])[], { steps }: Steps): Series[] {
  const byName = new Map<string, number[]>();
  for (const [name, step, events] of rows) {
    const values = byName.get(String(name)) ?? new Array<number>(steps).fill(0);
    byName.set(String(name), values);
    const at = Number(step);
    if (at >= 0 && at < steps) values[at] = (values[at] ?? 0) + Number(events);
  }
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const all = [...byName].map(([name, values]) => ({ name, values })).toSorted((a, b) => sum(b.values) - sum(a.values));
  if (all.length <= MOST_SERIES) return all;
  const others = all.slice(MOST_SERIES);
  const together = Array.from({ length: steps }, (_, i) => sum(others.map(({ values }) => values[i] ?? 0)));
  return [...all.slice(0, MOST_SERIES), { name: `${others.length} others`, values: together, colour: "line-strong" }];
}
