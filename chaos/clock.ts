/** A clock that jumps, and the times that files would carry if the machine's own clock had jumped with it. */
import { clockOffsetMs } from "./faults.ts";

const jumps: { realMs: number; offsetMs: number }[] = [{ realMs: 0, offsetMs: clockOffsetMs }];

export function now(): number {
  return Date.now() + (jumps.at(-1)?.offsetMs ?? 0);
}

export function jump(byMs: number): void {
  jumps.push({ realMs: Date.now(), offsetMs: (jumps.at(-1)?.offsetMs ?? 0) + byMs });
}

/** What the jumping clock showed at a real time. */
export function shownAt(realMs: number): number {
  return realMs + (jumps.findLast((step) => step.realMs <= realMs)?.offsetMs ?? 0);
}
