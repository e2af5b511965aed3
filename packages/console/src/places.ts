/** Where each thing is shown. */
export function nodePath(id: string): string {
  const [kind = "", ...rest] = id.split(":");
  const name = encodeURIComponent(rest.join(":"));
  if (kind === "stream" || kind === "window") return `/streams/${name}`;
  if (kind === "table") return `/tables/${name}`;
  if (kind === "feature") return `/tables/${encodeURIComponent(`features.${rest.join(":")}`)}`;
  if (kind === "workflow") return `/runs?workflow=${name}`;
  return `/?focus=${encodeURIComponent(id)}`;
}

/** The map with the path of one column lit. */
export function columnPath(table: string, column: string): string {
  return `/map?column=${encodeURIComponent(`${table}.${column}`)}`;
}

/** `silver.orders.amount`: what stands behind the last point is the column. */
export function columnOf(text: string | null): { table: string; column: string } | undefined {
  const point = text?.lastIndexOf(".") ?? -1;
  return text === null || point <= 0 ? undefined : { table: text.slice(0, point), column: text.slice(point + 1) };
}
