/**
 * A replay decides anew about every event of a table, so the dead letters on the way to it are brought in step with what it finds, in
 * the commit that swaps the rows in: letters of events that are taken now are closed, letters of those that fail still or again are
 * open with the new reason, and events that fail for the first time get one.
 */
import type { AppendTable } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { ActionLog, Outcome } from "./dead-letter-actions.ts";
import { DEAD_LETTER_TABLE, type DeadLetter, eventLetterId, isInternal } from "./dead-letters.ts";
import { retriedMark } from "./progress.ts";
import type { Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export interface ReplayedParts {
  readonly engine: SqlEngine;
  readonly relations: Relations;
  readonly actions: ActionLog;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
}

export interface Replayed {
  /** Every row the table's SQL gives. */
  readonly computed: Statement;
  /** Those of events of which no row fails a check. */
  readonly passed: Statement;
  readonly bronze: Relation;
  /** By partition, the last offset the replay covers. */
  readonly to: readonly number[];
}

export interface Settlement {
  /** Goes into the commit with the rows. */
  readonly txn: ReadonlyMap<string, number>;
  /** Makes the outcomes count, once the commit is there. */
  finish(): Promise<void>;
}

interface Letter {
  readonly partition: number;
  readonly offset: number;
  readonly status: string;
  /** False for the letter of an event that could not be parsed. */
  readonly own: boolean;
}

/** Letters written at once. */
const BATCH = 2000;

export async function settleReplayed(o: ReplayedParts, table: AppendTable, replayed: Replayed): Promise<Settlement> {
  if (isInternal(table.stream)) return { txn: new Map(), finish: async () => undefined };
  const letters = (await readLetters(o, table)).filter(
    ({ partition, offset }) => offset <= (replayed.to[partition] ?? -1),
  );
  const failing = await failingEvents(o, table, replayed.computed);
  await writeLetters(o, table, failing, letters, replayed.bronze);
  const taken = await eventsAmong(o, letters, replayed.passed);
  const txn = new Map<string, number>();
  const batches: string[] = [];
  for (const [partition] of replayed.to.entries()) {
    const outcomes = letters.flatMap((letter): Outcome[] => {
      if (letter.partition !== partition) return [];
      const deadLetterId = eventLetterId(table.stream, partition, letter.offset, table.name);
      const check = failing.get(placeOf(letter));
      if (check !== undefined) {
        if (!letter.own || letter.status === "discarded") return [];
        return [{ deadLetterId, outcome: "failed", code: "CHECK_FAILED", message: messageOf(table, check) }];
      }
      if (letter.status === "retried" && letter.own) return [];
      if (taken.has(placeOf(letter))) return [{ deadLetterId, outcome: "stored" }];
      // What could not be parsed is in no row either way.
      return letter.own ? [{ deadLetterId, outcome: "filtered" }] : [];
    });
    if (outcomes.length === 0) continue;
    const target = { stream: table.stream, partition, table: table.name };
    const { batch, mark } = await o.actions.begin(outcomes, target, "replay");
    batches.push(batch);
    txn.set(retriedMark(table.stream, partition), mark);
  }
  return {
    txn,
    async finish() {
      for (const batch of batches) await o.actions.finish(batch);
    },
  };
}

async function readLetters(o: ReplayedParts, table: AppendTable): Promise<Letter[]> {
  const { inputs, release } = await o.relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
  try {
    const rows = await selectRows(o.engine, {
      sql: `select event_partition as p, event_offset as o, status, table_name is not null as own from ${DEAD_LETTER_TABLE}
        where stream = ${quoteLiteral(table.stream)} and event_offset is not null
          and (table_name is null or table_name = ${quoteLiteral(table.name)})`,
      inputs,
    });
    return rows.map((row) => ({
      partition: Number(row["p"]),
      offset: Number(row["o"]),
      status: String(row["status"]),
      own: row["own"] === true,
    }));
  } finally {
    release();
  }
}

/** Place of the event -> the check it fails. */
async function failingEvents(o: ReplayedParts, table: AppendTable, computed: Statement): Promise<Map<string, string>> {
  const checks = Object.entries(table.checks);
  if (checks.length === 0) return new Map();
  const names = checks.map(([name, sql]) => `when not (${sql}) then ${quoteLiteral(name)}`).join(" ");
  const rows = await selectRows(o.engine, {
    sql: `select p, o, min(name) as name from (
      select _partition as p, _offset as o, case ${names} end as name from computed) where name is not null group by p, o`,
    inputs: new Map([["computed", { kind: "view", statement: computed }]]),
  });
  return new Map(rows.map((row) => [`${row["p"]}-${row["o"]}`, String(row["name"])]));
}

async function eventsAmong(o: ReplayedParts, letters: readonly Letter[], rows: Statement): Promise<Set<string>> {
  if (letters.length === 0) return new Set();
  const found = await selectRows(o.engine, {
    sql: "select distinct _partition as p, _offset as o from passed where (_partition, _offset) in (select (p, o) from wanted)",
    inputs: new Map<string, Relation>([
      ["passed", { kind: "view", statement: rows }],
      ["wanted", places(letters)],
    ]),
  });
  return new Set(found.map((row) => `${row["p"]}-${row["o"]}`));
}

async function writeLetters(
  o: ReplayedParts,
  table: AppendTable,
  failing: ReadonlyMap<string, string>,
  letters: readonly Letter[],
  bronze: Relation,
): Promise<void> {
  const known = new Set(letters.filter((letter) => letter.own).map(placeOf));
  const fresh = [...failing.keys()].filter((place) => !known.has(place));
  for (let i = 0; i < fresh.length; i += BATCH) {
    const wanted = fresh.slice(i, i + BATCH).map((place) => {
      const [partition = 0, offset = 0] = place.split("-").map(Number);
      return { partition, offset };
    });
    const rows = await selectRows(o.engine, {
      sql: `select _partition as p, _offset as o, payload, _source from bronze
        where (_partition, _offset) in (select (p, o) from wanted)`,
      inputs: new Map<string, Relation>([
        ["bronze", bronze],
        ["wanted", places(wanted)],
      ]),
    });
    await o.deadLetters(
      rows.map((row) => ({
        stream: table.stream,
        stage: "check",
        code: "CHECK_FAILED",
        message: messageOf(table, failing.get(`${row["p"]}-${row["o"]}`) ?? ""),
        payload: String(row["payload"]),
        source: String(row["_source"]),
        table: table.name,
        partition: Number(row["p"]),
        offset: Number(row["o"]),
      })),
    );
  }
}

function places(events: readonly { partition: number; offset: number }[]): Relation {
  const list = (of: (event: (typeof events)[number]) => number) => events.map(of).join(", ");
  const sql = `select unnest([${list((e) => e.partition)}]::integer[]) as p, unnest([${list((e) => e.offset)}]::bigint[]) as o`;
  return { kind: "native", sql };
}

function placeOf({ partition, offset }: { partition: number; offset: number }): string {
  return `${partition}-${offset}`;
}

function messageOf(table: AppendTable, check: string): string {
  return new MillraceError("CHECK_FAILED", { table: table.name, check, condition: table.checks[check] }).message;
}
