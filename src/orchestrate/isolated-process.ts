/**
 * The process of one isolated step: imports the module, calls the function, says what it gave, ends.
 *
 * Beside its standard streams it has two lines to the platform, each with one JSON object a line:
 *
 *     3, written   {"log":{"message","fields"}}       at once, so that a function that never returns is heard
 *                  {"output":…} or {"error":{…}}      the last one
 *     4, read      {"dir","module","export","key","input","attempt","idempotencyKey"}   the first one
 *                  {"abort":{…}}                      its time is over, or its run is cancelled
 *
 * When line 4 ends the platform is gone, and so is this process.
 */
import { writeFileSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { didYouMean } from "../define/nearest.ts";
import { resolveOwnPackage } from "../define/project-modules.ts";
import type { RunFailure, StepContext } from "../define/workflow.ts";
import { MillraceError } from "../errors.ts";
import { MOST_LINES } from "./run-log.ts";
import { failureOf, StepFailure } from "./step-failure.ts";
import { recordable, storableText } from "./step-values.ts";

/** What the platform says first. */
export interface IsolatedRequest {
  /** The project's folder. */
  readonly dir: string;
  /** URL of the module. */
  readonly module: string;
  readonly export: string;
  readonly key: string;
  readonly input: unknown;
  readonly attempt: number;
  readonly idempotencyKey: string;
}

export type ToIsolated = IsolatedRequest | { readonly abort: RunFailure };

export type FromIsolated =
  | { readonly log: { readonly message: string; readonly fields?: Readonly<Record<string, unknown>> } }
  | { readonly output: unknown }
  | { readonly error: RunFailure };

const TO_PLATFORM = 3;
const FROM_PLATFORM = 4;

const abort = new AbortController();
const line = new Socket({ fd: FROM_PLATFORM, readable: true, writable: false });
preferredByTheKernel();
process.on("uncaughtException", (error) => fail(error));
listen();

/** When the whole machine is out of memory, the kernel takes this process before the platform or its database. */
function preferredByTheKernel(): void {
  if (process.platform === "linux") writeFileSync("/proc/self/oom_score_adj", "1000");
}

function listen(): void {
  let text = "";
  line.setEncoding("utf8");
  line.on("data", (piece: string) => {
    const lines = (text + piece).split("\n");
    text = lines.pop() ?? "";
    for (const said of lines) hear(JSON.parse(said) as ToIsolated);
  });
  line.on("close", () => process.exit(1));
}

function hear(said: ToIsolated): void {
  if ("abort" in said) {
    abort.abort(new StepFailure(said.abort));
    return;
  }
  // From here on nothing but the function keeps the process: when it waits for what cannot come, the process ends and says so.
  line.unref();
  call(said).then((output) => {
    say({ output });
    process.exit(0);
  }, fail);
}

async function call({ dir, module, export: name, key, input, ...context }: IsolatedRequest): Promise<unknown> {
  resolveOwnPackage(dir);
  const exports = (await import(module)) as Record<string, unknown>;
  const body = exports[name];
  if (typeof body !== "function") {
    const functions = Object.keys(exports).filter((other) => typeof exports[other] === "function");
    const reason = `asks ${module.slice(module.lastIndexOf("/") + 1)} for ${name}, which is no function it exports${didYouMean(name, functions)}`;
    throw new MillraceError("STEP_INVALID", { step: key, reason });
  }
  let lines = 0;
  const log: StepContext["log"] = (message, fields) => {
    if (++lines > MOST_LINES) return;
    const plain = fields === undefined ? {} : { fields: recordable(key, fields) as Record<string, unknown> };
    say({ log: { message: storableText(String(message)).slice(0, 8_192), ...plain } });
  };
  const step: StepContext = { ...context, signal: abort.signal, log };
  return recordable(key, await (body as (input: unknown, step: StepContext) => unknown)(input, step));
}

function fail(error: unknown): void {
  say({ error: failureOf(error) });
  process.exit(1);
}

/** Waits until the platform's end of the line has room. */
function say(said: FromIsolated): void {
  const bytes = Buffer.from(`${JSON.stringify(said)}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(TO_PLATFORM, bytes, at);
}
