/** A platform as a user runs it: a process of its own, started by the command, spoken to over HTTP and by the command. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const BIN = join(ROOT, "bin/millrace.js");

/** What the events door answers. */
export interface EventsAnswer {
  readonly accepted: number;
  readonly rejected: readonly { readonly index: number; readonly code: string; readonly message: string }[];
  readonly partitions: readonly { readonly partition: number; readonly from: number; readonly to: number }[];
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class RunningPlatform {
  readonly process: ChildProcess;
  readonly url: string;
  readonly key: string;

  private constructor(process: ChildProcess, url: string, key: string) {
    this.process = process;
    this.url = url;
    this.key = key;
  }

  /** Resolves when the `ready` line is there. */
  static async start(
    project: string,
    dataDir: string,
    flags: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<RunningPlatform> {
    const args = [BIN, "start", join(ROOT, project), "--data", dataDir, "--port", "0", ...flags];
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    let text = "";
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    const ready = new Promise<string>((resolve, reject) => {
      child.stdout.on("data", (chunk) => {
        text += chunk;
        const found = /^ready (\S+)$/m.exec(text);
        if (found?.[1]) resolve(found[1]);
      });
      child.once("exit", (code) =>
        reject(new Error(`the platform ended with ${code} before it was ready:\n${errors}`)),
      );
    });
    const url = await ready;
    return new RunningPlatform(child, url, (await readFile(join(dataDir, "admin.key"), "utf8")).trim());
  }

  /** The same platform, spoken to with another key. */
  as(key: string): RunningPlatform {
    return new RunningPlatform(this.process, this.url, key);
  }

  async post(stream: string, events: readonly unknown[]): Promise<{ status: number; body: EventsAnswer }> {
    const lines = events.map((event) => (typeof event === "string" ? event : JSON.stringify(event)));
    const response = await fetch(`${this.url}/v1/streams/${stream}/events`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.key}`, "content-type": "application/x-ndjson" },
      body: `${lines.join("\n")}\n`,
    });
    return { status: response.status, body: (await response.json()) as EventsAnswer };
  }

  async get<Body>(path: string): Promise<{ status: number; body: Body }> {
    const response = await fetch(`${this.url}${path}`, { headers: { authorization: `Bearer ${this.key}` } });
    return { status: response.status, body: (await response.json()) as Body };
  }

  async sql(sql: string): Promise<unknown[][]> {
    const response = await fetch(`${this.url}/v1/sql`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.key}`, "content-type": "application/json" },
      body: JSON.stringify({ sql }),
    });
    const body = await response.json();
    if (!response.ok) throw new Error(JSON.stringify(body));
    return (body as { rows: unknown[][] }).rows;
  }

  command(...args: string[]): Promise<CommandResult> {
    return millrace(args, { MILLRACE_URL: this.url, MILLRACE_KEY: this.key });
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number | null> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return this.process.exitCode;
    const exited = once(this.process, "exit");
    this.process.kill(signal);
    await exited;
    return this.process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A kill would leave the database server running until the next start in the folder.
    await this.stop();
  }
}

export async function millrace(args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> {
  const child = spawn(process.execPath, [BIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}
