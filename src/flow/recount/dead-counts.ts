/**
 * How many events of each hop the dead letters say have not got past it: those with an open or discarded letter of the table's own, or
 * with one that concerns every table, up to where the table is.
 */
import { quoteLiteral } from "../../define/sql-text.ts";
import type { Relation, SqlEngine } from "../../engine/sql-engine.ts";
import { ACTION_TABLE, newestOutcomes } from "../dead-letter-actions.ts";
import { DEAD_LETTER_TABLE } from "../dead-letters.ts";
import type { Relations } from "../relations.ts";
import { selectRows } from "../select-rows.ts";

export interface TakenTo {
  readonly stream: string;
  readonly partition: number;
  readonly hop: string;
  /** Last offset the table has taken. */
  readonly committed: number;
}

/** In the order of `hops`. */
export async function deadCounts(
  o: { readonly relations: Relations; readonly engine: SqlEngine; readonly signal: AbortSignal },
  hops: readonly TakenTo[],
): Promise<number[]> {
  const names = [DEAD_LETTER_TABLE, ACTION_TABLE];
  const { inputs, release } = await o.relations.resolve(
    names.map((name) => ({ name })),
    "acknowledged",
  );
  try {
    const wanted = hops.map(
      ({ stream, partition, hop, committed }, i) =>
        `(${i}, ${quoteLiteral(stream)}, ${partition}, ${quoteLiteral(hop)}, ${committed}::bigint)`,
    );
    const sql = `select w.i as i, count(distinct l.event_offset) as n
      from ${DEAD_LETTER_TABLE} l
      join wanted w on w.stream = l.stream and w.p = l.event_partition
      left join newest n on n.dead_letter_id = l.stream || '/' || l.event_partition || '/' || l.event_offset || '/' || w.hop
      where l.event_offset <= w.committed and (l.table_name is null or l.table_name = w.hop)
        and coalesce(n.outcome, 'failed') not in ('stored', 'filtered')
      group by w.i`;
    const newest = newestOutcomes(inputs.get(ACTION_TABLE) as Relation);
    const rows = await selectRows(
      o.engine,
      {
        sql,
        inputs: new Map<string, Relation>([
          ...inputs,
          ["newest", { kind: "view", statement: newest }],
          [
            "wanted",
            { kind: "native", sql: `select * from (values ${wanted.join(", ")}) w(i, stream, p, hop, committed)` },
          ],
        ]),
      },
      { signal: o.signal },
    );
    const counts = hops.map(() => 0);
    for (const row of rows) counts[Number(row["i"])] = Number(row["n"]);
    return counts;
  } finally {
    release();
  }
}
