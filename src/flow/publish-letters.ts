/**
 * Dead letters of publications: one for each row of a table that PostgreSQL does not take. The same row has the same letter for ever: it is
 * opened once, closed when the row is gone or was taken, and opened again should it come back.
 */

import { quoteLiteral } from "../define/sql-text.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import type { ActionLog, Outcome } from "./dead-letter-actions.ts";
import { DEAD_LETTER_TABLE, type DeadLetter } from "./dead-letters.ts";
import type { Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export interface PublishLettersParts {
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
  readonly actions: ActionLog;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
}

const CODE = "PUBLISH_ROW_REFUSED";
const ACTOR = "publish";

export class PublishLetters {
  readonly #o: PublishLettersParts;

  constructor(o: PublishLettersParts) {
    this.#o = o;
  }

  /** Opens letters for rows that are left out, where they are not open already or were discarded. */
  async open(
    table: string,
    rows: readonly { readonly id: string; readonly message: string; readonly payload: string }[],
  ): Promise<void> {
    if (rows.length === 0) return;
    const known = await this.#known(table);
    const letters = new Map<string, DeadLetter>();
    const outcomes = new Map<string, Outcome>();
    for (const { id, message, payload } of rows) {
      const status = known.get(id);
      if (status === undefined)
        letters.set(id, { id, stream: "", stage: "publish", code: CODE, message, payload, source: "publish", table });
      else if (status === "retried") outcomes.set(id, { deadLetterId: id, outcome: "failed", code: CODE, message });
    }
    await this.#o.deadLetters([...letters.values()]);
    await this.#o.actions.record([...outcomes.values()], ACTOR);
  }

  /** Closes the table's letters for rows that are not left out any more: all but `refused`, or of those only what is `gone`. */
  async settle(table: string, refused: ReadonlySet<string>, gone: "others" | ReadonlySet<string>): Promise<void> {
    if (gone !== "others" && gone.size === 0) return;
    const open = await this.openLetters(table);
    const closed = [...open.keys()].filter((id) => !refused.has(id) && (gone === "others" || gone.has(id)));
    await this.#o.actions.record(
      closed.map((deadLetterId): Outcome => ({ deadLetterId, outcome: "stored" })),
      ACTOR,
    );
  }

  /** The table's open letters with their messages, by id. */
  async openLetters(table: string): Promise<Map<string, string>> {
    const letters = await this.#read(table, "and status = 'open'");
    return new Map(letters.map((row) => [String(row["dead_letter_id"]), String(row["last_message"])]));
  }

  async #known(table: string): Promise<Map<string, string>> {
    const letters = await this.#read(table, "");
    return new Map(letters.map((row) => [String(row["dead_letter_id"]), String(row["status"])]));
  }

  async #read(table: string, condition: string): Promise<Record<string, unknown>[]> {
    const { inputs, release } = await this.#o.relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
    try {
      const sql = `select dead_letter_id, status, last_message from ${DEAD_LETTER_TABLE}
        where stage = 'publish' and table_name = ${quoteLiteral(table)} ${condition}`;
      return await selectRows(this.#o.engine, { sql, inputs });
    } finally {
      release();
    }
  }
}
