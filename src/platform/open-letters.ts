/** How many dead letters wait for somebody, by what refused them. They are counted again when letters or what was done with them have grown. */

import type { SqlEngine } from "../engine/sql-engine.ts";
import { ACTION_STREAM } from "../flow/dead-letter-actions.ts";
import { DEAD_LETTER_STREAM, DEAD_LETTER_TABLE } from "../flow/dead-letters.ts";
import type { Relations } from "../flow/relations.ts";
import { selectRows } from "../flow/select-rows.ts";
import type { EventLog } from "../log/event-log.ts";

export interface OpenLetters {
  readonly total: number;
  /** Of a stream's events, those that the door did not take. */
  readonly atDoor: ReadonlyMap<string, number>;
  /** Of a table. */
  readonly ofTable: ReadonlyMap<string, number>;
}

export interface OpenLettersParts {
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
  readonly log: EventLog;
  readonly clock: () => number;
}

/** While many come in, they are counted so often at most. */
const EVERY_MS = 5_000;
const NONE: OpenLetters = { total: 0, atDoor: new Map(), ofTable: new Map() };

export function openLetters({ engine, relations, log, clock }: OpenLettersParts): () => Promise<OpenLetters> {
  let known = NONE;
  let countedAt = "0 0";
  let countedAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    const ends = [DEAD_LETTER_STREAM, ACTION_STREAM].map((stream) => log.ends(stream, 0).end).join(" ");
    const now = clock();
    if (ends === countedAt || (now >= countedAtMs && now - countedAtMs < EVERY_MS)) return known;
    [countedAt, countedAtMs] = [ends, now];
    const { inputs, release } = await relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
    try {
      const rows = await selectRows(engine, { sql: COUNT, inputs });
      const counted = (kept: (row: Record<string, unknown>) => unknown) => {
        const counts = new Map<string, number>();
        for (const row of rows) {
          const name = kept(row);
          if (typeof name === "string") counts.set(name, (counts.get(name) ?? 0) + Number(row["letters"]));
        }
        return counts;
      };
      known = {
        total: rows.reduce((sum, row) => sum + Number(row["letters"]), 0),
        atDoor: counted(({ stage, stream }) => stage === "door" && stream),
        ofTable: counted(({ table_name }) => table_name),
      };
    } finally {
      release();
    }
    return known;
  };
}

const COUNT = `select stream, table_name, stage, count(*) as letters from ${DEAD_LETTER_TABLE} where status = 'open' group by all`;
