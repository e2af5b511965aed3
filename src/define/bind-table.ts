import { MillraceError } from "../errors.ts";
import { appendColumns } from "./append-columns.ts";
import { classify, type InputKind } from "./classify.ts";
import { didYouMean } from "./nearest.ts";
import { type Problem, problem, problemOf } from "./problem.ts";
import { BRONZE_COLUMNS, type Column, type ColumnType, type Table } from "./project.ts";
import type { TableDraft } from "./read-table.ts";
import { bindServing } from "./serving.ts";
import {
  type AstNode,
  appendToSelectList,
  combiningParts,
  fromItems,
  isNode,
  queryOf,
  referenceName,
  tableReferences,
  visitNodes,
} from "./sql-ast.ts";
import type { SqlAst, SqlInspector } from "./sql-inspector.ts";
import { quoteName } from "./sql-text.ts";
import { duckdbType } from "./types.ts";

/** What a statement can be bound against. */
export interface Relations {
  has(name: string): boolean;
  columns(name: string): readonly Column[];
  kind(name: string): InputKind;
  /** Tells the inspector of the relation; a look-up is seen without its `_` columns. */
  declare(name: string, as: "whole" | "look-up"): Promise<void>;
}

/** Binds one table, all of whose inputs are known; or everything that is wrong with it. */
export async function bindTable(
  draft: TableDraft,
  ast: SqlAst,
  inputs: readonly string[],
  relations: Relations,
  inspector: SqlInspector,
  isAggregate: (name: string) => boolean,
): Promise<Table | readonly Problem[]> {
  const binding = new TableBinding(draft, ast, inputs, relations, inspector, isAggregate);
  const table = await binding.bind();
  return table ?? binding.problems;
}

/** Columns by which an append table's row names its event. */
const ROW_COLUMNS = ["_partition", "_offset"];
const PLATFORM_COLUMNS: ReadonlySet<string> = new Set(
  BRONZE_COLUMNS.map((c) => c.name).filter((name) => name.startsWith("_")),
);

class TableBinding {
  readonly problems: Problem[] = [];
  private readonly draft: TableDraft;
  private readonly ast: SqlAst;
  private readonly inputs: readonly string[];
  private readonly relations: Relations;
  private readonly inspector: SqlInspector;
  private readonly isAggregate: (name: string) => boolean;
  private readonly subject: string;

  constructor(
    draft: TableDraft,
    ast: SqlAst,
    inputs: readonly string[],
    relations: Relations,
    inspector: SqlInspector,
    isAggregate: (name: string) => boolean,
  ) {
    this.draft = draft;
    this.ast = ast;
    this.inputs = inputs;
    this.relations = relations;
    this.inspector = inspector;
    this.isAggregate = isAggregate;
    this.subject = `table "${draft.name}"`;
  }

  async bind(): Promise<Table | undefined> {
    const { draft, ast, inputs, relations, subject } = this;
    const way = classify(draft, ast, (name) => relations.kind(name), this.isAggregate);
    if (way.mode === "none") {
      this.report("STREAMS_JOINED", { subject, streams: way.streams.join(" and ") });
      return undefined;
    }
    const driver = way.mode === "append" ? referenceName(way.driver) : undefined;
    for (const input of inputs)
      await relations.declare(input, driver === undefined || input === driver ? "whole" : "look-up");

    const given = await this.describe(draft.sql);
    if (given === undefined) return undefined;
    this.checkOutput(given, way.mode === "append" ? (way.driver.alias ?? way.driver.table) : undefined);
    if (this.problems.length > 0) return undefined;

    let storedSql = draft.sql;
    let columns = given;
    if (way.mode === "append") {
      const alias = way.driver.alias ?? way.driver.table;
      const lacking = ROW_COLUMNS.filter((name) => !given.some((c) => c.name === name));
      if (lacking.length > 0) ({ storedSql, columns } = await this.withRowColumns(given, alias, lacking));
    }
    await this.inspector.declare(draft.name, columns);
    const partitionBy = await this.bindPartitions(columns);
    await this.bindChecks();
    if (way.mode === "append") this.bindKey(columns);
    else if (draft.key.length > 0) this.report("KEY_NOT_APPEND", { subject, reason: way.reason });
    const by = typeof draft.refresh === "object" ? draft.refresh.by : {};
    const byInputs = await this.bindBy(by, columns);
    const made = Object.keys(partitionBy).filter((name) => !columns.some((column) => column.name === name));
    const all = [...columns, ...made.map((name) => ({ name, type: partitionBy[name]!.type, nullable: true }))];
    const names = all.map(({ name }) => name);
    const serve =
      draft.serve &&
      bindServing(draft.serve, draft.key, all, subject, {
        unknownColumn: (option, name) => this.unknownColumn(option, name, names),
        problem: (found) => this.problems.push(found),
      });
    if (way.mode === "append" && (draft.engine === "spark" || draft.spark !== undefined)) {
      const option = draft.engine === "spark" ? "engine" : "spark";
      const allowed = `none: it takes events as they come (${way.reason}), which the embedded engine does; Spark computes tables that combine rows`;
      this.report("OPTION_INVALID", { option, subject, got: JSON.stringify(draft[option]), allowed });
    }
    if (this.problems.length > 0) return undefined;

    const texts = [draft.sql, ...Object.values(draft.partitionBy), ...Object.values(by)].join(" ");
    const geoDatabase = /\blocate_ip\b/i.test(texts) ? this.inspector.geoDatabase : undefined;
    const called = [...this.inspector.functions.values()].filter(({ name }) =>
      new RegExp(`\\b${name}\\b`, "i").test(texts),
    );
    const functions = Object.fromEntries(called.map(({ name, hash }) => [name, hash]));
    const base = {
      name: draft.name,
      sql: draft.sql,
      inputs,
      columns: all,
      checks: draft.checks,
      partitionBy: Object.fromEntries(Object.entries(partitionBy).map(([name, p]) => [name, p.expression])),
      ...(geoDatabase && { geoDatabase }),
      ...(called.length > 0 && { functions }),
      ...(serve && { serve }),
      ...(draft.freshnessMs !== undefined && { freshnessMs: draft.freshnessMs }),
      ...(draft.engine && { engine: draft.engine }),
      ...(draft.spark && { spark: draft.spark }),
      reason: `${way.mode}: ${way.reason}`,
      file: draft.file,
    };
    if (way.mode === "refresh") {
      const { sessions } = draft;
      return { ...base, mode: "refresh", by, byInputs, ...(sessions && { sessions }) };
    }
    const { key, latest, tombstone } = draft;
    return { ...base, mode: "append", stream: way.stream, driver: driver!, storedSql, key, latest, tombstone };
  }

  /**
   * The statement with the driver's row columns added. The text is preferred to the tree, whose way back to text changes what
   * the user wrote here and there; either is taken only when it gives exactly the columns it should.
   */
  private async withRowColumns(
    given: readonly Column[],
    alias: string,
    lacking: readonly string[],
  ): Promise<{ storedSql: string; columns: Column[] }> {
    const paths = lacking.map((name) => [alias, name]);
    const wanted = [...given.map((c) => c.name), ...lacking].join("\0");
    const ways = [
      () => appendColumns(this.draft.sql, paths),
      () => this.inspector.format(appendToSelectList(this.ast, paths)),
    ];
    let cause: unknown;
    for (const way of ways) {
      const storedSql = await way();
      if (storedSql === undefined) continue;
      try {
        const columns = await this.inspector.describe(storedSql);
        if (columns.map((c) => c.name).join("\0") === wanted) return { storedSql, columns };
      } catch (error) {
        cause = error;
      }
    }
    throw new MillraceError(
      "INTERNAL",
      { what: `adding ${lacking.join(" and ")} to the SQL of ${this.subject}` },
      { cause },
    );
  }

  /** Every column has one name of its own, and only the platform's columns have names that begin with `_`. */
  private checkOutput(columns: readonly Column[], driverAlias: string | undefined): void {
    const { subject } = this;
    const seen = new Set<string>();
    for (const { name } of columns) {
      const lower = name.toLowerCase();
      if (seen.has(lower)) this.report("COLUMN_DUPLICATE", { subject, column: name });
      seen.add(lower);
      if (name.startsWith("_") && !PLATFORM_COLUMNS.has(name))
        this.report("COLUMN_RESERVED", { subject, column: name });
    }
    const items = selectItems(this.ast);
    const positional = !items.some(holdsStar) && items.length === columns.length;
    for (const [i, item] of items.entries()) {
      const alias = typeof item.alias === "string" ? item.alias : "";
      const path = item.class === "COLUMN_REF" ? (item.column_names as string[]) : undefined;
      if (alias === "" && path === undefined && !namesItself(item)) {
        const expression = positional ? columns[i]!.name : "an expression";
        this.report("COLUMN_UNNAMED", { subject, number: i + 1, expression });
      }
      const name = (alias || path?.at(-1)) ?? "";
      if (!PLATFORM_COLUMNS.has(name)) continue;
      const renamed = path === undefined || path.at(-1) !== name;
      const others =
        driverAlias !== undefined &&
        (path?.length ?? 0) > 1 &&
        path?.at(-2)?.toLowerCase() !== driverAlias.toLowerCase();
      if (renamed || others) this.report("COLUMN_RESERVED", { subject, column: name });
    }
  }

  private async bindPartitions(
    columns: readonly Column[],
  ): Promise<Record<string, { expression: string; type: ColumnType }>> {
    const { subject } = this;
    const found: Record<string, { expression: string; type: ColumnType }> = {};
    const names = columns.map((c) => c.name);
    for (const [name, expression] of Object.entries(this.draft.partitionBy)) {
      const option = `partitionBy.${name}`;
      const existing = columns.find((c) => c.name.toLowerCase() === name.toLowerCase());
      let type = existing?.type;
      if (expression === name && existing === undefined) {
        this.unknownColumn("partitionBy", name, names);
        continue;
      }
      if (expression !== name) {
        if (existing !== undefined) {
          const got = "a column of the table already";
          this.report("COLUMN_UNFIT", { option: "partitionBy", subject, column: name, got, allowed: "a new name" });
          continue;
        }
        if (name.startsWith("_")) {
          const got = "a name of the platform's own";
          const allowed = "a name that does not begin with _";
          this.report("COLUMN_UNFIT", { option: "partitionBy", subject, column: name, got, allowed });
          continue;
        }
        type = await this.bindExpression(expression, this.draft.name, option, "an expression for every row");
      }
      if (type === undefined) continue;
      if (!isScalar(type)) {
        const allowed = "text, a number, a boolean, a timestamp or a date";
        this.report("COLUMN_UNFIT", { option: "partitionBy", subject, column: name, got: duckdbType(type), allowed });
        continue;
      }
      found[existing?.name ?? name] = { expression: expression === name ? (existing?.name ?? name) : expression, type };
    }
    if (Object.keys(found).length > 0 && names.every((name) => name in found)) {
      const allowed = "only some of the columns, for a file needs a column of its own";
      this.report("OPTION_INVALID", { option: "partitionBy", subject, got: "all of the table's columns", allowed });
    }
    return found;
  }

  private async bindChecks(): Promise<void> {
    for (const [name, condition] of Object.entries(this.draft.checks)) {
      const option = `the check ${name}`;
      const type = await this.bindExpression(condition, this.draft.name, option, "a condition for every row");
      if (type !== undefined && type.kind !== "boolean") {
        const reason = `it gives ${duckdbType(type)}, and a condition gives BOOLEAN`;
        this.report("EXPRESSION_INVALID", {
          option,
          subject: this.subject,
          wanted: "a condition",
          reason,
          over: "the table's columns",
        });
      }
    }
  }

  private bindKey(columns: readonly Column[]): void {
    const { key, latest, tombstone } = this.draft;
    const find = (option: string, name: string, fits: (type: ColumnType) => boolean, allowed: string) => {
      const column = columns.find((c) => c.name === name);
      if (column === undefined)
        this.unknownColumn(
          option,
          name,
          columns.map((c) => c.name),
        );
      else if (!fits(column.type)) {
        const got = duckdbType(column.type);
        this.report("COLUMN_UNFIT", { option, subject: this.subject, column: name, got, allowed });
      }
    };
    for (const name of key) find("key", name, isScalar, "text, a number, a boolean, a timestamp or a date");
    if (latest !== undefined)
      find("latest", latest, isScalar, "something that has an order: a timestamp, a date, a number or text");
    if (tombstone !== undefined) find("tombstone", tombstone, (type) => type.kind === "boolean", "BOOLEAN");
  }

  /** The inputs that carry every `by` expression; at least one must. */
  private async bindBy(by: Readonly<Record<string, string>>, columns: readonly Column[]): Promise<string[]> {
    const { subject } = this;
    const outputs = new Map<string, Column>();
    for (const name of Object.keys(by)) {
      const column = columns.find((c) => c.name === name);
      if (column !== undefined) outputs.set(name, column);
      else
        this.unknownColumn(
          "refresh.by",
          name,
          columns.map((c) => c.name),
        );
    }
    if (outputs.size === 0 || outputs.size < Object.keys(by).length) return [];
    const carriers: string[] = [];
    let firstFault: Problem | undefined;
    for (const input of this.inputs) {
      const faults: Problem[] = [];
      for (const [name, expression] of Object.entries(by)) {
        const option = `refresh.by.${name}`;
        const type = await this.bindExpression(expression, input, option, `an expression over ${input}`, faults);
        const column = outputs.get(name)!;
        if (type !== undefined && duckdbType(type) !== duckdbType(column.type)) {
          const reason = `${expression} of ${input} is ${duckdbType(type)}, and the column ${name} is ${duckdbType(column.type)}`;
          const wanted = "the same type as its column";
          faults.push(problem("EXPRESSION_INVALID", { option, subject, wanted, reason, over: "an input" }));
        }
      }
      if (faults.length === 0) carriers.push(input);
      firstFault ??= faults[0];
    }
    if (carriers.length === 0 && firstFault !== undefined) this.problems.push(firstFault);
    return carriers;
  }

  /** The type of an expression that is computed from one row of a relation. */
  private async bindExpression(
    expression: string,
    relation: string,
    option: string,
    wanted: string,
    faults: Problem[] = this.problems,
  ): Promise<ColumnType | undefined> {
    const over = relation === this.draft.name ? "the table's columns" : `the columns of ${relation}`;
    const refuse = (reason: string) => {
      faults.push(problem("EXPRESSION_INVALID", { option, subject: this.subject, wanted, reason, over }));
      return undefined;
    };
    const sql = `select (\n${expression}\n) as value from ${quoteName(relation)}`;
    try {
      const ast = await this.inspector.parse(sql);
      const query = queryOf(ast);
      const alone = tableReferences(ast).length === 1 && fromItems(query.from_table).length === 1;
      const items = (query.select_list ?? []) as AstNode[];
      if (!alone || items.length !== 1 || isNode(query.where_clause)) return refuse("it is more than one expression");
      const [part] = combiningParts(ast, this.isAggregate);
      if (part !== undefined) return refuse(`it combines rows (${part})`);
      const [column] = await this.inspector.describe(sql);
      return column?.type;
    } catch (error) {
      if (error instanceof MillraceError) return refuse(reasonOf(error));
      throw error;
    }
  }

  private async describe(sql: string): Promise<Column[] | undefined> {
    try {
      return await this.inspector.describe(sql);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      this.problems.push(problemOf(error));
      return undefined;
    }
  }

  private unknownColumn(option: string, column: string, names: readonly string[]): void {
    const nearest = didYouMean(column, names);
    this.report("COLUMN_UNKNOWN", { option, subject: this.subject, column, nearest, allowed: names.join(", ") });
  }

  private report(...args: Parameters<typeof problem>): void {
    this.problems.push(problem(...args));
  }
}

/** The select list that names the output: that of the leftmost SELECT of a set operation. */
function selectItems(ast: SqlAst): readonly AstNode[] {
  let query: unknown = queryOf(ast);
  while (isNode(query) && query.type !== "SELECT_NODE")
    query = query.left ?? (query.children as unknown[] | undefined)?.[0];
  return isNode(query) ? (query.select_list as AstNode[]) : [];
}

/** `*`, `columns(…)` and `unnest(…)` bring names of their own. */
function namesItself(item: AstNode): boolean {
  return holdsStar(item) || (item.class === "FUNCTION" && item.function_name === "unnest");
}

function holdsStar(item: AstNode): boolean {
  let found = false;
  visitNodes(item, (node) => {
    if (node.class === "STAR") found = true;
  });
  return found;
}

function isScalar(type: ColumnType): boolean {
  return !["struct", "array", "map", "json", "binary"].includes(type.kind);
}

/** The engine's reason without the place, which would be one in a statement the user did not write. */
function reasonOf(error: MillraceError): string {
  return error.message.replace(/^the SQL [^:]*: /, "").replace(/ \(line \d+, column \d+\)$/, "");
}
