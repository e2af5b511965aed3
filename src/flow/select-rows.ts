import type { RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";

/** All rows of a statement as objects by column name; for results that are small by nature. */
export async function selectRows(
  engine: SqlEngine,
  statement: Statement,
  options: RunOptions = {},
): Promise<Record<string, unknown>[]> {
  const { columns, batches } = await engine.query(statement, options);
  const rows: Record<string, unknown>[] = [];
  for await (const batch of batches) {
    for (const row of batch) rows.push(Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])));
  }
  return rows;
}
