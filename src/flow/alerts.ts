/**
 * Alerts: what somebody should know about, whoever found it. Each change of one is an event of an internal stream, `_alerts`, durable
 * before anything is told, so whatever watches a stream or a table can watch these:
 *
 *     {"event_id", "alert_id", "at", "kind", "name", "severity", "state", "key", "summary", "details"}
 *
 *     kind      the part that raised it (`ledger`)            name   what it says (`imbalance`)
 *     key       what it is about (`silver.orders/0/stored`)   state  `firing` or `resolved`
 *     alert_id  <kind>/<name>/<key>/<how many there were before with this key>
 *     event_id  <alert_id>/<state>: the stream's id, so writing one again after a crash tells nothing twice
 *
 * `system.alert_events` holds the events as they came, `system.alerts` each alert once with its state now.
 */
import type { AppendTable, Column, Stream } from "../define/project.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";
import type { Relations, VirtualTable } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export const ALERT_STREAM = "_alerts";
export const ALERT_EVENT_TABLE = "system.alert_events";
export const ALERT_TABLE = "system.alerts";

export interface Alert {
  readonly kind: string;
  readonly name: string;
  readonly severity: "info" | "warning" | "critical";
  /** What it is about. Of one kind and name, a key has one alert at a time. */
  readonly key: string;
  /** One sentence for a person. */
  readonly summary: string;
  /** The same for a program; a JSON value. */
  readonly details: unknown;
}

export interface AlertParts {
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly relations: Relations;
  readonly clock: () => number;
}

interface Known {
  /** Alerts there have been with the key, this one included. */
  readonly count: number;
  /** The alert, while it fires. */
  readonly firing: Alert | undefined;
}

export class Alerts {
  readonly #o: AlertParts;
  /** By `kind/name/key`; undefined until it has been read. */
  #known: Map<string, Known> | undefined;

  constructor(parts: AlertParts) {
    this.#o = parts;
  }

  /** What fires now, as far as it has been read or raised since the start. */
  firing(): Alert[] {
    return [...(this.#known?.values() ?? [])].flatMap(({ firing }) => firing ?? []);
  }

  /**
   * Makes `now` all that fires of a kind and name: what is new is raised, what is not among it any more is resolved, and what goes on
   * is left alone. Without `resolve` nothing is resolved: for who has not looked everywhere yet. Resolves when the changes are durable.
   * Calls for one kind and name must not overlap.
   */
  async settle(
    kind: string,
    name: string,
    now: readonly Alert[],
    { resolve = true }: { resolve?: boolean } = {},
  ): Promise<void> {
    this.#known ??= await this.#read();
    const known = this.#known;
    const wanted = new Map(now.map((alert) => [`${kind}/${name}/${alert.key}`, alert]));
    const events: Record<string, unknown>[] = [];
    const changes = new Map<string, Known>();
    for (const [id, alert] of wanted) {
      const { firing, count = 0 } = known.get(id) ?? {};
      if (firing) continue;
      events.push(this.#event(`${id}/${count}`, alert, "firing"));
      changes.set(id, { count: count + 1, firing: alert });
    }
    for (const [id, { firing, count }] of known) {
      if (!resolve || firing?.kind !== kind || firing.name !== name || wanted.has(id)) continue;
      events.push(this.#event(`${id}/${count - 1}`, firing, "resolved"));
      changes.set(id, { count, firing: undefined });
    }
    if (events.length === 0) return;
    const payload = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""), "utf8");
    await this.#o.log.append(ALERT_STREAM, 0, { payload, count: events.length, source: "platform" });
    for (const [id, state] of changes) known.set(id, state);
  }

  #event(alertId: string, alert: Alert, state: "firing" | "resolved"): Record<string, unknown> {
    const { kind, name, severity, key, details } = alert;
    const summary = alert.summary.toWellFormed().replaceAll("\0", "\u2400");
    const at = new Date(this.#o.clock()).toISOString();
    return {
      event_id: `${alertId}/${state}`,
      alert_id: alertId,
      at,
      kind,
      name,
      severity,
      state,
      key,
      summary,
      details,
    };
  }

  /** What earlier lives of the platform raised. */
  async #read(): Promise<Map<string, Known>> {
    if (this.#o.log.ends(ALERT_STREAM, 0).end === 0) return new Map();
    const { inputs, release } = await this.#o.relations.resolve([{ name: ALERT_EVENT_TABLE }], "acknowledged");
    try {
      const rows = await selectRows(this.#o.engine, {
        sql: `select kind, name, "key", count(distinct alert_id) as n, arg_max(state, _offset) as state,
            arg_max(severity, _offset) as severity, arg_max(summary, _offset) as summary, arg_max(details, _offset)::varchar as details
          from ${ALERT_EVENT_TABLE} group by kind, name, "key"`,
        inputs,
      });
      return new Map(
        rows.map((row) => {
          const text = (column: string) => String(row[column]);
          const alert: Alert = {
            kind: text("kind"),
            name: text("name"),
            severity: text("severity") as Alert["severity"],
            key: text("key"),
            summary: text("summary"),
            details: JSON.parse(text("details")),
          };
          const id = `${alert.kind}/${alert.name}/${alert.key}`;
          return [id, { count: Number(row["n"]), firing: row["state"] === "firing" ? alert : undefined }] as const;
        }),
      );
    } finally {
      release();
    }
  }
}

const string = { kind: "string" } as const;
const columns: readonly Column[] = [
  { name: "event_id", type: string, nullable: false },
  { name: "alert_id", type: string, nullable: false },
  { name: "at", type: { kind: "timestamp" }, nullable: false },
  { name: "kind", type: string, nullable: false },
  { name: "name", type: string, nullable: false },
  { name: "severity", type: string, nullable: false },
  { name: "state", type: string, nullable: false },
  { name: "key", type: string, nullable: false },
  { name: "summary", type: string, nullable: false },
  { name: "details", type: { kind: "json" }, nullable: true },
];

const ALERTS: InternalStream = { name: ALERT_STREAM, columns, id: ["event_id"], time: "at" };

/** The stream alerts are written to. Its name begins with `_`, which no user's stream can. */
export function alertStream(horizonMs: number): Stream {
  return internalStream(ALERTS, horizonMs);
}

export function alertEventTable(): AppendTable {
  return internalTable(ALERT_EVENT_TABLE, ALERTS, "each change of an alert is stored as it comes");
}

/** `system.alerts`: each alert once, newest first in time, with its state now. */
export function alertView(): VirtualTable {
  return {
    columns: [
      { name: "id", type: string, nullable: false },
      ...columns.filter(({ name }) => !["event_id", "alert_id", "at"].includes(name)),
      { name: "at", type: { kind: "timestamp" }, nullable: false },
      { name: "resolved_at", type: { kind: "timestamp" }, nullable: true },
    ],
    inputs: [ALERT_STREAM],
    async relation(picture) {
      const sql = `
        select alert_id as id, any_value(kind) as kind, any_value(name) as name, any_value(severity) as severity,
          arg_max(state, _offset) as state, any_value("key") as "key", any_value(summary) as summary,
          any_value(details) as details, min("at") as "at", max("at") filter (state = 'resolved') as resolved_at
        from events group by alert_id order by "at" desc`;
      const inputs = new Map<string, Relation>([["events", picture.stored(ALERT_EVENT_TABLE)]]);
      return { kind: "view", statement: { sql, inputs } };
    },
  };
}
