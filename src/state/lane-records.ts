import type { State } from "./state.ts";

/** A lane as the process says that has it. `status` and `floors` are the reactor's. */
export interface LaneRow {
  readonly stream: string;
  readonly partition: number;
  readonly lane: string;
  readonly owner: number;
  readonly worker: string;
  readonly status: unknown;
  readonly floors: unknown;
}

/** What processes tell each other of the lanes of reactions. Every method throws STATE_UNAVAILABLE. */
export class LaneRows {
  readonly #state: Promise<State>;

  constructor(state: Promise<State>) {
    this.#state = state;
  }

  /** Resolves once the rows are there. One of an owner that was followed by another changes nothing. */
  async publish(rows: readonly LaneRow[]): Promise<void> {
    if (rows.length === 0) return;
    const state = await this.#state;
    await state.query(
      `insert into millrace.lanes as known (stream, partition, lane, owner, worker, status, floors)
       select stream, partition, lane, owner, worker, status, floors
       from jsonb_to_recordset($1::jsonb) as told(stream text, partition integer, lane text, owner bigint, worker text, status jsonb, floors jsonb)
       order by stream, partition, lane
       on conflict (stream, partition, lane) do update
         set owner = excluded.owner, worker = excluded.worker, status = excluded.status, floors = excluded.floors, published_at = now()
         where known.owner <= excluded.owner`,
      [JSON.stringify(rows)],
    );
  }

  async all<Row extends LaneRow>(): Promise<Row[]> {
    const state = await this.#state;
    const rows = await state.query<LaneRow & { readonly owner: string }>(
      "select stream, partition, lane, owner, worker, status, floors from millrace.lanes order by stream, partition, lane",
    );
    return rows.map((row) => ({ ...row, owner: Number(row.owner) })) as unknown as Row[];
  }
}
