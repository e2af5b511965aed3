import { spawn } from "node:child_process";
import { EngineError } from "./engine-error.ts";

/**
 * Runs a command to its end and gives what it printed.
 * @throws EngineError with its last lines when it fails, is not there, or takes longer than `withinMs` (it is killed then)
 */
export async function runCommand(
  command: readonly [string, ...string[]],
  options: { withinMs: number; next: string; cwd?: string; env?: NodeJS.ProcessEnv; uid?: number; gid?: number },
): Promise<string> {
  const { withinMs, next, ...rest } = options;
  const [program, ...args] = command;
  const child = spawn(program, args, { ...rest, stdio: ["ignore", "pipe", "pipe"] });
  const out: string[] = [];
  const all: string[] = [];
  child.stdout.on("data", (text) => out.push(String(text)));
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => all.push(String(text)));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, withinMs);
  const code = await new Promise<number | string>((done) => {
    child.once("error", ({ message }) => done(message));
    child.once("close", (code, signal) => done(code ?? signal ?? "ended"));
  }).finally(() => clearTimeout(timer));
  if (code === 0) return out.join("");
  const why = late ? `took longer than ${withinMs / 1000} s` : `failed (${code})`;
  const said = all.join("").trimEnd().split("\n").slice(-12).join("\n    ");
  throw new EngineError(`${[program, ...args].join(" ").slice(0, 300)} ${why}${said && `:\n    ${said}`}`, { next });
}
