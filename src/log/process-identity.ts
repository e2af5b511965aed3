/**
 * Tells one process from every other, also from a later one that got the same number.
 *
 * On Linux the facts come from /proc; elsewhere `ps` gives the start time, and the host's name stands for the boot.
 */
import { execFile } from "node:child_process";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { promisify } from "node:util";

export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in the system's own terms. */
  readonly started: string;
  /** What sees the same process numbers: this boot of this kernel, and the container's process namespace. */
  readonly realm: string;
  readonly host: string;
}

export async function currentProcess(): Promise<ProcessIdentity> {
  return identifyProcess(process.pid);
}

/** A process of the current realm, which runs. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity> {
  const started = await startOf(pid);
  return { pid, started: started ?? "", realm: await currentRealm(), host: hostname() };
}

/** Whether a process of the current realm still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  try {
    process.kill(identity.pid, 0);
  } catch (error) {
    // EPERM: it runs, under another user.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const started = await startOf(identity.pid);
  return started === undefined || started === identity.started;
}

async function currentRealm(): Promise<string> {
  const boot = await orUndefined(readFile("/proc/sys/kernel/random/boot_id", "utf8"));
  const namespace = await orUndefined(readlink("/proc/self/ns/pid"));
  return boot === undefined ? hostname() : `${boot.trim()} ${namespace ?? ""}`;
}

/** Undefined when the system does not tell, or the process is gone. */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await orUndefined(readFile(`/proc/${pid}/stat`, "utf8"));
  if (stat !== undefined) {
    // The command's name stands in parentheses and may hold anything; fields after it are 3, 4, …; the start is 22.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie holds no files any more.
    return fields[0] === "Z" ? `${fields[19]} ended` : fields[19];
  }
  const ps = await orUndefined(promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]));
  return ps?.stdout.trim() || undefined;
}

/** For facts that a system may not offer. */
async function orUndefined<T>(fact: Promise<T>): Promise<T | undefined> {
  return fact.catch(() => undefined);
}
