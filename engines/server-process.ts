import { spawn } from "node:child_process";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identifyProcess, isRunning, type ProcessIdentity } from "../src/log/process-identity.ts";
import { EngineError } from "./engine-error.ts";

/**
 * A server that outlives who started it, found again by `process.json` in its folder. That file names the process by its number and
 * its start, so that a later process with the same number is never taken for it.
 */
export interface ServerProcess {
  /** For messages: "kafka broker 1". */
  readonly name: string;
  /** Holds process.json and server.log. */
  readonly folder: string;
}

export function logFile({ folder }: ServerProcess): string {
  return join(folder, "server.log");
}

/** The process, when it runs. */
export async function running(server: ServerProcess): Promise<ProcessIdentity | undefined> {
  const text = await readFile(join(server.folder, "process.json"), "utf8").catch(absent);
  if (text === undefined) return undefined;
  const identity = JSON.parse(text) as ProcessIdentity;
  return (await isRunning(identity)) ? identity : undefined;
}

/** Starts the command in a session of its own; what it says goes to the end of server.log. Returns at once, with its number. */
export async function launch(
  server: ServerProcess,
  command: readonly [string, ...string[]],
  options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number; gid?: number } = {},
): Promise<number> {
  await mkdir(server.folder, { recursive: true });
  const log = await open(logFile(server), "a", 0o600);
  try {
    const [program, ...args] = command;
    const child = spawn(program, args, { ...options, detached: true, stdio: ["ignore", log.fd, log.fd] });
    const pid = await new Promise<number>((done, failed) => {
      child.once("spawn", () => done(child.pid!));
      child.once("error", (cause) =>
        failed(
          new EngineError(`${server.name} could not be started: ${cause.message}`, {
            next: `see that ${program} is installed and in the PATH`,
            cause,
          }),
        ),
      );
    });
    child.unref();
    await writeWhole(join(server.folder, "process.json"), JSON.stringify(await identifyProcess(pid)));
    return pid;
  } finally {
    await log.close();
  }
}

/**
 * Ends the process if it runs: asks, and after `graceMs` forces. True when one ran. `signal` SIGKILL is for those who want the crash.
 */
export async function stop(
  server: ServerProcess,
  { signal = "SIGTERM", graceMs = 20_000 }: { signal?: NodeJS.Signals; graceMs?: number } = {},
): Promise<boolean> {
  const identity = await running(server);
  if (identity !== undefined) {
    process.kill(identity.pid, signal);
    if (!(await ended(identity, graceMs))) {
      process.kill(identity.pid, "SIGKILL");
      if (!(await ended(identity, 10_000))) {
        throw new EngineError(`${server.name} (process ${identity.pid}) does not end`, {
          log: logFile(server),
          next: `look at the process ${identity.pid}: the system holds it, commonly a disk that does not answer`,
        });
      }
    }
  }
  await rm(join(server.folder, "process.json"), { force: true });
  return identity !== undefined;
}

/**
 * Waits until `answers` is true; errors that it throws mean "not yet", and the last one is told.
 * @throws EngineError when the time is over, or as soon as the process is gone
 */
export async function untilReady(
  server: ServerProcess,
  withinMs: number,
  answers: () => Promise<boolean>,
): Promise<void> {
  let last: unknown;
  const log = logFile(server);
  for (const started = performance.now(); performance.now() - started < withinMs; await sleep(200)) {
    try {
      if (await answers()) return;
    } catch (error) {
      last = error;
    }
    if ((await running(server)) === undefined) {
      const said = await lastLines(log);
      throw new EngineError(`${server.name} ended while it started${said}`, {
        log,
        next: "read the log; `npm run engines:down` and up again begins with empty data",
      });
    }
  }
  const why = last instanceof Error ? `; its last answer: ${last.message}` : "";
  throw new EngineError(`${server.name} was not ready within ${withinMs / 1000} s${why}`, {
    log,
    next: "read the log; on a loaded machine, up again: what runs already is kept",
  });
}

/** Written beside and renamed, so that a reader never meets half of it. Private, for it may hold passwords. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const beside = `${path}.${process.pid}.new`;
  await writeFile(beside, text, { mode: 0o600 });
  await rename(beside, path);
}

export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
  return undefined;
}

async function ended(identity: ProcessIdentity, withinMs: number): Promise<boolean> {
  for (const started = performance.now(); performance.now() - started < withinMs; await sleep(50)) {
    if (!(await isRunning(identity))) return true;
  }
  return false;
}

async function lastLines(path: string): Promise<string> {
  const text = (await readFile(path, "utf8").catch(absent)) ?? "";
  const lines = text.trimEnd().split("\n").slice(-5);
  return lines.join("") === "" ? "" : `; it said last:\n    ${lines.join("\n    ")}`;
}
