import type { Unit } from "./speed-table.ts";

/** A figure as people read it: `512 k events/s`, `4.1 ms`, `1.2 x`. */
export function quantity(value: number, unit: Unit): string {
  return `${amount(value)} ${unit}`;
}

function amount(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 10_000) return `${Math.round(value / 1_000)} k`;
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return String(Number(value.toPrecision(2)));
}

/** The value below which `share` of the values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** Three digits are as much as a measurement means. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
