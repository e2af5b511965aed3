/** Whether silences hold an alert back at a moment, and until when. */
import { CronExpressionParser } from "cron-parser";
import type { Silence, SilenceMatch } from "../../flow/silences.ts";

/** What a silence asks of an alert. */
export interface Silenceable {
  readonly kind: string;
  readonly name: string;
  readonly key: string;
  readonly severity: string;
}

/** When an alert may be told; undefined: now. */
export function silencedUntilMs(silences: Iterable<Silence>, alert: Silenceable, nowMs: number): number | undefined {
  let untilMs: number | undefined;
  for (const silence of silences) {
    if (!matches(silence.match, alert)) continue;
    const window = windowAt(silence, nowMs);
    if (window !== undefined) untilMs = Math.max(untilMs ?? nowMs, window.toMs);
  }
  return untilMs;
}

export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The time of silence that a moment is in. */
export function windowAt(silence: Silence, nowMs: number): Window | undefined {
  const window = latestWindow(silence, nowMs);
  return window !== undefined && nowMs < window.toMs ? window : undefined;
}

/** The newest time of silence that began at a moment or before it. */
export function latestWindow(silence: Silence, nowMs: number): Window | undefined {
  const { startsAtMs, endsAtMs = Number.POSITIVE_INFINITY, repeat, ended } = silence;
  const lastMs = Math.min(endsAtMs, ended?.atMs ?? Number.POSITIVE_INFINITY);
  if (nowMs < startsAtMs) return undefined;
  if (repeat === undefined) return startsAtMs < lastMs ? { fromMs: startsAtMs, toMs: lastMs } : undefined;
  const fromMs = latestMoment(repeat.cron, repeat.timezone, Math.min(nowMs, lastMs - 1));
  if (fromMs === undefined || fromMs < startsAtMs) return undefined;
  return { fromMs, toMs: Math.min(fromMs + repeat.lastsMs, lastMs) };
}

export function matches(match: SilenceMatch, alert: Silenceable): boolean {
  return (
    (match.kind === undefined || match.kind === alert.kind) &&
    (match.severity === undefined || match.severity === alert.severity) &&
    (match.name === undefined || glob(match.name, alert.name)) &&
    (match.key === undefined || glob(match.key, alert.key))
  );
}

/** `*` stands for any text, everything else for itself. */
function glob(pattern: string, text: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return pattern === text;
  const [first = "", ...rest] = parts;
  const last = rest.pop() ?? "";
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}

/** A cron expression has a moment at least every four years or so; most have one every day. */
const REACHES_MS = [3_600_000, 86_400_000, 7 * 86_400_000, 31 * 86_400_000, 366 * 86_400_000, 5 * 366 * 86_400_000];

/**
 * The newest moment of a cron expression that is not after `nowMs`. Found by going forward from further and further back: `prev` of cron-parser leaves out
 * local times that the clocks skip.
 */
function latestMoment(cron: string, tz: string, nowMs: number): number | undefined {
  const first = (afterMs: number) =>
    CronExpressionParser.parse(cron, { tz, currentDate: new Date(afterMs) })
      .next()
      .getTime();
  const reach = REACHES_MS.find((ms) => first(nowMs - ms) <= nowMs);
  if (reach === undefined) return undefined;
  let [earlyMs, lateMs] = [nowMs - reach, nowMs];
  let found = first(earlyMs);
  // Halved until nothing lies between what was found and now; of most expressions that is so at once.
  while (first(found) <= nowMs) {
    const middle = Math.floor((earlyMs + lateMs) / 2);
    const next = first(middle);
    if (next <= nowMs) [earlyMs, found] = [middle, next];
    else lateMs = middle;
  }
  return found;
}
