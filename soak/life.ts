/** The platform's process, started again over the same data folder when it is told to be. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

export interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
}

export interface LifeOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly speed: number;
  /** What the platform says goes there. */
  readonly logFile: string;
}

export class SoakLife {
  readonly #o: LifeOptions;
  readonly #startedMs = Date.now();
  #child: ChildProcess | undefined;

  constructor(options: LifeOptions) {
    this.#o = options;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get over(): boolean {
    return this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    const { dataDir, port, speed, logFile } = this.#o;
    const log = openSync(logFile, "a");
    const script = join(import.meta.dirname, "platform.ts");
    const args = ["--expose-gc", script, dataDir, String(port), String(speed), String(this.#startedMs)];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", log, "ipc"] });
    closeSync(log);
    this.#child = child;
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`the platform ended with ${code} before it was ready; see ${logFile}`);
    });
    ended.catch(() => undefined); // it may end at any time later, which whoever speaks to it meets
    let said = "";
    const ready = new Promise<void>((resolve) => {
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (/^ready /m.test(said)) resolve();
      });
    });
    await Promise.race([ready, ended]);
  }

  /** Ends it as an operator does; the exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || this.over) return child?.exitCode ?? null;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
    return child.exitCode;
  }

  async memory(): Promise<Memory> {
    const answer = once(this.#child!, "message");
    this.#child!.send("measure");
    return (await answer)[0] as Memory;
  }
}
