import { createHash } from "node:crypto";
import { MillraceError } from "../errors.ts";
import { readContract } from "./contract.ts";
import { type Definition, definitionKind } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isNameList, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem, problemOf } from "./problem.ts";
import type { Column, Stream } from "./project.ts";
import { type AggregatePlan, readAggregates } from "./read-aggregates.ts";
import { FieldChecks, STREAM_NAME } from "./read-stream.ts";
import type { TableDraft } from "./read-table.ts";
import { quoteIdentifier } from "./sql-text.ts";
import { duckdbType } from "./types.ts";
import { zodOfColumns } from "./zod-of-columns.ts";

/** A window whose options have the right shape; nothing is known yet about the stream it is over. */
export interface WindowDraft {
  readonly name: string;
  /** Name of the stream, or of the window, that it is over. */
  readonly on: string;
  readonly keys: readonly string[];
  readonly size: WindowSizePlan;
  readonly aggregate: unknown;
  readonly latenessMs: number;
  readonly aheadMs: number;
  readonly earlyMs: number | undefined;
  readonly late: string | undefined;
  readonly file: string;
}

export type WindowSizePlan =
  /** Tumbling windows are hopping ones whose `everyMs` is their size. */
  | { readonly kind: "aligned"; readonly sizeMs: number; readonly everyMs: number }
  | { readonly kind: "session"; readonly gapMs: number }
  | { readonly kind: "sliding"; readonly sizeMs: number; readonly most: number };

/** What the operator in the worker thread is opened with. Plain data. */
export interface WindowPlan {
  /** The stream of its results. */
  readonly name: string;
  readonly size: WindowSizePlan;
  readonly time: string;
  /** Fields of the key, in the order of the definition; none when all events are in the same windows. */
  readonly keys: readonly Column[];
  readonly aggregates: readonly AggregatePlan[];
  readonly latenessMs: number;
  readonly aheadMs: number;
  readonly earlyMs: number | undefined;
  /** Where events go that no window takes, and whether it says the reason. */
  readonly late: { readonly stream: string; readonly reason: boolean } | undefined;
  /** True over the results of another window, of which only final ones are seen: previews would count twice, and depend on the clock. */
  readonly finalsOnly: boolean;
  /** True where a result that was shown early may have to be taken back, because its session became part of an earlier one. */
  readonly retracts: boolean;
}

/** Windows over a stream, with the names of fields bound. Their results are a stream of the same name. */
export interface Window {
  readonly name: string;
  readonly stream: string;
  readonly plan: WindowPlan;
  /** Changes when state that was kept for the former definition does not fit this one. */
  readonly stateHash: string;
  readonly file: string;
}

/** Field of the stream for late events that says why they are in it. */
export const LATE_REASON = "late_reason";

const OPTIONS = ["on", "key", "size", "aggregate", "where", "lateness", "ahead", "late", "early"];
const MOST_MS = 366 * 86_400_000;
const MOST_PANES = 1000;
const MOST_SLIDING_EVENTS = 100_000;
const SIZES = 'tumbling("5m"), hopping("1h", { every: "5m" }), session("30m") or sliding("10m")';

/** The window that a definition describes, or everything that is wrong with it as such. */
export function readWindow(definition: Definition, file: string): WindowDraft | readonly Problem[] {
  const { name, options } = definition;
  const subject = `window "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !STREAM_NAME.test(name)) {
    const allowed = "a name is lower-case letters, digits and _, begins with a letter and has at most 100 characters";
    problems.push(problem("NAME_INVALID", { subject: "a window", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));
  const { on, key = [], where, late } = options;
  const keys = typeof key === "string" ? [key] : key;
  const duration = (option: string, byDefault: string | undefined, leastMs: number) => {
    const given = options[option] ?? byDefault;
    const ms = given === undefined ? undefined : parseDuration(String(given));
    if (given !== undefined && !(ms !== undefined && ms >= leastMs && ms <= MOST_MS))
      problems.push(invalidOption(subject, option, given, `a duration from ${leastMs}ms to 366d, such as 10s or 1h`));
    return ms;
  };
  const source = typeof on === "string" ? on : sourceName(on);
  if (source === undefined) problems.push(invalidOption(subject, "on", on, "a stream, a window, or the name of one"));
  if (!isNameList(keys)) problems.push(invalidOption(subject, "key", key, "a field or a list of different fields"));
  if (where !== undefined && typeof where !== "function")
    problems.push(invalidOption(subject, "where", where, "a function of the event that gives true or false"));
  if (late !== undefined && definitionKind(late) !== "stream")
    problems.push(invalidOption(subject, "late", late, "a stream"));
  const size = readSize(options["size"], subject, problems);
  const latenessMs = duration("lateness", "1m", 0);
  const aheadMs = duration("ahead", "1h", 0);
  const earlyMs = duration("early", undefined, 100);
  if (earlyMs !== undefined && size?.kind === "sliding") {
    const allowed = "missing for sliding windows, whose results are of one event each and known when they are final";
    problems.push(invalidOption(subject, "early", options["early"], allowed));
  }
  if (problems.length > 0 || size === undefined) return problems;
  return {
    ...{ name, on: source!, keys: keys as readonly string[], size, aggregate: options["aggregate"] },
    ...{ latenessMs: latenessMs!, aheadMs: aheadMs!, earlyMs, late: (late as Definition | undefined)?.name, file },
  };
}

function sourceName(on: unknown): string | undefined {
  const kind = definitionKind(on);
  return kind === "stream" || kind === "window" ? (on as Definition).name : undefined;
}

function readSize(given: unknown, subject: string, problems: Problem[]): WindowSizePlan | undefined {
  const kind = isRecord(given) ? given["kind"] : undefined;
  const refuse = (option: string, value: unknown, allowed: string) => {
    problems.push(invalidOption(subject, option, value, allowed));
    return undefined;
  };
  if (!isRecord(given) || !["tumbling", "hopping", "session", "sliding"].includes(String(kind)))
    return refuse("size", given, SIZES);
  const length = kind === "session" ? given["gap"] : given["size"];
  const sizeMs = parseDuration(String(length));
  if (sizeMs === undefined || sizeMs <= 0 || sizeMs > MOST_MS)
    return refuse("size", length, "a duration above 0 and up to 366d, such as 5m");
  if (kind === "session") return { kind, gapMs: sizeMs };
  if (kind === "sliding") {
    const { most = 10_000 } = given;
    const fine = Number.isInteger(most) && (most as number) >= 1 && (most as number) <= MOST_SLIDING_EVENTS;
    if (!fine) return refuse("size", most, `at most a whole number of events from 1 to ${MOST_SLIDING_EVENTS}`);
    return { kind, sizeMs, most: most as number };
  }
  const everyMs = kind === "tumbling" ? sizeMs : parseDuration(String(given["every"]));
  if (everyMs === undefined || everyMs <= 0 || sizeMs % everyMs !== 0 || sizeMs / everyMs > MOST_PANES)
    return refuse(
      "size",
      given["every"],
      `an \`every\` that divides ${String(length)} into at most ${MOST_PANES} equal parts`,
    );
  return { kind: "aligned", sizeMs, everyMs };
}

/** What a window makes: itself, the stream of its results, and the table that keeps the newest of them. */
export interface BoundWindow {
  readonly window: Window;
  readonly stream: Stream;
  readonly silver: TableDraft;
}

/**
 * Binds a window to the stream it is over and to the one for its late events, or says what does not fit.
 *
 * @param overWindow whether the stream is that of another window.
 */
export function bindWindow(
  draft: WindowDraft,
  source: Stream,
  late: Stream | undefined,
  overWindow = false,
): BoundWindow | readonly Problem[] {
  const subject = `window "${draft.name}"`;
  const problems: Problem[] = [];
  const fields = new FieldChecks(subject, source.columns, problems);
  for (const key of draft.keys) fields.check("key", key, isKey, "text, a whole number, a boolean or a date");
  const unkeyed = (source.partitions ?? 1) > 1 ? keyFault(subject, draft.keys, source) : undefined;
  if (unkeyed !== undefined) problems.push(problemOf(unkeyed));
  if (source.time === undefined) {
    const why = `windows are over event time: say \`time\` in stream "${source.name}"`;
    problems.push(problem("OPTION_MISSING", { subject, option: `time of stream "${source.name}"`, why }));
  }
  const retracts = draft.size.kind === "session" && draft.earlyMs !== undefined;
  const start: Column = { name: "window_start", type: { kind: "timestamp" }, nullable: false };
  const end: Column = { name: "window_end", type: { kind: "timestamp" }, nullable: false };
  const marks: readonly Column[] = [
    { name: "revision", type: { kind: "long" }, nullable: false },
    { name: "final", type: { kind: "boolean" }, nullable: false },
    ...(retracts ? [{ name: "retracted", type: { kind: "boolean" }, nullable: false } as const] : []),
  ];
  const keys = draft.keys.flatMap((key) => source.columns.filter(({ name }) => name === key));
  const taken = [...keys, start, end, ...marks].map(({ name }) => name);
  for (const key of draft.keys.filter((name) => [start, end, ...marks].some((column) => column.name === name)))
    problems.push(problem("FIELD_NAME_INVALID", { subject, path: key, reason: "windows have a column of this name" }));
  const aggregates = readAggregates(draft.aggregate, source.columns, taken, subject, problems);
  if (late !== undefined) problems.push(...lateProblems(late, source, subject));
  if (problems.length > 0) return problems;
  const plan: WindowPlan = {
    ...{ name: draft.name, size: draft.size, time: source.time!, keys, aggregates, retracts, finalsOnly: overWindow },
    ...{ latenessMs: draft.latenessMs, aheadMs: draft.aheadMs, earlyMs: draft.earlyMs },
    late: late && { stream: late.name, reason: late.columns.some(({ name }) => name === LATE_REASON) },
  };
  const columns = [
    ...keys.map((column) => ({ ...column, nullable: false })),
    ...[start, end, ...aggregates.map(({ column }) => column), ...marks],
  ];
  const contract = readContract(zodOfColumns(columns), subject);
  if (!("columns" in contract)) return contract;
  const id = [...draft.keys, start.name, ...marks.map(({ name }) => name)];
  const key = source.key !== undefined && draft.keys.includes(source.key) ? source.key : draft.keys[0];
  const stream: Stream = {
    ...{ name: draft.name, columns: contract.columns, jsonSchema: contract.jsonSchema, id, key },
    ...{ time: start.name, horizonMs: source.horizonMs, file: draft.file },
  };
  return {
    window: { name: draft.name, stream: source.name, plan, stateHash: stateHash(plan), file: draft.file },
    stream,
    silver: newestResults(draft, retracts),
  };
}

/** What is wrong with a key of windows over a stream in several partitions, where all events of a window must be in one. */
export function keyFault(
  subject: string,
  keys: readonly string[],
  { name: stream, key: own, id }: Pick<Stream, "name" | "key" | "id">,
): MillraceError | undefined {
  const key = own ?? (id.length === 1 ? id[0] : undefined);
  if (key !== undefined && keys.includes(key)) return undefined;
  if (keys.length === 0) {
    const why = `stream "${stream}" has several partitions, and no window has the events of all`;
    return new MillraceError("OPTION_MISSING", { subject, option: "key", why });
  }
  const streamKey = key === undefined ? "no key" : `the key "${key}"`;
  return new MillraceError("REACT_KEY", { subject, key: keys.join(", "), stream, streamKey });
}

function isKey({ type }: Column): boolean {
  return ["string", "integer", "long", "boolean", "date"].includes(type.kind);
}

/** An event goes into the stream as it is, so all that this stream demands must be in it. */
function lateProblems(late: Stream, source: Stream, subject: string): Problem[] {
  return late.columns.flatMap((column) => {
    if (column.name === LATE_REASON && column.type.kind === "string") return [];
    const given = source.columns.find(({ name }) => name === column.name);
    const type = duckdbType(column.type);
    const fits =
      given === undefined ? column.nullable : duckdbType(given.type) === type && (column.nullable || !given.nullable);
    if (fits) return [];
    const what = `a stream that takes the events of "${source.name}": its field "${column.name}" is ${type}`;
    const has =
      given === undefined ? "has no such field" : `has ${duckdbType(given.type)}${given.nullable ? ", or null," : ""}`;
    return [invalidOption(subject, "late", late.name, `${what}, and "${source.name}" ${has}`)];
  });
}

function newestResults({ name, keys, file }: WindowDraft, retracts: boolean): TableDraft {
  return {
    ...{ name: `silver.${name}`, sql: `select * from ${quoteIdentifier(name)}`, checks: {}, partitionBy: {} },
    ...{ refresh: undefined, key: [...keys, "window_start"], latest: "revision", serve: undefined, file },
    tombstone: retracts ? "retracted" : undefined,
  };
}

function stateHash({ size, time, keys, aggregates }: WindowPlan): string {
  const state = JSON.stringify([size, time, keys, aggregates]);
  return createHash("sha256").update(state).digest("hex").slice(0, 16);
}
