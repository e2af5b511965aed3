/**
 * A statement as a plan of Spark Connect: its inputs become relations of their own, each once however often it is used, and its text, translated
 * or written for Spark by whoever defined it, names them.
 */

import { randomBytes } from "node:crypto";
import { nearestMatch } from "../../define/nearest.ts";
import type { Column } from "../../define/project.ts";
import type { SqlAst } from "../../define/sql-inspector.ts";
import { quoteSparkLiteral, quoteSparkName } from "../../define/sql-text.ts";
import { sparkType } from "../../define/types.ts";
import { MillraceError } from "../../errors.ts";
import type { FileInput, Relation, Statement } from "../sql-engine.ts";
import type { ConnectExpression, ConnectRelation } from "./connect-protocol.ts";
import type { Known } from "./dialect/scope.ts";
import { known, translate } from "./dialect/translate.ts";
import { renameInputs } from "./dialect/variant.ts";

export interface SparkPlan {
  readonly relation: ConnectRelation;
  readonly columns: readonly Known[];
}

export interface PlanContext {
  readonly parse: (sql: string) => Promise<SqlAst>;
  /** The place of a file as Spark names it. */
  readonly uri: (file: FileInput) => string;
}

/** @throws TABLE_UNKNOWN; SQL_SYNTAX; SQL_NOT_A_QUERY; SPARK_DIALECT where the statement means nothing in Spark, or something else */
export async function sparkPlan(statement: Statement, context: PlanContext): Promise<SparkPlan> {
  const references: ConnectRelation[] = [];
  const names = new Map<Relation, { identifier: string; columns: readonly Known[] }>();
  // Names of a plan's relations are views of the whole session while it is planned: those of two statements must never be the same.
  const prefix = `__m${randomBytes(6).toString("hex")}_`;
  let counter = 0;

  async function body(part: Statement): Promise<{ sql: string; columns: readonly Known[] }> {
    if (part.params !== undefined)
      throw new MillraceError("SPARK_DIALECT", {
        subject: "a statement",
        what: "a parameter",
        instead: "write the value",
      });
    const inputs = new Map<string, { identifier: string; columns: readonly Known[] }>();
    for (const [name, relation] of part.inputs) inputs.set(name.toLowerCase(), await define(relation));
    if (part.spark !== undefined) {
      const { sql, columns } = part.spark;
      const renamed = renameInputs(sql, (name) => inputs.get(name)?.identifier);
      const list = columns.map((column) => typed(quoteSparkName(column.name), column));
      return { sql: `SELECT ${list.join(", ")} FROM (${renamed}\n)`, columns: known(columns) };
    }
    const { sql, columns, refusals } = translate(await context.parse(part.sql), (name) => {
      const input = inputs.get(name);
      if (input === undefined) throw unknownInput(name, part.inputs.keys());
      return input;
    });
    const [first] = refusals;
    if (first !== undefined)
      throw new MillraceError("SPARK_DIALECT", { subject: "a statement", what: first.what, instead: first.instead });
    return { sql, columns };
  }

  async function define(relation: Relation): Promise<{ identifier: string; columns: readonly Known[] }> {
    const before = names.get(relation);
    if (before !== undefined) return before;
    const { input, columns } = await relationOf(relation);
    const defined = { identifier: `${prefix}${counter++}`, columns };
    names.set(relation, defined);
    references.push({ subqueryAlias: { alias: defined.identifier, input } });
    return defined;
  }

  async function relationOf(relation: Relation): Promise<{ input: ConnectRelation; columns: readonly Known[] }> {
    switch (relation.kind) {
      case "native":
        throw new MillraceError("SPARK_DIALECT", {
          subject: "a statement",
          what: "events that are not stored yet, which only the embedded engine holds",
          instead: "compute it from committed tables",
        });
      case "view": {
        const { sql, columns } = await body(relation.statement);
        return { input: { sql: { query: sql } }, columns };
      }
      case "files": {
        const sql = filesSql(
          relation,
          (read) => {
            const alias = `${prefix}${counter++}`;
            references.push({ subqueryAlias: { alias, input: read } });
            return alias;
          },
          context.uri,
        );
        return { input: { sql: { query: sql } }, columns: known(relation.columns) };
      }
    }
  }

  const { sql, columns } = await body(statement);
  const root: ConnectRelation = { sql: { query: sql } };
  return { relation: references.length === 0 ? root : { withRelations: { root, references } }, columns };
}

function unknownInput(name: string, known: Iterable<string>): MillraceError {
  const candidate = nearestMatch(name, [...known]);
  return new MillraceError("TABLE_UNKNOWN", {
    table: name,
    nearest: candidate === undefined ? "" : `; did you mean "${candidate}"?`,
  });
}

/**
 * Files of a table as SQL over reads of them, with the table's columns, in order and typed: the schema is named in full, so that columns a
 * file lacks are null and no file is opened to plan. Partition columns are constants for each set of their values; beyond
 * `MOST_BRANCHES` sets they are joined by the file's name.
 */
function filesSql(
  { columns, files }: Extract<Relation, { kind: "files" }>,
  reference: (read: ConnectRelation) => string,
  uri: (file: FileInput) => string,
): string {
  const [first] = files;
  if (first === undefined) return `SELECT ${columns.map((column) => typed("NULL", column)).join(", ")} WHERE false`;
  const constant = columns.filter(({ name }) => name in first.partition);
  const stored = columns.filter(({ name }) => !(name in first.partition));
  const groups = Map.groupBy(files, (file) => JSON.stringify(constant.map(({ name }) => file.partition[name])));
  if (groups.size <= MOST_BRANCHES || !haveNames(files)) {
    const branches = [...groups.values()].map((group) => {
      const alias = reference(read(stored, group, uri));
      const partition = group[0]?.partition ?? {};
      const list = columns.map((column) =>
        constant.includes(column)
          ? typed(valueLiteral(partition[column.name] ?? null, column), column)
          : quoteSparkName(column.name),
      );
      return `SELECT ${list.join(", ")} FROM ${alias}`;
    });
    return branches.join("\nUNION ALL\n");
  }
  const alias = reference({ project: { input: read(stored, files, uri), expressions: WITH_FILE_NAME } });
  const rows = files.map((file) => {
    const values = constant.map((column) => valueLiteral(file.partition[column.name] ?? null, column));
    return `(${quoteSparkLiteral(baseName(file.path))}, ${values.join(", ")})`;
  });
  const list = columns.map((column) => {
    const at = constant.indexOf(column);
    return at < 0 ? `f.${quoteSparkName(column.name)}` : typed(`v.p${at}`, column);
  });
  return `SELECT /*+ BROADCAST(v) */ ${list.join(", ")} FROM ${alias} AS f
JOIN (VALUES ${rows.join(", ")}) AS v(name, ${constant.map((_, i) => `p${i}`).join(", ")}) ON f.__name = v.name`;
}

/** SQL over a named relation does not see the columns that a read has beside those of the files. */
const WITH_FILE_NAME: readonly ConnectExpression[] = [
  { unresolvedStar: {} },
  { alias: { expr: { unresolvedAttribute: { unparsedIdentifier: "_metadata.file_name" } }, name: ["__name"] } },
];

/** Each is a relation that Spark plans by itself, and a list of files that it looks for. */
const MOST_BRANCHES = 64;

function read(
  stored: readonly Column[],
  files: readonly FileInput[],
  uri: (file: FileInput) => string,
): ConnectRelation {
  const schema = stored.map(({ name, type }) => `${quoteSparkName(name)} ${sparkType(type)}`).join(", ");
  // Without this a bracket or a star in a path would be a pattern.
  const options = { __globPaths__: "false" };
  return { read: { dataSource: { format: "parquet", schema, options, paths: files.map(uri) } } };
}

/** True where files can be told apart by their names alone, and Spark tells them unescaped. */
function haveNames(files: readonly FileInput[]): boolean {
  const names = files.map(({ path }) => baseName(path));
  return new Set(names).size === names.length && names.every((name) => /^[\w.-]+$/.test(name));
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function valueLiteral(value: string | null, { type }: Column): string {
  if (value === null) return "NULL";
  // The protocol writes binary values as one character per byte.
  return type.kind === "binary" ? `X'${Buffer.from(value, "latin1").toString("hex")}'` : quoteSparkLiteral(value);
}

function typed(sql: string, { name, type }: Column): string {
  return `CAST(${sql} AS ${sparkType(type)}) AS ${quoteSparkName(name)}`;
}
