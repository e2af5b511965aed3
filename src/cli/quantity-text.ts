/** Quantities as people read them at a glance: rounded, unlike the exact texts of `config/quantity.ts`. */

/** `1234567` -> `1,234,567` */
export function countText(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** `1536` -> `1.5 KiB` */
export function bytesText(bytes: number): string {
  let size = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (size < 1_024) return `${unit === "B" ? size : size.toFixed(1)} ${unit}`;
    size /= 1_024;
  }
  return `${size.toFixed(1)} TiB`;
}

/** `840` -> `840 ms`, `12_300` -> `12.3 s`, `3_723_000` -> `1 h 2 min` */
export function elapsedText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
