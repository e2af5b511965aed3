/**
 * Alerts: what somebody should know about, whoever found it. Each change of one is an event of an internal stream, `_alerts`, durable
 * before anything is told, so whatever watches a stream or a table can watch these:
 *
 *     {"event_id", "alert_id", "at", "kind", "name", "severity", "state", "key", "summary", "details", "actor"?, "note"?}
 *
 *     kind      the part that raised it: `ledger`, `alert` for those of definitions
 *     name      what it says (`imbalance`), or the name of its definition
 *     key       what it is about (`silver.orders/0/stored`, a vehicle)
 *     state     `firing`, `acknowledged` or `resolved`
 *     alert_id  <kind>/<name>/<key>/<what tells it from earlier ones>: how many there were before with this key; of alerts over streams
 *               the partition and offset of the event that raised it, <partition>-<offset>
 *     event_id  <alert_id>/<state>: the stream's id, so writing one again after a crash tells nothing twice. Readers of the log itself meet an
 *               id twice now and then, as they do in every stream. An alert that still fires when a silence ends is told again, by an event
 *               <alert_id>/firing/<silence>/<end, milliseconds>; so is one whose severity rises, by <alert_id>/firing/<severity>
 *     actor     who acknowledged or resolved it by hand, and what they noted
 */
import type { Severity } from "./alert-routes.ts";

export const ALERT_STREAM = "_alerts";

export interface Alert {
  readonly kind: string;
  readonly name: string;
  readonly severity: Severity;
  /** What it is about. Of one kind and name, a key has one alert at a time. */
  readonly key: string;
  /** One sentence for a person. */
  readonly summary: string;
  /** The same for a program; a JSON value. */
  readonly details: unknown;
}

export type AlertState = "firing" | "acknowledged" | "resolved";

/** What a person did. */
export interface ByHand {
  readonly actor: string;
  readonly note?: string | undefined;
}

export function alertEvent(
  alertId: string,
  { kind, name, severity, key, summary, details }: Alert,
  state: AlertState,
  atMs: number,
  by?: ByHand,
): Record<string, unknown> {
  return {
    event_id: `${alertId}/${state}`,
    alert_id: alertId,
    at: new Date(atMs).toISOString(),
    kind,
    name,
    severity,
    state,
    key,
    summary: storable(summary),
    details: storableJson(details),
    ...(by && { actor: storable(by.actor), ...(by.note === undefined ? {} : { note: storable(by.note) }) }),
  };
}

const RANKS: readonly Severity[] = ["info", "warning", "critical"];

export function isGraver(severity: Severity, than: Severity): boolean {
  return RANKS.indexOf(severity) > RANKS.indexOf(than);
}

/** The alert, told again: since something that held it back has ended, or its severity has risen. */
export function alertAgain(alertId: string, alert: Alert, atMs: number, again: string): Record<string, unknown> {
  return { ...alertEvent(alertId, alert, "firing", atMs), event_id: `${alertId}/firing/${again}` };
}

/** Text that every table can hold. */
function storable(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\u2400");
}

function storableJson(value: unknown): unknown {
  if (typeof value === "string") return storable(value);
  if (Array.isArray(value)) return value.map(storableJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [storable(name), storableJson(one)]));
}
