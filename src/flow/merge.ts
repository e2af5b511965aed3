/**
 * Tables that keep the newest row per key: what wins, and the rows of the table after a merge.
 *
 * The row with the greatest value in the table's `latest` column wins, ties go to the higher offset, and a row without a value
 * there loses to any with one. A winner marked by the tombstone column removes its key. A removed key keeps no trace, so an older
 * change that arrives after the removal brings the key back.
 */
import type { AppendTable } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";

/** The stored rows and the changes as one relation with one row per key. */
export function latestPerKey(table: AppendTable, stored: Relation, changes: Relation): Statement {
  const keys = table.key.map(quoteIdentifier);
  const same = keys.map((key) => `stored.${key} is not distinct from changed.${key}`).join(" and ");
  const inputs = new Map<string, Relation>([
    ["stored", stored],
    ["changes", changes],
  ]);
  const newest = (rows: string) =>
    `select * from (${rows}) qualify row_number() over (partition by ${keys.join(", ")}
     order by ${quoteIdentifier(table.latest ?? "_offset")} desc nulls last, _offset desc) = 1`;
  const untouched = `select stored.* from stored anti join changed on ${same}`;
  const touched = newest(
    `select stored.* from stored semi join changed on ${same} union all by name select * from changed`,
  );
  const alive = table.tombstone === undefined ? "true" : `${quoteIdentifier(table.tombstone)} is not true`;
  const sql = `with changed as materialized (${newest("select * from changes")})
    ${untouched} union all by name select * from (${touched}) where ${alive}`;
  return { sql, inputs };
}
