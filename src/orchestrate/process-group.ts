import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** A process and everything it started, by the group they share. The group's number is that of its first process. */

/** Signals every process of the group. False when none is left. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-group, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Resident bytes of the group. Pages that its processes share count once for each. */
export function groupMemoryBytes(group: number): number {
  if (process.platform !== "linux") {
    const lines = execFileSync("ps", ["-A", "-o", "pgid=,rss="], { encoding: "utf8" }).trim().split("\n");
    const rows = lines.map((line) => line.trim().split(/\s+/).map(Number));
    return rows.reduce((sum, [pgid, kilobytes = 0]) => sum + (pgid === group ? kilobytes * 1024 : 0), 0);
  }
  let pages = 0;
  for (const { group: own, residentPages } of processes()) if (own === group) pages += residentPages;
  return pages * PAGE_BYTES;
}

/**
 * What tells a process from a later one of its number: its start, and on Linux the boot. Undefined when it is gone.
 */
export function processMark(pid: number): string | undefined {
  if (process.platform === "linux") {
    const stat = readStat(String(pid));
    return stat === undefined ? undefined : `${bootId()} ${stat.started}`;
  }
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return undefined; // ps ends with 1 where there is no such process
  }
}

/** Ends what is left of a group that an earlier life of the platform started. */
export function endLeftOver({ pid, started }: { readonly pid: number; readonly started: string }): void {
  const mark = processMark(pid);
  if (mark !== undefined) {
    if (mark === started) signalGroup(pid, "SIGKILL");
    return;
  }
  // Its first process is gone. While others of the group live, no new process gets its number, so since the same boot they are its own.
  if (process.platform === "linux" && started.startsWith(`${bootId()} `)) signalGroup(pid, "SIGKILL");
}

/** What Linux counts resident memory in on the machines Node runs on; with larger pages limits are reached later. */
const PAGE_BYTES = 4_096;

interface Stat {
  readonly group: number;
  readonly started: string;
  readonly residentPages: number;
}

function* processes(): Generator<Stat> {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(name);
    if (stat !== undefined) yield stat;
  }
}

/** proc(5): `pid (name) state ppid pgrp …`; field 22 is the start, 24 the resident pages. A name may hold anything. */
function readStat(pid: string): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z") return undefined;
    return { group: Number(fields[2]), started: fields[19]!, residentPages: Number(fields[21]) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
