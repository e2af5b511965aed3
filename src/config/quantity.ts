import { parseDuration } from "../define/duration.ts";

/** Durations and sizes as people write them: `5s`, `7d`, `250ms`; `64MiB`, `32 MB`, `1.5GiB`, or bare numbers. */

const DURATION_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 };

const SIZE_BYTES: Record<string, number> = {
  b: 1,
  kb: 1_000,
  mb: 1_000_000,
  gb: 1_000_000_000,
  kib: 1_024,
  mib: 1_048_576,
  gib: 1_073_741_824,
};

/** Milliseconds; a bare number is milliseconds. Undefined when the text is no duration. */
export function readDuration(text: string): number | undefined {
  return /^\d+$/.test(text.trim()) ? Number(text) : parseDuration(text);
}

/** Bytes; a bare number is bytes. KiB, MiB and GiB are powers of 1,024, KB, MB and GB of 1,000. */
export function readSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(b|[kmg]i?b)?$/.exec(text.trim().toLowerCase());
  return match === null ? undefined : Math.round(Number(match[1]) * SIZE_BYTES[match[2] ?? "b"]!);
}

/** The shortest exact text: 5000 -> `5s`, 604800000 -> `7d`, 1500 -> `1500ms`. */
export function formatDuration(ms: number): string {
  for (const [unit, unitMs] of Object.entries(DURATION_MS))
    if (ms !== 0 && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  return `${ms}ms`;
}

/** The shortest exact text in powers of 1,024: 67108864 -> `64MiB`, 1000 -> `1000B`. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of [
    ["GiB", SIZE_BYTES.gib!],
    ["MiB", SIZE_BYTES.mib!],
    ["KiB", SIZE_BYTES.kib!],
  ] as const) {
    if (bytes !== 0 && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}B`;
}
