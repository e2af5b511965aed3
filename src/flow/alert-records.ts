/** Alerts as they are looked up: by id, by what they are about, page by page. Everything that is durable shows. */
import type { Alert, AlertState } from "../define/alert-event.ts";
import { ALERT_STREAM } from "../define/alert-event.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import type { EventLog } from "../log/event-log.ts";
import { ALERT_EVENT_TABLE } from "./alerts.ts";
import type { Relations } from "./relations.ts";
import { selectRows } from "./select-rows.ts";

export interface KnownAlert extends Alert {
  readonly id: string;
  readonly state: AlertState;
  readonly atMs: number;
  readonly acknowledged: { readonly atMs: number; readonly by: string; readonly note: string | undefined } | undefined;
  /** `by` undefined: its cause is gone. */
  readonly resolved:
    | { readonly atMs: number; readonly by: string | undefined; readonly note: string | undefined }
    | undefined;
  /** Ids of its events. */
  readonly events: readonly string[];
}

export interface AlertFilter {
  /** `open` is what is not resolved. */
  readonly state?: AlertState | "open" | undefined;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly key?: string | undefined;
  readonly severity?: string | undefined;
}

export interface AlertRecordsParts {
  readonly log: EventLog;
  readonly engine: SqlEngine;
  readonly relations: Pick<Relations, "resolve">;
}

export class AlertRecords {
  readonly #o: AlertRecordsParts;

  constructor(parts: AlertRecordsParts) {
    this.#o = parts;
  }

  async find(id: string): Promise<KnownAlert | undefined> {
    const { alerts } = await this.#select(`where alert_id = ${quoteLiteral(id)}`, "", 1);
    return alerts[0];
  }

  /** Everything that is not resolved. */
  async open(): Promise<KnownAlert[]> {
    return (await this.#select("", "where state <> 'resolved'", Number.MAX_SAFE_INTEGER)).alerts;
  }

  /** Newest first; `next` is the `before` of the page that follows. */
  async list(
    { state, ...filter }: AlertFilter,
    { limit, before }: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<{ alerts: KnownAlert[]; next: number | undefined }> {
    const same = Object.entries(filter).flatMap(([column, value]) =>
      value === undefined ? [] : [`"${column}" = ${quoteLiteral(value)}`],
    );
    const of = [
      ...(state === undefined ? [] : [state === "open" ? "state <> 'resolved'" : `state = ${quoteLiteral(state)}`]),
      ...(before === undefined ? [] : [`place < ${before}`]),
    ];
    const where = (conditions: readonly string[]) =>
      conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
    return this.#select(where(same), where(of), limit);
  }

  async #select(where: string, having: string, limit: number) {
    if (this.#o.log.ends(ALERT_STREAM, 0).end === 0) return { alerts: [], next: undefined };
    const { inputs, release } = await this.#o.relations.resolve([{ name: ALERT_EVENT_TABLE }], "acknowledged");
    try {
      const most = limit < Number.MAX_SAFE_INTEGER ? `limit ${limit + 1}` : "";
      const sql = `select * from (${ALERTS.replace("WHERE", where)}) ${having} order by place desc ${most}`;
      const rows = await selectRows(this.#o.engine, { sql, inputs });
      const alerts = rows.slice(0, limit).map(alertOf);
      return { alerts, next: rows.length > limit ? Number(rows[limit - 1]?.["place"]) : undefined };
    } finally {
      release();
    }
  }
}

const FIRING = "filter (state = 'firing')";
const ACKNOWLEDGED = "filter (state = 'acknowledged')";
const RESOLVED = "filter (state = 'resolved')";
const ALERTS = `
  select alert_id as id, min(_offset) as place, any_value(kind) as kind, any_value(name) as name, any_value("key") as "key",
    arg_max(severity, _offset) ${FIRING} as severity, arg_max(summary, _offset) ${FIRING} as summary,
    (arg_max(details, _offset) ${FIRING})::varchar as details,
    case when bool_or(state = 'resolved') then 'resolved' when bool_or(state = 'acknowledged') then 'acknowledged' else 'firing' end as state,
    epoch_ms(min("at")) as at_ms, list(event_id) as events,
    epoch_ms(min("at") ${ACKNOWLEDGED}) as acknowledged_ms, min(actor) ${ACKNOWLEDGED} as acknowledged_by, min(note) ${ACKNOWLEDGED} as acknowledged_note,
    epoch_ms(min("at") ${RESOLVED}) as resolved_ms, min(actor) ${RESOLVED} as resolved_by, min(note) ${RESOLVED} as resolved_note
  from ${ALERT_EVENT_TABLE} WHERE group by alert_id`;

function alertOf(row: Record<string, unknown>): KnownAlert {
  const text = (name: string) => (row[name] === null ? undefined : String(row[name]));
  const byHand = (what: string) => {
    const atMs = row[`${what}_ms`];
    return atMs === null ? undefined : { atMs: Number(atMs), by: text(`${what}_by`), note: text(`${what}_note`) };
  };
  const acknowledged = byHand("acknowledged");
  return {
    id: String(row["id"]),
    kind: String(row["kind"]),
    name: String(row["name"]),
    key: String(row["key"]),
    severity: String(row["severity"]) as Alert["severity"],
    summary: String(row["summary"]),
    details: row["details"] === null ? null : JSON.parse(String(row["details"])),
    state: String(row["state"]) as AlertState,
    atMs: Number(row["at_ms"]),
    acknowledged: acknowledged && { ...acknowledged, by: acknowledged.by ?? "" },
    resolved: byHand("resolved"),
    events: row["events"] as string[],
  };
}
