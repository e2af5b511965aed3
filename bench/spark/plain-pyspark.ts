/** The silver job in plain PySpark, in a process of its own that runs it as often as it is asked. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { JobTimes } from "./silver-job.ts";

export class PlainPyspark {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  #errors = "";

  constructor(python: string, jars: readonly string[]) {
    const script = join(import.meta.dirname, "silver_job.py");
    this.#child = spawn(python, [script, jars.join(":")], {
      stdio: ["pipe", "pipe", "pipe"],
      env: {
        ...process.env,
        SPARK_LOCAL_IP: "127.0.0.1",
        PYSPARK_PYTHON: python,
        PYSPARK_SUBMIT_ARGS: "--driver-memory 1g pyspark-shell",
      },
    });
    this.#child.stderr.on("data", (some) => {
      this.#errors = `${this.#errors}${some}`.slice(-2_000);
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Runs the job over a folder of raw files into new tables below `lake`. */
  async run(raw: string, lake: string): Promise<JobTimes> {
    this.#child.stdin.write(`${raw} ${lake}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the PySpark job ended: ${this.#errors}`);
    const told = JSON.parse(value) as Record<"silver" | "gold" | "total" | "cpu" | "rows" | "groups", number>;
    const { silver, gold, total, cpu, rows, groups } = told;
    return { silverSeconds: silver, goldSeconds: gold, seconds: total, cpuSeconds: cpu, rows, groups };
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.stdin.end();
    await once(this.#child, "close");
  }
}
