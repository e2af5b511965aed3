/** A number as a sentence has it: six digits that say something, no exponent unless it is needed. */
export function numberText(value: number): string {
  if (!Number.isFinite(value))
    return value > 0 ? "more than can be said" : value < 0 ? "less than can be said" : "no number";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  return String(Number(value.toPrecision(6)));
}

/** A duration as it is written in definitions: `90s`, `15m`, `2h`, `7d`. */
export function durationText(ms: number): string {
  for (const [unit, size] of UNITS) if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
] as const;
