import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { capturedTerminal } from "./captured-terminal.ts";

const BIN = fileURLToPath(new URL("../../bin/millrace.js", import.meta.url));

export interface Started {
  readonly process: ChildProcess;
  readonly url: string;
  /** Everything it has printed so far. */
  readonly printed: { stdout: string; stderr: string };
  /** Resolves with the exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** Starts `millrace start` as a process of its own and resolves once it says that it is ready. */
export async function startMillrace(cwd: string, args: readonly string[]): Promise<Started> {
  const child = spawn(process.execPath, [BIN, "start", ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const printed = { stdout: "", stderr: "" };
  child.stderr.on("data", (text) => {
    printed.stderr += text;
  });
  const ended = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const url = await new Promise<string>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      printed.stdout += `${line}\n`;
      const ready = /^ready (http:\S+)$/.exec(line)?.[1];
      if (ready !== undefined) resolve(ready);
    });
    void ended.then((code) => reject(new Error(`it ended with ${code} before it was ready:\n${printed.stderr}`)));
  });
  return { process: child, url, printed, ended };
}

/** Runs a command in this process, against the platform. */
export async function millrace(args: readonly string[], given: { cwd: string; url: string }) {
  const { terminal, written } = capturedTerminal({ cwd: given.cwd, env: { MILLRACE_URL: given.url } });
  const code = await runCommandLine(args, terminal);
  return { code, ...written };
}
