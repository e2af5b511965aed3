/** Bounds, as sentences and details have them. Infinity stands for none. */
import { numberText } from "./number-text.ts";

/** `above 5 or below 2` */
export function boundsText(above: number, below: number): string {
  return [
    ...(Number.isFinite(above) ? [`above ${numberText(above)}`] : []),
    ...(Number.isFinite(below) ? [`below ${numberText(below)}`] : []),
  ].join(" or ");
}

/** The bounds that there are: infinity is no JSON. */
export function range(low: number, high: number): { low?: number; high?: number } {
  return { ...(Number.isFinite(low) ? { low } : {}), ...(Number.isFinite(high) ? { high } : {}) };
}

/** ` (80 to 95)` */
export function rangeText(low: number, high: number): string {
  if (Number.isFinite(low) && Number.isFinite(high)) return ` (${numberText(low)} to ${numberText(high)})`;
  if (Number.isFinite(high)) return ` (at most ${numberText(high)})`;
  return Number.isFinite(low) ? ` (at least ${numberText(low)})` : "";
}
