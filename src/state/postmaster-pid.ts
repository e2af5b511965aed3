import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * A cluster's `postmaster.pid`, by which PostgreSQL itself keeps a second server out of a data folder. Lines:
 *
 *     1 process id   2 data folder   3 start time (s)   4 port   5 socket folder   6 listen address
 *     7 shared memory key and id     8 status: "starting", "ready", "stopping", padded with spaces
 */
export interface PostmasterPid {
  readonly pid: number;
  readonly status: string;
}

/** Undefined when there is no such file, or it is being written this moment. */
export function readPostmasterPid(cluster: string): PostmasterPid | undefined {
  const lines = readIfThere(join(cluster, "postmaster.pid"))?.split("\n") ?? [];
  const pid = Number.parseInt(lines[0] ?? "", 10);
  return pid > 0 ? { pid, status: (lines[7] ?? "").trim() } : undefined;
}

/**
 * Ends whatever an earlier life left behind, so that a server can start on the cluster: an orphaned server is stopped
 * (its recorded process must run on this very folder), and a process that merely has the number of a dead one no
 * longer stands in the way.
 */
export async function clearPostmaster(cluster: string, graceMs = 10_000): Promise<"none" | "stopped" | "stale"> {
  const found = readPostmasterPid(cluster);
  if (found === undefined) return "none";
  if (!alive(found.pid)) return "stale";
  if (!runsOn(found.pid, cluster)) {
    disown(cluster);
    return "stale";
  }
  signal(found.pid, "SIGINT");
  const started = performance.now();
  while (alive(found.pid)) {
    // Past the grace: stop without a checkpoint; the next start replays the write-ahead log.
    if (performance.now() - started > graceMs) signal(found.pid, "SIGQUIT");
    await sleep(5);
  }
  return "stopped";
}

/**
 * Puts our own number in the place of the recorded one. PostgreSQL takes a file with its parent's number for stale, and
 * still checks the shared memory named there, which removing the file would prevent.
 */
function disown(cluster: string): void {
  const path = join(cluster, "postmaster.pid");
  const [, ...rest] = readFileSync(path, "utf8").split("\n");
  writeFileSync(path, [process.pid, ...rest].join("\n"));
}

function alive(pid: number): boolean {
  return signal(pid, 0) && !isZombie(pid);
}

/** False when there is no such process. One that we may not signal exists. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ESRCH") return false;
    if (code === "EPERM" && name === 0) return true;
    throw error;
  }
}

/** A dead child that nobody has waited for still has its number, but runs nothing. */
function isZombie(pid: number): boolean {
  return / Z /.test(readIfThere(`/proc/${pid}/stat`)?.replace(/^.*\)/s, "") ?? "");
}

/** Whether the process is a PostgreSQL server on this folder: it works in it (Linux), or was started with `-D FOLDER`. */
function runsOn(pid: number, cluster: string): boolean {
  if (process.platform === "linux") {
    const program = readIfThere(`/proc/${pid}/cmdline`)?.split("\0")[0] ?? "";
    return /(^|\/)postgres$/.test(program) && workingFolder(pid) === realpathSync(cluster);
  }
  const line = execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
  return line.includes("postgres") && line.includes(`-D ${cluster}`);
}

function workingFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** ESRCH: the process ended while its file was being read. */
const GONE = new Set(["ENOENT", "ESRCH"]);

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (GONE.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
