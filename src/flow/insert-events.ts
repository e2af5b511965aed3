/**
 * Takes events through a statement so that those on which it fails are left out, each with the engine's reason, at a cost that hardly
 * depends on how many they are.
 *
 * All events are tried at once; only when that fails is anything else done. Then a variant of the statement that goes on behind an
 * error (`LocalSql.tolerant`) tells which events fail, in one pass. That is a hint: the others are inserted with the statement itself,
 * and of the suspects one of each reason is tried alone, which also gives the reason in the engine's words. What the hint did not
 * foresee, and statements that have no such variant, are left to group testing: groups grow while they pass, and one that fails
 * is halved until the event at fault is alone (generalized binary splitting, F. K. Hwang, 1972).
 */
import { quoteIdentifier } from "../define/sql-text.ts";
import type { LocalSql, Relation } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";

export interface EventWork {
  /** Table of the engine that takes the rows, by the names of its columns. */
  readonly target: string;
  /** The statement, and the name by which it reads the events. It must take them one by one. */
  readonly sql: string;
  readonly driver: string;
  /** The rows the name stands for; they carry `_partition` and `_offset`. An event may have several. */
  readonly events: Relation;
  /** Everything else the statement reads. */
  readonly inputs: ReadonlyMap<string, Relation>;
}

export interface EventFailure {
  readonly partition: number;
  readonly offset: number;
  /** The engine's message for this event. */
  readonly reason: string;
}

/**
 * Inserts what the statement gives for the events, and resolves to those on which it fails when it is given them alone; none of
 * their rows are inserted. Rows come in the order of the events, save for those of events that were suspected wrongly.
 * @throws what the engine throws that is not about values (memory, disk, cancelled); the target may then hold some of the rows.
 */
export async function insertEvents(local: LocalSql, work: EventWork): Promise<EventFailure[]> {
  const failure = await insert(local, work, work.events);
  if (failure === undefined) return [];
  return new Isolation(local, work).run();
}

/** True when another set of events could have succeeded: the statement failed on values, not on memory, time or the disk. */
export function isAboutData(error: unknown): error is MillraceError {
  return error instanceof MillraceError && error.code === "SQL_FAILED";
}

/** Inserts all rows or none. Resolves to the reason when it is about values. */
async function insert(local: LocalSql, work: EventWork, events: Relation): Promise<string | undefined> {
  const inputs = new Map([...work.inputs, [work.driver, events]]);
  const sql = await local.compile({ sql: work.sql, inputs });
  try {
    await local.run(`insert into ${work.target} by name ${sql}`);
    return undefined;
  } catch (error) {
    if (!isAboutData(error)) throw error;
    return error.message;
  }
}

/** The column that says why a row fails. Names that begin with `_` are the platform's. */
const FAILED = "__failed";
/** Number of the event among those that are looked at, from 0. */
const EVENT = "__event";
/** Look-up rows that are read once and kept while events are isolated. */
const MOST_KEPT_ROWS = 200_000;
/** Reasons that are tried before it is judged whether the hints are any good. */
const SAMPLE = 32;

let isolations = 0;

class Isolation {
  readonly #local: LocalSql;
  readonly #work: EventWork;
  readonly #name = `isolation ${++isolations}`;
  readonly #tables: string[] = [];
  /** Number of the event -> reason. */
  readonly #failed = new Map<number, string>();

  constructor(local: LocalSql, work: EventWork) {
    this.#local = local;
    this.#work = work;
  }

  async run(): Promise<EventFailure[]> {
    try {
      const inputs = await this.#keepInputs();
      const events = await this.#table("events", await this.#numbered(this.#work.events));
      const work = { ...this.#work, inputs };
      const suspects = await this.#suspects(work, events);
      if (suspects === undefined) await this.#split(work, events, "true", Number.MAX_SAFE_INTEGER);
      else {
        const others = `${EVENT} not in (select ${EVENT} from ${suspects})`;
        const failure = await insert(this.#local, work, eventsWhere(events, others));
        if (failure !== undefined) await this.#split(work, events, others, Number.MAX_SAFE_INTEGER);
        await this.#judge(work, events, suspects);
      }
      return await this.#failures(events);
    } finally {
      if (this.#tables.length > 0)
        await this.#local.run(this.#tables.map((name) => `drop table if exists ${name}`).join("; "));
    }
  }

  /** Look-ups as tables of the engine, where they are small: they are read again and again. */
  async #keepInputs(): Promise<Map<string, Relation>> {
    const kept = new Map<string, Relation>();
    for (const [name, relation] of this.#work.inputs) {
      if (name === this.#work.driver) continue;
      const all = await this.#local.compile({ sql: "select * from input", inputs: new Map([["input", relation]]) });
      const table = await this.#table(`input ${name}`, `from (${all}) limit ${MOST_KEPT_ROWS + 1}`);
      const [{ rows } = {}] = await this.#local.rows(`select count(*)::double as rows from ${table}`);
      kept.set(name, Number(rows) > MOST_KEPT_ROWS ? relation : { kind: "native", sql: `select * from ${table}` });
    }
    return kept;
  }

  async #table(what: string, sql: string): Promise<string> {
    const name = `stage.${quoteIdentifier(`${this.#name} ${what}`)}`;
    this.#tables.push(name);
    await this.#local.run(`create or replace table ${name} as ${sql}`);
    return name;
  }

  /** The events with their numbers, in the order of the log. */
  async #numbered(events: Relation): Promise<string> {
    const all = await this.#local.compile({ sql: "select * from events", inputs: new Map([["events", events]]) });
    return `select dense_rank() over (order by _partition, _offset) - 1 as ${EVENT}, * from (${all}) order by ${EVENT}`;
  }

  /** A table of the events that seem to fail and of the reasons' signatures; undefined when there is no telling. */
  async #suspects(work: EventWork, events: string): Promise<string | undefined> {
    const sql = await this.#local.tolerant(work.sql, FAILED);
    if (sql === undefined) return undefined;
    const inputs = new Map([...work.inputs, [work.driver, eventsWhere(events, "true")]]);
    try {
      const rows = await this.#local.compile({ sql: `select _partition, _offset, ${FAILED} from (${sql})`, inputs });
      // As a table first: the engine would compute what fails once more for a filter on it.
      const hints = await this.#table("hints", rows);
      return await this.#table(
        "suspects",
        `select any_value(e.${EVENT}) as ${EVENT}, string_agg(distinct h.${FAILED}, ' ' order by h.${FAILED}) as signature
         from ${hints} h join ${events} e using (_partition, _offset)
         where h.${FAILED} is not null group by _partition, _offset order by 1`,
      );
    } catch (error) {
      // Not every expression can be tried, and a look-up or a join may fail by itself: groups tell in any case.
      if (!isAboutData(error)) throw error;
      return undefined;
    }
  }

  /** Tries one event of each signature alone; where too many pass, all of them are taken by groups. */
  async #judge(work: EventWork, events: string, suspects: string): Promise<void> {
    const firsts = await this.#local.rows(
      `select min(${EVENT})::double as event, list(${EVENT}::double) as events from ${suspects} group by signature order by 1`,
    );
    const wrong: number[] = [];
    const alone = await this.#local.compile({
      sql: work.sql,
      inputs: new Map([...work.inputs, [work.driver, eventsWhere(events, `${EVENT} = $1::bigint`)]]),
    });
    for (let from = 0, count = SAMPLE; from < firsts.length; from += count, count *= 2) {
      const some = firsts.slice(from, from + count);
      const reasons = await this.#local.attempts(
        `select * from (${alone})`,
        some.map(({ event }) => Number(event)),
      );
      let passed = 0;
      for (const [i, { events: same }] of some.entries()) {
        const reason = reasons[i];
        if (reason !== undefined && !isAboutData(reason)) throw reason;
        if (reason === undefined) passed++;
        for (const event of (same as unknown[]).map(Number)) {
          if (reason === undefined) wrong.push(event);
          else this.#failed.set(event, reason.message);
        }
      }
      if (passed <= some.length / 2) continue;
      for (const { events: same } of firsts.slice(from + count)) wrong.push(...(same as unknown[]).map(Number));
      break;
    }
    if (wrong.length > 0) await this.#split(work, events, `${EVENT} in (select unnest([${wrong}]::bigint[]))`, 1);
  }

  /** Group testing of the events that meet a condition; `first` is how many are tried at once to begin with. */
  async #split(work: EventWork, events: string, condition: string, first: number): Promise<void> {
    const among = await this.#table(
      `group ${this.#tables.length}`,
      `select row_number() over () - 1 as place, ${EVENT} from
         (select distinct ${EVENT} from ${events} where ${condition} order by 1)`,
    );
    const attempt = (from: number, to: number) =>
      insert(
        this.#local,
        work,
        eventsWhere(events, `${EVENT} in (select ${EVENT} from ${among} where place >= ${from} and place < ${to})`),
      );
    const [{ count = 0 } = {}] = await this.#local.rows(`select count(*)::double as count from ${among}`);
    const places = new Map<number, string>();
    for (let from = 0, size = first; from < Number(count); ) {
      let to = Math.min(from + size, Number(count));
      let reason = await attempt(from, to);
      if (reason === undefined) {
        from = to;
        size *= 2;
        continue;
      }
      // The first event at fault: what is before it passes and is inserted on the way, what is behind it is tried later.
      let known = to - from === 1;
      while (to - from > 1) {
        const middle = (from + to) >> 1;
        const left = await attempt(from, middle);
        if (left === undefined) from = middle;
        else {
          to = middle;
          reason = left;
        }
        known = left !== undefined && to - from === 1;
      }
      if (!known) reason = await attempt(from, to);
      if (reason !== undefined) places.set(from, reason);
      from = to;
      size = Math.max(1, size >> 1);
    }
    if (places.size === 0) return;
    const numbers = await this.#local.rows(
      `select place::double as place, ${EVENT}::double as event from ${among} where place in (${[...places.keys()]})`,
    );
    for (const { place, event } of numbers) this.#failed.set(Number(event), places.get(Number(place)) ?? "");
  }

  async #failures(events: string): Promise<EventFailure[]> {
    const rows = await this.#local.rows(
      `select distinct ${EVENT}::double as event, _partition as partition, _offset::double as "offset" from ${events}
       where ${EVENT} in (select unnest([${[...this.#failed.keys()]}]::bigint[])) order by 1`,
    );
    return rows.map(({ event, partition, offset }) => ({
      partition: Number(partition),
      offset: Number(offset),
      reason: this.#failed.get(Number(event)) ?? "",
    }));
  }
}

function eventsWhere(table: string, condition: string): Relation {
  return { kind: "native", sql: `select * exclude (${EVENT}) from ${table} where ${condition}` };
}
