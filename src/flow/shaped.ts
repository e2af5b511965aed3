import type { Column } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import { castSelect } from "../define/types.ts";

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

/** True for a partition column that the statement does not give itself. */
function isGenerated(partitionBy: Readonly<Record<string, string>>, name: string): boolean {
  return name in partitionBy && partitionBy[name] !== name;
}
