import { readContract } from "./contract.ts";
import type { Definition } from "./definition.ts";
import { parseDuration } from "./duration.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isNameList, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column, Stream } from "./project.ts";
import { readKafkaTopic } from "./read-kafka-topic.ts";
import { MESSAGES, SEGMENT_RULES } from "./segment-rules.ts";
import { duckdbType } from "./types.ts";

const OPTIONS = ["schema", "id", "key", "time", "horizon", "partitions", "from"];

/** Names become folders, file names and topics. */
export const STREAM_NAME = /^[a-z][a-z0-9_]{0,99}$/;

const MOST_PARTITIONS = 1024;

/** The stream that a definition describes, or everything that is wrong with it. */
export function readStream(
  definition: Definition,
  file: string,
  defaultHorizonMs: number,
): Stream | readonly Problem[] {
  const { name, options } = definition;
  const subject = `stream "${name}"`;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !STREAM_NAME.test(name)) {
    const allowed = "a name is lower-case letters, digits and _, begins with a letter and has at most 100 characters";
    problems.push(problem("NAME_INVALID", { subject: "a stream", got: name, allowed }));
  }
  if (!isRecord(options))
    return [...problems, invalidOption(subject, "the second argument", options, "an object of options")];
  problems.push(...unknownOptions(subject, options, OPTIONS));

  const { id = [], key, time, horizon, partitions, from } = options;
  const segment = (options as { readonly [MESSAGES]?: NonNullable<Stream["segment"]> })[MESSAGES];
  const horizonMs = horizon === undefined ? defaultHorizonMs : parseDuration(String(horizon));
  if (horizonMs === undefined)
    problems.push(invalidOption(subject, "horizon", horizon, "a duration such as 7d, 36h or 15m"));
  const wholePartitions = typeof partitions === "number" && Number.isInteger(partitions);
  if (partitions !== undefined && !(wholePartitions && partitions >= 1 && partitions <= MOST_PARTITIONS)) {
    problems.push(invalidOption(subject, "partitions", partitions, `a whole number from 1 to ${MOST_PARTITIONS}`));
  }
  if (!isNameList(id)) problems.push(invalidOption(subject, "id", id, "a list of different field names"));
  for (const [option, value] of [
    ["key", key],
    ["time", time],
  ] as const) {
    if (value !== undefined && typeof value !== "string")
      problems.push(invalidOption(subject, option, value, "a field name"));
  }

  const contract = readContract(options.schema, subject);
  if (!("columns" in contract)) return [...problems, ...contract];
  const fields = new FieldChecks(subject, contract.columns, problems);
  if (isNameList(id)) for (const field of id) fields.check("id", field, isScalar, SCALAR);
  if (typeof key === "string") fields.check("key", key, isScalar, SCALAR);
  if (typeof time === "string")
    fields.check("time", time, isTime, "a timestamp (z.iso.datetime()) or a date (z.iso.date())");
  const source = from === undefined ? undefined : readKafkaTopic(from, subject, fields, problems);
  if (problems.length > 0 || horizonMs === undefined) return problems;
  return {
    name,
    columns: contract.columns,
    jsonSchema: segment === undefined ? contract.jsonSchema : { ...contract.jsonSchema, ...SEGMENT_RULES },
    id: id as readonly string[],
    key: key as string | undefined,
    time: time as string | undefined,
    horizonMs,
    ...(typeof partitions === "number" ? { partitions } : {}),
    ...(segment === undefined ? {} : { segment }),
    ...(source === undefined ? {} : { from: source }),
    file,
  };
}

const SCALAR = "text, a number, a boolean, a timestamp or a date";

/** Says of fields that options name whether they are there and fit. */
export class FieldChecks {
  private readonly subject: string;
  private readonly columns: readonly Column[];
  private readonly problems: Problem[];

  constructor(subject: string, columns: readonly Column[], problems: Problem[]) {
    this.subject = subject;
    this.columns = columns;
    this.problems = problems;
  }

  column(field: string): Column | undefined {
    return this.columns.find(({ name }) => name === field);
  }

  check(option: string, field: string, fits: (column: Column) => boolean, allowed: string): void {
    const { subject, columns } = this;
    const column = this.column(field);
    if (column === undefined) {
      const names = columns.map((c) => c.name);
      const nearest = didYouMean(field, names);
      this.problems.push(problem("FIELD_UNKNOWN", { option, subject, field, nearest, allowed: names.join(", ") }));
    } else if (!fits(column)) {
      this.problems.push(problem("FIELD_UNFIT", { option, subject, field, got: duckdbType(column.type), allowed }));
    }
  }
}

function isScalar({ type }: Column): boolean {
  return !["struct", "array", "map", "json", "binary"].includes(type.kind);
}

function isTime({ type }: Column): boolean {
  return type.kind === "timestamp" || type.kind === "date";
}
