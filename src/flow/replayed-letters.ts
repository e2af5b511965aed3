/**
 * A replay decides anew about events, so the dead letters on the way to a table are brought in step with what it finds, in
 * the commit that swaps the rows in: letters of events that are taken now are closed, letters of those that fail still or again are
 * open with the new reason and one more attempt, and events that fail for the first time get one.
 */
import type { AppendTable } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import { pruneFiles } from "../lake/prune.ts";
import { ACTION_TABLE, type ActionLog, newestOutcomes, type Outcome } from "./dead-letter-actions.ts";
import { DEAD_LETTER_TABLE, type DeadLetter, eventLetterId, isInternal } from "./dead-letters.ts";
import type { LakeTables } from "./lake-tables.ts";
import { retriedMark } from "./progress.ts";
import type { Relations } from "./relations.ts";
import type { Failure } from "./replay-build.ts";
import { selectRows } from "./select-rows.ts";

export interface LetterParts {
  readonly engine: SqlEngine;
  readonly lake: LakeTables;
  readonly relations: Relations;
  readonly actions: ActionLog;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
}

/** The dead letters of one event that concern a table. */
export interface EventLetters {
  readonly partition: number;
  readonly offset: number;
  /** State of its letter at the table; undefined when it has none. */
  readonly own: string | undefined;
  /** State of its letter that concerns every table, since the event could not be parsed. */
  readonly general: string | undefined;
  /** What the newest try to get it into the table came to; undefined when there was none. */
  readonly outcome: string | undefined;
}

export interface Findings {
  /** By `partition-offset`. */
  readonly failed: ReadonlyMap<string, Failure>;
  readonly unparsed: ReadonlyMap<string, Failure>;
  /** Events with letters that gave rows. */
  readonly taken: ReadonlySet<string>;
  /** True for an event that the replay decided about. */
  readonly covers: (event: { readonly partition: number; readonly offset: number }) => boolean;
  /** Which letters that concern every table are settled with this one: all, those of events that fail again, or none. */
  readonly settles: "all" | "failed" | "none";
}

export interface Settlement {
  /** Goes into the commit with the rows. */
  readonly txn: ReadonlyMap<string, number>;
  readonly opened: number;
  readonly closed: number;
  /** Makes the outcomes count, once the commit is there. */
  finish(): Promise<void>;
  /** The commit does not come. */
  abandon(): Promise<void>;
}

/** Letters written at once. */
const BATCH = 2000;

/** Every event that has a dead letter on the way to a table. */
export async function readLetters(o: LetterParts, table: AppendTable): Promise<EventLetters[]> {
  if (isInternal(table.stream)) return [];
  const { inputs, release } = await o.relations.resolve(
    [{ name: DEAD_LETTER_TABLE }, { name: ACTION_TABLE }],
    "acknowledged",
  );
  try {
    const newest = newestOutcomes(inputs.get(ACTION_TABLE) as Relation);
    const rows = await selectRows(o.engine, {
      sql: `select l.event_partition as p, l.event_offset as o, any_value(n.outcome) as outcome,
          any_value(l.status) filter (l.table_name is not null) as own,
          any_value(l.status) filter (l.table_name is null) as general
        from (select *, stream || '/' || event_partition || '/' || event_offset || '/' || ${quoteLiteral(table.name)} as fate_id
          from ${DEAD_LETTER_TABLE} where stream = ${quoteLiteral(table.stream)} and event_offset is not null
            and (table_name is null or table_name = ${quoteLiteral(table.name)})) l
        left join newest n on n.dead_letter_id = l.fate_id group by all`,
      inputs: new Map<string, Relation>([...inputs, ["newest", { kind: "view", statement: newest }]]),
    });
    const text = (value: unknown) => (value === null || value === undefined ? undefined : String(value));
    return rows.map((row) => ({
      partition: Number(row["p"]),
      offset: Number(row["o"]),
      own: text(row["own"]),
      general: text(row["general"]),
      outcome: text(row["outcome"]),
    }));
  } finally {
    release();
  }
}

/** True for an event that the ledger counts as dead-lettered at the table. */
export function isDead({ outcome }: EventLetters): boolean {
  return outcome !== "stored" && outcome !== "filtered";
}

export async function settleReplayed(
  o: LetterParts,
  table: AppendTable,
  letters: readonly EventLetters[],
  findings: Findings,
): Promise<Settlement> {
  if (isInternal(table.stream))
    return {
      ...{ txn: new Map(), opened: 0, closed: 0 },
      finish: async () => undefined,
      abandon: async () => undefined,
    };
  const known = new Map(letters.map((letter) => [placeOf(letter), letter]));
  const fresh = [...findings.failed].filter(([place]) => known.get(place)?.own === undefined);
  const unread = [...findings.unparsed].filter(([place]) => known.get(place)?.general === undefined);
  await writeLetters(o, table.stream, fresh, table.name);
  await writeLetters(o, table.stream, unread);
  const byPartition = new Map<number, Outcome[]>();
  let [opened, closed] = [fresh.length + unread.length, 0];
  for (const letter of letters) {
    if (!findings.covers(letter)) continue;
    for (const outcome of outcomesOf(table, letter, findings)) {
      const list = byPartition.get(letter.partition) ?? [];
      list.push(outcome);
      byPartition.set(letter.partition, list);
      if (outcome.outcome !== "failed") closed++;
      else if (letter.own === "retried") opened++;
    }
  }
  const txn = new Map<string, number>();
  const batches: string[] = [];
  for (const [partition, outcomes] of byPartition) {
    const target = { stream: table.stream, partition, table: table.name };
    for (let i = 0; i < outcomes.length; i += BATCH) {
      const { batch, mark } = await o.actions.begin(outcomes.slice(i, i + BATCH), target, "replay");
      batches.push(batch);
      txn.set(retriedMark(table.stream, partition), mark);
    }
  }
  return {
    txn,
    opened,
    closed,
    async finish() {
      for (const batch of batches) await o.actions.finish(batch);
    },
    async abandon() {
      for (const batch of batches) await o.actions.abandon(batch);
    },
  };
}

function outcomesOf(table: AppendTable, letter: EventLetters, findings: Findings): Outcome[] {
  const place = placeOf(letter);
  const { own, general, outcome } = letter;
  const id = eventLetterId(table.stream, letter.partition, letter.offset, table.name);
  const generalId = eventLetterId(table.stream, letter.partition, letter.offset);
  const outcomes: Outcome[] = [];
  const unparsed = findings.unparsed.get(place);
  if (findings.settles !== "none" && general !== undefined) {
    if (unparsed !== undefined && general !== "discarded") outcomes.push(failedAgain(generalId, unparsed));
    // Every table has it now, or a letter of its own.
    if (unparsed === undefined && findings.settles === "all" && general === "open")
      outcomes.push({ deadLetterId: generalId, outcome: "stored" });
  }
  const failure = findings.failed.get(place) ?? unparsed;
  if (failure !== undefined) {
    // An earlier outcome under the letter's name would make it look settled.
    const settled = outcome === "stored" || outcome === "filtered";
    if (settled || (own !== undefined && own !== "discarded")) outcomes.push(failedAgain(id, failure));
    return outcomes;
  }
  const now = findings.taken.has(place) ? "stored" : "filtered";
  if (outcome !== now) outcomes.push({ deadLetterId: id, outcome: now });
  return outcomes;
}

function failedAgain(deadLetterId: string, { code, message }: Failure): Outcome {
  return { deadLetterId, outcome: "failed", code, message };
}

async function writeLetters(
  o: LetterParts,
  stream: string,
  failures: readonly (readonly [string, Failure])[],
  table?: string,
): Promise<void> {
  const bronze = o.lake.get(`bronze.${stream}`);
  for (let i = 0; i < failures.length; i += BATCH) {
    const batch = new Map(failures.slice(i, i + BATCH));
    const events = [...batch.keys()].map((place) => place.split("-").map(Number) as [number, number]);
    const offsets = events.map(([, offset]) => offset);
    const files = pruneFiles(bronze.snapshot.files, [{ column: "_offset", op: "in", values: offsets }]);
    const rows = await selectRows(o.engine, {
      sql: `select _partition as p, _offset as o, payload, _source from bronze
        where (_partition, _offset) in (select (p, o) from wanted)`,
      inputs: new Map<string, Relation>([
        ["bronze", o.lake.relation(bronze, bronze.snapshot, files)],
        ["wanted", { kind: "native", sql: wantedSql(events) }],
      ]),
    });
    await o.deadLetters(
      rows.flatMap((row): DeadLetter[] => {
        const failure = batch.get(`${row["p"]}-${row["o"]}`);
        if (!failure) return [];
        return [
          {
            ...failure,
            stream,
            payload: String(row["payload"]),
            source: String(row["_source"]),
            ...(table === undefined ? {} : { table }),
            partition: Number(row["p"]),
            offset: Number(row["o"]),
          },
        ];
      }),
    );
  }
}

function wantedSql(events: readonly (readonly [number, number])[]): string {
  const list = (index: 0 | 1) => events.map((event) => event[index]).join(", ");
  return `select unnest([${list(0)}]::integer[]) as p, unnest([${list(1)}]::bigint[]) as o`;
}

function placeOf({ partition, offset }: { readonly partition: number; readonly offset: number }): string {
  return `${partition}-${offset}`;
}
