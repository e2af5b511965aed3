import { statfs } from "node:fs/promises";
import type { TableBeingBuilt } from "../flow/catch-up.ts";
import type { Flow } from "../flow/flow.ts";
import type { Readiness } from "../gateway/health-routes.ts";
import type { EventLog } from "../log/event-log.ts";
import type { Pipeline } from "./pipeline.ts";

/** Below this much free space the next flush may fail, so senders should be told before. */
const LEAST_FREE_BYTES = 64 * 1024 * 1024;

export interface ReadinessParts {
  readonly dir: string;
  readonly log: Pick<EventLog, "problems">;
  /** Why the records cannot be reached, while they cannot. */
  readonly records: () => string | undefined;
  /** Why no caller can be known, while none can. */
  readonly keys: () => string | undefined;
  /** Whether this process does anything that goes on without the records. */
  readonly goesOn: boolean;
  /** Why this process takes nothing more, while it stops. */
  readonly stopping: () => string | undefined;
  /** Undefined for a process that only takes events. */
  readonly pipeline: Omit<Pipeline, "begin"> | undefined;
}

/** Whether the whole path from the door to the tables works, as far as it leads through this process, part by part. */
export function readiness(parts: ReadinessParts): () => Promise<Readiness> {
  const { dir, log, stopping, pipeline, goesOn } = parts;
  return async () => {
    const checks: Checks = pipeline === undefined ? {} : await behindTheLog(pipeline);
    const records = parts.records();
    // Events are taken and stored, and queries answered, while they are away.
    checks["records"] =
      records === undefined ? { ok: true } : { ok: goesOn, message: goesOn ? `degraded: ${records}` : records };
    const idle = pipeline?.orchestration.problem();
    if (idle !== undefined) checks["workflows"] = { ok: goesOn, message: goesOn ? `degraded: ${idle}` : idle };
    const keys = parts.keys();
    if (keys !== undefined) checks["keys"] = { ok: false, message: keys };
    const problems = log.problems?.();
    if (problems !== undefined)
      checks["log"] = problems.length === 0 ? { ok: true } : { ok: false, message: problems.join("; ") };
    const { bavail, bsize } = await statfs(dir);
    const free = bavail * bsize;
    checks["disk"] =
      free >= LEAST_FREE_BYTES
        ? { ok: true }
        : { ok: false, message: `${Math.round(free / 1024 / 1024)} MiB are free in ${dir}` };
    const why = stopping();
    if (why !== undefined) checks["stopping"] = { ok: false, message: why };
    return { ready: Object.values(checks).every((check) => check.ok), checks };
  };
}

type Checks = Record<string, { ok: boolean; message?: string }>;

async function behindTheLog(parts: Omit<Pipeline, "begin">): Promise<Checks> {
  const checks: Checks = {};
  const failures = Object.entries(parts.flow.failures());
  checks["flow"] =
    failures.length === 0 ? { ok: true } : { ok: false, message: failures.map((f) => f.join(": ")).join("; ") };
  // Events are taken while it is away: the log has them, and they are stored when it is back.
  const storeProblem = await parts.lakeStore.remote?.problem();
  if (parts.lakeStore.remote)
    checks["store"] = storeProblem === undefined ? { ok: true } : { ok: false, message: storeProblem.message };
  const sparkProblem = await parts.spark?.problem();
  if (parts.spark)
    checks["spark"] = sparkProblem === undefined ? { ok: true } : { ok: false, message: sparkProblem.message };
  const unavailable = Object.entries(parts.flow.unavailable());
  checks["tables"] =
    unavailable.length === 0
      ? { ok: true }
      : { ok: false, message: unavailable.map(([table, why]) => `${table} is unavailable: ${why}`).join(" ") };
  const building = parts.flow.building();
  if (building.length > 0) checks["building"] = buildingCheck(building);
  // What was acknowledged is safe and stored, so this takes no platform out of service.
  const behind = Object.values(parts.flow.refreshFailures());
  checks["refresh"] = behind.length === 0 ? { ok: true } : { ok: true, message: `degraded: ${behind.join("; ")}` };
  const unpublished = parts.publisher.states().flatMap(({ failure }) => failure ?? []);
  checks["publish"] =
    unpublished.length === 0 ? { ok: true } : { ok: true, message: `degraded: ${unpublished.join("; ")}` };
  const still = parts.reacting.problems();
  checks["reactions"] = still.length === 0 ? { ok: true } : { ok: true, message: `degraded: ${still.join("; ")}` };
  // The other doors stay open.
  const unread = parts.sources.problems();
  if (parts.sources.any)
    checks["sources"] = unread.length === 0 ? { ok: true } : { ok: true, message: `degraded: ${unread.join("; ")}` };
  const unbalanced = unbalancedHops(parts.flow);
  checks["ledger"] = unbalanced.length === 0 ? { ok: true } : { ok: false, message: unbalanced.join("; ") };
  return checks;
}

/** New events are taken while tables are built; only a build that fails needs somebody. */
function buildingCheck(tables: readonly TableBeingBuilt[]): { ok: boolean; message: string } {
  const told = tables.map(({ table, events, total, waitsFor, failure }) => {
    if (failure !== undefined) return `${table} cannot be built from bronze and is tried again: ${failure}`;
    if (waitsFor !== undefined) return `${table} waits for ${waitsFor}, which is being built`;
    return `${table} is being built from bronze, ${events} of ${total} events`;
  });
  return { ok: tables.every(({ failure }) => failure === undefined), message: told.join("; ") };
}

/** What the recount found, and hops whose own counters tell before it has been there. */
function unbalancedHops(flow: Flow): string[] {
  const hops = flow.ledger().filter((entry) => !entry.balanced && entry.imbalances.length === 0);
  return [
    ...flow.imbalances().map(({ message }) => message),
    ...hops.map(({ hop }) => `${hop} does not account for every event`),
  ];
}
