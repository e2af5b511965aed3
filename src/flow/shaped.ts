import type { Column, RefreshTable } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import { castSelect } from "../define/types.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";

/** A statement's rows in the types the table stores, with its generated partition columns. */
export function shaped(
  table: { readonly columns: readonly Column[]; readonly partitionBy: Readonly<Record<string, string>> },
  sql: string,
): string {
  const given = castSelect(
    sql,
    table.columns.filter(({ name }) => !isGenerated(table.partitionBy, name)),
  );
  const generated = Object.entries(table.partitionBy).filter(([name]) => isGenerated(table.partitionBy, name));
  if (generated.length === 0) return given;
  return `select *, ${generated.map(([name, expression]) => `${expression} as ${quoteIdentifier(name)}`)} from (${given})`;
}

/** The table's own statement over its inputs. One in Spark's SQL stands beside that of the embedded engine, under what shapes either. */
export function computedRows(table: RefreshTable, inputs: ReadonlyMap<string, Relation>): Statement {
  if (table.spark === undefined) return { sql: shaped(table, table.sql), inputs };
  const columns = table.columns.filter(({ name }) => !isGenerated(table.partitionBy, name));
  const statement = { sql: table.sql, inputs, spark: { sql: table.spark, columns } };
  return { sql: shaped(table, "select * from given"), inputs: new Map([["given", { kind: "view", statement }]]) };
}

/** True for a partition column that the statement does not give itself. */
function isGenerated(partitionBy: Readonly<Record<string, string>>, name: string): boolean {
  return name in partitionBy && partitionBy[name] !== name;
}
