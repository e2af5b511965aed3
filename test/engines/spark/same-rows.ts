/**
 * What two results differ in, in words; undefined where they have the same rows in any order. Doubles may differ by a trillionth of their size, for sums of
 * them depend on the order in which they are added.
 */
export function difference(left: readonly unknown[][], right: readonly unknown[][]): string | undefined {
  if (left.length !== right.length) return `${left.length} rows and ${right.length} rows`;
  const [a, b] = [sorted(left), sorted(right)];
  for (const [i, row] of a.entries()) {
    if (!sameValue(row, b[i])) return `${JSON.stringify(row)} and ${JSON.stringify(b[i])}`;
  }
  return undefined;
}

/** By what is compared exactly first, so that two rows that differ in a last digit meet. */
function sorted(rows: readonly unknown[][]): unknown[][] {
  const key = (row: unknown[]) => JSON.stringify([row.map((value) => (isFraction(value) ? "" : value)), row]);
  return rows
    .map((row) => [key(row), row] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, row]) => row);
}

function isFraction(value: unknown): value is number {
  return typeof value === "number" && !Number.isInteger(value);
}

/** Equal, or doubles that differ by a trillionth of their size. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") {
    return a === b || Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b));
  }
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((value, i) => sameValue(value, b[i]));
  if (typeof a === "object" && a !== null && typeof b === "object" && b !== null) {
    const [x, y] = [Object.entries(a), b as Record<string, unknown>];
    return x.length === Object.keys(b).length && x.every(([name, value]) => sameValue(value, y[name]));
  }
  return a === b;
}
