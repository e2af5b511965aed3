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
