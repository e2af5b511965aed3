/** Alerts against what they name: their streams, tables, fields and destinations. */
import { MillraceError } from "../errors.ts";
import { unknownDestinations } from "./alert-routes.ts";
import { didYouMean } from "./nearest.ts";
import { type Problem, problem, problemOf } from "./problem.ts";
import { BRONZE_COLUMNS, type Column, META_COLUMNS, type Stream, type Table } from "./project.ts";
import type { AlertDraft, AlertRules, TableQuestion } from "./read-alert.ts";
import { keyFault } from "./read-window.ts";
import { hasParameters, referenceName, tableReferences } from "./sql-ast.ts";
import type { SqlInspector } from "./sql-inspector.ts";
import { duckdbType } from "./types.ts";

/** An alert of a loaded project. */
export type Alert = StreamAlert | TableAlert;

interface AlertBase extends AlertRules {
  readonly name: string;
  /** Names of destinations. */
  readonly to: readonly string[];
  readonly file: string;
}

export interface StreamAlert extends AlertBase {
  readonly over: "stream";
  readonly stream: string;
  /** Fields; empty where all events are one key. */
  readonly key: readonly string[];
  /** Field with the event time. */
  readonly time: string | undefined;
  /** The stream has results of windows, of which only the final ones are judged. */
  readonly finalsOnly: boolean;
}

export interface TableAlert extends AlertBase, TableQuestion {
  readonly over: "table";
  /** Columns; empty where all rows are one alert. Undefined: the column `key`, where the SQL gives one. */
  readonly key: readonly string[] | undefined;
  /** Names of the streams and tables that the SQL reads. */
  readonly inputs: readonly string[];
}

export interface BindAlertParts {
  readonly streams: ReadonlyMap<string, Stream>;
  readonly tables: ReadonlyMap<string, Table>;
  /** Names of streams that windows give. */
  readonly windows: Iterable<string>;
  readonly destinations: Iterable<string>;
  /** Names of streams, tables and destinations that are defined but cannot be used: naming one is no further mistake. */
  readonly broken: ReadonlySet<string>;
  readonly inspector: SqlInspector;
}

/** The alert that a draft describes among the definitions of its project, or everything that does not fit. */
export async function bindAlert(
  draft: AlertDraft,
  parts: BindAlertParts,
): Promise<Alert | undefined | readonly Problem[]> {
  const { over, to, name } = draft;
  const subject = `alert "${name}"`;
  const { broken } = parts;
  const lost = unknownDestinations(
    to.filter((one) => !broken.has(one)),
    parts.destinations,
    subject,
  );
  if ("sql" in over) {
    const bound = await bindQuestion(draft, over, parts, subject);
    return lost.length > 0 ? [...lost, ...(Array.isArray(bound) ? bound : [])] : bound;
  }
  const stream = parts.streams.get(over.stream);
  if (stream === undefined) {
    if (broken.has(over.stream)) return lost.length > 0 ? lost : undefined;
    const nearest = didYouMean(over.stream, parts.streams.keys());
    const allowed = [...parts.streams.keys()].join(", ") || "no streams";
    return [...lost, problem("INPUT_UNKNOWN", { subject, input: over.stream, nearest, place: "", allowed })];
  }
  const problems = [...lost, ...streamProblems(draft, stream.columns, subject)];
  const by = draft.key ?? (stream.key === undefined ? [] : [stream.key]);
  const unkeyed = (stream.partitions ?? 1) > 1 ? keyFault(subject, by, stream) : undefined;
  if (unkeyed !== undefined) problems.push(problemOf(unkeyed));
  if (problems.length > 0) return problems;
  const { over: _over, key: _key, ...rules } = draft;
  const finalsOnly = [...parts.windows].includes(stream.name);
  return { ...rules, over: "stream", stream: stream.name, key: by, time: stream.time, finalsOnly };
}

async function bindQuestion(
  draft: AlertDraft,
  question: TableQuestion,
  { streams, tables, broken, inspector }: BindAlertParts,
  subject: string,
): Promise<TableAlert | undefined | readonly Problem[]> {
  const columnsOf = (name: string): readonly Column[] | undefined => {
    const stream = streams.get(name);
    if (stream !== undefined) return [...stream.columns, ...META_COLUMNS];
    if (name.startsWith("bronze.") && streams.has(name.slice("bronze.".length))) return BRONZE_COLUMNS;
    return tables.get(name)?.columns;
  };
  try {
    const ast = await inspector.parse(question.sql);
    const references = tableReferences(ast);
    const inputs = [...new Set(references.map(referenceName))];
    const ofPlatform = inputs.filter(isComputed);
    const known = [...streams.keys(), ...[...streams.keys()].map((name) => `bronze.${name}`), ...tables.keys()];
    const problems: Problem[] = inputs
      .filter((name) => columnsOf(name) === undefined && !ofPlatform.includes(name) && !broken.has(name))
      .map((input) => {
        const allowed = known.join(", ") || "no streams and tables";
        return problem("INPUT_UNKNOWN", { subject, input, nearest: didYouMean(input, known), place: "", allowed });
      });
    if (hasParameters(ast)) {
      const instead = "Write the value itself";
      const input = "a parameter (?, $1 or $name)";
      problems.push(problem("INPUT_REFUSED", { subject, input, reason: "nothing fills it in", instead }));
    }
    if (problems.length > 0) return problems;
    if (inputs.some((name) => broken.has(name) && columnsOf(name) === undefined)) return undefined;
    // SQL over them that does not bind is an alert as soon as the platform runs.
    if (ofPlatform.length === 0) {
      for (const name of inputs) await inspector.declare(name, columnsOf(name)!);
      const unfit = columnProblems(draft, question, await inspector.describe(question.sql), subject);
      if (unfit.length > 0) return unfit;
    }
    const { over: _over, ...rules } = draft;
    return { ...rules, ...question, over: "table", inputs };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return [problemOf(error)];
  }
}

const SCALAR = "text, a number, a boolean, a timestamp or a date";
const NUMBERS = new Set(["integer", "long", "double", "float", "decimal", "byte", "short"]);
const isScalar = ({ type }: Column) => !["struct", "array", "map", "json", "binary"].includes(type.kind);
const isNumber = ({ type }: Column) => NUMBERS.has(type.kind);

function streamProblems(draft: AlertDraft, columns: readonly Column[], subject: string): Problem[] {
  const found: Problem[] = [];
  for (const { option, field, fits, allowed } of named(draft)) {
    const column = columnAt(columns, field);
    const names = columns.map(({ name }) => name);
    if (column === undefined) {
      const nearest = didYouMean(field, names);
      found.push(problem("FIELD_UNKNOWN", { option, subject, field, nearest, allowed: names.join(", ") }));
    } else if (column !== "free" && !fits(column))
      found.push(problem("FIELD_UNFIT", { option, subject, field, got: duckdbType(column.type), allowed }));
  }
  return found;
}

function columnProblems(
  draft: AlertDraft,
  { time }: TableQuestion,
  columns: readonly Column[],
  subject: string,
): Problem[] {
  const found: Problem[] = [];
  const isTime = ({ type }: Column) =>
    ["timestamp", "date", "timestamp_ntz"].includes(type.kind) || isNumber({ type } as Column);
  const ofTime = { option: "time", field: time ?? "", fits: isTime, allowed: "a timestamp, a date or a number" };
  for (const { option, field, fits, allowed } of [...named(draft), ...(time === undefined ? [] : [ofTime])]) {
    const column = columnAt(columns, field);
    const names = columns.map(({ name }) => name);
    if (column === undefined) {
      const nearest = didYouMean(field, names);
      found.push(problem("COLUMN_UNKNOWN", { option, subject, column: field, nearest, allowed: names.join(", ") }));
    } else if (column !== "free" && !fits(column))
      found.push(problem("COLUMN_UNFIT", { option, subject, column: field, got: duckdbType(column.type), allowed }));
  }
  return found;
}

interface Naming {
  readonly option: string;
  readonly field: string;
  readonly fits: (column: Column) => boolean;
  readonly allowed: string;
}

/** Every field that an alert names, and what it must be. */
function named({ key = [], when, until, summary }: AlertDraft): Naming[] {
  const measured = Object.entries({ when, until }).flatMap(([option, condition]) =>
    typeof condition === "object" ? [{ option, field: condition.field, fits: isNumber, allowed: "a number" }] : [],
  );
  return [
    ...key.map((field) => ({ option: "key", field, fits: isScalar, allowed: SCALAR })),
    ...measured,
    ...(typeof summary === "string" ? placeholders(summary) : [])
      .filter((field) => !OCCASION.includes(field))
      .map((field) => ({ option: "summary", field, fits: () => true, allowed: "" })),
  ];
}

/** True for relations that are computed when they are read: their commits are nobody's, and their columns are known once the platform runs. */
export function isComputed(name: string): boolean {
  return name.startsWith("system.") || name.startsWith("features.");
}

/** What a summary can speak of beside the fields of the row. */
export const OCCASION: readonly string[] = ["key", "reason", "value", "expected"];

/** The names in braces. */
export function placeholders(summary: string): string[] {
  return [...summary.matchAll(/\{([^{}]+)\}/g)].map(([, name]) => name!.trim());
}

/** The column of a path such as `engine.temp`; `free` where what is there is for each event to say. */
function columnAt(columns: readonly Column[], path: string): Column | "free" | undefined {
  const exact = columns.find(({ name }) => name === path);
  if (exact !== undefined) return exact;
  const dot = path.indexOf(".");
  if (dot < 0) return undefined;
  const outer = columns.find(({ name }) => name === path.slice(0, dot));
  if (outer === undefined) return undefined;
  if (outer.type.kind === "struct") return columnAt(outer.type.fields, path.slice(dot + 1));
  return outer.type.kind === "json" || outer.type.kind === "map" ? "free" : undefined;
}
