import type { CommonAlertOptions, Predicate, StreamAlertOptions, TableAlertOptions } from "./alert.ts";
import type { Severity } from "./alert-routes.ts";
import { readTo } from "./alert-routes.ts";
import type { Definition } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isNameList, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import { type ReadCondition, readCondition } from "./read-condition.ts";
import { triggerProblems } from "./read-workflow.ts";
import type { Trigger } from "./triggers.ts";

/** What alerts over streams and over tables have in common, checked, with durations in milliseconds. */
export interface AlertRules {
  readonly when: ReadCondition | Predicate<never> | undefined;
  readonly until: ReadCondition | Predicate<never> | undefined;
  readonly forMs: number;
  readonly coolDownMs: number;
  readonly resolveAfterMs: number | undefined;
  /** Undefined: what the row says, else a warning. */
  readonly severity: Severity | ((row: never) => Severity) | undefined;
  readonly summary: CommonAlertOptions<never>["summary"];
}

export interface AlertDraft extends AlertRules {
  readonly name: string;
  /** Names of destinations. */
  readonly to: readonly string[];
  readonly key: readonly string[] | undefined;
  readonly over: { readonly stream: string } | TableQuestion;
  readonly file: string;
}

export interface TableQuestion {
  readonly sql: string;
  readonly time: string | undefined;
  /** Undefined: after commits of what it reads. */
  readonly every: number | (Trigger & { readonly kind: "cron" }) | undefined;
  readonly timeoutMs: number;
}

export const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

/** The platform raises these itself. */
const RESERVED = ["alert_failed"];
const COMMON = ["until", "for", "coolDown", "resolveAfter", "severity", "summary", "to", "key", "when"];
const OF_STREAM = [...COMMON, "on"];
const OF_TABLE = [...COMMON, "sql", "time", "every", "timeout"];
const ALERT_NAME = /^[a-z][a-z0-9_-]{0,99}$/;
const DURATION = "a duration such as 30s, 15m or 2h";
const LONGEST_TIMEOUT_MS = 3_600_000;

/** The alert that a definition describes, or everything that is wrong with it as such. */
export async function readAlert(definition: Definition, file: string): Promise<AlertDraft | readonly Problem[]> {
  const { name, options } = definition;
  const subject = `alert "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !ALERT_NAME.test(name) || RESERVED.includes(name)) {
    const allowed = `a name is lower-case letters, digits, - and _, begins with a letter, has at most 100 characters and is not ${RESERVED.join(", ")}`;
    problems.push(problem("NAME_INVALID", { subject: "an alert", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  const overTable = options["sql"] !== undefined;
  problems.push(...unknownOptions(subject, options, overTable ? OF_TABLE : OF_STREAM));
  const rules = readRules(options as CommonAlertOptions<never> & { when?: unknown }, subject, overTable, problems);
  const key = typeof options["key"] === "string" ? [options["key"]] : options["key"];
  if (key !== undefined && !(isNameList(key) && key.length > 0))
    problems.push(invalidOption(subject, "key", options["key"], "the name of a field, or a list of different ones"));
  const over = overTable
    ? await readQuestion(options as unknown as TableAlertOptions, subject, problems)
    : readStream(options as unknown as StreamAlertOptions, subject, problems);
  const to = options["to"] === undefined ? [] : readTo(options["to"], subject, problems);
  if (problems.length > 0 || over === undefined) return problems;
  return { name, ...rules, to, key: key as readonly string[] | undefined, over, file };
}

function readRules(
  { when, until, severity, summary, ...durations }: CommonAlertOptions<never> & { when?: unknown },
  subject: string,
  overTable: boolean,
  problems: Problem[],
): AlertRules {
  const duration = (option: "for" | "coolDown" | "resolveAfter") => {
    const given = durations[option];
    const ms = given === undefined ? undefined : parseDuration(String(given));
    if (given !== undefined && !(ms !== undefined && ms > 0))
      problems.push(invalidOption(subject, option, given, DURATION));
    return ms;
  };
  if (when === undefined && !overTable)
    problems.push(problem("OPTION_MISSING", { subject, option: "when", why: "it says which events are alerts" }));
  const read = (option: string, given: unknown) =>
    given === undefined
      ? undefined
      : typeof given === "function"
        ? (given as Predicate<never>)
        : readCondition(given, option, subject, problems);
  const end = read("until", until);
  if (typeof end === "object" && end.kind !== "threshold")
    problems.push(invalidOption(subject, "until", `${end.kind}(…)`, "a function or threshold(…)"));
  if (severity !== undefined && typeof severity !== "function" && !SEVERITIES.includes(severity))
    problems.push(
      invalidOption(subject, "severity", severity, `${SEVERITIES.join(", ")}, or a function that gives one`),
    );
  if (summary !== undefined && typeof summary !== "function" && !(typeof summary === "string" && summary.trim() !== ""))
    problems.push(invalidOption(subject, "summary", summary, "a sentence or a function"));
  return {
    when: read("when", when),
    until: end,
    forMs: duration("for") ?? 0,
    coolDownMs: duration("coolDown") ?? 0,
    resolveAfterMs: duration("resolveAfter"),
    severity,
    summary,
  };
}

function readStream({ on }: StreamAlertOptions, subject: string, problems: Problem[]): { stream: string } | undefined {
  const name = isRecord(on) ? on["name"] : on;
  if (on === undefined) {
    const why = "an alert is over a stream (on) or over tables (sql)";
    problems.push(problem("OPTION_MISSING", { subject, option: "on or sql", why }));
  } else if (typeof name !== "string" || name === "")
    problems.push(invalidOption(subject, "on", on, "a stream, by definition or by name"));
  return typeof name === "string" ? { stream: name } : undefined;
}

async function readQuestion(
  { sql, time, every, timeout = "30s", ...others }: TableAlertOptions,
  subject: string,
  problems: Problem[],
): Promise<TableQuestion | undefined> {
  if ("on" in others) problems.push(invalidOption(subject, "on", "given beside sql", "left out where there is sql"));
  if (typeof sql !== "string" || sql.trim() === "") problems.push(invalidOption(subject, "sql", sql, "a SELECT"));
  if (time !== undefined && (typeof time !== "string" || time === ""))
    problems.push(invalidOption(subject, "time", time, "the name of a column"));
  const timeoutMs = parseDuration(String(timeout));
  if (!(timeoutMs !== undefined && timeoutMs > 0 && timeoutMs <= LONGEST_TIMEOUT_MS))
    problems.push(invalidOption(subject, "timeout", timeout, `${DURATION}, at most 1h`));
  let period: TableQuestion["every"];
  if (isRecord(every) && every["kind"] === "cron") {
    problems.push(...(await triggerProblems(every, subject)));
    period = every as unknown as Trigger & { readonly kind: "cron" };
  } else if (every !== undefined) {
    const ms = typeof every === "string" ? parseDuration(every) : undefined;
    if (!(ms !== undefined && ms >= 1000))
      problems.push(invalidOption(subject, "every", every, `${DURATION} of at least a second, or cron(…)`));
    period = ms;
  }
  return { sql, time, every: period, timeoutMs: timeoutMs ?? 0 };
}
