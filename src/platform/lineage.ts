/** Columns of all tables and streams, and which are computed from which: read from the SQL of the project, once. */
import { type ColumnSource, columnLineage, type StatementLineage } from "../define/column-lineage.ts";
import { didYouMean } from "../define/nearest.ts";
import type { Project, Table } from "../define/project.ts";
import type { SqlInspector } from "../define/sql-inspector.ts";
import { MillraceError } from "../errors.ts";
import { unknownTable } from "../flow/relations.ts";
import type { Catalogue } from "../serve/catalogue.ts";
import type { ColumnName, LineageColumn, LineageView } from "../serve/lineage-route.ts";

export interface LineageParts {
  readonly project: Project;
  readonly catalogue: Pick<Catalogue, "names" | "columns">;
  readonly inspector: Pick<SqlInspector, "parse">;
}

interface Origin {
  readonly from: readonly ColumnSource[];
  readonly unknown: string | undefined;
}

interface Graph {
  readonly behind: ReadonlyMap<string, Origin>;
  /** Keys of the columns that are computed from one. */
  readonly ahead: ReadonlyMap<string, readonly ColumnSource[]>;
}

const keyOf = ({ table, column }: ColumnName) => `${table.toLowerCase()}\0${column.toLowerCase()}`;

export function lineage(parts: LineageParts): (table: string, column: string) => Promise<LineageView> {
  let graph: Promise<Graph> | undefined;
  return async (table, column) => {
    const names = parts.catalogue.names();
    const name = names.find((one) => one.toLowerCase() === table.toLowerCase());
    if (name === undefined) throw unknownTable(table, names);
    const columns = (parts.catalogue.columns(name) ?? []).map((one) => one.name);
    const known = columns.find((one) => one.toLowerCase() === column.toLowerCase());
    if (known === undefined)
      throw new MillraceError("COLUMN_UNKNOWN", {
        ...{ option: '"column"', subject: "the query", column, nearest: didYouMean(column, columns) },
        allowed: columns.join(", "),
      });
    graph ??= readGraph(parts);
    return view(parts, await graph, { table: name, column: known });
  };
}

async function readGraph({ project, catalogue, inspector }: LineageParts): Promise<Graph> {
  const names = new Map(catalogue.names().map((name) => [name.toLowerCase(), name]));
  const columnsOf = (name: string) => catalogue.columns(name)?.map((column) => column.name);
  const behind = new Map<string, Origin>();
  const ahead = new Map<string, ColumnSource[]>();
  for (const table of project.tables.values()) {
    const sql = table.mode === "append" ? table.storedSql : table.sql;
    const traced = columnLineage(await inspector.parse(sql), columnsOf);
    for (const [column, origin] of originsOf(table, traced)) {
      const own = { table: table.name, column };
      const from = origin.from.map((one) => ({ ...one, table: names.get(one.table) ?? one.table }));
      behind.set(keyOf(own), { ...origin, from });
      for (const one of from) ahead.set(keyOf(one), [...(ahead.get(keyOf(one)) ?? []), own]);
    }
  }
  return { behind, ahead };
}

/** A stored table's columns are those of its statement by their places; those that make its partitions come last. */
function originsOf(table: Table, { columns, open }: StatementLineage): Map<string, Origin> {
  const byName = new Map(columns.map((column) => [column.name.toLowerCase(), column]));
  return new Map(
    table.columns.map(({ name }, i): [string, Origin] => {
      const traced = open === undefined ? columns[i] : byName.get(name.toLowerCase());
      if (traced !== undefined) return [name, traced];
      const partition = table.partitionBy[name];
      const unknown = partition === undefined ? open : `it is ${partition}, by which the table is partitioned`;
      return [name, { from: [], unknown: unknown ?? "the SQL does not name it" }];
    }),
  );
}

function view({ project }: LineageParts, { behind, ahead }: Graph, chosen: ColumnName): LineageView {
  const columns = new Map<string, LineageColumn>();
  const edges = new Map<string, LineageView["edges"][number]>();
  const add = ({ table, column }: ColumnName, place: LineageColumn["place"]) => {
    const one = { table, column };
    if (columns.has(keyOf(one))) return false;
    const unknown = behind.get(keyOf(one))?.unknown ?? madeBy(project, table, column);
    columns.set(keyOf(one), { ...one, node: nodeOf(project, table), place, unknown });
    return true;
  };
  const link = (from: ColumnName, to: ColumnName) => {
    const edge = { from: { table: from.table, column: from.column }, to: { table: to.table, column: to.column } };
    edges.set(`${keyOf(from)}\0${keyOf(to)}`, edge);
  };
  add(chosen, "chosen");
  for (const waiting: ColumnName[] = [chosen]; waiting.length > 0; ) {
    const to = waiting.pop() as ColumnName;
    for (const from of behind.get(keyOf(to))?.from ?? []) {
      link(from, to);
      if (add(from, "behind")) waiting.push(from);
    }
  }
  for (const waiting: ColumnName[] = [chosen]; waiting.length > 0; ) {
    const from = waiting.pop() as ColumnName;
    for (const to of ahead.get(keyOf(from)) ?? []) {
      link(from, to);
      if (add(to, "ahead")) waiting.push(to);
    }
  }
  return { columns: [...columns.values()], edges: [...edges.values()] };
}

/** What code makes and not SQL ends a path, and says so. */
function madeBy(project: Project, table: string, column: string): string | null {
  if (column.startsWith("_")) return null;
  if (project.windows.has(table)) return `the window "${table}" makes it of its events, and not by SQL`;
  const emitter = [...project.functions.values()].find(({ emits }) => emits?.includes(table));
  return emitter === undefined ? null : `the function "${emitter.name}" may make it, and not by SQL`;
}

function nodeOf(project: Project, table: string): string {
  const stream = table.replace(/^bronze\./, "");
  if (project.windows.has(stream)) return `window:${stream}`;
  return project.streams.has(stream) ? `stream:${stream}` : `table:${table}`;
}
