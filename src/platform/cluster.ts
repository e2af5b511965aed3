/**
 * The processes that share the work, and this one among them: who it is, what it may do, whom it can ask, and what only one of them does at a
 * time. A process that works alone is a cluster of one, which waits for nobody.
 */
import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { type ResolvedSettings, ROLES, type Role, type Settings } from "../config/settings.ts";
import { MillraceError } from "../errors.ts";
import type { Sharing } from "../flow/sharing.ts";
import { claimLake } from "../lake/lake-owner.ts";
import type { Assignment, Owned } from "../log/assignment.ts";
import type { EventLog } from "../log/event-log.ts";
import { soleAssignment } from "../log/sole-assignment.ts";
import { type Leases, openLeases, soleLeases } from "../state/leases.ts";
import type { State } from "../state/state.ts";
import { LIVE_MS, openWorkers, type Workers } from "../state/workers.ts";
import type { LakeStore } from "./lake-store.ts";
import { Peers } from "./peers.ts";
import { openSharing } from "./sharing.ts";

/** Of what processes share: records, lake and log. Raised when an older release would misread it. */
export const CLUSTER_FORMAT = 1;

export interface ClusterParts {
  readonly settings: Settings;
  readonly workerId: string;
  readonly version: string;
  readonly state: Promise<State>;
  readonly log: EventLog;
  readonly assignment: Assignment;
  /** The key it asks others with, where nobody has asked it. */
  readonly ownKey: () => Promise<string | undefined>;
  /** Another process has taken this one's name: nothing more may be done here. */
  readonly fenced: (error: MillraceError) => void;
  readonly report: (error: unknown, what: string) => void;
}

export interface Cluster {
  readonly workerId: string;
  readonly roles: readonly Role[];
  readonly leases: Leases;
  /** Divides the partitions of groups among the processes. */
  readonly assignment: Assignment;
  /** Whether a partition is this process's own in a group. */
  readonly owns: (group: string, stream: string, partition: number) => boolean;
  /** Undefined for a process that works alone. */
  readonly sharing: Sharing | undefined;
  /** Those that others reach; told of the process once it serves. */
  readonly workers: Promise<Workers>;
  readonly peers: Promise<Peers>;
  /** Gives back what this process holds, at once, and leaves. */
  close(): Promise<void>;
}

/** @throws CLUSTER_INCOMPLETE, WORKER_FORMAT, STATE_UNAVAILABLE */
export async function openCluster(parts: ClusterParts): Promise<Cluster> {
  const { settings, workerId, version, state, report, assignment } = parts;
  const roles = settings.role;
  const shared = isShared(settings);
  const enter = async (): Promise<Workers> => {
    const known = await state;
    if (settings.postgresUrl !== undefined) await refuseStrangers(known, workerId, shared ? undefined : settings);
    const { fenced } = parts;
    return openWorkers(known, { id: workerId, roles, version, format: CLUSTER_FORMAT, fenced, report });
  };
  const workers = enter();
  workers.catch(() => undefined); // whoever awaits it is told
  const peers = Promise.all([workers, state]).then(
    ([known, session]) => new Peers({ workers: known, session, ownKey: parts.ownKey }),
  );
  peers.catch(() => undefined);
  const leave = async () => (await workers.catch(() => undefined))?.close();
  if (!shared) {
    const leases = soleLeases(report);
    const close = async () => {
      await leases.close();
      await leave();
    };
    const own = { assignment: soleAssignment(parts.log), owns: () => true };
    return { workerId, roles, leases, ...own, sharing: undefined, workers, peers, close };
  }
  await workers;
  const leases = await openLeases(await state, { holder: workerId, report });
  const known = await workers;
  const owned = new Map<string, Map<string, Owned>>();
  const told = toldTo(known, assignment, owned);
  const own = roles.includes("flow") ? told : undefined;
  const owns: Cluster["owns"] = (group, stream, partition) =>
    owned.get(group)?.has(nameOf({ stream, partition })) === true;
  const sharing = await openSharing({ state: await state, leases, workerId, assignment: own, report });
  const close = async () => {
    await sharing.close();
    await leases.close();
    await leave();
  };
  return { workerId, roles, leases, assignment: told, owns, sharing, workers, peers, close };
}

/** The groups; `owned` has what is this process's own in each, and the registry is told of it. */
function toldTo(workers: Workers, assignment: Assignment, owned: Map<string, Map<string, Owned>>): Assignment {
  return {
    async join(options) {
      const own = new Map<string, Owned>();
      owned.set(options.group, own);
      const tell = () => void workers.owns(options.group, [...own.values()]);
      return assignment.join({
        ...options,
        async gained(partitions) {
          await options.gained(partitions);
          for (const one of partitions) own.set(nameOf(one), one);
          tell();
        },
        async lost(partitions, how) {
          for (const one of partitions) own.delete(nameOf(one));
          tell();
          await options.lost(partitions, how);
        },
      });
    },
    close: () => assignment.close(),
  };
}

function nameOf({ stream, partition }: Owned): string {
  return `${stream}/${partition}`;
}

/** Parts that processes can share, with the setting that makes each so. */
function sharedParts(settings: Settings): { readonly setting: string; readonly shared: boolean }[] {
  return [
    { setting: "kafkaBrokers", shared: settings.kafkaBrokers !== undefined },
    { setting: "storeUrl", shared: settings.storeUrl !== undefined },
    { setting: "postgresUrl", shared: settings.postgresUrl !== undefined },
  ];
}

/** Whether other processes may take part: all that must be shared is. */
export function isShared(settings: Settings): boolean {
  return sharedParts(settings).every(({ shared }) => shared);
}

function lacking(settings: Settings): string {
  const missing = sharedParts(settings).filter(({ shared }) => !shared);
  return missing.map(({ setting }) => setting).join(", ");
}

/** @throws CLUSTER_INCOMPLETE for a process that leaves work to others who cannot be there. */
export function refuseLonely({ settings }: ResolvedSettings): void {
  if (settings.role.length === ROLES.length || isShared(settings)) return;
  const absent = ROLES.filter((role) => !settings.role.includes(role)).join(", ");
  const why = `this process leaves ${absent} to others`;
  throw new MillraceError("CLUSTER_INCOMPLETE", { why, lacking: lacking(settings) });
}

/** Others that run with the same records, and cannot run beside this one. */
async function refuseStrangers(state: State, workerId: string, alone: Settings | undefined): Promise<void> {
  const others = await state.query<{ id: string; url: string; format: number }>(
    `select id, url, format from millrace.workers
     where id <> $1 and heartbeat_at > clock_timestamp() - $2 * interval '1 ms' order by id`,
    [workerId, LIVE_MS],
  );
  const [other] = others;
  if (other === undefined) return;
  if (alone !== undefined) {
    const why = `worker ${other.id} (${other.url || "starting"}) runs with the same records`;
    throw new MillraceError("CLUSTER_INCOMPLETE", { why, lacking: lacking(alone) });
  }
  const foreign = others.find(({ format }) => format !== CLUSTER_FORMAT);
  if (foreign === undefined) return;
  const what = `worker ${foreign.id}, which runs with the same records,`;
  throw new MillraceError("WORKER_FORMAT", { what, got: foreign.format, allowed: CLUSTER_FORMAT });
}

/** Notes whose log the lake belongs to, or compares, where log or lake can meet others. @throws LAKE_OF_ANOTHER_LOG, WORKER_FORMAT */
export async function claimSharedLake({ store, place, remote }: LakeStore, log: EventLog, dir: string): Promise<void> {
  if (log.identity === undefined && remote === undefined) return;
  // A log of this machine has no name of its own among others.
  const identity = log.identity ?? `embedded:${await kept(join(dir, "log-id"), () => randomBytes(12).toString("hex"))}`;
  await claimLake(store, place, { format: CLUSTER_FORMAT, log: identity });
}

/** The name of this process among the others: the one that is set, or one that the data folder keeps. */
export async function workerIdOf(settings: Settings, dir: string): Promise<string> {
  if (settings.workerId !== undefined) return settings.workerId;
  return kept(join(dir, "worker-id"), () => `${hostname()}-${randomBytes(3).toString("hex")}`);
}

/** Where others reach a process that serves at `url`. */
export function advertisedUrl({ advertiseUrl }: Settings, url: string): string {
  if (advertiseUrl !== undefined) return advertiseUrl;
  const bound = new URL(url);
  if (bound.hostname === "0.0.0.0" || bound.hostname === "[::]") bound.hostname = hostname();
  return bound.origin;
}

/** A word in a file, made with the first question. */
async function kept(file: string, make: () => string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const word = make();
  await writeFile(`${file}.new`, `${word}\n`, { flush: true });
  await rename(`${file}.new`, file);
  return word;
}
