import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import type { CommandOutput, ExternalCommand } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import { signalGroup } from "./process-group.ts";
import { lastLine, type ProcessSurroundings, runWatched } from "./watched-process.ts";

export interface CommandSurroundings extends ProcessSurroundings {
  /** Folder that `cwd` is relative to. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** From the request to end to the end that cannot be refused. */
const TERM_GRACE_MS = 5_000;
const PASSED_ON = ["PATH", "HOME", "LANG", "TMPDIR"];
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";

/**
 * Runs a program in a process group of its own and resolves when nothing of the group is left. An aborted signal sends SIGTERM to all of
 * it and SIGKILL five seconds later; too much memory, SIGKILL at once.
 * @throws COMMAND_FAILED (not there, exit code, signal), COMMAND_MEMORY
 */
export async function runCommand(command: ExternalCommand, around: CommandSurroundings): Promise<CommandOutput> {
  const { memoryBytes, exitCodes = [0], args = [], stdin = "" } = command;
  around.signal.throwIfAborted();
  const cwd = resolve(around.dir, command.cwd ?? ".");
  const env = environment(command, around.env);
  const program = findProgram(command.command, cwd, env["PATH"]!);
  if (program === undefined) throw failed(command, "is not there, or may not be run", "");
  if (!existsSync(cwd)) throw failed(command, `cannot run in ${cwd}, which is not there`, "");
  const end = await runWatched(
    {
      ...{ program, args, cwd, env, memoryBytes, stdio: ["pipe", "pipe", "pipe"] },
      begin(child) {
        child.stdin?.on("error", () => undefined); // it may end without reading
        child.stdin?.end(stdin);
      },
      stop: (_, pid) => signalGroup(pid, "SIGTERM"),
      graceMs: TERM_GRACE_MS,
    },
    around,
  ).catch((error: unknown) => {
    around.signal.throwIfAborted();
    const { syscall, message } = error as NodeJS.ErrnoException;
    throw syscall?.startsWith("spawn") === true ? failed(command, `cannot be started: ${message}`, "") : error;
  });
  around.signal.throwIfAborted();
  const { code, signal, overBytes, stdout, stderr } = end;
  if (overBytes > 0)
    throw new MillraceError("COMMAND_MEMORY", { command: command.command, usedBytes: overBytes, memoryBytes });
  if (code === null) throw failed(command, `was ended by ${signal}`, stderr);
  if (!exitCodes.includes(code)) throw failed(command, `ended with exit code ${code}`, stderr || stdout);
  return { exitCode: code, stdout, stderr };
}

function failed({ command }: ExternalCommand, reason: string, printed: string): MillraceError {
  return new MillraceError("COMMAND_FAILED", { command, reason, said: lastLine(printed) });
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
