/**
 * The platform's alerts as they are written and as queries see them; `define/alert-event.ts` has their format. `system.alert_events` holds the
 * events as they came, `system.alerts` each alert once with its state now.
 */
import { ALERT_STREAM, type Alert, alertAgain, alertEvent, type ByHand, isGraver } from "../define/alert-event.ts";
import type { AppendTable, Column, Stream } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";
import type { Relations, VirtualTable } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export type { Alert } from "../define/alert-event.ts";

export const ALERT_EVENT_TABLE = "system.alert_events";
export const ALERT_TABLE = "system.alerts";

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
  /** The newest alert was resolved by hand. */
  readonly byHand?: boolean;
  /** And its cause went on: no new alert before that is gone. */
  readonly held?: boolean;
}

/** How the alerts of a kind and name stand, by key. */
export interface Standing {
  readonly firing: ReadonlyMap<string, Alert>;
  /** Keys whose newest alert was resolved by hand. */
  readonly resolvedByHand: ReadonlySet<string>;
}

/** Alerts that are found by looking at what there is, again and again. Those over streams are written by their operators. */
export class Alerts {
  readonly #o: AlertParts;
  /** By `kind/name`, then by key; what earlier lives raised is read when it is first asked for. */
  readonly #known = new Map<string, Promise<Map<string, Known>>>();

  constructor(parts: AlertParts) {
    this.#o = parts;
  }

  /** How alerts of a kind and name stand, by what is durable. */
  async standing(kind: string, name: string): Promise<Standing> {
    const known = [...(await this.#of(kind, name))];
    return {
      firing: new Map(known.flatMap(([key, { firing }]) => (firing === undefined ? [] : [[key, firing] as const]))),
      resolvedByHand: new Set(known.flatMap(([key, { byHand }]) => (byHand ? [key] : []))),
    };
  }

  /**
   * Makes `now` all that fires of a kind and name: what is new is raised, what is not among it any more is resolved, and what goes on
   * is left alone, unless it has become graver. Without `resolve` nothing is resolved: for who has not looked everywhere yet. Resolves when the changes are durable.
   * Calls for one kind and name must not overlap.
   */
  async settle(
    kind: string,
    name: string,
    now: readonly Alert[],
    { resolve = true }: { resolve?: boolean } = {},
  ): Promise<void> {
    const known = await this.#of(kind, name);
    const wanted = new Map(now.map((alert) => [alert.key, alert]));
    const events: Record<string, unknown>[] = [];
    const changes = new Map<string, Known>();
    const atMs = this.#o.clock();
    for (const [key, alert] of wanted) {
      const { firing, held, count = 0 } = known.get(key) ?? {};
      if (firing && isGraver(alert.severity, firing.severity)) {
        events.push(alertAgain(idOf(alert, count - 1), alert, atMs, alert.severity));
        changes.set(key, { count, firing: alert });
      }
      if (firing || held) continue;
      events.push(alertEvent(idOf(alert, count), alert, "firing", atMs));
      changes.set(key, { count: count + 1, firing: alert });
    }
    for (const [key, { firing, held, count }] of known) {
      if (!resolve || !(firing || held) || wanted.has(key)) continue;
      if (firing) events.push(alertEvent(idOf(firing, count - 1), firing, "resolved", atMs));
      changes.set(key, { count, firing: undefined });
    }
    if (events.length > 0) await this.#append(events);
    for (const [key, state] of changes) known.set(key, state);
  }

  /** An alert was resolved by hand: as long as its cause goes on, no new one is raised in this life of the platform. */
  async hold(kind: string, name: string, key: string): Promise<void> {
    const known = await this.#of(kind, name);
    const found = known.get(key);
    if (found?.firing || found?.byHand)
      known.set(key, { count: found.count, firing: undefined, byHand: true, held: true });
  }

  /** Reads anew how alerts stand: another process may have looked after them since. */
  forget(): void {
    this.#known.clear();
  }

  /** Writes what a person did. Again: nothing. */
  async record(alertId: string, alert: Alert, state: "acknowledged" | "resolved", by: ByHand): Promise<void> {
    await this.#append([alertEvent(alertId, alert, state, this.#o.clock(), by)]);
  }

  /** Ends alerts that nobody looks after any more. Again: nothing. */
  async end(alerts: readonly { readonly id: string; readonly alert: Alert }[]): Promise<void> {
    const atMs = this.#o.clock();
    if (alerts.length > 0) await this.#append(alerts.map(({ id, alert }) => alertEvent(id, alert, "resolved", atMs)));
  }

  /** Tells alerts again. Each has an id of its own, so again is nothing. */
  async again(
    alerts: readonly { readonly id: string; readonly alert: Alert; readonly cause: string }[],
  ): Promise<void> {
    const atMs = this.#o.clock();
    if (alerts.length > 0) await this.#append(alerts.map(({ id, alert, cause }) => alertAgain(id, alert, atMs, cause)));
  }

  async #append(events: readonly Record<string, unknown>[]): Promise<void> {
    const payload = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""), "utf8");
    await this.#o.log.append(ALERT_STREAM, 0, { payload, count: events.length, source: "platform" });
  }

  async #of(kind: string, name: string): Promise<Map<string, Known>> {
    const id = `${kind}/${name}`;
    const reading = this.#known.get(id) ?? this.#readKnown(kind, name);
    this.#known.set(id, reading);
    try {
      return await reading;
    } catch (error) {
      this.#known.delete(id); // it is tried again by the next call
      throw error;
    }
  }

  /** What earlier lives of the platform raised. */
  async #readKnown(kind: string, name: string): Promise<Map<string, Known>> {
    if (this.#o.log.ends(ALERT_STREAM, 0).end === 0) return new Map();
    const { inputs, release } = await this.#o.relations.resolve([{ name: ALERT_EVENT_TABLE }], "acknowledged");
    try {
      const newest = "filter (state = 'firing')";
      const rows = await selectRows(this.#o.engine, {
        sql: `select "key", count(distinct alert_id) as n, arg_max(state, _offset) as state, arg_max(actor is not null, _offset) as by_hand,
            arg_max(severity, _offset) ${newest} as severity, arg_max(summary, _offset) ${newest} as summary,
            (arg_max(details, _offset) ${newest})::varchar as details
          from ${ALERT_EVENT_TABLE} where kind = ${quoteLiteral(kind)} and name = ${quoteLiteral(name)} group by "key"`,
        inputs,
      });
      return new Map(
        rows.map((row) => {
          const key = String(row["key"]);
          const alert: Alert = {
            ...{ kind, name, key },
            severity: String(row["severity"]) as Alert["severity"],
            summary: String(row["summary"]),
            details: JSON.parse(String(row["details"])),
          };
          const resolved = row["state"] === "resolved";
          const byHand = resolved && row["by_hand"] === true;
          return [key, { count: Number(row["n"]), firing: resolved ? undefined : alert, byHand }] as const;
        }),
      );
    } finally {
      release();
    }
  }
}

function idOf({ kind, name, key }: Alert, before: number): string {
  return `${kind}/${name}/${key}/${before}`;
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
  { name: "actor", type: string, nullable: true },
  { name: "note", type: string, nullable: true },
];

const ALERTS: InternalStream = { name: ALERT_STREAM, columns, id: ["event_id"], time: "at" };

/** The stream alerts are written to. Its name begins with `_`, which no user's stream can. */
export function alertStream(horizonMs: number): Stream {
  return internalStream(ALERTS, horizonMs);
}

export function alertEventTable(): AppendTable {
  return internalTable(ALERT_EVENT_TABLE, ALERTS, "each change of an alert is stored as it comes");
}

const timestamp = { kind: "timestamp" } as const;

/** `system.alerts`: each alert once, newest first in time, with its state now. */
export function alertView(): VirtualTable {
  return {
    columns: [
      { name: "id", type: string, nullable: false },
      ...columns.filter(({ name }) => !["event_id", "alert_id", "at", "actor", "note"].includes(name)),
      { name: "at", type: timestamp, nullable: false },
      { name: "resolved_at", type: timestamp, nullable: true },
      { name: "acknowledged_at", type: timestamp, nullable: true },
      { name: "acknowledged_by", type: string, nullable: true },
      { name: "resolved_by", type: string, nullable: true },
      { name: "note", type: string, nullable: true },
    ],
    inputs: [ALERT_STREAM],
    async relation(picture) {
      const sql = `
        select alert_id as id, any_value(kind) as kind, any_value(name) as name, arg_max(severity, _offset) filter (state = 'firing') as severity,
          case when bool_or(state = 'resolved') then 'resolved' when bool_or(state = 'acknowledged') then 'acknowledged' else 'firing' end as state,
          any_value("key") as "key", arg_max(summary, _offset) filter (state = 'firing') as summary,
          arg_max(details, _offset) filter (state = 'firing') as details, min("at") as "at",
          min("at") filter (state = 'resolved') as resolved_at, min("at") filter (state = 'acknowledged') as acknowledged_at,
          any_value(actor) filter (state = 'acknowledged') as acknowledged_by, any_value(actor) filter (state = 'resolved') as resolved_by,
          arg_max(note, _offset) as note
        from events group by alert_id order by "at" desc`;
      const inputs = new Map<string, Relation>([["events", picture.stored(ALERT_EVENT_TABLE)]]);
      return { kind: "view", statement: { sql, inputs } };
    },
  };
}
