/**
 * Silences: times in which alerts are raised as ever and nobody is told. Events of an internal stream, `_silences`:
 *
 *     {"event_id", "silence_id", "at", "actor", "action", "kind", "name", "key", "severity", "reason", "starts_at", "ends_at", "cron",
 *      "timezone", "lasts_ms"}
 *
 *     action          `created`, with all of it; `ended`, by hand and before its time
 *     kind…severity   which alerts: each that is there must match; `*` in name and key stands for any text
 *     starts_at, ends_at   when; with `cron` the bounds within which it comes again and again, each time for `lasts_ms`
 *
 * `system.silence_events` holds them as they came, `system.silences` each silence once.
 */
import type { AppendTable, Column, Stream } from "../define/project.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";
import type { Relations, VirtualTable } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export const SILENCE_STREAM = "_silences";
export const SILENCE_EVENT_TABLE = "system.silence_events";
export const SILENCE_TABLE = "system.silences";

/** Which alerts; what is undefined does not matter. */
export interface SilenceMatch {
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly key?: string | undefined;
  readonly severity?: string | undefined;
}

export interface Silence {
  readonly id: string;
  readonly createdAtMs: number;
  readonly actor: string;
  readonly reason: string;
  readonly match: SilenceMatch;
  readonly startsAtMs: number;
  /** Undefined: only what comes again and again may have no end. */
  readonly endsAtMs: number | undefined;
  readonly repeat: { readonly cron: string; readonly timezone: string; readonly lastsMs: number } | undefined;
  /** When it was ended by hand, and by whom. */
  readonly ended: { readonly atMs: number; readonly actor: string } | undefined;
}

export interface SilenceParts {
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
}

export class SilenceRecords {
  readonly #o: SilenceParts;

  constructor(parts: SilenceParts) {
    this.#o = parts;
  }

  /** Every silence there ever was, oldest first. */
  async all(): Promise<Silence[]> {
    if (this.#o.log.ends(SILENCE_STREAM, 0).end === 0) return [];
    const { inputs, release } = await this.#o.relations.resolve([{ name: SILENCE_EVENT_TABLE }], "acknowledged");
    try {
      const rows = await selectRows(this.#o.engine, { sql: READ, inputs });
      return rows.map(silenceOf);
    } finally {
      release();
    }
  }

  /** Resolves when it is durable. */
  async created({ id, createdAtMs, actor, reason, match, startsAtMs, endsAtMs, repeat }: Silence): Promise<void> {
    await this.#append({
      ...{
        event_id: `${id}/created`,
        silence_id: id,
        at: iso(createdAtMs),
        actor,
        action: "created",
        reason,
        ...match,
      },
      ...{ starts_at: iso(startsAtMs), ends_at: endsAtMs === undefined ? undefined : iso(endsAtMs) },
      ...(repeat && { cron: repeat.cron, timezone: repeat.timezone, lasts_ms: repeat.lastsMs }),
    });
  }

  /** Resolves when it is durable. */
  async ended(id: string, { atMs, actor }: NonNullable<Silence["ended"]>): Promise<void> {
    await this.#append({ event_id: `${id}/ended`, silence_id: id, at: iso(atMs), actor, action: "ended" });
  }

  async #append(event: Record<string, unknown>): Promise<void> {
    const line = JSON.stringify(event, (_, value) => (typeof value === "string" ? storable(value) : value));
    const payload = Buffer.from(`${line}\n`, "utf8");
    await this.#o.log.append(SILENCE_STREAM, 0, { payload, count: 1, source: "platform" });
  }
}

const iso = (ms: number) => new Date(ms).toISOString();

function storable(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\u2400");
}

const CREATED = "filter (action = 'created')";
const ENDED = "filter (action = 'ended')";
const READ = `
  select silence_id as id, epoch_ms(min("at") ${CREATED}) as created_at, min(actor) ${CREATED} as actor, min(reason) ${CREATED} as reason,
    min(kind) as kind, min(name) as name, min("key") as "key", min(severity) as severity, epoch_ms(min(starts_at)) as starts_at,
    epoch_ms(min(ends_at)) as ends_at, min(cron) as cron, min(timezone) as timezone, min(lasts_ms) as lasts_ms,
    epoch_ms(min("at") ${ENDED}) as ended_at, min(actor) ${ENDED} as ended_by
  from ${SILENCE_EVENT_TABLE} group by silence_id having bool_or(action = 'created') order by min(_offset)`;

function silenceOf(row: Record<string, unknown>): Silence {
  const text = (name: string) => (row[name] === null ? undefined : String(row[name]));
  const number = (name: string) => (row[name] === null ? undefined : Number(row[name]));
  const cron = text("cron");
  const endedAtMs = number("ended_at");
  return {
    id: String(row["id"]),
    createdAtMs: Number(row["created_at"]),
    actor: text("actor") ?? "",
    reason: text("reason") ?? "",
    match: { kind: text("kind"), name: text("name"), key: text("key"), severity: text("severity") },
    startsAtMs: Number(row["starts_at"]),
    endsAtMs: number("ends_at"),
    repeat:
      cron === undefined ? undefined : { cron, timezone: text("timezone") ?? "UTC", lastsMs: number("lasts_ms") ?? 0 },
    ended: endedAtMs === undefined ? undefined : { atMs: endedAtMs, actor: text("ended_by") ?? "" },
  };
}

const string = { kind: "string" } as const;
const timestamp = { kind: "timestamp" } as const;
const columns: readonly Column[] = [
  { name: "event_id", type: string, nullable: false },
  { name: "silence_id", type: string, nullable: false },
  { name: "at", type: timestamp, nullable: false },
  { name: "actor", type: string, nullable: false },
  { name: "action", type: string, nullable: false },
  { name: "kind", type: string, nullable: true },
  { name: "name", type: string, nullable: true },
  { name: "key", type: string, nullable: true },
  { name: "severity", type: string, nullable: true },
  { name: "reason", type: string, nullable: true },
  { name: "starts_at", type: timestamp, nullable: true },
  { name: "ends_at", type: timestamp, nullable: true },
  { name: "cron", type: string, nullable: true },
  { name: "timezone", type: string, nullable: true },
  { name: "lasts_ms", type: { kind: "long" }, nullable: true },
];

const SILENCES: InternalStream = { name: SILENCE_STREAM, columns, id: ["event_id"], time: "at" };

/** The stream silences are written to. Its name begins with `_`, which no user's stream can. */
export function silenceStream(horizonMs: number): Stream {
  return internalStream(SILENCES, horizonMs);
}

export function silenceEventTable(): AppendTable {
  return internalTable(SILENCE_EVENT_TABLE, SILENCES, "each silence, and its end by hand, is stored as it comes");
}

/** `system.silences`: each silence once, newest first. */
export function silenceView(): VirtualTable {
  return {
    columns: [
      { name: "id", type: string, nullable: false },
      { name: "created_at", type: timestamp, nullable: false },
      { name: "actor", type: string, nullable: false },
      ...columns.filter(({ name }) => !["event_id", "silence_id", "at", "actor", "action"].includes(name)),
      { name: "ended_at", type: timestamp, nullable: true },
      { name: "ended_by", type: string, nullable: true },
    ],
    inputs: [SILENCE_STREAM],
    async relation(picture) {
      const whole = [
        "kind",
        "name",
        '"key"',
        "severity",
        "reason",
        "starts_at",
        "ends_at",
        "cron",
        "timezone",
        "lasts_ms",
      ];
      const sql = `
        select silence_id as id, min("at") ${CREATED} as created_at, min(actor) ${CREATED} as actor,
          ${whole.map((column) => `min(${column}) as ${column}`).join(", ")},
          min("at") ${ENDED} as ended_at, min(actor) ${ENDED} as ended_by
        from events group by silence_id having bool_or(action = 'created') order by created_at desc`;
      const inputs = new Map<string, Relation>([["events", picture.stored(SILENCE_EVENT_TABLE)]]);
      return { kind: "view", statement: { sql, inputs } };
    },
  };
}
