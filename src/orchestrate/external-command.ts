import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { CommandOutput, ExternalCommand } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import { endLeftOver, groupMemoryBytes, processMark, signalGroup } from "./process-group.ts";

export interface CommandSurroundings {
  readonly signal: AbortSignal;
  /** What an earlier life of the platform started for the same step. */
  readonly leftOver: { readonly pid: number; readonly started: string } | null;
  started(process: { readonly pid: number; readonly started: string }): Promise<void>;
  line(stream: "stdout" | "stderr", text: string): void;
  /** Folder that `cwd` is relative to. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const KEPT_BYTES = 64 * 1024;
/** Between two looks at its memory: it can go over its limit by what it takes in this time. */
const MEMORY_LOOK_MS = 100;
/** From the request to end to the end that cannot be refused. */
const TERM_GRACE_MS = 5_000;
const PASSED_ON = ["PATH", "HOME", "LANG", "TMPDIR"];
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";

/**
 * Runs a program in a process group of its own and resolves when nothing of the group is left. An aborted signal sends SIGTERM to all of
 * it and SIGKILL five seconds later; too much memory, SIGKILL at once. Where the system can do it (Linux with setpriv), the program also
 * dies with the platform, kill -9 included; whatever it had started then is ended before the step is tried again.
 * @throws COMMAND_FAILED (not there, exit code, signal), COMMAND_MEMORY
 */
export async function runCommand(command: ExternalCommand, around: CommandSurroundings): Promise<CommandOutput> {
  const { memoryBytes, exitCodes = [0], args = [], stdin = "" } = command;
  if (around.leftOver !== null) endLeftOver(around.leftOver);
  around.signal.throwIfAborted();
  const cwd = resolve(around.dir, command.cwd ?? ".");
  const env = environment(command, around.env);
  const program = findProgram(command.command, cwd, env["PATH"]!);
  if (program === undefined) throw failed(command, "is not there, or may not be run", "");
  if (!existsSync(cwd)) throw failed(command, `cannot run in ${cwd}, which is not there`, "");
  const [first, ...rest] = [...deathSignal(), program, ...args];
  const child = spawn(first!, rest, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => child.pid !== undefined && signalGroup(child.pid, "SIGKILL")); // what it left behind
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const out = tail(child, "stdout", around);
  const err = tail(child, "stderr", around);
  child.stdin?.on("error", () => undefined); // it may end without reading
  child.stdin?.end(stdin);
  const { pid } = child;
  if (pid === undefined) {
    const cause = await ended.then(
      () => undefined,
      (error: Error) => error,
    );
    throw failed(command, `cannot be started: ${cause?.message ?? "no reason given"}`, "");
  }
  let used = 0;
  const watch =
    memoryBytes === undefined
      ? undefined
      : setInterval(() => {
          const bytes = groupMemoryBytes(pid);
          if (bytes <= memoryBytes || used > 0) return;
          used = bytes;
          signalGroup(pid, "SIGKILL");
        }, MEMORY_LOOK_MS);
  let kill: NodeJS.Timeout | undefined;
  const stop = () => {
    signalGroup(pid, "SIGTERM");
    kill = setTimeout(() => signalGroup(pid, "SIGKILL"), TERM_GRACE_MS);
  };
  around.signal.addEventListener("abort", stop, { once: true });
  try {
    const mark = processMark(pid);
    if (mark !== undefined) await around.started({ pid, started: mark });
    if (around.signal.aborted && kill === undefined) stop();
    const { code, signal } = await ended;
    around.signal.throwIfAborted();
    if (used > 0) throw new MillraceError("COMMAND_MEMORY", { command: command.command, usedBytes: used, memoryBytes });
    if (code === null) throw failed(command, `was ended by ${signal}`, err());
    if (!exitCodes.includes(code)) throw failed(command, `ended with exit code ${code}`, err() || out());
    return { exitCode: code, stdout: out(), stderr: err() };
  } finally {
    clearInterval(watch);
    clearTimeout(kill);
    around.signal.removeEventListener("abort", stop);
  }
}

/** Tells each line, and gives the end of all that was printed. */
function tail(child: ChildProcess, stream: "stdout" | "stderr", around: CommandSurroundings): () => string {
  let kept = Buffer.alloc(0);
  const source = child[stream]!;
  source.on("data", (piece: Buffer) => {
    kept = Buffer.concat([kept, piece]).subarray(-KEPT_BYTES);
  });
  createInterface({ input: source }).on("line", (text) => around.line(stream, text));
  return () => kept.toString("utf8").replaceAll("\0", "\uFFFD").toWellFormed();
}

function failed({ command }: ExternalCommand, reason: string, printed: string): MillraceError {
  const last = printed.trim().split("\n").at(-1) ?? "";
  return new MillraceError("COMMAND_FAILED", { command, reason, said: last === "" ? "" : `: ${last.slice(0, 500)}` });
}

function environment(
  command: ExternalCommand,
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const passed = PASSED_ON.flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]] as const]));
  return { PATH: DEFAULT_PATH, ...Object.fromEntries(passed), ...command.env };
}

function findProgram(command: string, cwd: string, path: string): string | undefined {
  if (command.includes("/")) return executable(isAbsolute(command) ? command : resolve(cwd, command));
  for (const folder of path.split(delimiter)) {
    const found = executable(join(folder, command));
    if (found !== undefined) return found;
  }
  return undefined;
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined; // whatever the reason, it cannot be run
  }
}

let deathSignalPrefix: readonly string[] | undefined;

function deathSignal(): readonly string[] {
  const probe = ["--pdeathsig", "KILL", "--"];
  deathSignalPrefix ??=
    spawnSync("setpriv", [...probe, "true"], { stdio: "ignore" }).status === 0 ? ["setpriv", ...probe] : [];
  return deathSignalPrefix;
}
