/** Functions of isolated steps, each with what it does to its process. */
import { spawn } from "node:child_process";
import { appendFileSync, readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { StepContext } from "millrace";
import { decimal } from "millrace";

export function sum({ numbers }: { numbers: readonly number[] }, { attempt, idempotencyKey, log }: StepContext) {
  log("summing", { count: numbers.length });
  console.log("to stdout");
  console.error("to stderr");
  return {
    total: numbers.reduce((a, b) => a + b, 0),
    at: new Date(0),
    ...{ attempt, idempotencyKey, own: typeof decimal, pid: process.pid },
  };
}

export default function named(input: unknown) {
  return { input };
}

/** Never awaits; says that it has begun. */
export function never(_: unknown, { log }: StepContext) {
  log("begun");
  for (;;);
}

export function eatHeap() {
  const held: unknown[] = [];
  for (;;) held.push(Array.from({ length: 1_000 }, (_, i) => ({ i })));
}

export function eatBuffers() {
  const held: Buffer[] = [];
  for (;;) held.push(Buffer.alloc(5_000_000, 1));
}

/** Not itself, but what it started. */
export async function eatElsewhere() {
  const script = "const held = []; setInterval(() => held.push(Buffer.alloc(20e6, 1)), 5)";
  spawn(process.execPath, ["-e", script], { stdio: "ignore" });
  await sleep(3_600_000);
}

export function fails({ notes }: { notes: string }, { attempt }: StepContext) {
  appendFileSync(notes, `attempt ${attempt}\n`);
  if (attempt < 3) throw Object.assign(new RangeError(`no. ${attempt}`), { code: "NOT_YET", details: { attempt } });
  return attempt;
}

export async function throwsLater() {
  setTimeout(() => {
    throw new TypeError("out of a timer");
  }, 1);
  await sleep(3_600_000);
}

export function exits({ code }: { code: number }) {
  console.error("so long");
  process.exit(code);
}

export const waitsForNothing = () => new Promise(() => undefined);

export const dies = () => process.kill(process.pid, "SIGSEGV");

export const givesFunction = () => () => 1;

export const givesTooMuch = () => "x".repeat(2_000_000);

export function garbles() {
  writeSync(3, "not for you\n");
  return 1;
}

/** Much to say, and a line without end. */
export function talks({ lines, length }: { lines: number; length: number }, { log }: StepContext) {
  for (let i = 0; i < lines; i++) log(`line ${i}`);
  const piece = "x".repeat(1_000_000);
  for (let written = 0; written < length; written += piece.length) process.stdout.write(piece);
  return "said";
}

/** Heeds its signal, and leaves a process behind that does not. */
export async function heeds({ notes }: { notes: string }, { signal, log }: StepContext) {
  const left = spawn("sh", ["-c", 'trap "" TERM; sleep 1000'], { stdio: "ignore" });
  log(`left ${left.pid}`);
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  appendFileSync(notes, `${(signal.reason as Error).message}\n`);
}

export const preference = () => readFileSync("/proc/self/oom_score_adj", "utf8").trim();
