import { MillraceError } from "../errors.ts";
import type { Definition } from "./definition.ts";
import { definitionKind } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { ConditionFault, type FeatureCondition, readCondition } from "./feature-condition.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, showValue, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column, Stream } from "./project.ts";
import { type AggregatePlan, readAggregate } from "./read-aggregates.ts";
import type { SqlInspector } from "./sql-inspector.ts";
import { duckdbType } from "./types.ts";

/** A feature, checked against its stream. Plain data: the reactor's thread gets it as it is. */
export interface Feature {
  readonly name: string;
  readonly stream: string;
  readonly key: Column;
  /** The field that holds the event time; undefined: an event happens when it arrives. */
  readonly time: Column | undefined;
  readonly windowMs: number;
  readonly latenessMs: number;
  readonly idleMs: number;
  /** Its column is named after the feature. */
  readonly aggregate: AggregatePlan;
  readonly where: { readonly sql: string; readonly condition: FeatureCondition } | undefined;
  /** As the result is given: a decimal as text with all its decimals. */
  readonly default: number | string | boolean | undefined;
  /** Where it was defined, relative to the project's folder. */
  readonly file: string;
}

const OPTIONS = ["on", "key", "window", "aggregate", "where", "default", "lateness", "idle"];
/** Names become names of tables and of columns. */
const NAME = /^[a-z][a-z0-9_]{0,99}$/;
const KEYS = new Set(["string", "integer", "long", "boolean"]);
const MOST_MS = 366 * 86_400_000;
const DAY_MS = 86_400_000;

/** The feature that a definition describes, or everything that is wrong with it. `broken` names streams that did not read, which is told there. */
export async function readFeature(
  { name, options }: Definition,
  file: string,
  { streams, broken }: { readonly streams: ReadonlyMap<string, Stream>; readonly broken: ReadonlySet<string> },
  inspector: Pick<SqlInspector, "parse">,
): Promise<Feature | readonly Problem[]> {
  const subject = `feature "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !NAME.test(name)) {
    const allowed = "a name is lower-case letters, digits and _, begins with a letter and has at most 100 characters";
    problems.push(problem("NAME_INVALID", { subject: "a feature", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));
  const windowMs = duration(options, "window", subject, problems);
  const latenessMs = duration(options, "lateness", subject, problems) ?? windowMs;
  const idleMs = duration(options, "idle", subject, problems);
  const { on } = options;
  const streamName = definitionKind(on) === "stream" ? (on as Definition).name : undefined;
  if (streamName === undefined) {
    return [...problems, invalidOption(subject, "on", on, "a stream's definition, as stream(…) gives it")];
  }
  if (broken.has(streamName)) return problems;
  const stream = streams.get(streamName);
  if (stream === undefined) {
    const nearest = didYouMean(streamName, streams.keys());
    const allowed = [...streams.keys()].join(", ");
    return [...problems, problem("INPUT_UNKNOWN", { subject, input: streamName, nearest, place: "", allowed })];
  }
  const key = readKey(options["key"], stream, subject, problems);
  const aggregate = readFunction(name, options["aggregate"], stream, subject, problems);
  const where = await readWhere(options["where"], stream, subject, problems, inspector);
  const fallback = aggregate && readDefault(options["default"], aggregate, subject, problems);
  if (problems.length > 0 || !key || !aggregate || windowMs === undefined || latenessMs === undefined) return problems;
  if (name === key.name || name === stream.time) {
    const reason = "the feature's table has a column of this name already";
    return [problem("FIELD_NAME_INVALID", { subject, path: name, reason })];
  }
  return {
    name,
    stream: stream.name,
    key,
    time: stream.columns.find((column) => column.name === stream.time),
    windowMs,
    latenessMs,
    idleMs: idleMs ?? Math.max(windowMs + latenessMs, DAY_MS),
    aggregate,
    where,
    default: fallback,
    file,
  };
}

function duration(
  options: Record<string, unknown>,
  option: "window" | "lateness" | "idle",
  subject: string,
  problems: Problem[],
): number | undefined {
  const given = options[option];
  if (given === undefined && option !== "window") return undefined;
  const ms = typeof given === "string" ? parseDuration(given) : undefined;
  const least = option === "lateness" ? 0 : 1;
  if (ms !== undefined && ms >= least && ms <= MOST_MS) return ms;
  const range = least === 0 ? "from 0s to 366d" : "above 0 and up to 366d";
  problems.push(invalidOption(subject, option, given, `a duration ${range}, such as 10m`));
  return undefined;
}

function readKey(given: unknown, stream: Stream, subject: string, problems: Problem[]): Column | undefined {
  const option = "key";
  const column = stream.columns.find((c) => c.name === given);
  if (column === undefined) {
    const names = stream.columns.map((c) => c.name);
    if (typeof given !== "string") problems.push(invalidOption(subject, option, given, "a field name"));
    else {
      const nearest = didYouMean(given, names);
      problems.push(problem("FIELD_UNKNOWN", { option, subject, field: given, nearest, allowed: names.join(", ") }));
    }
    return undefined;
  }
  const got = duckdbType(column.type);
  const allowed = "text, a whole number or a boolean";
  if (!KEYS.has(column.type.kind)) {
    problems.push(problem("FIELD_UNFIT", { option, subject, field: column.name, got, allowed }));
  } else if ((stream.partitions ?? 1) > 1 && stream.key !== column.name) {
    problems.push(problem("REACT_KEY", keyFault(subject, column.name, stream)));
  }
  return column;
}

/** Events of one key must be in one partition, or no state has all of them. */
export function keyFault(subject: string, key: string, stream: Pick<Stream, "name" | "key">): Record<string, string> {
  const streamKey = stream.key === undefined ? "no key" : `the key "${stream.key}"`;
  return { subject, key, stream: stream.name, streamKey };
}

function readFunction(
  name: string,
  given: unknown,
  stream: Stream,
  subject: string,
  problems: Problem[],
): AggregatePlan | undefined {
  const plan = readAggregate(name, given, stream.columns, subject, problems);
  if (plan === undefined) return undefined;
  const option = "aggregate";
  if (plan.function === "quantile") {
    const allowed =
      "count, sum, mean, min, max, stddev, distinct, first or last: a sketch is not the same online and in SQL";
    problems.push(problem("OPTION_INVALID", { option, subject, got: "a quantile", allowed }));
    return undefined;
  }
  const type = plan.field?.type;
  if (type !== undefined && plan.function !== "count" && NESTED.has(type.kind)) {
    const allowed = "a number, a decimal, a boolean, text, a timestamp or a date";
    problems.push(problem("FIELD_UNFIT", { option, subject, field: plan.field?.name, got: duckdbType(type), allowed }));
    return undefined;
  }
  return plan;
}

const NESTED = new Set(["struct", "array", "map", "json", "binary"]);

async function readWhere(
  given: unknown,
  stream: Stream,
  subject: string,
  problems: Problem[],
  inspector: Pick<SqlInspector, "parse">,
): Promise<Feature["where"]> {
  if (given === undefined) return undefined;
  if (typeof given !== "string" || given.trim() === "") {
    problems.push(invalidOption(subject, "where", given, "a condition in SQL, such as status = 'captured'"));
    return undefined;
  }
  try {
    const ast = await inspector.parse(`select ${given}`);
    return { sql: given, condition: readCondition(ast, stream.columns) };
  } catch (error) {
    if (!(error instanceof ConditionFault || error instanceof MillraceError)) throw error;
    const allowed = "a condition of fields compared with constants, in, between, is null, and, or, not";
    // The parser counts the columns of more than the condition.
    const got = `${showValue(given)}: ${error.message.replace(/ \(line \d+, column \d+\)/, "")}`;
    problems.push(problem("OPTION_INVALID", { option: "where", subject, got, allowed }));
    return undefined;
  }
}

function readDefault(
  given: unknown,
  { function: name, column }: AggregatePlan,
  subject: string,
  problems: Problem[],
): Feature["default"] {
  if (given === undefined) return undefined;
  const { type } = column;
  const refuse = (allowed: string) => {
    problems.push(invalidOption(subject, "default", given, allowed));
    return undefined;
  };
  if (!column.nullable) return refuse(`left out: ${name} of nothing is 0`);
  switch (type.kind) {
    case "integer":
    case "long":
      return Number.isSafeInteger(given) ? (given as number) : refuse("a whole number");
    case "double":
    case "float":
      return typeof given === "number" && Number.isFinite(given) ? given : refuse("a number");
    case "decimal": {
      const match = /^(-?)0*(\d{1,15}?)(?:\.(\d+))?$/.exec(String(given));
      const decimals = match?.[3] ?? "";
      if (match === null || decimals.length > type.scale) return refuse(`a number with at most ${type.scale} decimals`);
      const whole = `${match[1]}${match[2]}`;
      return type.scale === 0 ? whole : `${whole}.${decimals.padEnd(type.scale, "0")}`;
    }
    case "string":
      return typeof given === "string" ? given : refuse("a text");
    case "boolean":
      return typeof given === "boolean" ? given : refuse("true or false");
    default:
      return refuse("left out: instants and days have none");
  }
}
