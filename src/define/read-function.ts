import * as z from "zod";
import { type Definition, definitionKind } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, showValue, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Stream } from "./project.ts";
import type { LookupPlan } from "./read-lookup.ts";
import { readRetry } from "./read-workflow.ts";
import { duckdbType } from "./types.ts";
import type { Retry } from "./workflow.ts";
import { isZod } from "./zod-definition.ts";

/** A function whose options have been checked against the project's streams. */
export interface StreamFunction {
  readonly name: string;
  readonly stream: string;
  /** Field whose values are taken in order; undefined where the stream has neither a key nor one field as its id. */
  readonly key: string | undefined;
  /** What it remembers of each key; undefined: nothing. */
  readonly state:
    | { readonly jsonSchema: Readonly<Record<string, unknown>>; readonly ttlMs: number | undefined }
    | undefined;
  readonly version: number;
  readonly from: "now" | "beginning";
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly batch: { readonly size: number; readonly waitMs: number } | undefined;
  /** Names of streams; undefined: every one. */
  readonly emits: readonly string[] | undefined;
  /** Names of features of the stream. */
  readonly features: readonly string[];
  /** By the function's own name for each. */
  readonly lookups: Readonly<Record<string, LookupPlan>>;
  readonly file: string;
}

/** What a function does with an event that fails, unless it says otherwise. */
export const DEFAULT_RETRY: Retry = { attempts: 3, delay: "100ms" };

const OPTIONS = [
  ...["on", "handler", "name", "key", "state", "ttl", "version", "from", "concurrency", "timeout", "retry"],
  ...["emits", "batch", "features", "lookups"],
];
/** Its name is part of the names of folders and of the marks of what it emits. */
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,59}$/;
const DURATION = "a duration such as 500ms, 10s or 5m";
const DEFAULT_CONCURRENCY = 64;
const DEFAULT_TIMEOUT_MS = 10_000;
const MOST_TIMEOUT_MS = 3_600_000;
const DEFAULT_WAIT_MS = 5;
const MOST_BATCH = 10_000;

/** The function that a definition describes, or everything that is wrong with it. `broken` names streams that did not read. */
export function readFunction(
  { name, options }: Definition,
  file: string,
  streams: ReadonlyMap<string, Stream>,
  broken: ReadonlySet<string>,
): StreamFunction | readonly Problem[] {
  const subject = name === "" ? "a function" : `function "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !NAME.test(name)) {
    const allowed =
      "a function has the name it is exported under, or `name`: letters, digits, - and _, at most 60, beginning with a letter";
    problems.push(problem("NAME_INVALID", { subject: "a function", got: name, allowed }));
  }
  if (!isRecord(options)) return [...problems, invalidOption(subject, "the second argument", options, "options")];
  const { options: notOptions, ...given } = options;
  if ("options" in options) {
    const allowed = "the function, or an object of options";
    return [...problems, invalidOption(subject, "the second argument", notOptions, allowed)];
  }
  problems.push(...unknownOptions(subject, given, OPTIONS));
  if (typeof given["handler"] !== "function")
    problems.push(invalidOption(subject, "the last argument", given["handler"], "the function that takes the events"));
  const refuse = (option: string, value: unknown, allowed: string) =>
    problems.push(invalidOption(subject, option, value, allowed));

  const { ttl, version = 1, from = "now", concurrency = DEFAULT_CONCURRENCY, timeout } = given;
  const stream = readStreamName(given["on"], subject, streams, broken, problems);
  const key = stream && readKey(given["key"], stream, subject, problems);
  const state = readState(given["state"], subject, problems);
  if (state && stream && key === undefined && given["key"] === undefined)
    refuse("state", "given", `with key: "…", since the stream "${stream.name}" has no key of its own`);
  const ttlMs = durationOf(ttl);
  if (ttl !== undefined && (ttlMs === undefined || ttlMs < 1)) refuse("ttl", ttl, DURATION);
  if (ttl !== undefined && given["state"] === undefined) refuse("ttl", ttl, "only together with state");
  if (!isWhole(version, 1, 1_000_000)) refuse("version", version, "a whole number, at least 1");
  if (from !== "now" && from !== "beginning") refuse("from", from, '"now" or "beginning"');
  if (!isWhole(concurrency, 1, 10_000)) refuse("concurrency", concurrency, "a whole number from 1 to 10000");
  const timeoutMs = timeout === undefined ? DEFAULT_TIMEOUT_MS : durationOf(timeout);
  if (timeoutMs === undefined || timeoutMs < 1 || timeoutMs > MOST_TIMEOUT_MS)
    refuse("timeout", timeout, `${DURATION}, at most 1h`);
  readRetry((given["retry"] ?? DEFAULT_RETRY) as Retry, subject, problems);
  const batch = readBatch(given["batch"], subject, problems);
  const emits = readEmits(given["emits"], subject, streams, broken, problems);
  if (problems.length > 0 || stream === undefined) return problems;
  return {
    name,
    stream: stream.name,
    key,
    state: state && { jsonSchema: state, ttlMs },
    version: version as number,
    from: from as StreamFunction["from"],
    // A batch can only hold what is under way.
    concurrency: Math.max(concurrency as number, batch?.size ?? 1),
    timeoutMs: timeoutMs as number,
    batch,
    emits,
    features: [],
    lookups: {},
    file,
  };
}

/**
 * Functions whose events may come back to them, each way round once, as names of streams and functions: `telemetry -> braking -> alerts -> …`. They are
 * allowed, since a function may stop by itself, and shown, since one that does not never ends.
 */
export function functionCircles(
  functions: ReadonlyMap<string, Pick<StreamFunction, "name" | "stream" | "emits">>,
): string[] {
  const circles = new Map<string, string>();
  const visit = (stream: string, path: readonly string[]) => {
    const at = path.indexOf(stream);
    if (at >= 0) {
      const circle = path.slice(at);
      const key = [...circle].sort().join();
      if (!circles.has(key)) circles.set(key, [...circle, stream].join(" -> "));
      return;
    }
    for (const one of functions.values()) {
      if (one.stream !== stream || path.includes(one.name)) continue;
      for (const target of one.emits ?? []) visit(target, [...path, stream, one.name]);
    }
  };
  for (const stream of new Set([...functions.values()].map((one) => one.stream))) visit(stream, []);
  return [...circles.values()];
}

function readStreamName(
  given: unknown,
  subject: string,
  streams: ReadonlyMap<string, Stream>,
  broken: ReadonlySet<string>,
  problems: Problem[],
): Stream | undefined {
  const named = ["stream", "window"].includes(definitionKind(given) ?? "");
  const name = named ? (given as Definition).name : given;
  if (typeof name !== "string") {
    problems.push(
      invalidOption(
        subject,
        "the first argument",
        given,
        "a stream or a window, as stream(…) and window(…) give it, or its name",
      ),
    );
    return undefined;
  }
  const stream = streams.get(name);
  if (stream === undefined && !broken.has(name)) problems.push(unknownStream(subject, "is on", name, streams));
  return stream;
}

function unknownStream(subject: string, what: string, name: string, streams: ReadonlyMap<string, Stream>): Problem {
  const names = [...streams.keys()];
  const nearest = didYouMean(name, names);
  return problem("FUNCTION_STREAM_UNKNOWN", { subject, what, name, nearest, allowed: names.join(", ") });
}

function readKey(given: unknown, stream: Stream, subject: string, problems: Problem[]): string | undefined {
  if (given === undefined) return stream.key ?? (stream.id.length === 1 ? stream.id[0] : undefined);
  const names = stream.columns.map((column) => column.name);
  const column = stream.columns.find((one) => one.name === given);
  if (typeof given !== "string") problems.push(invalidOption(subject, "key", given, "a field name"));
  else if (column === undefined) {
    const nearest = didYouMean(given, names);
    const allowed = names.join(", ");
    problems.push(problem("FIELD_UNKNOWN", { option: "key", subject, field: given, nearest, allowed }));
  } else if (["struct", "array", "map", "json", "binary"].includes(column.type.kind)) {
    const allowed = "text, a number, a boolean, a timestamp or a date";
    const got = duckdbType(column.type);
    problems.push(problem("FIELD_UNFIT", { option: "key", subject, field: given, got, allowed }));
  } else return given;
  return undefined;
}

/** The JSON Schema of what is remembered. */
function readState(given: unknown, subject: string, problems: Problem[]): Record<string, unknown> | undefined {
  if (given === undefined) return undefined;
  if (!isZod(given)) {
    problems.push(invalidOption(subject, "state", given, "a Zod schema such as z.object({…})"));
    return undefined;
  }
  try {
    // What goes in must be what comes out, or state would be another after a restart.
    const [into, out] = (["input", "output"] as const).map((io) => {
      const { $schema: _, ...schema } = z.toJSONSchema(given, {
        io,
        target: "draft-2020-12",
        unrepresentable: "throw",
      });
      return schema as Record<string, unknown>;
    }) as [Record<string, unknown>, Record<string, unknown>];
    if (into["type"] !== out["type"]) throw new Error("what it takes and what it gives are of different types");
    return into;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    problems.push(problem("FUNCTION_STATE_UNFIT", { subject, reason }));
    return undefined;
  }
}

function readBatch(given: unknown, subject: string, problems: Problem[]): StreamFunction["batch"] {
  if (given === undefined) return undefined;
  const { size, wait, ...others } = isRecord(given) ? given : {};
  const waitMs = wait === undefined ? DEFAULT_WAIT_MS : durationOf(wait);
  const fine = isWhole(size, 1, MOST_BATCH) && waitMs !== undefined && waitMs <= 60_000;
  if (!fine || Object.keys(others).length > 0) {
    problems.push(invalidOption(subject, "batch", given, '{ size: 1 to 10000, wait: "5ms" }'));
    return undefined;
  }
  return { size: size as number, waitMs };
}

function readEmits(
  given: unknown,
  subject: string,
  streams: ReadonlyMap<string, Stream>,
  broken: ReadonlySet<string>,
  problems: Problem[],
): readonly string[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) {
    problems.push(invalidOption(subject, "emits", given, "a list of streams"));
    return undefined;
  }
  return given.flatMap((one: unknown) => {
    const name = definitionKind(one) === "stream" ? (one as Definition).name : one;
    if (typeof name !== "string") {
      problems.push(invalidOption(subject, "emits", showValue(one), "a list of streams, as stream(…) gives them"));
      return [];
    }
    if (!streams.has(name) && !broken.has(name)) problems.push(unknownStream(subject, "emits to", name, streams));
    return [name];
  });
}

function durationOf(given: unknown): number | undefined {
  return typeof given === "string" ? parseDuration(given) : undefined;
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}
