/**
 * What is done to one life of a platform process. The plan is written by the oracle before it starts the process, so that a
 * life can be repeated; the disks of `log-disk.ts`, `lake-disk.ts` and `index-disk.ts` ask here at each of their steps.
 * The main thread and the thread of the duplicate indexes each have their own copy of the counts.
 */
import { writeSync } from "node:fs";

export interface Plan {
  /** Dies at the `nth` passage of a named point of `points.ts`. */
  readonly kill?: { readonly point: string; readonly nth: number };
  /** Steps of a disk that fail for a while, measured from the start of the process. */
  readonly failing?: readonly Failing[];
  /**
   * The machine loses power where the process dies: what was written to the log and not synced is gone. Without it a
   * killed process leaves everything it wrote to the kernel.
   */
  readonly losesUnsynced?: boolean;
  /** Added to the clock from the start. */
  readonly clockOffsetMs?: number;
}

export interface Failing {
  readonly disk: Disk;
  readonly steps: "write" | "sync" | "any";
  readonly code: "EIO" | "ENOSPC";
  readonly fromMs: number;
  readonly untilMs: number;
}

export type Disk = "log" | "lake" | "index";

const plan = JSON.parse(process.env["CHAOS_PLAN"] ?? "{}") as Plan;
const passages = new Map<string, number>();

export const losesUnsynced = plan.losesUnsynced ?? false;
export const clockOffsetMs = plan.clockOffsetMs ?? 0;

/** Passes a named point, or ends there. `last` is what the machine still does before it is gone. */
export function pass(point: string, last?: () => void): void {
  const count = (passages.get(point) ?? 0) + 1;
  passages.set(point, count);
  if (plan.kill?.point !== point || plan.kill.nth !== count) return;
  last?.();
  writeSync(1, `killed at ${point}\n`);
  process.kill(process.pid, "SIGKILL");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // nothing after this line happens any more
}

/** True when this passage will be the last: for steps that are cut in their middle. */
export function endsAt(point: string): boolean {
  return plan.kill?.point === point && plan.kill.nth === (passages.get(point) ?? 0) + 1;
}

/** @throws what the plan says the disk answers now */
export function meet(disk: Disk, step: "write" | "sync", path: string): void {
  const nowMs = performance.timeOrigin + performance.now() - processStartMs();
  for (const { disk: of, steps, code, fromMs, untilMs } of plan.failing ?? []) {
    if (of !== disk || (steps !== "any" && steps !== step) || nowMs < fromMs || nowMs >= untilMs) continue;
    throw Object.assign(new Error(`${code}: injected, ${step} ${path}`), { code });
  }
}

/** The same for all threads. */
function processStartMs(): number {
  return Number(process.env["CHAOS_STARTED_MS"]);
}
