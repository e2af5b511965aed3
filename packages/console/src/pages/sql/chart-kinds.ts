/** Which charts a result can be. */
import type { ResultColumn, SqlResult } from "../../api.ts";

export type ChartKind = "line" | "bar" | "area" | "scatter" | "heat map" | "map";
/** `auto` is what fits best, until somebody chooses. */
export type View = "auto" | "grid" | "number" | ChartKind;

export function isNumber({ type }: ResultColumn): boolean {
  return /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UBIGINT|DOUBLE|FLOAT|DECIMAL)/i.test(type);
}

export function isTime({ type }: ResultColumn): boolean {
  return /^(TIMESTAMP|DATE)/i.test(type);
}

/** Which columns say where a row is: by their names, as `lon` and `lat` or `longitude` and `latitude`, also behind `home_`. */
export function placesIn(columns: readonly ResultColumn[]): { longitude: number; latitude: number } | undefined {
  const find = (name: RegExp) => columns.findIndex((column) => isNumber(column) && name.test(column.name));
  const longitude = find(/(^|_)(lon|lng|long|longitude)$/i);
  const latitude = find(/(^|_)(lat|latitude)$/i);
  return longitude < 0 || latitude < 0 ? undefined : { longitude, latitude };
}

/** More would be a table. */
const MOST_BIG_NUMBERS = 6;

/** How a result is shown that was wanted so: as it fits best where it cannot be. */
export function viewOf(wanted: View, result: SqlResult): Exclude<View, "auto"> {
  const views = viewsOf(result);
  return views.find((view) => view === wanted) ?? (views[0] as Exclude<View, "auto">);
}

/** The first is the one that fits best. */
export function viewsOf({ columns, rows }: SqlResult): readonly Exclude<View, "auto">[] {
  const [first, second] = columns;
  const values = columns.slice(1).filter(isNumber).length;
  if (first === undefined || rows.length === 0) return ["grid"];
  const map = placesIn(columns) === undefined ? [] : (["map"] as const);
  if (rows.length === 1 && columns.length <= MOST_BIG_NUMBERS && columns.every(isNumber) && map.length === 0)
    return ["number", "grid"];
  if (values === 0) return ["grid", ...map];
  const heat = second !== undefined && columns.length >= 3 && !isNumber(second) ? (["heat map"] as const) : [];
  if (isTime(first)) return ["grid", "line", "area", "bar", "scatter", ...heat, ...map];
  return ["grid", "bar", "line", "area", "scatter", ...heat, ...map];
}
