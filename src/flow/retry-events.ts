/**
 * Takes events that were dead-lettered on the way to tables through the tables' definitions as they are now, exactly once.
 *
 * An event that a table takes at last also goes on to the tables over that table, as it would have done the first time. These are
 * committed before the table itself: a crash in between leaves the letter open, and its next retry finds the rows further on
 * in place and adds none twice. In each table the rows, the counters of the ledger and the mark of the batch are one commit.
 */
import type { AppendTable, Project, Stream } from "../define/project.ts";
import { META_COLUMNS } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import { duckdbType } from "../define/types.ts";
import type { LocalSql, Relation, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile, Snapshot } from "../lake/delta-table.ts";
import { pruneFiles } from "../lake/prune.ts";
import { ACTION_TABLE, type ActionLog, newestOutcomes, type Outcome } from "./dead-letter-actions.ts";
import { DEAD_LETTER_TABLE, type DeadLetter, eventLetterId } from "./dead-letters.ts";
import { failedChecks } from "./failed-checks.ts";
import { keysOf } from "./flush.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import { type EventFailure, insertEvents } from "./insert-events.ts";
import type { LakeTables } from "./lake-tables.ts";
import { latestPerKey } from "./merge.ts";
import { advance, committedTo, counts, retriedMark } from "./progress.ts";
import { isStreamItself, parseBronze, type Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";
import { shaped } from "./shaped.ts";

export interface RetryParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly relations: Relations;
  readonly engine: SqlEngine & { readonly local: LocalSql };
  readonly actions: ActionLog;
  readonly deadLetters: (letters: readonly DeadLetter[]) => Promise<void>;
}

/** A dead letter of an event in the log. */
export interface EventLetter {
  readonly id: string;
  /** Undefined when the event could not be parsed, which concerns every table. */
  readonly table: string | undefined;
  readonly offset: number;
}

export type RetryOutcome =
  | { readonly outcome: "stored" | "filtered" }
  | {
      readonly outcome: "failed";
      readonly stage: DeadLetter["stage"];
      readonly code: string;
      readonly message: string;
    };

/** The look-up inputs of every table of the stream, by table. */
export type Lookups = ReadonlyMap<string, ReadonlyMap<string, Relation>>;

export interface Retried {
  /** By id of the letter. */
  readonly outcomes: ReadonlyMap<string, RetryOutcome>;
  readonly changed: readonly string[];
}

/** The caller has had the stream's events stored up to the letters', every earlier batch is settled, and no other retry runs. */
export async function retryEvents(
  o: RetryParts,
  stream: Stream,
  partition: number,
  letters: readonly EventLetter[],
  lookups: Lookups,
  actor: string,
): Promise<Retried> {
  const retry = new EventRetry(o, stream, partition, lookups);
  try {
    return await retry.run(letters, actor);
  } finally {
    await retry.drop();
  }
}

/** What a table makes of its events. */
interface TableWork {
  readonly table: AppendTable;
  readonly outcomes: Map<number, RetryOutcome>;
  /** SQL of the rows it gives. */
  readonly rows: string;
}

class EventRetry {
  readonly #o: RetryParts;
  readonly #stream: Stream;
  readonly #partition: number;
  readonly #lookups: Lookups;
  readonly #tables: readonly AppendTable[];
  readonly #temporary: string[] = [];
  readonly #events: string;

  constructor(o: RetryParts, stream: Stream, partition: number, lookups: Lookups) {
    this.#o = o;
    this.#stream = stream;
    this.#partition = partition;
    this.#lookups = lookups;
    this.#tables = appendTables(o.project, stream.name);
    this.#events = this.#temporaryTable("events");
  }

  async run(letters: readonly EventLetter[], actor: string): Promise<Retried> {
    const offsets = [...new Set(letters.map((letter) => letter.offset))].sort((a, b) => a - b);
    const unread = await this.#readEvents(offsets);
    const work: TableWork[] = [];
    for (const table of this.#tables) {
      const wanted = new Set<number>();
      for (const letter of letters) {
        if ((letter.table ?? table.name) === table.name && !unread.has(letter.offset)) wanted.add(letter.offset);
      }
      const driver = work.find((done) => done.table.name === table.driver);
      for (const [offset, { outcome }] of driver?.outcomes ?? []) if (outcome === "stored") wanted.add(offset);
      if (wanted.size > 0) work.push(await this.#compute(table, [...wanted], driver));
    }
    const changed: string[] = [];
    for (const done of [...work].reverse()) {
      if (await this.#store(done, actor)) changed.push(done.table.name);
    }
    const outcomes = new Map<string, RetryOutcome>();
    for (const { id, table, offset } of letters) {
      const own = work.find((done) => done.table.name === table)?.outcomes.get(offset);
      outcomes.set(id, unread.get(offset) ?? own ?? { outcome: "stored" });
    }
    await this.#recordUnread(letters, unread, actor);
    return { outcomes, changed };
  }

  async drop(): Promise<void> {
    for (const name of this.#temporary) await this.#o.engine.local.run(`drop table if exists ${name}`);
  }

  #temporaryTable(what: string): string {
    const name = `stage.${quoteIdentifier(`retry ${this.#stream.name} ${this.#partition} ${what}`)}`;
    this.#temporary.push(name);
    return name;
  }

  /** Parses the events from bronze; resolves to those that still cannot be read. */
  async #readEvents(offsets: readonly number[]): Promise<Map<number, RetryOutcome>> {
    const { local } = this.#o.engine;
    const columns = [...this.#stream.columns, ...META_COLUMNS].map(
      ({ name, type }) => `${quoteIdentifier(name)} ${duckdbType(type)}`,
    );
    await local.run(`create or replace table ${this.#events} (${columns.join(", ")})`);
    const events = this.#bronze(offsets);
    const { sql, inputs } = parseBronze(this.#stream, events);
    const failures = await insertEvents(local, { target: this.#events, sql, driver: "bronze", events, inputs });
    const failed = new Map(failures.map(({ offset, reason }) => [offset, notStorable(reason)]));
    const present = new Set(
      (await local.rows(`select distinct _offset::double as o from ${this.#events}`)).map((row) => Number(row["o"])),
    );
    for (const offset of offsets) {
      if (!present.has(offset) && !failed.has(offset))
        failed.set(offset, notStorable("a required field could not be read as its type"));
    }
    return failed;
  }

  #bronze(offsets: readonly number[]): Relation {
    const { lake } = this.#o;
    const table = lake.get(`bronze.${this.#stream.name}`);
    const files = pruneFiles(table.snapshot.files, [{ column: "_offset", op: "in", values: offsets }]);
    const statement = {
      sql: `select * from bronze where ${this.#among(offsets)}`,
      inputs: new Map([["bronze", lake.relation(table, table.snapshot, files)]]),
    };
    return { kind: "view", statement };
  }

  #among(offsets: Iterable<number>): string {
    const list = [...offsets];
    return list.length === 0 ? "false" : `_partition = ${this.#partition} and _offset in (${list.join(", ")})`;
  }

  async #compute(table: AppendTable, offsets: readonly number[], driver: TableWork | undefined): Promise<TableWork> {
    const { local } = this.#o.engine;
    const outcomes = new Map<number, RetryOutcome>();
    if (isStreamItself(table)) {
      for (const offset of offsets) outcomes.set(offset, { outcome: "stored" });
      return { table, outcomes, rows: `select * from ${this.#events} where ${this.#among(offsets)}` };
    }
    const target = this.#temporaryTable(table.name);
    const columns = this.#o.lake
      .get(table.name)
      .columns.map(({ name, type }) => `${quoteIdentifier(name)} ${duckdbType(type)}`);
    await local.run(`create or replace table ${target} (${columns.join(", ")})`);
    const fail = ({ offset, reason }: EventFailure) => {
      const { message } = new MillraceError("TRANSFORM_FAILED", { table: table.name, reason });
      outcomes.set(offset, { outcome: "failed", stage: "transform", code: "TRANSFORM_FAILED", message });
    };
    const failures = await insertEvents(local, {
      target,
      sql: shaped(table, table.storedSql),
      driver: table.driver,
      events: this.#driverRows(table, offsets, driver),
      inputs: this.#lookups.get(table.name) ?? new Map(),
    });
    failures.forEach(fail);
    const checked = await failedChecks(local, table, { kind: "native", sql: `select * from ${target}` });
    checked.broken.forEach(fail);
    for (const { offset, check } of checked.failed) {
      const { message } = new MillraceError("CHECK_FAILED", {
        table: table.name,
        check,
        condition: table.checks[check],
      });
      outcomes.set(offset, { outcome: "failed", stage: "check", code: "CHECK_FAILED", message });
    }
    const failed = [...outcomes.keys()];
    if (failed.length > 0) await local.run(`delete from ${target} where ${this.#among(failed)}`);
    const stored = await local.rows(`select distinct _offset::double as o from ${target}`);
    for (const row of stored) outcomes.set(Number(row["o"]), { outcome: "stored" });
    for (const offset of offsets) if (!outcomes.has(offset)) outcomes.set(offset, { outcome: "filtered" });
    return { table, outcomes, rows: `select * from ${target}` };
  }

  /** The rows that drive a table: of the events themselves, or of the table below, as retried just now or as stored. */
  #driverRows(table: AppendTable, offsets: readonly number[], driver: TableWork | undefined): Relation {
    const { project, lake } = this.#o;
    const below = project.tables.get(table.driver);
    if (below?.mode !== "append" || isStreamItself(below))
      return { kind: "native", sql: `select * from ${this.#events} where ${this.#among(offsets)}` };
    const fresh = offsets.filter((offset) => driver?.outcomes.has(offset));
    const others = offsets.filter((offset) => !driver?.outcomes.has(offset));
    const lakeTable = lake.get(below.name);
    const files = pruneFiles(lakeTable.snapshot.files, [{ column: "_offset", op: "in", values: others }]);
    const inputs = new Map<string, Relation>([["stored", lake.relation(lakeTable, lakeTable.snapshot, files)]]);
    let sql = `select * from stored where ${this.#among(others)}`;
    if (driver && fresh.length > 0) {
      inputs.set("fresh", { kind: "native", sql: `${driver.rows}` });
      sql = `${sql} union all by name select * from fresh where ${this.#among(fresh)}`;
    }
    return { kind: "view", statement: { sql, inputs } };
  }

  /** Commits a table's rows, counters and outcomes. Resolves to whether there was anything to commit. */
  async #store(work: TableWork, actor: string): Promise<boolean> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      await giveWay(attempt);
      const stored = await this.#storeOnce(work, actor);
      if (stored !== "overtaken") return stored;
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: work.table.name });
  }

  /** `overtaken`: another retry got into the table meanwhile, so what there is to do has to be found out anew. */
  async #storeOnce({ table, outcomes, rows }: TableWork, actor: string): Promise<boolean | "overtaken"> {
    const { actions, lake } = this.#o;
    const { name: stream } = this.#stream;
    const { snapshot } = lake.get(table.name);
    const { open, lettered } = await this.#letters(table, snapshot);
    const present = await this.#present(table, snapshot, [...open, ...outcomes.keys()]);
    const dead = new Set([...open].filter((offset) => !present.has(offset)));
    const added: number[] = [];
    const unlettered: number[] = [];
    for (const [offset, { outcome }] of outcomes) {
      // What is stored stays stored: an earlier retry that a crash cut short got this far.
      if (present.has(offset)) outcomes.set(offset, { outcome: "stored" });
      else if (outcome === "failed") {
        dead.add(offset);
        if (!lettered.has(offset)) unlettered.push(offset);
      } else {
        dead.delete(offset);
        if (outcome === "stored") added.push(offset);
      }
    }
    await this.#writeLetters(table, unlettered, outcomes);
    const recorded = [...outcomes].map(
      ([offset, result]): Outcome => ({
        deadLetterId: eventLetterId(stream, this.#partition, offset, table.name),
        ...result,
      }),
    );
    const fewer = dead.size - counts(snapshot, stream, this.#partition).dead;
    if (added.length === 0 && fewer === 0) {
      await actions.record(recorded, actor);
      return false;
    }
    const { batch, mark } = await actions.begin(
      recorded,
      { stream, partition: this.#partition, table: table.name },
      actor,
    );
    const taken = `select * from (${rows}) where ${this.#among(added)}`;
    if (!(await this.#commit(table, snapshot, taken, { added: added.length, dead: fewer, mark }))) {
      await actions.abandon(batch);
      return "overtaken";
    }
    await actions.finish(batch);
    return true;
  }

  /** Flushes that come in between are no hindrance: what is committed is what has changed since `known`. False when another retry was first. */
  async #commit(
    definition: AppendTable,
    known: Snapshot,
    changes: string,
    { added, dead, mark }: { added: number; dead: number; mark: number },
  ): Promise<boolean> {
    const { lake, engine } = this.#o;
    const { name: stream } = this.#stream;
    const table = lake.get(definition.name);
    const marked = retriedMark(stream, this.#partition);
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      await giveWay(attempt);
      const { snapshot } = table;
      if (snapshot.txn.get(marked) !== known.txn.get(marked)) return false;
      const to = committedTo(snapshot, stream, this.#partition);
      const txn = advance(snapshot, stream, this.#partition, to, {
        ...{ stored: added, duplicate: 0, dead, filtered: -added - dead },
      });
      txn.set(marked, mark);
      const rows: Relation = { kind: "native", sql: changes };
      const merges = definition.key.length > 0 && added > 0;
      const withKeys = merges ? await keysOf(engine.local, definition, changes) : () => [];
      const touched = withKeys(snapshot.files);
      const statement: Statement =
        definition.key.length === 0
          ? { sql: "select * from changes", inputs: new Map([["changes", rows]]) }
          : latestPerKey(definition, lake.relation(table, snapshot, touched), rows);
      const result = await lake.commit(table, {
        operation: "RETRY",
        readVersion: snapshot.version,
        add: added === 0 ? [] : await lake.write(table, statement),
        remove: touched.map((file) => file.path),
        txn,
        info: { millrace: { stream, partition: this.#partition, stored: added, dead } },
        ...(merges && { dependsOn: (file: DataFile) => withKeys([file]).length > 0 }),
      });
      if (result.kind === "committed") return true;
    }
    throw new MillraceError("COMMIT_CONFLICT", { table: definition.name });
  }

  /**
   * Offsets of the events that have a dead letter of their own at the table, and of those that have not got past a letter there, be
   * it their own or one that concerns every table.
   */
  async #letters(table: AppendTable, snapshot: Snapshot): Promise<{ open: Set<number>; lettered: Set<number> }> {
    const { relations, engine } = this.#o;
    const { name: stream } = this.#stream;
    const { inputs, release } = await relations.resolve(
      [{ name: DEAD_LETTER_TABLE }, { name: ACTION_TABLE }],
      "acknowledged",
    );
    try {
      const newest = newestOutcomes(inputs.get(ACTION_TABLE) as Relation);
      // Events that wait for a flush have their fate counted by it.
      const to = committedTo(snapshot, stream, this.#partition);
      const rows = await selectRows(engine, {
        sql: `select l.event_offset as o, bool_or(l.table_name is not null) as own,
            bool_or(n.outcome in ('stored', 'filtered')) as settled
          from (select *, stream || '/' || event_partition || '/' || event_offset || '/' || ${quoteLiteral(table.name)} as fate_id
            from ${DEAD_LETTER_TABLE} where stream = ${quoteLiteral(stream)} and event_partition = ${this.#partition}
              and event_offset <= ${to} and (table_name is null or table_name = ${quoteLiteral(table.name)})) l
          left join newest n on n.dead_letter_id = l.fate_id group by l.event_offset`,
        inputs: new Map<string, Relation>([...inputs, ["newest", { kind: "view", statement: newest }]]),
      });
      const offsets = (those: typeof rows) => new Set(those.map((row) => Number(row["o"])));
      return {
        open: offsets(rows.filter((row) => row["settled"] !== true)),
        lettered: offsets(rows.filter((row) => row["own"] === true)),
      };
    } finally {
      release();
    }
  }

  /** Which of the events the table has rows of. */
  async #present(table: AppendTable, snapshot: Snapshot, among: readonly number[]): Promise<Set<number>> {
    if (table.key.length > 0) return this.#takenBefore(table, among);
    const { lake, engine } = this.#o;
    const lakeTable = lake.get(table.name);
    const wanted = [...new Set(among)].sort((a, b) => a - b);
    if (wanted.length === 0) return new Set();
    const files = pruneFiles(snapshot.files, [
      { column: "_offset", op: ">=", value: wanted[0] },
      { column: "_offset", op: "<=", value: wanted.at(-1) },
    ]);
    const rows = await selectRows(engine, {
      sql: `select distinct _offset from stored where _partition = ${this.#partition} and _offset in (select o from wanted)`,
      inputs: new Map<string, Relation>([
        ["stored", lake.relation(lakeTable, snapshot, files)],
        ["wanted", { kind: "native", sql: `select unnest([${wanted.join(", ")}]::bigint[]) as o` }],
      ]),
    });
    return new Set(rows.map((row) => Number(row["_offset"])));
  }

  /**
   * Which of the events a keyed table took from an earlier retry. Its rows do not tell, since they give way to newer ones, but the
   * outcomes do.
   */
  async #takenBefore(table: AppendTable, among: readonly number[]): Promise<Set<number>> {
    const ids = new Map(
      among.map((offset) => [eventLetterId(this.#stream.name, this.#partition, offset, table.name), offset]),
    );
    if (ids.size === 0) return new Set();
    const { inputs, release } = await this.#o.relations.resolve([{ name: ACTION_TABLE }], "acknowledged");
    try {
      const newest = newestOutcomes(inputs.get(ACTION_TABLE) as Relation);
      const rows = await selectRows(this.#o.engine, {
        sql: `select dead_letter_id from newest where outcome = 'stored'
          and dead_letter_id in (${[...ids.keys()].map(quoteLiteral).join(", ")})`,
        inputs: new Map<string, Relation>([["newest", { kind: "view", statement: newest }]]),
      });
      return new Set(rows.flatMap((row) => ids.get(String(row["dead_letter_id"])) ?? []));
    } finally {
      release();
    }
  }

  /** Letters of events that fail at a table they had not reached before. */
  async #writeLetters(
    table: AppendTable,
    offsets: readonly number[],
    outcomes: ReadonlyMap<number, RetryOutcome>,
  ): Promise<void> {
    if (offsets.length === 0) return;
    const rows = await selectRows(this.#o.engine, {
      sql: "select _offset, payload, _source from bronze",
      inputs: new Map([["bronze", this.#bronze(offsets)]]),
    });
    const letters = rows.flatMap((row): DeadLetter[] => {
      const offset = Number(row["_offset"]);
      const result = outcomes.get(offset);
      if (result?.outcome !== "failed") return [];
      const { stage, code, message } = result;
      const [payload, source] = [String(row["payload"]), String(row["_source"])];
      const { name: stream } = this.#stream;
      return [{ stream, stage, code, message, table: table.name, payload, source, partition: this.#partition, offset }];
    });
    await this.#o.deadLetters(letters);
  }

  /** Outcomes of the letters that concern no one table, and of events that no table gets to see. */
  async #recordUnread(
    letters: readonly EventLetter[],
    unread: ReadonlyMap<number, RetryOutcome>,
    actor: string,
  ): Promise<void> {
    const recorded = letters.flatMap(({ id, table, offset }): Outcome[] => {
      const result = unread.get(offset);
      if (result) return [{ deadLetterId: id, ...result }];
      return table === undefined ? [{ deadLetterId: id, outcome: "stored" }] : [];
    });
    await this.#o.actions.record(recorded, actor);
  }
}

export function appendTables(project: Project, stream: string): AppendTable[] {
  return [...project.tables.values()].filter((t): t is AppendTable => t.mode === "append" && t.stream === stream);
}

function notStorable(reason: string): RetryOutcome {
  return { outcome: "failed", stage: "parse", code: "EVENT_NOT_STORABLE", message: reason };
}
