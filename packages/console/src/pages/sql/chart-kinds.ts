/** Which charts a result can be. */
import type { ResultColumn, SqlResult } from "../../api.ts";

export type ChartKind = "line" | "bar" | "area" | "scatter" | "heat map";
export type View = "grid" | "number" | ChartKind;

export function isNumber({ type }: ResultColumn): boolean {
  return /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UBIGINT|DOUBLE|FLOAT|DECIMAL)/i.test(type);
}

export function isTime({ type }: ResultColumn): boolean {
  return /^(TIMESTAMP|DATE)/i.test(type);
}

/** The first is the one that fits best. */
export function viewsOf({ columns, rows }: SqlResult): readonly View[] {
  const [first, second] = columns;
  const values = columns.slice(1).filter(isNumber).length;
  if (first === undefined || rows.length === 0) return ["grid"];
  if (rows.length === 1 && columns.length === 1 && isNumber(first)) return ["number", "grid"];
  if (values === 0) return ["grid"];
  const heat = second !== undefined && columns.length >= 3 && !isNumber(second) ? (["heat map"] as const) : [];
  if (isTime(first)) return ["grid", "line", "area", "bar", "scatter", ...heat];
  return ["grid", "bar", "line", "area", "scatter", ...heat];
}
