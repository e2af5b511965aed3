/**
 * What became of the changes of alerts on their way out: events of an internal stream, `_deliveries`, one each time something is known of a change
 * and a destination. They are in the log like everybody's events, so deliveries need no other service to be remembered.
 *
 *     {"event_id", "destination", "outcome", "at", "low", "delivery_id", "alert_offset", "alert_event_id", "alert_id", "name",
 *      "severity", "state", "attempt", "code", "message", "next_at", "targets"}
 *
 *     outcome   pending (it is to be delivered), failed (an attempt, with what went wrong and when the next one is), delivered, dead (it is a dead
 *               letter), silenced, superseded (a later state of the alert is there already), position (of no change: how far the destination is)
 *     low       every change below this offset of `_alerts` is settled for the destination
 *     targets   of a destination that is a stream: how far each of its partitions reached when everything below `low` was in it
 *
 * `system.delivery_events` holds them as they came, `system.deliveries` each delivery once with its status now.
 */
import type { AppendTable, Column, Stream } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { ALERT_EVENT_TABLE } from "./alerts.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";
import type { Relations, VirtualTable } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export const DELIVERY_STREAM = "_deliveries";
export const DELIVERY_EVENT_TABLE = "system.delivery_events";
export const DELIVERY_TABLE = "system.deliveries";

export const DELIVERY_STATUSES = ["waiting", "retrying", "delivered", "dead", "silenced", "superseded"] as const;

/** Something that is known of a change and a destination. */
export interface DeliveryEvent {
  readonly destination: string;
  readonly outcome: "pending" | "failed" | "delivered" | "dead" | "silenced" | "superseded" | "position";
  readonly low: number;
  /** The change; undefined for a position. */
  readonly change?: DeliveredChange | undefined;
  readonly attempt?: number | undefined;
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly nextAtMs?: number | undefined;
  readonly targets?: Targets | undefined;
}

export interface DeliveredChange {
  /** Where it is in `_alerts`. */
  readonly offset: number;
  readonly event_id: string;
  readonly alert_id: string;
  readonly name: string;
  readonly severity: string;
  readonly state: string;
}

export interface Targets {
  readonly stream: string;
  /** Ends by partition. */
  readonly ends: readonly number[];
}

/** How far a destination was when the platform last knew. */
export interface DestinationPosition {
  readonly low: number;
  readonly targets: Targets | undefined;
  /** Of changes from `low` on: those that are settled, and what is known of the others. */
  readonly settled: ReadonlySet<number>;
  readonly open: ReadonlyMap<number, OpenDelivery>;
}

export interface OpenDelivery {
  readonly attempts: number;
  /** When it was first to be delivered. */
  readonly sinceMs: number;
  readonly nextAtMs: number;
}

export interface DeliveryView {
  readonly id: string;
  readonly destination: string;
  readonly alertId: string;
  readonly name: string;
  readonly severity: string;
  readonly state: string;
  readonly status: string;
  readonly attempts: number;
  readonly lastCode: string | null;
  readonly lastMessage: string | null;
  readonly since: string;
  readonly lastAt: string;
  readonly nextAt: string | null;
}

export interface DeliveryFilter {
  readonly destination?: string | undefined;
  /** An alert's id. */
  readonly alert?: string | undefined;
  readonly status?: string | undefined;
}

export interface DeliveryRecordsParts {
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
  readonly clock: () => number;
}

export class DeliveryRecords {
  readonly #o: DeliveryRecordsParts;

  constructor(parts: DeliveryRecordsParts) {
    this.#o = parts;
  }

  /** Resolves when they are durable. @throws LOG_UNAVAILABLE */
  async append(events: readonly DeliveryEvent[]): Promise<void> {
    if (events.length === 0) return;
    const at = new Date(this.#o.clock()).toISOString();
    const payload = Buffer.from(events.map((event) => `${JSON.stringify(lineOf(event, at))}\n`).join(""), "utf8");
    await this.#o.log.append(DELIVERY_STREAM, 0, { payload, count: events.length, source: "platform" });
  }

  /** What is known of each destination that there ever was, by name. */
  async positions(): Promise<Map<string, DestinationPosition>> {
    if (this.#o.log.ends(DELIVERY_STREAM, 0).end === 0) return new Map();
    const rows = await this.#select(DELIVERY_EVENT_TABLE, POSITIONS);
    const open = await this.#select(DELIVERY_EVENT_TABLE, FROM_LOW);
    return new Map(
      rows.map((row) => {
        const own = open.filter(({ destination }) => destination === row["destination"]);
        const isOpen = (outcome: unknown) => outcome === "pending" || outcome === "failed";
        const position: DestinationPosition = {
          low: Number(row["low"]),
          targets: row["targets"] === null ? undefined : JSON.parse(String(row["targets"])),
          settled: new Set(own.filter(({ outcome }) => !isOpen(outcome)).map((one) => Number(one["alert_offset"]))),
          open: new Map(
            own
              .filter(({ outcome }) => isOpen(outcome))
              .map((one) => [
                Number(one["alert_offset"]),
                { attempts: Number(one["attempts"]), sinceMs: Number(one["since"]), nextAtMs: Number(one["next_at"]) },
              ]),
          ),
        };
        return [String(row["destination"]), position] as const;
      }),
    );
  }

  /** Changes of alerts as they were stored, by offset: for those that the log does not keep any more. */
  async changes(from: number, to: number): Promise<(Record<string, unknown> & { readonly offset: number })[]> {
    const rows = await this.#select(
      ALERT_EVENT_TABLE,
      `select * exclude (details, "at"), details::varchar as details, strftime("at", '%Y-%m-%dT%H:%M:%S.%gZ') as "at"
       from ${ALERT_EVENT_TABLE} where _offset between ${from} and ${to} order by _offset`,
    );
    return rows.map(({ _offset, details, ...row }) => ({
      ...Object.fromEntries(Object.entries(row).filter(([name, value]) => value !== null && !name.startsWith("_"))),
      details: details === null ? undefined : JSON.parse(String(details)),
      offset: Number(_offset),
    }));
  }

  /** Whether a later change of the same alert has been delivered to the destination. */
  async isSuperseded(destination: string, { alert_id, offset }: DeliveredChange): Promise<boolean> {
    const rows = await this.#select(
      DELIVERY_EVENT_TABLE,
      `select 1 from ${DELIVERY_EVENT_TABLE} where destination = ${quoteLiteral(destination)} and outcome = 'delivered'
       and alert_id = ${quoteLiteral(alert_id)} and alert_offset > ${offset} limit 1`,
    );
    return rows.length > 0;
  }

  /** How often a delivery has been tried, and how far its stream reached before it was last tried again. */
  async tried(destination: string, offset: number): Promise<{ attempts: number; targets: Targets | undefined }> {
    const [row] = await this.#select(
      DELIVERY_EVENT_TABLE,
      `select coalesce(max(attempt), 0) as attempts,
         arg_max(targets::varchar, _offset) filter (targets is not null and outcome = 'pending') as targets
       from ${DELIVERY_EVENT_TABLE} where destination = ${quoteLiteral(destination)} and alert_offset = ${offset}`,
    );
    const targets = row?.["targets"];
    return {
      attempts: Number(row?.["attempts"] ?? 0),
      targets: typeof targets === "string" ? JSON.parse(targets) : undefined,
    };
  }

  /** The newest changes that deliveries are known of: event id -> its first offset. */
  async newest(limit: number): Promise<Map<string, number>> {
    if (this.#o.log.ends(DELIVERY_STREAM, 0).end === 0) return new Map();
    const rows = await this.#select(
      DELIVERY_EVENT_TABLE,
      `select alert_event_id as id, min(alert_offset) as first from ${DELIVERY_EVENT_TABLE}
       where alert_event_id is not null group by id order by first desc limit ${limit}`,
    );
    return new Map(rows.reverse().map((row) => [String(row["id"]), Number(row["first"])]));
  }

  /** Newest changes first; `next` is the `before` of the page that follows. */
  async list(
    { destination, alert, status }: DeliveryFilter,
    { limit, before }: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<{ deliveries: DeliveryView[]; next: number | undefined }> {
    const conditions = Object.entries({ destination, alert_id: alert, status }).flatMap(([column, value]) =>
      value === undefined ? [] : [`${column} = ${quoteLiteral(value)}`],
    );
    if (before !== undefined) conditions.push(`alert_offset < ${before}`);
    const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
    const iso = (column: string) => `strftime(${column}, '%Y-%m-%dT%H:%M:%S.%gZ') as ${column}`;
    const columns = `* exclude (since, last_at, next_at), ${["since", "last_at", "next_at"].map(iso).join(", ")}`;
    // A page ends between changes, so that the next one begins with all deliveries of one.
    const rows = await this.#select(
      DELIVERY_TABLE,
      `select ${columns}, dense_rank() over (order by alert_offset desc) as place from ${DELIVERY_TABLE} ${where}
       qualify place <= ${limit + 1} order by alert_offset desc, destination`,
    );
    const page = rows.filter((row) => Number(row["place"]) <= limit);
    const last = page.at(-1);
    return {
      deliveries: page.map(viewOf),
      next: rows.length > page.length && last !== undefined ? Number(last["alert_offset"]) : undefined,
    };
  }

  async #select(table: string, sql: string): Promise<Record<string, unknown>[]> {
    const { inputs, release } = await this.#o.relations.resolve([{ name: table }], "acknowledged");
    try {
      return await selectRows(this.#o.engine, { sql, inputs });
    } finally {
      release();
    }
  }
}

const POSITIONS = `
  select destination, max(low) as low, arg_max(targets::varchar, _offset) filter (targets is not null and outcome <> 'pending') as targets
  from ${DELIVERY_EVENT_TABLE} group by destination`;

const FROM_LOW = `
  select e.destination, e.alert_offset, arg_max(outcome, _offset) as outcome, coalesce(max(attempt), 0) as attempts,
    epoch_ms(min("at")) as since, epoch_ms(coalesce(arg_max(next_at, _offset), min("at"))) as next_at
  from ${DELIVERY_EVENT_TABLE} e
  join (select destination, max(low) as low from ${DELIVERY_EVENT_TABLE} group by destination) l
    on l.destination = e.destination and e.alert_offset >= l.low
  group by e.destination, e.alert_offset`;

/** The id of a delivery, and of its dead letter behind `deliver/`. */
export function deliveryId(destination: string, offset: number): string {
  return `${destination}/${offset}`;
}

function lineOf(event: DeliveryEvent, at: string): Record<string, unknown> {
  const { destination, outcome, low, change, attempt, code, message, nextAtMs, targets } = event;
  const id = change === undefined ? undefined : deliveryId(destination, change.offset);
  return {
    event_id: id === undefined ? `${destination}/position/${low}/${at}` : `${id}/${outcome}/${attempt ?? 0}`,
    ...{
      destination,
      outcome,
      at,
      low,
      delivery_id: id,
      alert_offset: change?.offset,
      alert_event_id: change?.event_id,
    },
    ...{ alert_id: change?.alert_id, name: change?.name, severity: change?.severity, state: change?.state },
    ...{ attempt, code, message: message?.toWellFormed().replaceAll("\0", "\u2400") },
    next_at: nextAtMs === undefined ? undefined : new Date(nextAtMs).toISOString(),
    targets,
  };
}

const string = { kind: "string" } as const;
const long = { kind: "long" } as const;
const timestamp = { kind: "timestamp" } as const;
const columns: readonly Column[] = [
  { name: "event_id", type: string, nullable: false },
  { name: "destination", type: string, nullable: false },
  { name: "outcome", type: string, nullable: false },
  { name: "at", type: timestamp, nullable: false },
  { name: "low", type: long, nullable: false },
  { name: "delivery_id", type: string, nullable: true },
  { name: "alert_offset", type: long, nullable: true },
  { name: "alert_event_id", type: string, nullable: true },
  { name: "alert_id", type: string, nullable: true },
  { name: "name", type: string, nullable: true },
  { name: "severity", type: string, nullable: true },
  { name: "state", type: string, nullable: true },
  { name: "attempt", type: long, nullable: true },
  { name: "code", type: string, nullable: true },
  { name: "message", type: string, nullable: true },
  { name: "next_at", type: timestamp, nullable: true },
  { name: "targets", type: { kind: "json" }, nullable: true },
];

const DELIVERIES: InternalStream = { name: DELIVERY_STREAM, columns, id: ["event_id"], time: "at" };

/** The stream deliveries are recorded in. Its name begins with `_`, which no user's stream can. */
export function deliveryStream(horizonMs: number): Stream {
  return internalStream(DELIVERIES, horizonMs);
}

export function deliveryEventTable(): AppendTable {
  return internalTable(
    DELIVERY_EVENT_TABLE,
    DELIVERIES,
    "each thing that is known of a delivery is stored as it comes",
  );
}

/** `system.deliveries`: each change of an alert and destination once, newest first, with its status now. */
export function deliveryView(): VirtualTable {
  return {
    columns: [
      { name: "id", type: string, nullable: false },
      { name: "destination", type: string, nullable: false },
      { name: "alert_id", type: string, nullable: false },
      { name: "alert_offset", type: long, nullable: false },
      { name: "name", type: string, nullable: true },
      { name: "severity", type: string, nullable: true },
      { name: "state", type: string, nullable: true },
      { name: "status", type: string, nullable: false },
      { name: "attempts", type: long, nullable: false },
      { name: "last_code", type: string, nullable: true },
      { name: "last_message", type: string, nullable: true },
      { name: "since", type: timestamp, nullable: false },
      { name: "last_at", type: timestamp, nullable: false },
      { name: "next_at", type: timestamp, nullable: true },
    ],
    inputs: [DELIVERY_STREAM],
    async relation(picture) {
      const sql = `
        select delivery_id as id, any_value(destination) as destination, any_value(alert_id) as alert_id,
          any_value(alert_offset) as alert_offset, any_value(name) as name, any_value(severity) as severity,
          any_value(state) as state,
          case arg_max(outcome, _offset) when 'pending' then 'waiting' when 'failed' then 'retrying'
            else arg_max(outcome, _offset) end as status,
          coalesce(max(attempt), 0) as attempts, arg_max(code, _offset) as last_code,
          arg_max(message, _offset) as last_message, min("at") as since, max("at") as last_at,
          case when arg_max(outcome, _offset) = 'failed' then arg_max(next_at, _offset) end as next_at
        from events where delivery_id is not null group by delivery_id order by alert_offset desc`;
      const inputs = new Map<string, Relation>([["events", picture.stored(DELIVERY_EVENT_TABLE)]]);
      return { kind: "view", statement: { sql, inputs } };
    },
  };
}

function viewOf(row: Record<string, unknown>): DeliveryView {
  const text = (name: string) => (row[name] === null || row[name] === undefined ? null : String(row[name]));
  return {
    id: String(row["id"]),
    destination: String(row["destination"]),
    alertId: String(row["alert_id"]),
    name: String(row["name"]),
    severity: String(row["severity"]),
    state: String(row["state"]),
    status: String(row["status"]),
    attempts: Number(row["attempts"]),
    lastCode: text("last_code"),
    lastMessage: text("last_message"),
    since: String(row["since"]),
    lastAt: String(row["last_at"]),
    nextAt: text("next_at"),
  };
}
