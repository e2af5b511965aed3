/** Lives of the platform: one process after the other over the same data folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Plan } from "./faults.ts";

export interface LifeOptions {
  readonly dataDir: string;
  readonly port: number;
  /** What the platform says goes there. */
  readonly logFile: string;
  /** Instead of those that make short lives come by many steps. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Instead of `platform.ts`. */
  readonly script?: string;
}

export class Life {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #ready = false;
  #said = "";

  constructor(options: LifeOptions, plan: Plan) {
    const log = openSync(options.logFile, "a");
    const script = join(import.meta.dirname, options.script ?? "platform.ts");
    this.#child = spawn(process.execPath, [script, options.dataDir, String(options.port)], {
      stdio: ["ignore", "pipe", log, "ipc"],
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: join(options.dataDir, "../compiled"),
        CHAOS_PLAN: JSON.stringify(plan),
        ...(options.settings && { CHAOS_SETTINGS: JSON.stringify(options.settings) }),
        CHAOS_STARTED_MS: String(Date.now()),
      },
    });
    closeSync(log);
    this.#ended = once(this.#child, "exit");
    this.#child.on("error", () => undefined); // a message to a process that is gone
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
      if (/^ready /m.test(this.#said)) this.#ready = true;
    });
  }

  get ready(): boolean {
    return this.#ready;
  }

  get over(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Undefined while it lives and after a signal. */
  get exitCode(): number | undefined {
    return this.#child.exitCode ?? undefined;
  }

  /** The named point at which it died by itself. */
  get killedAt(): string | undefined {
    return /^killed at (.*)$/m.exec(this.#said)?.[1];
  }

  /** Resolves when it serves, ends, or the time is over. */
  async untilReady(withinMs = 30_000): Promise<boolean> {
    const deadline = performance.now() + withinMs;
    while (!this.#ready && !this.over && performance.now() < deadline) await sleep(5);
    return this.#ready && !this.over;
  }

  /** Resolves when it ends or the time is over. */
  async untilOver(withinMs: number): Promise<boolean> {
    await Promise.race([this.#ended, sleep(withinMs, undefined, { ref: false })]);
    return this.over;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  jumpClock(byMs: number): void {
    if (this.#child.connected) this.#child.send({ clockJumpMs: byMs }, () => undefined);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }

  /** Ends it as an operator does; the exit code. */
  async stop(withinMs = 60_000): Promise<number | undefined> {
    this.signal("SIGTERM");
    if (!(await this.untilOver(withinMs))) await this.kill();
    return this.exitCode;
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Kills the server, or the process of one connection to it; false when there is none. */
export function killStateServer(dataDir: string, which: "server" | "connection"): boolean {
  const server = serverPid(dataDir);
  if (server === undefined) return false;
  const pid = which === "server" ? server : connectionOf(server);
  if (pid === undefined) return false;
  process.kill(pid, "SIGKILL");
  return true;
}

/** A process that serves a client, by its title: `postgres: millrace postgres [local] idle`. */
function connectionOf(server: number): number | undefined {
  const children = readFileSync(`/proc/${server}/task/${server}/children`, "utf8").trim().split(" ").map(Number);
  return children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("postgres: millrace"));
}

function serverPid(dataDir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(dataDir, "postgres", "cluster", "postmaster.pid"), "utf8").split("\n")[0]);
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dataDir) ? pid : undefined;
  } catch (error) {
    if (!["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return undefined;
  }
}

/** A killed platform leaves its PostgreSQL to the next start. Where there is none, it must be ended by its number. */
export function endPostgres(dataDir: string): void {
  const pid = serverPid(dataDir);
  if (pid !== undefined) process.kill(pid, "SIGINT");
}
