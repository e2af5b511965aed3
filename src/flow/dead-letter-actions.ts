/**
 * What was done about dead letters: events of an internal stream, `_dead_letter_actions`, and from them the state of each letter now.
 *
 * A retry has an effect somewhere else (rows in a table, an event in a stream), and the two must never disagree, whenever the process
 * dies. So outcomes are written first, as a batch that does not count yet; then the effect is made, marked with the batch; then the
 * batch is declared finished. A batch that a crash left open is settled by looking for the mark.
 *
 *     {"batch", "kind": "outcome", "dead_letter_id", "outcome", …}      one per letter, durable together
 *     {"batch", "kind": "finished", "first_offset"?} | {"batch", "kind": "abandoned"}
 *
 *     mark of rows      `txn` millrace:<stream>:<partition>:retried = offset of the batch's last outcome
 *     mark of events    `_source` dead-letter/<batch>
 */
import { randomUUID } from "node:crypto";
import type { AppendTable, Column, Stream } from "../define/project.ts";
import { META_COLUMNS } from "../define/project.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { DEAD_LETTER_COLUMNS, DEAD_LETTER_STREAM, DEAD_LETTER_TABLE } from "./dead-letters.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";
import type { VirtualTable } from "./relations.ts";

export const ACTION_STREAM = "_dead_letter_actions";
export const ACTION_TABLE = "system.dead_letter_actions";

export interface Outcome {
  readonly deadLetterId: string;
  /**
   * `appended`: sent through the door again. `stored`, `filtered`: what a table's SQL now makes of the event. `failed`: it was
   * tried and could not be taken again. `discarded`: given up by a person.
   */
  readonly outcome: "appended" | "stored" | "filtered" | "failed" | "discarded";
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly reason?: string | undefined;
}

/** Where the effect of a batch is looked for. */
export interface Target {
  readonly stream: string;
  readonly partition: number;
  /** Undefined for events that go into the stream itself. */
  readonly table?: string;
  /** Of a stream: its end before the events were appended. */
  readonly logEnd?: number;
}

export interface OpenBatch {
  readonly batch: string;
  /** Offset of its last outcome: the mark of rows. */
  readonly mark: number;
}

const string = { kind: "string" } as const;
const long = { kind: "long" } as const;
const columns: readonly Column[] = [
  { name: "batch", type: string, nullable: false },
  { name: "kind", type: string, nullable: false },
  { name: "at", type: { kind: "timestamp" }, nullable: false },
  { name: "actor", type: string, nullable: true },
  { name: "dead_letter_id", type: string, nullable: true },
  { name: "outcome", type: string, nullable: true },
  { name: "code", type: string, nullable: true },
  { name: "message", type: string, nullable: true },
  { name: "reason", type: string, nullable: true },
  { name: "position", type: long, nullable: true },
  { name: "stream", type: string, nullable: true },
  { name: "table_name", type: string, nullable: true },
  { name: "partition", type: { kind: "integer" }, nullable: true },
  { name: "log_end", type: long, nullable: true },
  { name: "first_offset", type: long, nullable: true },
];

const ACTIONS: InternalStream = { name: ACTION_STREAM, columns, id: [], time: "at" };

export function actionStream(horizonMs: number): Stream {
  return internalStream(ACTIONS, horizonMs);
}

export function actionTable(): AppendTable {
  return internalTable(ACTION_TABLE, ACTIONS, "each action is stored as it comes");
}

/** Writes actions to the log; what resolved is durable. */
export class ActionLog {
  readonly #log: EventLog;
  readonly #clock: () => number;

  constructor(log: EventLog, clock: () => number) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Outcomes that do not count before `finish`: their effect comes in between. */
  async begin(outcomes: readonly Outcome[], target: Target, actor: string): Promise<OpenBatch> {
    const batch = randomUUID();
    const mark = await this.#append(this.#outcomes(batch, outcomes, actor, target));
    return { batch, mark };
  }

  /** Outcomes that need no effect. */
  async record(outcomes: readonly Outcome[], actor: string): Promise<void> {
    if (outcomes.length === 0) return;
    const batch = randomUUID();
    await this.#append([...this.#outcomes(batch, outcomes, actor), { batch, kind: "finished", at: this.#now() }]);
  }

  async finish(batch: string, firstOffset?: number): Promise<void> {
    await this.#append([{ batch, kind: "finished", at: this.#now(), first_offset: firstOffset }]);
  }

  async abandon(batch: string): Promise<void> {
    await this.#append([{ batch, kind: "abandoned", at: this.#now() }]);
  }

  #outcomes(batch: string, outcomes: readonly Outcome[], actor: string, target?: Target): Record<string, unknown>[] {
    const at = this.#now();
    return outcomes.map(({ deadLetterId, outcome, code, message, reason }, position) => ({
      batch,
      kind: "outcome",
      at,
      actor: storable(actor),
      dead_letter_id: deadLetterId,
      outcome,
      code,
      message: message === undefined ? undefined : storable(message),
      reason: reason === undefined ? undefined : storable(reason),
      position,
      stream: target?.stream,
      table_name: target?.table,
      partition: target?.partition,
      log_end: target?.logEnd,
    }));
  }

  #now(): string {
    return new Date(this.#clock()).toISOString();
  }

  /** Resolves to the offset of the last one. */
  async #append(events: readonly Record<string, unknown>[]): Promise<number> {
    const payload = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""), "utf8");
    const { to } = await this.#log.append(ACTION_STREAM, 0, { payload, count: events.length, source: "platform" });
    return to;
  }
}

function storable(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\u2400");
}

/** Per letter the newest outcome that counts, and how many tries there were. */
const NEWEST = `
  select dead_letter_id, max_by(outcome, _offset) as outcome, max_by(code, _offset) as code,
    max_by(message, _offset) as message, max_by(reason, _offset) as reason, max_by(actor, _offset) as actor,
    max_by("partition", _offset) as "partition", max_by(event_offset, _offset) as event_offset, max("at") as "at",
    count(*) filter (outcome <> 'discarded') as tries
  from (
    select o.*, f.first_offset + o.position as event_offset
    from (select * from actions where kind = 'outcome') o
    join (select batch, max(first_offset) as first_offset from actions where kind = 'finished' group by batch) f
      on f.batch = o.batch)
  group by dead_letter_id`;

/** Batches whose effect is not known: neither finished nor abandoned. Over the relation `actions`. */
export const UNSETTLED = `
  select batch, any_value(stream) as stream, any_value(table_name) as table_name, any_value("partition") as "partition",
    any_value(log_end) as log_end, max(_offset) as mark
  from actions where kind = 'outcome' and batch not in (select batch from actions where kind <> 'outcome')
  group by batch order by mark`;

/** The newest outcome of every dead letter and of every event that a retry took on to further tables. */
export function newestOutcomes(actions: Relation): Statement {
  return { sql: NEWEST, inputs: new Map([["actions", actions]]) };
}

const STATE_COLUMNS: readonly Column[] = [
  { name: "status", type: string, nullable: false },
  { name: "attempts", type: long, nullable: false },
  { name: "last_code", type: string, nullable: false },
  { name: "last_message", type: string, nullable: false },
  { name: "last_action_at", type: { kind: "timestamp" }, nullable: true },
  { name: "actor", type: string, nullable: true },
  { name: "reason", type: string, nullable: true },
  { name: "retried_partition", type: { kind: "integer" }, nullable: true },
  { name: "retried_offset", type: long, nullable: true },
];

/** `system.dead_letters`: every dead letter as it came, and its state now. */
export function deadLetterView(): VirtualTable {
  return {
    columns: [...DEAD_LETTER_COLUMNS, ...META_COLUMNS, ...STATE_COLUMNS],
    inputs: [DEAD_LETTER_STREAM, ACTION_STREAM],
    async relation(picture) {
      const newest = newestOutcomes(picture.stored(ACTION_TABLE));
      const sql = `
        select d.*,
          case when n.outcome is null or n.outcome = 'failed' then 'open'
            when n.outcome = 'discarded' then 'discarded' else 'retried' end as status,
          1 + coalesce(n.tries, 0) as attempts,
          coalesce(n.code, d.code) as last_code, coalesce(n.message, d.message) as last_message,
          n."at" as last_action_at, n.actor, n.reason,
          case when n.outcome = 'appended' then n."partition" end as retried_partition,
          case when n.outcome = 'appended' then n.event_offset end as retried_offset
        from letters d left join newest n on n.dead_letter_id = d.dead_letter_id`;
      const inputs = new Map<string, Relation>([
        ["letters", picture.stored(DEAD_LETTER_TABLE)],
        ["newest", { kind: "view", statement: newest }],
      ]);
      return { kind: "view", statement: { sql, inputs } };
    },
  };
}
