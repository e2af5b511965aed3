/**
 * PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/events-api-v2/trigger-events/):
 *
 *     {"routing_key", "event_action": "trigger" | "acknowledge" | "resolve", "dedup_key",
 *      "payload": {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}}     trigger only
 *
 * The `dedup_key` (at most 255 characters) is the alert's id, so an event that is sent twice changes nothing.
 */
import { createHash } from "node:crypto";
import { post } from "./http-post.ts";
import { type Change, type Sender, shortened, shortId } from "./sender.ts";

export interface PagerDutyParts {
  readonly url: string;
  readonly routingKey: string;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
  readonly clock: () => number;
}

const ACTIONS: Readonly<Record<string, string>> = { acknowledged: "acknowledge", resolved: "resolve" };
/** The whole event may have 512 KB. */
const MOST_DETAILS = 400_000;

export function pagerdutySender({ url, routingKey, timeoutMs, secrets, clock }: PagerDutyParts): Sender {
  return {
    address: new URL(url).origin,
    mostChanges: 1,
    async send([change], signal) {
      const body = JSON.stringify({ routing_key: routingKey, ...pagerdutyEvent(change as Change) });
      await post({ url, headers: {}, body, timeoutMs, secrets, clock }, signal);
    },
  };
}

/** The event without its key. */
export function pagerdutyEvent(change: Change): Record<string, unknown> {
  const { alert_id, state, summary, kind, name, key, severity, at, details } = change;
  const action = ACTIONS[state] ?? "trigger";
  const event = { event_action: action, dedup_key: shortId(alert_id, 255, sha256) };
  if (action !== "trigger") return event;
  const told = JSON.stringify(details) ?? "null";
  return {
    ...event,
    client: "Millrace",
    payload: {
      ...{ summary: shortened(summary || name, 1024), source: shortened(key || name, 1024), severity, timestamp: at },
      ...{ component: name, group: kind, class: name },
      custom_details: {
        ...{ alert_id, key },
        details: told.length <= MOST_DETAILS ? details : shortened(told, MOST_DETAILS),
      },
    },
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
