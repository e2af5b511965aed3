/**
 * Where dead letters are looked through, retried and discarded. One piece of work at a time: whoever comes second sees what the first
 * one did.
 */
import type { AppendTable } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import { ACTION_TABLE, type Outcome, UNSETTLED } from "./dead-letter-actions.ts";
import { DEAD_LETTER_STREAM, DEAD_LETTER_TABLE, isInternal } from "./dead-letters.ts";
import { type Redeliver, retryDeliveries } from "./deliver-letters.ts";
import { retriedMark } from "./progress.ts";
import { retryReactions } from "./react-letters.ts";
import type { Reactions } from "./reactions.ts";
import { appendTables, type EventLetter, type Lookups, type RetryParts, retryEvents } from "./retry-events.ts";
import { selectRows } from "./select-rows.ts";

export const STAGES = ["door", "log", "parse", "transform", "check", "refresh", "publish", "deliver", "react"] as const;
export const STATUSES = ["open", "retried", "discarded"] as const;

export interface LetterFilter {
  readonly stream?: string | undefined;
  readonly table?: string | undefined;
  readonly stage?: (typeof STAGES)[number] | undefined;
  readonly code?: string | undefined;
}

export interface LetterView {
  readonly id: string;
  readonly stream: string;
  readonly stage: string;
  readonly table: string | null;
  readonly code: string;
  readonly message: string;
  readonly source: string | null;
  /** Where the event is in the log; null for one that the door refused. */
  readonly partition: number | null;
  readonly offset: number | null;
  readonly firstSeen: string;
  readonly status: (typeof STATUSES)[number];
  /** How often it was tried, the first time included. */
  readonly attempts: number;
  readonly lastCode: string;
  readonly lastMessage: string;
  readonly lastActionAt: string | null;
  readonly actor: string | null;
  /** Why it was discarded. */
  readonly reason: string | null;
  /** Where a refused event was accepted at last. */
  readonly retriedPartition: number | null;
  readonly retriedOffset: number | null;
}

export type Selection = { readonly ids: readonly string[] } | { readonly filter: LetterFilter };

/** The contract at the door, for an event that is sent through it once more. */
export type Admit = (
  stream: string,
  payload: Uint8Array,
) =>
  | { readonly kind: "accepted"; readonly partition: number; readonly line: Uint8Array }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

export interface RetryRequest {
  readonly actor: string;
  readonly admit: Admit;
  /** In place of the payload of the one letter that is selected. */
  readonly payload?: Uint8Array | undefined;
}

export interface RetryResult {
  readonly id: string;
  readonly outcome: Outcome["outcome"];
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly partition?: number | undefined;
  readonly offset?: number | undefined;
}

export interface DeskParts extends RetryParts {
  readonly log: EventLog;
  /** Stores what is acknowledged of a stream. */
  readonly flush: (stream: string) => Promise<void>;
  /** Runs work while nothing of the stream is flushed. */
  readonly alone: <T>(stream: string, work: () => Promise<T>) => Promise<T>;
  /** Runs work while no other process does work of the desk. */
  readonly turn: <T>(work: () => Promise<T>) => Promise<T>;
  /** Refreshes a table, also what failed before; resolves to its open letters with their messages. */
  readonly refreshAgain: (table: string, actor: string) => Promise<ReadonlyMap<string, string>>;
  /** Publishes a table again, all of its rows; resolves to its open letters with their messages. */
  readonly publishAgain: (table: string) => Promise<ReadonlyMap<string, string>>;
  /** Sends a change of an alert to a destination again. */
  readonly redeliver: Redeliver;
  readonly reactions: Reactions;
  /** Told which tables have new commits. */
  readonly changed: (tables: readonly string[]) => void;
}

/** Letters taken on at once: some megabytes of payloads, and few enough statements for thousands. */
const BATCH = 2000;
/** How far the log is read at once when looking for the events of a batch. */
const READ_BYTES = 4 * 1024 * 1024;

export class DeadLetterDesk {
  readonly #o: DeskParts;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(o: DeskParts) {
    this.#o = o;
  }

  /** Newest first; `next` is the `before` of the page that follows. @throws STREAM_UNKNOWN, TABLE_UNKNOWN */
  async list(
    filter: LetterFilter & { status?: (typeof STATUSES)[number] | undefined },
    { limit, before }: { limit: number; before?: number | undefined },
  ): Promise<{ deadLetters: LetterView[]; next: number | undefined }> {
    const conditions = this.#conditions(filter);
    if (filter.status !== undefined) conditions.push(`status = ${quoteLiteral(filter.status)}`);
    if (before !== undefined) conditions.push(`_offset < ${before}`);
    const rows = await this.#read(conditions, `order by _offset desc limit ${limit + 1}`, false);
    const page = rows.slice(0, limit);
    return {
      deadLetters: page.map((letter) => letter.view),
      next: rows.length > limit ? page.at(-1)?.position : undefined,
    };
  }

  /** A letter with its payload, byte for byte. @throws DEAD_LETTER_UNKNOWN */
  async show(id: string): Promise<{ letter: LetterView; payload: Buffer }> {
    const [letter] = await this.#byId([id]);
    return { letter: (letter as Letter).view, payload: (letter as Letter).payload };
  }

  /**
   * Tries dead letters again, each exactly once; those that fail stay open with the new reason. A refused event goes through the
   * door's contract; one that failed on the way to a table goes through the table's definition; for one of a refresh, its table is
   * refreshed.
   * @throws DEAD_LETTER_UNKNOWN, DEAD_LETTER_SETTLED, DEAD_LETTER_PAYLOAD (nothing was done), FLUSH_FAILED
   */
  retry(selection: Selection, request: RetryRequest): Promise<RetryResult[]> {
    return this.inTurn(async () => {
      const results: RetryResult[] = [];
      await this.#inBatches(selection, async (letters) => {
        if (request.payload !== undefined) checkPayload(letters);
        results.push(...(await this.#retry(letters, request)));
      });
      return results;
    });
  }

  /** Gives dead letters up. They stay where they are, counted and readable. Resolves to their number. */
  discard(selection: Selection, { reason, actor }: { reason: string; actor: string }): Promise<number> {
    return this.inTurn(async () => {
      let count = 0;
      await this.#inBatches(selection, async (letters) => {
        const outcomes = letters.map(({ view }): Outcome => ({ deadLetterId: view.id, outcome: "discarded", reason }));
        await this.#o.actions.record(outcomes, actor);
        count += letters.length;
      });
      return count;
    });
  }

  /** Finds out what became of batches that a crash cut short. */
  settle(): Promise<void> {
    return this.inTurn(async () => undefined);
  }

  /** Does work that settles dead letters by itself, with every earlier batch settled and none begun meanwhile. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(() =>
      this.#o.turn(async () => {
        await this.#settle();
        return work();
      }),
    );
    this.#queue = turn.catch(() => undefined); // the caller sees the failure; the next in turn stands for itself
    return turn;
  }

  /** Gives the selected open letters to `work`, oldest first; those that come meanwhile are not among them. */
  async #inBatches(selection: Selection, work: (letters: readonly Letter[]) => Promise<void>): Promise<void> {
    if ("ids" in selection) {
      const letters = await this.#byId(selection.ids);
      const settled = letters.filter(({ view }) => view.status !== "open");
      if (settled.length > 0) {
        const { id, status } = (settled[0] as Letter).view;
        const details = settled.map(({ view }) => ({ id: view.id, status: view.status }));
        throw new MillraceError("DEAD_LETTER_SETTLED", { id, status, more: andMore(settled) }, { details });
      }
      for (let i = 0; i < letters.length; i += BATCH) await work(letters.slice(i, i + BATCH));
      return;
    }
    const { end } = this.#o.log.ends(DEAD_LETTER_STREAM, 0);
    const conditions = [...this.#conditions(selection.filter), "status = 'open'", `_offset < ${end}`];
    let last = -1;
    for (;;) {
      const letters = await this.#read([...conditions, `_offset > ${last}`], `order by _offset limit ${BATCH}`);
      const newest = letters.at(-1);
      if (newest === undefined) return;
      last = newest.position;
      await work(letters);
    }
  }

  async #retry(letters: readonly Letter[], request: RetryRequest): Promise<RetryResult[]> {
    const results = new Map<string, RetryResult>();
    const groups = Map.groupBy(letters, ({ view }) =>
      ofTable(view) || view.stage === "deliver"
        ? `${view.stage}/${view.table}`
        : view.stage === "react"
          ? `react/${view.table}/${view.stream}`
          : `${view.stream}/${view.partition ?? "door"}`,
    );
    for (const group of groups.values()) {
      const { stream, partition, stage, table } = (group[0] as Letter).view;
      if (stage === "deliver") {
        const { actions, redeliver } = this.#o;
        const sent = group.map(({ view: { id }, payload }) => ({ id, payload }));
        for (const result of await retryDeliveries(sent, { actions, redeliver, actor: request.actor }))
          results.set(result.id, result);
        continue;
      }
      if (stage === "react") {
        const events = group.map(({ view, payload }) => ({
          ...{ id: view.id, payload, source: view.source ?? "" },
          ...{ partition: view.partition ?? 0, offset: view.offset ?? 0 },
        }));
        const work = { stream, operator: table ?? "", letters: events, actor: request.actor };
        for (const result of await retryReactions(this.#o, work)) results.set(result.id, result);
        continue;
      }
      if (stage === "refresh" || stage === "publish") {
        const through = stage === "refresh" ? this.#throughRefresh : this.#throughPublication;
        for (const result of await through.call(this, table ?? "", group, request.actor))
          results.set(result.id, result);
        continue;
      }
      const done = this.#o.project.streams.has(stream)
        ? partition === null
          ? await this.#throughDoor(stream, group, request)
          : await this.#throughTables(stream, partition, group, request.actor)
        : await this.#gone(group, "STREAM_UNKNOWN", stream, request.actor);
      for (const result of done) results.set(result.id, result);
    }
    return letters.flatMap(({ view }) => results.get(view.id) ?? []);
  }

  async #throughRefresh(table: string, letters: readonly Letter[], actor: string): Promise<RetryResult[]> {
    if (this.#o.project.tables.get(table)?.mode !== "refresh") {
      return this.#gone(letters, "TABLE_UNKNOWN", table, actor);
    }
    const open = await this.#o.refreshAgain(table, actor);
    return letters.map(({ view: { id } }) => {
      const message = open.get(id);
      return message === undefined
        ? { id, outcome: "stored" }
        : { id, outcome: "failed", code: "REFRESH_FAILED", message };
    });
  }

  async #throughPublication(table: string, letters: readonly Letter[], actor: string): Promise<RetryResult[]> {
    if (this.#o.project.tables.get(table)?.serve === undefined) {
      return this.#gone(letters, "TABLE_UNKNOWN", table, actor);
    }
    const open = await this.#o.publishAgain(table);
    const failed = letters.flatMap(({ view: { id } }): Outcome[] => {
      const message = open.get(id);
      return message === undefined
        ? []
        : [{ deadLetterId: id, outcome: "failed", code: "PUBLISH_ROW_REFUSED", message }];
    });
    await this.#o.actions.record(failed, actor);
    const still = new Map(
      failed.map(({ deadLetterId: id, outcome, code, message }) => [id, { id, outcome, code, message }]),
    );
    return letters.map(({ view: { id } }) => still.get(id) ?? { id, outcome: "stored" });
  }

  async #throughDoor(stream: string, letters: readonly Letter[], request: RetryRequest): Promise<RetryResult[]> {
    const { actions, log } = this.#o;
    const refused: Outcome[] = [];
    const accepted = new Map<number, { id: string; line: Uint8Array }[]>();
    for (const { view, payload } of letters) {
      const judged = request.admit(stream, request.payload ?? payload);
      if (judged.kind === "refused") {
        refused.push({ deadLetterId: view.id, outcome: "failed", code: judged.code, message: judged.message });
      } else
        accepted.set(judged.partition, [...(accepted.get(judged.partition) ?? []), { id: view.id, line: judged.line }]);
    }
    await actions.record(refused, request.actor);
    const results = refused.map(({ deadLetterId: id, outcome, code, message }) => ({ id, outcome, code, message }));
    const appended: RetryResult[] = [];
    for (const [partition, events] of accepted) {
      const outcomes = events.map(({ id }): Outcome => ({ deadLetterId: id, outcome: "appended" }));
      const logEnd = log.ends(stream, partition).end;
      const { batch } = await actions.begin(outcomes, { stream, partition, logEnd }, request.actor);
      const payload = Buffer.concat(events.map(({ line }) => line));
      const { from } = await log.append(stream, partition, { payload, count: events.length, source: sourceOf(batch) });
      await actions.finish(batch, from);
      const offsets = events.map(({ id }, i) => ({ id, outcome: "appended" as const, partition, offset: from + i }));
      appended.push(...offsets);
    }
    return [...results, ...appended];
  }

  async #throughTables(
    name: string,
    partition: number,
    letters: readonly Letter[],
    actor: string,
  ): Promise<RetryResult[]> {
    const { project, relations, flush, alone } = this.#o;
    const stream = project.streams.get(name);
    if (!stream) throw new MillraceError("INTERNAL", { what: `looking up stream ${name}` });
    const tables = appendTables(project, name);
    const known = new Set(tables.map((table) => table.name));
    const [taken, gone] = [true, false].map((there) =>
      letters.filter(({ view }) => (view.table === null || known.has(view.table)) === there),
    ) as [Letter[], Letter[]];
    const results: RetryResult[] = [];
    for (const letter of gone) {
      results.push(...(await this.#gone([letter], "TABLE_UNKNOWN", letter.view.table ?? "", actor)));
    }
    if (taken.length === 0) return results;
    await flush(name);
    // Before the flushes are kept away: a look-up may need one to be complete.
    const { lookups, release } = await lookupsOf(tables, relations);
    try {
      const events = taken.map(
        ({ view }): EventLetter => ({
          id: view.id,
          table: view.table ?? undefined,
          offset: view.offset ?? -1,
        }),
      );
      const retried = await alone(name, () => retryEvents(this.#o, stream, partition, events, lookups, actor));
      this.#o.changed(retried.changed);
      for (const [id, outcome] of retried.outcomes) results.push({ id, ...outcome });
    } finally {
      release();
    }
    return results;
  }

  /** Letters whose stream or table the project no longer has. */
  async #gone(
    letters: readonly Letter[],
    code: "STREAM_UNKNOWN" | "TABLE_UNKNOWN",
    name: string,
    actor: string,
  ): Promise<RetryResult[]> {
    const message = `the project no longer has ${name}`;
    const outcomes = letters.map(
      ({ view }): Outcome => ({
        deadLetterId: view.id,
        outcome: "failed",
        code,
        message,
      }),
    );
    await this.#o.actions.record(outcomes, actor);
    return letters.map(({ view }) => ({ id: view.id, outcome: "failed", code, message }));
  }

  async #settle(): Promise<void> {
    const { relations, engine, actions, lake } = this.#o;
    const { inputs, release } = await relations.resolve([{ name: ACTION_TABLE }], "acknowledged");
    let unsettled: Record<string, unknown>[];
    try {
      const statement = { sql: UNSETTLED, inputs: new Map([["actions", inputs.get(ACTION_TABLE) as Relation]]) };
      unsettled = await selectRows(engine, statement);
    } finally {
      release();
    }
    for (const row of unsettled) {
      const [batch, stream, partition] = [String(row["batch"]), String(row["stream"]), Number(row["partition"])];
      const table = row["table_name"];
      if (table === null) {
        const from = await this.#findAppended(stream, partition, Number(row["log_end"]), batch);
        await (from === undefined ? actions.abandon(batch) : actions.finish(batch, from));
        continue;
      }
      if (lake.held(String(table))) continue; // what became of it shows once the table is back
      const snapshot = lake.has(String(table)) ? await lake.get(String(table)).delta.snapshot() : undefined;
      const mark = snapshot?.txn.get(retriedMark(stream, partition)) ?? -1;
      await (mark >= Number(row["mark"]) ? actions.finish(batch) : actions.abandon(batch));
    }
  }

  /** The first offset of a batch of events in the log, or undefined when it is not there. */
  async #findAppended(stream: string, partition: number, from: number, batch: string): Promise<number | undefined> {
    const { log, project } = this.#o;
    if (!project.streams.has(stream)) return undefined;
    await log.refresh([stream]); // another process may have appended it
    for (let next = Math.max(from, log.ends(stream, partition).start); ; ) {
      const run = await log.read(stream, partition, next, READ_BYTES);
      if (!run) return undefined;
      const span = run.spans.find(({ source }) => source === sourceOf(batch));
      if (span) return span.from;
      next = run.to + 1;
    }
  }

  #conditions({ stream, table, stage, code }: LetterFilter): string[] {
    const { project } = this.#o;
    if (stream !== undefined && (!project.streams.has(stream) || isInternal(stream))) {
      const streams = [...project.streams.keys()].filter((name) => !isInternal(name));
      throw new MillraceError("STREAM_UNKNOWN", { stream, suggestion: `The streams are ${streams.join(", ")}.` });
    }
    const operators = [project.functions, project.features, project.windows, project.alerts];
    if (table !== undefined && ![project.tables, ...operators].some((known) => known.has(table)))
      throw new MillraceError("TABLE_UNKNOWN", { table, nearest: "" });
    const equal = { stream, table_name: table, stage, code };
    return Object.entries(equal).flatMap(([column, value]) =>
      value === undefined ? [] : `${column} = ${quoteLiteral(value)}`,
    );
  }

  /** @throws DEAD_LETTER_UNKNOWN */
  async #byId(ids: readonly string[]): Promise<Letter[]> {
    const letters: Letter[] = [];
    for (let i = 0; i < ids.length; i += BATCH) {
      const list = ids
        .slice(i, i + BATCH)
        .map(quoteLiteral)
        .join(", ");
      letters.push(...(await this.#read([`dead_letter_id in (${list})`], "order by _offset")));
    }
    const found = new Set(letters.map(({ view }) => view.id));
    const unknown = ids.filter((id) => !found.has(id));
    if (unknown.length > 0) {
      const details = { unknown };
      throw new MillraceError("DEAD_LETTER_UNKNOWN", { id: unknown[0], more: andMore(unknown) }, { details });
    }
    return letters;
  }

  async #read(conditions: readonly string[], rest: string, withPayload = true): Promise<Letter[]> {
    const { relations, engine } = this.#o;
    const { inputs, release } = await relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
    try {
      const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
      const list = withPayload ? "*" : "* exclude (payload, payload_base64)";
      const rows = await selectRows(engine, {
        sql: `select ${list} from ${DEAD_LETTER_TABLE} ${where} ${rest}`,
        inputs,
      });
      return rows.map(letterOf);
    } finally {
      release();
    }
  }
}

interface Letter {
  readonly view: LetterView;
  /** Offset of the letter among the dead letters. */
  readonly position: number;
  readonly payload: Buffer;
}

function letterOf(row: Record<string, unknown>): Letter {
  const text = (name: string) => (row[name] === null || row[name] === undefined ? null : String(row[name]));
  const number = (name: string) => (row[name] === null || row[name] === undefined ? null : Number(row[name]));
  const base64 = text("payload_base64");
  return {
    position: Number(row["_offset"]),
    payload: base64 === null ? Buffer.from(text("payload") ?? "", "utf8") : Buffer.from(base64, "base64"),
    view: {
      id: String(row["dead_letter_id"]),
      stream: String(row["stream"]),
      stage: String(row["stage"]),
      table: text("table_name"),
      code: String(row["code"]),
      message: String(row["message"]),
      source: text("source"),
      partition: number("event_partition"),
      offset: number("event_offset"),
      firstSeen: String(row["first_seen"]),
      status: String(row["status"]) as LetterView["status"],
      attempts: Number(row["attempts"]),
      lastCode: String(row["last_code"]),
      lastMessage: String(row["last_message"]),
      lastActionAt: text("last_action_at"),
      actor: text("actor"),
      reason: text("reason"),
      retriedPartition: number("retried_partition"),
      retriedOffset: number("retried_offset"),
    },
  };
}

/** Only an event that is in no log yet can be sent otherwise than it was: bronze keeps what it holds for ever. */
function checkPayload(letters: readonly Letter[]): void {
  if (letters.length !== 1)
    throw new MillraceError("DEAD_LETTER_PAYLOAD", {
      reason: `it takes the place of one, and ${letters.length} are selected`,
    });
  const { view } = letters[0] as Letter;
  if (view.stage === "deliver")
    throw new MillraceError("DEAD_LETTER_PAYLOAD", {
      reason: `${view.id} is a change of an alert, which is told as it is`,
    });
  if (ofTable(view))
    throw new MillraceError("DEAD_LETTER_PAYLOAD", {
      reason: `${view.id} is a ${view.stage === "refresh" ? "refresh" : "row"} of ${view.table}, which no event can take the place of`,
    });
  if (view.partition !== null)
    throw new MillraceError("DEAD_LETTER_PAYLOAD", {
      reason: `${view.id} is an accepted event, which bronze keeps as it was received`,
    });
}

/** The look-up inputs of each table, as of now. */
async function lookupsOf(
  tables: readonly AppendTable[],
  relations: DeskParts["relations"],
): Promise<{ lookups: Lookups; release: () => void }> {
  const lookups = new Map<string, ReadonlyMap<string, Relation>>();
  const releases: (() => void)[] = [];
  const release = () => {
    for (const done of releases.splice(0)) done();
  };
  try {
    for (const table of tables) {
      const names = table.inputs.filter((name) => name !== table.driver).map((name) => ({ name }));
      if (names.length === 0) continue;
      const resolved = await relations.resolve(names, "acknowledged");
      releases.push(resolved.release);
      lookups.set(table.name, resolved.inputs);
    }
    return { lookups, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Letters that stand for no event, but for something of a table. */
function ofTable({ stage }: LetterView): boolean {
  return stage === "refresh" || stage === "publish";
}

function sourceOf(batch: string): string {
  return `dead-letter/${batch}`;
}

function andMore(list: readonly unknown[]): string {
  return list.length > 1 ? ` (and ${list.length - 1} more)` : "";
}
