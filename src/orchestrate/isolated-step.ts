import { statSync } from "node:fs";
import { getCompileCacheDir } from "node:module";
import { dirname, relative, resolve, sep } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { IsolatedOptions } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import type { FromIsolated, IsolatedRequest, ToIsolated } from "./isolated-process.ts";
import { eachLine } from "./printed-lines.ts";
import { failureOf, StepFailure } from "./step-failure.ts";
import { MOST_VALUE_BYTES } from "./step-values.ts";
import { lastLine, type ProcessEnd, type ProcessSurroundings, runWatched } from "./watched-process.ts";

/** What an isolated step is to call, checked. It is recorded with the step. */
export interface IsolatedCall {
  /** Relative to the project's folder, with slashes. */
  readonly module: string;
  readonly export: string;
  readonly input: unknown;
}

export interface IsolatedSurroundings extends ProcessSurroundings {
  readonly key: string;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly memoryBytes: number;
  log(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** The project's folder. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A run of ten steps at once stays within what a small machine has. */
export const MEMORY_BYTES = 536_870_912;
/** Node itself takes some 45 MB. */
const LEAST_MEMORY_BYTES = 67_108_864;
/** From the abort of its signal to the end of its process. */
const STOP_GRACE_MS = 1_000;
/** A value and what stands around it. */
const MOST_LINE = 2 * MOST_VALUE_BYTES;

/** @throws STEP_INVALID when the module is not one of the project's files, or an option is not what it must be */
export function readIsolated(
  name: string,
  { module, export: exported = "default", input, memoryBytes = MEMORY_BYTES }: IsolatedOptions,
  dir: string,
): { readonly call: IsolatedCall; readonly memoryBytes: number } {
  const refuse = (reason: string) => new MillraceError("STEP_INVALID", { step: name, reason });
  if (!(Number.isInteger(memoryBytes) && memoryBytes >= LEAST_MEMORY_BYTES))
    throw refuse(`has the memoryBytes ${memoryBytes}; it must be a whole number, at least ${LEAST_MEMORY_BYTES}`);
  const given = String(module);
  if (module === undefined || (/^[a-z]+:/.test(given) && !given.startsWith("file:")))
    throw refuse(`has the module ${given}; it must be a file: new URL("./steps/heavy.ts", import.meta.url)`);
  const path = resolve(dir, given.startsWith("file:") ? fileURLToPath(given) : given);
  const inside = relative(dir, path).split(sep).join("/");
  if (inside.startsWith("../") || resolve(dir, inside) !== path)
    throw refuse(`has the module ${given}, which is not in the project's folder ${dir}`);
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
    throw refuse(`has the module ${inside}, which is not there; paths are relative to the project's folder`);
  return { call: { module: inside, export: exported, input }, memoryBytes };
}

/**
 * Calls a function of a module in a process of its own, and gives what it gave. An aborted signal aborts the function's own and one second
 * later ends the process with all it started.
 *
 * The heap ends at `memoryBytes` by V8's own limit; everything else (Buffers, WebAssembly, processes it starts) by looks at the resident
 * memory of the group.
 * @throws STEP_MEMORY, STEP_DIED, and whatever the function threw
 */
export async function runIsolated(call: IsolatedCall, around: IsolatedSurroundings): Promise<unknown> {
  const { dir, key, attempt, idempotencyKey, memoryBytes } = around;
  const request: IsolatedRequest = {
    ...{ dir, module: pathToFileURL(resolve(dir, call.module)).href, export: call.export },
    ...{ key, input: call.input, attempt, idempotencyKey },
  };
  let last: Exclude<FromIsolated, { log: unknown }> | undefined;
  let garbled = false;
  const end = await runWatched(
    {
      program: process.execPath,
      args: [`--max-old-space-size=${Math.floor(memoryBytes / 2 ** 20)}`, processFile()],
      ...{
        cwd: dir,
        env: { ...around.env, ...compiled() },
        memoryBytes,
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
      },
      begin(child) {
        const [, , , said, told] = child.stdio;
        eachLine(said as Readable, MOST_LINE, (text) => {
          try {
            const parsed = parse(text);
            if ("log" in parsed) around.log(parsed.log.message, parsed.log.fields);
            else last = parsed;
          } catch {
            garbled = true; // only this process's own runtime keeps to what is said there
          }
        });
        (told as Writable).on("error", () => undefined); // it may end without listening
        tell(told as Writable, request);
      },
      stop: (child) => tell(child.stdio[4] as Writable, { abort: failureOf(around.signal.reason) }),
      graceMs: STOP_GRACE_MS,
    },
    around,
  );
  around.signal.throwIfAborted();
  if (end.overBytes > 0 || (last === undefined && HEAP_END.test(end.stderr))) {
    const used = end.overBytes > 0 ? `, and had ${end.overBytes}` : "";
    throw new MillraceError("STEP_MEMORY", { step: key, memoryBytes, used });
  }
  // A kill may cut a line off in the middle.
  if (last === undefined || garbled) throw died(key, end, garbled && end.signal === null);
  if ("error" in last) throw new StepFailure(last.error);
  return last.output;
}

/** What V8 prints before it ends its process. */
const HEAP_END = /JavaScript heap out of memory|process out of memory/;

function died(step: string, { code, signal, stderr }: ProcessEnd, garbled: boolean): MillraceError {
  const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`;
  const why = garbled
    ? "wrote to file descriptor 3, which is its line to the platform"
    : code === 13 || code === 0
      ? `${how} before the step gave anything: it called process.exit, or waits for what cannot come`
      : `${how} before the step gave anything`;
  return new MillraceError("STEP_DIED", { step, reason: why, said: garbled ? "" : lastLine(stderr) });
}

function tell(line: Writable, said: ToIsolated): void {
  line.write(`${JSON.stringify(said)}\n`);
}

function parse(text: string): FromIsolated {
  const said = JSON.parse(text) as unknown;
  const { log, error } = said as { log?: { message?: unknown }; error?: { message?: unknown } };
  const told = log ?? error;
  if (told === undefined ? !("output" in (said as object)) : typeof told.message !== "string")
    throw new Error("it is none of the messages there are");
  return said as FromIsolated;
}

/** Where the platform keeps compiled modules, its processes do too: half of their start is compiling. */
function compiled(): Record<string, string> {
  const own = getCompileCacheDir(); // a folder of this version of Node, in the one that was given
  return own === undefined ? {} : { NODE_COMPILE_CACHE: dirname(own) };
}

/** Beside this file: sources in a checkout, JavaScript in the built package. */
function processFile(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return fileURLToPath(new URL(`./isolated-process.${extension}`, import.meta.url));
}
