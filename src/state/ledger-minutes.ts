/**
 * The ledger over time: how each hop stood in every minute in which it had changed, for a week. Whoever is first to write a minute down has written it;
 * processes that share the work see the same counters.
 */
import type { State } from "./state.ts";

export interface LedgerMoment {
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
  readonly pending: number;
  readonly balanced: boolean;
}

export interface HopMoment extends LedgerMoment {
  readonly stream: string;
  readonly hop: string;
}

export interface HopHistory {
  readonly stream: string;
  readonly hop: string;
  /** Oldest first; the first may be from before the time that was asked for, when it stood as it did then. */
  readonly points: readonly (LedgerMoment & { readonly atMs: number })[];
}

export const KEPT_MS = 7 * 86_400_000;
const MINUTE_MS = 60_000;
const COUNTS = "accepted, stored, duplicate, filtered, dead_lettered, pending, balanced";

export class LedgerMinutes {
  readonly #state: Pick<State, "query">;

  constructor(state: Pick<State, "query">) {
    this.#state = state;
  }

  /** Writes how hops stand down for the minute, and forgets what is too old. @throws STATE_UNAVAILABLE */
  async write(hops: readonly HopMoment[], nowMs: number): Promise<void> {
    if (hops.length === 0) return;
    const minute = new Date(Math.floor(nowMs / MINUTE_MS) * MINUTE_MS);
    const rows = hops.map(({ deadLettered, ...hop }) => ({ ...hop, dead_lettered: deadLettered }));
    await this.#state.query(
      `insert into millrace.ledger_minutes (stream, hop, minute, ${COUNTS})
       select stream, hop, $2, ${COUNTS} from jsonb_populate_recordset(null::millrace.ledger_minutes, $1::jsonb)
       on conflict do nothing`,
      [JSON.stringify(rows), minute],
    );
    // The newest of a hop says how it stands, however long ago that was.
    await this.#state.query(
      `delete from millrace.ledger_minutes m where minute < $1
       and exists (select 1 from millrace.ledger_minutes n where n.stream = m.stream and n.hop = m.hop and n.minute > m.minute and n.minute < $1)`,
      [new Date(nowMs - KEPT_MS)],
    );
  }

  /** From a moment on, one point for each step at most: how it stood at the step's end, balanced when it was all through it. @throws STATE_UNAVAILABLE */
  async read(fromMs: number, stepMs: number, stream?: string): Promise<HopHistory[]> {
    const rows = await this.#state.query<Row>(
      `with mine as (select * from millrace.ledger_minutes where $3::text is null or stream = $3)
       select * from (select distinct on (stream, hop) stream, hop, minute, ${COUNTS} from mine where minute < $1 order by stream, hop, minute desc) before
       union all
       select * from (
         select distinct on (stream, hop, step) stream, hop, minute, accepted, stored, duplicate, filtered, dead_lettered,
           max(pending) over steps as pending, bool_and(balanced) over steps as balanced
         from (select *, floor(extract(epoch from minute - $1) * 1000 / $2) as step from mine where minute >= $1) of_steps
         window steps as (partition by stream, hop, step)
         order by stream, hop, step, minute desc) within
       order by stream, hop, minute`,
      [new Date(fromMs), stepMs, stream ?? null],
    );
    const hops = Map.groupBy(rows, (row) => JSON.stringify([row.stream, row.hop]));
    return [...hops.values()].map((points) => ({
      ...{ stream: (points[0] as Row).stream, hop: (points[0] as Row).hop },
      points: points.map((row) => ({
        ...{ atMs: row.minute.getTime(), accepted: Number(row.accepted), stored: Number(row.stored) },
        ...{ duplicate: Number(row.duplicate), filtered: Number(row.filtered) },
        ...{ deadLettered: Number(row.dead_lettered), pending: Number(row.pending), balanced: row.balanced },
      })),
    }));
  }
}

interface Row {
  readonly stream: string;
  readonly hop: string;
  readonly minute: Date;
  readonly accepted: string;
  readonly stored: string;
  readonly duplicate: string;
  readonly filtered: string;
  readonly dead_lettered: string;
  readonly pending: string;
  readonly balanced: boolean;
}
