/** Numbers, sizes and moments as people read them, with their units. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** `12,345`. */
export function count(value: number): string {
  return whole.format(value);
}

/** `12.3K`: where room is little. */
export function compact(value: number): string {
  return Math.abs(value) < 1000 ? whole.format(value) : short.format(value);
}

/** `120 /s`, `0.4 /s`; `0 /s` only when there is nothing. */
export function rate(perSecond: number): string {
  if (perSecond === 0) return "0 /s";
  if (perSecond < 0.1) return "< 0.1 /s";
  return `${perSecond < 10 ? perSecond.toFixed(1) : compact(perSecond)} /s`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(size: number): string {
  let value = size;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `3.2 ms`, `41 s`, `5 min`, `3 h`, `12 d`. */
export function duration(ms: number): string {
  if (ms < 1) return `${Math.max(ms, 0).toFixed(2)} ms`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayClock = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const whenever = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

/** In the viewer's zone; the nearer, the shorter. */
export function moment(atMs: number, nowMs = Date.now()): string {
  const away = Math.abs(nowMs - atMs);
  if (away < 12 * 3_600_000) return clock.format(atMs);
  if (away < 180 * 86_400_000) return dayClock.format(atMs);
  return whenever.format(atMs);
}

/** `just now`, `12 s ago`. */
export function ago(atMs: number, nowMs = Date.now()): string {
  const ms = nowMs - atMs;
  if (ms < 1500) return "just now";
  return `${duration(Math.round(ms / 1000) * 1000)} ago`;
}

/** ISO 8601 in UTC, to the millisecond. */
export function utc(atMs: number): string {
  return new Date(atMs).toISOString().replace("T", " ").replace("Z", " UTC");
}

/** A value of a result as one line of text. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return JSON.stringify(value);
}
