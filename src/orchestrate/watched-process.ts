import { type ChildProcess, type StdioOptions, spawn, spawnSync } from "node:child_process";
import { eachLine } from "./printed-lines.ts";
import { endLeftOver, groupMemoryBytes, processMark, signalGroup } from "./process-group.ts";

/** What the platform knows of a process that belongs to a step. */
export interface ProcessSurroundings {
  readonly signal: AbortSignal;
  /** What an earlier life of the platform started for the same step. */
  readonly leftOver: { readonly pid: number; readonly started: string } | null;
  started(process: { readonly pid: number; readonly started: string }): Promise<void>;
  line(stream: "stdout" | "stderr", text: string): void;
}

export interface ProcessToRun {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdio: StdioOptions;
  /** Most resident memory of the whole group. */
  readonly memoryBytes: number | undefined;
  /** Told the process once it is there. */
  begin(child: ChildProcess): void;
  /** Asks it to end; what is left of the group after `graceMs` is killed. */
  stop(child: ChildProcess, pid: number): void;
  readonly graceMs: number;
}

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What the group had when it was killed for its memory, else 0. */
  readonly overBytes: number;
  /** The end of what it printed. */
  readonly stdout: string;
  readonly stderr: string;
}

const KEPT_BYTES = 64 * 1024;
/** A log line is cut to this length. */
const MOST_LINE = 8_192;
/** Between two looks at its memory: it can go over its limit by what it takes in this time. */
const MEMORY_LOOK_MS = 100;

/**
 * Runs a program in a process group of its own and resolves when nothing of the group is left, however that came about. An aborted signal
 * stops it, too much memory kills it at once. Where the system can do it (Linux with setpriv), it also dies with the platform, kill -9
 * included; whatever it had started then is ended before the step is tried again. Rejects only when the program cannot be started.
 */
export async function runWatched(run: ProcessToRun, around: ProcessSurroundings): Promise<ProcessEnd> {
  if (around.leftOver !== null) endLeftOver(around.leftOver);
  around.signal.throwIfAborted();
  const [first, ...rest] = [...deathSignal(), run.program, ...run.args];
  const child = spawn(first!, rest, { cwd: run.cwd, env: { ...run.env }, detached: true, stdio: run.stdio });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => child.pid !== undefined && signalGroup(child.pid, "SIGKILL")); // what it left behind
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const { pid } = child;
  if (pid === undefined) {
    await ended;
    throw new Error("no process was started");
  }
  const out = tail(child, "stdout", around);
  const err = tail(child, "stderr", around);
  run.begin(child);
  const { memoryBytes } = run;
  let overBytes = 0;
  const look = () => {
    const bytes = groupMemoryBytes(pid);
    if (bytes <= (memoryBytes ?? Number.POSITIVE_INFINITY) || overBytes > 0) return;
    overBytes = bytes;
    signalGroup(pid, "SIGKILL");
  };
  const watch = memoryBytes === undefined ? undefined : setInterval(look, MEMORY_LOOK_MS);
  let kill: NodeJS.Timeout | undefined;
  const stop = () => {
    if (kill !== undefined) return;
    kill = setTimeout(() => signalGroup(pid, "SIGKILL"), run.graceMs);
    run.stop(child, pid);
  };
  around.signal.addEventListener("abort", stop, { once: true });
  try {
    const mark = processMark(pid);
    if (mark !== undefined) await around.started({ pid, started: mark });
    if (around.signal.aborted) stop();
    return { ...(await ended), overBytes, stdout: out(), stderr: err() };
  } finally {
    clearInterval(watch);
    clearTimeout(kill);
    around.signal.removeEventListener("abort", stop);
  }
}

/** The last line that was printed, to say in an error. */
export function lastLine(printed: string): string {
  const last = printed.trim().split("\n").at(-1) ?? "";
  return last === "" ? "" : `: ${last.slice(0, 500)}`;
}

/** Tells each line, and gives the end of all that was printed. */
function tail(child: ChildProcess, stream: "stdout" | "stderr", around: ProcessSurroundings): () => string {
  let kept = Buffer.alloc(0);
  const source = child[stream]!;
  source.on("data", (piece: Buffer) => {
    kept = Buffer.concat([kept, piece]).subarray(-KEPT_BYTES);
  });
  eachLine(source, MOST_LINE, (text) => around.line(stream, text));
  return () => kept.toString("utf8").replaceAll("\0", "\uFFFD").toWellFormed();
}

let deathSignalPrefix: readonly string[] | undefined;

function deathSignal(): readonly string[] {
  const probe = ["--pdeathsig", "KILL", "--"];
  deathSignalPrefix ??=
    spawnSync("setpriv", [...probe, "true"], { stdio: "ignore" }).status === 0 ? ["setpriv", ...probe] : [];
  return deathSignalPrefix;
}
