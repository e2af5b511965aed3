/** The producers and queriers of a run: processes of their own, started once and living through every crash. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ProducerOptions } from "./producer.ts";
import type { QuerierOptions } from "./querier.ts";

export interface CrowdOptions {
  readonly seed: number;
  /** Doors that take events. */
  readonly ports: readonly number[];
  /** Where queries are answered. Default: at the same doors. */
  readonly queryPorts?: readonly number[];
  /** How long a querier waits for an answer. Default 20 s. */
  readonly queryTimeoutMs?: number;
  readonly key: string;
  readonly dir: string;
  readonly producers: number;
  readonly queriers: number;
}

export class Crowd {
  readonly violations: string[] = [];
  /** What failed queries were told, and how often. */
  readonly refusals = new Map<string, number>();
  answered = 0;
  failed = 0;
  readonly #producers: ChildProcess[];
  readonly #queriers: ChildProcess[];

  constructor(options: CrowdOptions) {
    const { seed, ports, key, dir, producers, queriers } = options;
    const { queryPorts = ports, queryTimeoutMs: timeoutMs = 20_000 } = options;
    this.#producers = Array.from({ length: producers }, (_, i) =>
      this.#start("producer.ts", {
        seed: seed * 100 + i,
        name: `p${i}`,
        ports,
        key,
        dir,
        senders: 2,
        pauseMs: 80,
        mostEvents: 20,
      } satisfies ProducerOptions),
    );
    this.#queriers = Array.from({ length: queriers }, (_, i) =>
      this.#start("querier.ts", {
        seed: seed * 100 + 99 - i,
        ports: queryPorts,
        key,
        dir,
        pauseMs: 50,
        timeoutMs,
      } satisfies QuerierOptions),
    );
  }

  /** Lets the producers end what they have sent, then the queriers. */
  async stop(withinMs: number): Promise<void> {
    await this.#end(this.#producers, withinMs, "a producer could not get its last batch acknowledged");
    await this.#end(this.#queriers, withinMs, "a querier waits for an answer without end");
  }

  kill(): void {
    for (const child of [...this.#producers, ...this.#queriers]) child.kill("SIGKILL");
  }

  async #end(children: readonly ChildProcess[], withinMs: number, otherwise: string): Promise<void> {
    for (const child of children) child.kill("SIGTERM");
    const late = sleep(withinMs, "late" as const, { ref: false });
    for (const child of children) {
      const exited = child.exitCode !== null || child.signalCode !== null ? undefined : once(child, "close");
      if (exited && (await Promise.race([exited, late])) === "late") {
        this.violations.push(`${otherwise} (${withinMs} ms)`);
        child.kill("SIGKILL");
        await exited;
      }
      if (child.exitCode !== null && child.exitCode !== 0)
        this.violations.push(`${otherwise}: it ended with ${child.exitCode}`);
    }
  }

  #start(script: string, options: ProducerOptions | QuerierOptions): ChildProcess {
    const child = spawn(process.execPath, [join(import.meta.dirname, script), JSON.stringify(options)], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    child.on("error", () => undefined); // it ends with the channel, and its end is looked at
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#hear(JSON.parse(line));
    });
    return child;
  }

  #hear(said: Record<string, unknown>): void {
    if ("violation" in said) this.violations.push(JSON.stringify(said));
    if ("answered" in said) this.answered += Number(said["answered"]);
    if ("failed" in said) this.failed += Number(said["failed"]);
    if ("refused" in said) {
      const code = /"code":"(\w+)"/.exec(String(said["refused"]))?.[1] ?? String(said["refused"]);
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    }
  }
}
