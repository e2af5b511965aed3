import { createHash } from "node:crypto";
import type { Definition } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import { MISSED_RUNS, type Trigger } from "./triggers.ts";
import type { Retry, RetryPolicy, Run, RunFailure, WorkflowBody } from "./workflow.ts";

/** A workflow whose options have been checked and whose durations are milliseconds. */
export interface Workflow {
  readonly name: string;
  readonly triggers: readonly Trigger[];
  readonly concurrency: { readonly limit: number; readonly key: ((input: unknown) => string) | undefined } | undefined;
  readonly timeoutMs: number | undefined;
  readonly retry: readonly RetryRule[];
  readonly compensate: ((run: Run, error: RunFailure) => Promise<void> | void) | undefined;
  readonly body: WorkflowBody;
  /** Changes with the text of the body: says in messages whether the code is still what a run began with. */
  readonly codeHash: string;
  readonly file: string;
}

/** A retry policy with everything said. */
export interface RetryRule {
  readonly matches: (error: unknown) => boolean;
  readonly attempts: number;
  readonly delayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly jitter: boolean;
}

const OPTIONS = ["on", "concurrency", "timeout", "retry", "compensate", "body"];
const RETRY_OPTIONS = ["on", "attempts", "delay", "factor", "maxDelay", "jitter"];
const WORKFLOW_NAME = /^[a-z][a-z0-9_-]{0,99}$/;
const DURATION = "a duration such as 30s, 15m or 2h";

/** The workflow that a definition describes, or everything that is wrong with it as such. */
export async function readWorkflow(definition: Definition, file: string): Promise<Workflow | readonly Problem[]> {
  const { name, options } = definition;
  const subject = `workflow "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !WORKFLOW_NAME.test(name)) {
    const allowed =
      "a name is lower-case letters, digits, - and _, begins with a letter and has at most 100 characters";
    problems.push(problem("NAME_INVALID", { subject: "a workflow", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));
  const { on = [], concurrency, timeout, retry, compensate, body } = options;
  if (typeof body !== "function")
    problems.push(invalidOption(subject, "the third argument", body, "the function that does the work"));
  if (compensate !== undefined && typeof compensate !== "function")
    problems.push(invalidOption(subject, "compensate", compensate, "a function"));
  const timeoutMs = timeout === undefined ? undefined : parseDuration(String(timeout));
  if (timeout !== undefined && !(timeoutMs !== undefined && timeoutMs > 0))
    problems.push(invalidOption(subject, "timeout", timeout, DURATION));
  const rules = readRetry(retry as Retry | undefined, subject, problems);
  const limit = readConcurrency(concurrency, subject, problems);
  if (!Array.isArray(on)) problems.push(invalidOption(subject, "on", on, "a list of triggers"));
  else for (const trigger of on) problems.push(...(await triggerProblems(trigger, subject)));
  if (problems.length > 0) return problems;
  return {
    name,
    triggers: on as readonly Trigger[],
    concurrency: limit,
    timeoutMs,
    retry: rules,
    compensate: compensate as Workflow["compensate"],
    body: body as WorkflowBody,
    codeHash: createHash("sha256").update(String(body)).digest("hex").slice(0, 16),
    file,
  };
}

/** The rules of a retry option; what is wrong with it is added to `problems`. */
export function readRetry(retry: Retry | undefined, subject: string, problems: Problem[]): readonly RetryRule[] {
  const policies = retry === undefined ? [] : Array.isArray(retry) ? (retry as unknown[]) : [retry];
  return policies.flatMap((policy) => {
    if (!isRecord(policy)) {
      problems.push(invalidOption(subject, "retry", policy, "a policy such as { attempts: 3 }, or a list of them"));
      return [];
    }
    problems.push(...unknownOptions(`retry of ${subject}`, policy, RETRY_OPTIONS));
    const { on, attempts, delay = "1s", factor = 2, maxDelay = "5m", jitter = true } = policy as Partial<RetryPolicy>;
    const refuse = (option: string, value: unknown, allowed: string) =>
      problems.push(invalidOption(`retry of ${subject}`, option, value, allowed));
    if (!(Number.isInteger(attempts) && attempts! >= 1 && attempts! <= 1000))
      refuse("attempts", attempts, "a whole number from 1 to 1000");
    const delayMs = parseDuration(String(delay));
    const maxDelayMs = parseDuration(String(maxDelay));
    if (delayMs === undefined) refuse("delay", delay, DURATION);
    if (maxDelayMs === undefined) refuse("maxDelay", maxDelay, DURATION);
    if (!(typeof factor === "number" && factor >= 1 && factor <= 100))
      refuse("factor", factor, "a number from 1 to 100");
    if (typeof jitter !== "boolean") refuse("jitter", jitter, "true or false");
    const names = typeof on === "string" ? [on] : on;
    const listed = Array.isArray(names) && names.length > 0 && names.every((name) => typeof name === "string");
    if (names !== undefined && typeof names !== "function" && !listed)
      refuse("on", on, "the code or name of an error, a list of them, or a function");
    return [
      {
        matches: typeof names === "function" ? names : names === undefined ? () => true : named(names),
        attempts: attempts ?? 1,
        delayMs: delayMs ?? 0,
        factor,
        maxDelayMs: maxDelayMs ?? 0,
        jitter,
      },
    ];
  });
}

function named(names: readonly string[]): (error: unknown) => boolean {
  return (error) => {
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
    return names.includes(String(code)) || names.includes(String(name));
  };
}

function readConcurrency(given: unknown, subject: string, problems: Problem[]): Workflow["concurrency"] {
  if (given === undefined) return undefined;
  const { limit, key, ...others } = isRecord(given) ? given : { limit: given, key: undefined };
  const fine = Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= 10_000;
  const keyed = !isRecord(given) || typeof key === "function";
  if (!fine || !keyed || Object.keys(others).length > 0) {
    const allowed = "a whole number from 1 to 10000, or { limit, key: (input) => string }";
    problems.push(invalidOption(subject, "concurrency", given, allowed));
    return undefined;
  }
  return { limit: limit as number, key: key as ((input: unknown) => string) | undefined };
}

const KINDS = ["cron", "commit", "amount", "arrival", "succeeded", "failed"];

/** What is wrong with a trigger as such. */
export async function triggerProblems(trigger: unknown, subject: string): Promise<Problem[]> {
  const kinds = `${KINDS.map((kind) => `${kind}(…)`).join(", ")}`;
  if (!isRecord(trigger) || !KINDS.includes(String(trigger["kind"])))
    return [invalidOption(subject, "on", trigger, `a list of ${kinds}`)];
  const { kind, ...options } = trigger as unknown as Trigger;
  const call = `${kind} of ${subject}`;
  switch (kind) {
    case "cron":
      return [
        ...unknownOptions(call, options, ["expression", "timezone", "missed"]),
        ...(await cronProblems(options as Omit<Trigger & { kind: "cron" }, "kind">, call)),
      ];
    case "amount": {
      const { table, rows } = options as { table: unknown; rows: unknown };
      const found = unknownOptions(call, options, ["table", "rows"]);
      if (typeof table !== "string") found.push(invalidOption(call, "the table", table, "its name"));
      if (!(Number.isInteger(rows) && (rows as number) >= 1))
        found.push(invalidOption(call, "rows", rows, "a whole number, at least 1"));
      return found;
    }
    default: {
      const [[what, value] = ["name", undefined]] = Object.entries(options);
      if (typeof value === "string" && value !== "") return [];
      return [invalidOption(call, `the ${what}`, value, "text")];
    }
  }
}

const ALIASES = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly", "@minutely"];

async function cronProblems(
  { expression, timezone, missed }: Omit<Trigger & { kind: "cron" }, "kind">,
  subject: string,
): Promise<Problem[]> {
  const found: Problem[] = [];
  if (!MISSED_RUNS.includes(missed)) found.push(invalidOption(subject, "missed", missed, MISSED_RUNS.join(", ")));
  const zone = String(timezone);
  if (!isTimeZone(zone)) {
    const nearest = didYouMean(zone, Intl.supportedValuesOf("timeZone"));
    found.push(problem("TIME_ZONE_UNKNOWN", { subject, got: zone, nearest }));
  }
  const { CronExpressionParser } = await import("cron-parser");
  try {
    const text = String(expression);
    if (!text.startsWith("@") && ![5, 6].includes(text.trim().split(/\s+/).length))
      throw new Error("it has not five or six fields");
    // Asking for a moment refuses days that no month has.
    CronExpressionParser.parse(text, { tz: "UTC" }).next();
  } catch (error) {
    const nearest = didYouMean(String(expression), ALIASES);
    const reason = error instanceof Error ? error.message : String(error);
    found.push(problem("CRON_INVALID", { subject, got: expression, reason, nearest }));
  }
  return found;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
