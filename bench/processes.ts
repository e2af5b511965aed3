/** Servers under measurement, each a process of its own, and what the system says of their memory. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { LoadOptions, LoadResult } from "./load-generator.ts";

const ROOT = join(import.meta.dirname, "..");
const START_TIMEOUT_MS = 60_000;

export interface Server {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** From the command to the line `ready http://…`. */
  readonly readyMs: number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

export interface Platform extends Server {
  readonly key: string;
  readonly dir: string;
}

/** As many bytes and as much time as no measurement reaches. */
export const FLUSHES_AWAY = ["--flush-interval", "7d", "--flush", "1000GiB"];

/** Starts the platform with the project of the benchmarks, or another, on a data folder. */
export async function startPlatform(
  dir: string,
  flags: readonly string[] = [],
  project = "bench/project",
): Promise<Platform> {
  const args = ["start", join(ROOT, project), "--data", dir, "--port", "0", "--log-level", "error", ...flags];
  const server = await startServer([join(ROOT, "bin/millrace.js"), ...args]).catch(async (error: unknown) => {
    await endPostgres(dir);
    throw error;
  });
  return {
    ...server,
    key: readFileSync(join(dir, "admin.key"), "utf8").trim(),
    dir,
    async kill() {
      await server.kill();
      await endPostgres(dir);
    },
  };
}

/** Runs `work` with a platform on a fresh data folder, and leaves nothing behind. */
export async function withPlatform<T>(
  flags: readonly string[],
  work: (platform: Platform) => Promise<T>,
  project?: string,
): Promise<T> {
  return withFolder(async (dir) => {
    const platform = await startPlatform(dir, flags, project);
    try {
      return await work(platform);
    } finally {
      await platform.kill();
    }
  });
}

/** Runs `work` with a folder of its own on the disk that the data folders are on. */
export async function withFolder<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Runs `work` with a node:http server that reads a body and answers 202: what the door would be if it did nothing. */
export async function withBareDoor<T>(work: (server: Server) => Promise<T>): Promise<T> {
  const server = await startServer([join(import.meta.dirname, "bare-door.ts")]);
  try {
    return await work(server);
  } finally {
    await server.kill();
  }
}

/** Posts telemetry events to a server from a process of its own. */
export async function load(server: Server & { key?: string }, options: Partial<LoadOptions>): Promise<LoadResult> {
  const result = await loadBeyond(server, options);
  if (result.failed > 0) throw new Error(`${result.failed} of ${result.requests} requests were refused`);
  return result;
}

/** The same, and refusals are part of the result. */
export async function loadBeyond(
  server: Server & { key?: string },
  options: Partial<LoadOptions>,
): Promise<LoadResult> {
  return JSON.parse(await generator(server, options, "inherit")) as LoadResult;
}

/** Posts events until the server dies of something else. */
export async function loadUntilDeath(server: Server & { key?: string }, options: Partial<LoadOptions>): Promise<void> {
  await generator(server, options, "ignore").catch(() => undefined); // what it says of the broken connections is expected
}

async function generator(
  { key = "none", port }: Server & { key?: string },
  options: Partial<LoadOptions>,
  stderr: "inherit" | "ignore",
): Promise<string> {
  const given = { port, key, path: EVENTS_PATH, connections: 16, eventsPerRequest: 100, durationMs: 5_000, ...options };
  const child = spawn(process.execPath, [join(import.meta.dirname, "load-generator.ts"), JSON.stringify(given)], {
    stdio: ["ignore", "pipe", stderr],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`the load generator ended with ${code}`);
  return out;
}

export const EVENTS_PATH = "/v1/streams/telemetry/events";

/** CPU time that a process has used since it began, all of its threads, in seconds. Linux only. */
export async function cpuSeconds(pid: number): Promise<number> {
  // proc(5): the name, which may hold blanks, is in brackets; behind it user and system time are the 12th and 13th field.
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ").at(-1)!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S;
}

const CLOCK_TICKS_PER_S = 100;

/** Resident memory of a process, in bytes. Linux only. */
export async function residentBytes(pid: number): Promise<number> {
  return kilobytes(await readFile(`/proc/${pid}/status`, "utf8"), "VmRSS");
}

/** What the processes below a process have for themselves, pages shared among them counted once. Linux only. */
export async function descendantsBytes(pid: number): Promise<number> {
  const parents = new Map<number, number>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => ""); // a process may end meanwhile
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const isBelow = (child: number): boolean => {
    const parent = parents.get(child);
    return parent === pid || (parent !== undefined && parent > 1 && isBelow(parent));
  };
  let sum = 0;
  for (const child of parents.keys()) {
    if (!isBelow(child)) continue;
    sum += kilobytes(await readFile(`/proc/${child}/smaps_rollup`, "utf8").catch(() => ""), "Pss");
  }
  return sum;
}

function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
}

async function startServer(args: readonly string[]): Promise<Server> {
  const startedMs = performance.now();
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MILLRACE_")));
  // This very Node, so that no older one stands in between handing over.
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
  const url = await readyLine(child);
  const readyMs = performance.now() - startedMs;
  return { url, port: Number(new URL(url).port), pid: child.pid ?? 0, readyMs, kill: () => end(child) };
}

async function readyLine(child: ChildProcess): Promise<string> {
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-4_000);
  });
  return new Promise((resolve, reject) => {
    const fail = (what: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`${child.spawnargs.slice(1, 3).join(" ")} ${what}\n${errors}`));
    };
    const timer = setTimeout(() => fail(`was not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
    child.once("exit", (code) => fail(`ended with ${code} before it was ready`));
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const url = /^ready (http:\S+)/.exec(line)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      child.removeAllListeners("exit");
      resolve(url);
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

/** A killed platform leaves its PostgreSQL running, which the next start would stop; here there is no next one. */
async function endPostgres(dir: string): Promise<void> {
  const file = join(dir, "postgres/cluster/postmaster.pid");
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8").split("\n")[0]);
  if (!isRunning(pid)) return;
  process.kill(pid, "SIGQUIT");
  while (isRunning(pid)) await sleep(10);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
