/**
 * Dead letters of refreshes: one for each value of `by` that a table's SQL fails on, or one for the table as a whole. What failed is
 * no event, so the payload says what was to be computed; a letter is opened once, counts the tries, is closed by the refresh that
 * succeeds, and opened again should the value fail once more. One that was discarded stays so while it fails for the same reason.
 */
import { createHash } from "node:crypto";
import type { SqlEngine } from "../engine/sql-engine.ts";
import type { ActionLog, Outcome } from "./dead-letter-actions.ts";
import { DEAD_LETTER_TABLE, type DeadLetter } from "./dead-letters.ts";
import type { Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export interface RefreshLettersParts {
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
  readonly actions: ActionLog;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
  /** True where other processes write and settle letters as well: they are read again each time. */
  readonly shared?: boolean;
  readonly clock: () => number;
}

/** What of a table could not be computed. */
export interface RefreshFailure {
  /** Column of `by` -> value; undefined for the table as a whole. */
  readonly by: Readonly<Record<string, string | null>> | undefined;
  readonly message: string;
}

interface Known {
  readonly table: string;
  status: string;
  message: string;
  triedAtMs: number;
}

/** A table that takes new rows all the time fails all the time; tries within this time are one. */
const ONE_TRY_MS = 60_000;

export class RefreshLetters {
  readonly #o: RefreshLettersParts;
  #known: Promise<Map<string, Known>> | undefined;

  constructor(o: RefreshLettersParts) {
    this.#o = o;
  }

  /** The table's open letters with their messages, by id. */
  async open(table: string): Promise<Map<string, string>> {
    if (this.#o.shared) await this.#readAgain(await this.#letters());
    const known = [...(await this.#letters())].filter(
      ([, letter]) => letter.table === table && letter.status === "open",
    );
    return new Map(known.map(([id, { message }]) => [id, message]));
  }

  /** Opens letters for what failed, and closes those of the table for what did not. `actor`: who asked for the refresh. */
  async settle(
    table: string,
    inputs: Readonly<Record<string, number>>,
    failures: readonly RefreshFailure[],
    actor?: string,
  ): Promise<void> {
    const failing = new Map(failures.map((failure) => [refreshLetterId(table, failure.by), failure]));
    let known = await this.#letters();
    // Somebody may have discarded letters since they were read.
    if (this.#o.shared) known = await this.#readAgain(known);
    else if ([...failing].some(([id, { message }]) => this.#counts(known.get(id), message, actor)))
      known = await this.#readAgain(known);
    const letters: DeadLetter[] = [];
    const outcomes: Outcome[] = [];
    for (const [id, { by, message }] of failing) {
      const before = known.get(id);
      if (before === undefined) letters.push(letterOf(id, table, by, inputs, message));
      else if (!this.#counts(before, message, actor)) continue;
      else outcomes.push({ deadLetterId: id, outcome: "failed", code: "REFRESH_FAILED", message });
      known.set(id, { table, status: "open", message, triedAtMs: this.#o.clock() });
    }
    for (const [id, letter] of known) {
      if (letter.table !== table || letter.status === "retried" || failing.has(id)) continue;
      outcomes.push({ deadLetterId: id, outcome: "stored" });
      letter.status = "retried";
    }
    try {
      await this.#o.deadLetters(letters);
      await this.#o.actions.record(outcomes, actor ?? "refresh");
    } catch (error) {
      this.#known = undefined; // what is durable is read again
      throw error;
    }
  }

  /** Whether a failure is a try of its letter's own. */
  #counts(letter: Known | undefined, message: string, actor: string | undefined): boolean {
    if (letter === undefined) return false;
    if (actor !== undefined || letter.status === "retried" || letter.message !== message) return true;
    return letter.status === "open" && Math.abs(this.#o.clock() - letter.triedAtMs) >= ONE_TRY_MS;
  }

  async #readAgain(before: ReadonlyMap<string, Known>): Promise<Map<string, Known>> {
    this.#known = undefined;
    const known = await this.#letters();
    for (const [id, letter] of known) letter.triedAtMs = before.get(id)?.triedAtMs ?? letter.triedAtMs;
    return known;
  }

  #letters(): Promise<Map<string, Known>> {
    this.#known ??= this.#read().catch((error: unknown) => {
      this.#known = undefined;
      throw error;
    });
    return this.#known;
  }

  async #read(): Promise<Map<string, Known>> {
    const { relations, engine } = this.#o;
    const { inputs, release } = await relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
    try {
      const rows = await selectRows(engine, {
        sql: `select dead_letter_id, table_name, status, last_message from ${DEAD_LETTER_TABLE} where stage = 'refresh'`,
        inputs,
      });
      return new Map(
        rows.map((row) => [
          String(row["dead_letter_id"]),
          {
            table: String(row["table_name"]),
            status: String(row["status"]),
            message: String(row["last_message"]),
            triedAtMs: Number.NEGATIVE_INFINITY,
          },
        ]),
      );
    } finally {
      release();
    }
  }
}

/** The same for the same value, so that it has one letter for ever. */
export function refreshLetterId(table: string, by: RefreshFailure["by"]): string {
  const value = by === undefined ? "" : createHash("sha256").update(JSON.stringify(by)).digest("hex").slice(0, 16);
  return `refresh/${table}/${value}`;
}

function letterOf(
  id: string,
  table: string,
  by: RefreshFailure["by"],
  inputs: Readonly<Record<string, number>>,
  message: string,
): DeadLetter {
  const payload = JSON.stringify({ table, by, inputs });
  return { id, stream: "", stage: "refresh", code: "REFRESH_FAILED", message, payload, source: "refresh", table };
}
