const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration text such as `7d`, `36h`, `15m`, `30s` or `500ms` in milliseconds; undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(text.trim());
  if (match === null) return undefined;
  const durationMs = Number(match[1]) * UNITS[match[2]!]!;
  return Number.isSafeInteger(durationMs) ? durationMs : undefined;
}
