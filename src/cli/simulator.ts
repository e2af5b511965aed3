import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const KEPT_LINES = 10;
/** A simulator that is told to stop waits for its last answers; after this it is ended. */
const STOP_WITHIN_MS = 5_000;

/** A project's simulator as a process of its own, which knows the platform's address and a key and nothing else of it. */
export class Simulator {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #last: string[] = [];
  #stopping = false;

  /** `onFailure` is told when it ends by itself and not well. */
  constructor(file: string, platform: { url: string; key: string }, onFailure: (reason: string) => void) {
    this.#child = spawn(process.execPath, [file], {
      env: { ...process.env, MILLRACE_URL: platform.url, MILLRACE_KEY: platform.key },
      // Over the channel it learns when this process dies without a word, and stops instead of playing on to the next one.
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    for (const output of [this.#child.stdout!, this.#child.stderr!])
      output.on("data", (text) => this.#keep(String(text)));
    this.#ended = once(this.#child, "exit").catch(() => undefined);
    this.#child.once("error", (error) => onFailure(error.message));
    this.#child.once("exit", (code, signal) => {
      if (!this.#stopping && code !== 0) onFailure(`it ended with ${code ?? signal}: ${this.#last.join(" | ")}`);
    });
  }

  /** Asks it to stop and waits for its end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_WITHIN_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #keep(text: string): void {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    this.#last = [...this.#last, ...lines].slice(-KEPT_LINES);
  }
}
