/**
 * Dead letters of reactions: one for each event and operator that could not take it. Retrying one gives the event to the operator once more, in its lane and
 * with the state of now. That it counts once is the reactor's business, so what is recorded here may come after it.
 */
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { ActionLog, Outcome } from "./dead-letter-actions.ts";
import type { Reactions, RetriedOutcome } from "./reactions.ts";
import type { Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export interface ReactRetryParts {
  readonly reactions: Reactions;
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
  readonly actions: ActionLog;
}

/** A dead letter of an operator, with the place of its event. */
export interface ReactLetter {
  readonly id: string;
  readonly partition: number;
  readonly offset: number;
  readonly source: string;
  readonly payload: Uint8Array;
}

export interface ReactRetry {
  readonly id: string;
  readonly outcome: "stored" | "failed";
  readonly code?: string | undefined;
  readonly message?: string | undefined;
}

/** Gives the events of one operator's letters to it again, and records what became of them. */
export async function retryReactions(
  o: ReactRetryParts,
  {
    stream,
    operator,
    letters,
    actor,
  }: { stream: string; operator: string; letters: readonly ReactLetter[]; actor: string },
): Promise<ReactRetry[]> {
  const arrivals = await arrivalsOf(o, stream, letters);
  const events = letters
    .map(({ partition, offset, source, payload }) => ({
      ...{ partition, offset, source, payload },
      receivedAtMs: arrivals.get(`${partition}/${offset}`) ?? 0,
    }))
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  let outcomes: readonly RetriedOutcome[];
  try {
    outcomes = await o.reactions.retry(operator, stream, events);
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === "REACT_OPERATOR_UNKNOWN")) throw error;
    outcomes = events.map(() => ({ outcome: "failed", code: error.code, message: error.message }));
  }
  const byPlace = new Map(events.map(({ partition, offset }, i) => [`${partition}/${offset}`, outcomes[i]]));
  const results = letters.map(({ id, partition, offset }): ReactRetry => {
    const outcome = byPlace.get(`${partition}/${offset}`);
    if (outcome?.outcome !== "failed") return { id, outcome: "stored" };
    return { id, outcome: "failed", code: outcome.code, message: outcome.message };
  });
  await o.actions.record(
    results.map(({ id, ...result }): Outcome => ({ deadLetterId: id, ...result })),
    actor,
  );
  return results;
}

/** When the events arrived, by `partition/offset`. */
async function arrivalsOf(
  { relations, engine }: ReactRetryParts,
  stream: string,
  letters: readonly ReactLetter[],
): Promise<Map<string, number>> {
  const predicates = [{ column: "_offset", op: "in" as const, values: letters.map(({ offset }) => offset) }];
  const { relations: resolved, release } = await relations.resolve(
    [{ name: `bronze.${stream}`, predicates }],
    "acknowledged",
  );
  try {
    const places = letters.map(({ partition, offset }) => quoteLiteral(`${partition}/${offset}`));
    const sql = `select * from (select _partition || '/' || _offset as place, epoch_ms(_received_at)::double as at from bronze)
      where place in (${places.join(", ")})`;
    const inputs = new Map([["bronze", resolved[0] as Relation]]);
    const rows = await selectRows(engine, { sql, inputs });
    return new Map(rows.map((row) => [String(row["place"]), Number(row["at"])]));
  } finally {
    release();
  }
}
