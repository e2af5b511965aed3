/**
 * Opsgenie's Alert API (https://docs.opsgenie.com/docs/alert-api), `Authorization: GenieKey …`:
 *
 *     POST /v2/alerts                                             {"message", "alias", "description", "entity", "source", "priority", "tags", "details"}
 *     POST /v2/alerts/<alias>/acknowledge?identifierType=alias    {"source", "note"}
 *     POST /v2/alerts/<alias>/close?identifierType=alias          {"source", "note"}
 *
 * The `alias` (at most 512 characters) is the alert's id: while an alert of an alias is open, creating it again only counts.
 */
import { createHash } from "node:crypto";
import { post } from "./http-post.ts";
import { type Change, type Sender, shortened, shortId } from "./sender.ts";

export interface OpsgenieParts {
  readonly url: string;
  readonly apiKey: string;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
  readonly clock: () => number;
}

const PRIORITIES: Readonly<Record<string, string>> = { critical: "P1", warning: "P3", info: "P5" };
const ACTIONS: Readonly<Record<string, string>> = { acknowledged: "acknowledge", resolved: "close" };
/** All keys and values of `details` together. */
const MOST_DETAILS = 8000;

export function opsgenieSender({ url, apiKey, timeoutMs, secrets, clock }: OpsgenieParts): Sender {
  const base = url.replace(/\/+$/, "");
  return {
    address: new URL(url).origin,
    mostChanges: 1,
    async send([change], signal) {
      const { path, body } = opsgenieRequest(change as Change);
      const headers = { authorization: `GenieKey ${apiKey}` };
      await post({ url: `${base}${path}`, headers, body: JSON.stringify(body), timeoutMs, secrets, clock }, signal);
    },
  };
}

export function opsgenieRequest(change: Change): { path: string; body: Record<string, unknown> } {
  const { alert_id, state, summary, kind, name, key, severity, at, details } = change;
  const alias = shortId(alert_id, 512, sha256);
  const action = ACTIONS[state];
  if (action !== undefined) {
    const path = `/v2/alerts/${encodeURIComponent(alias)}/${action}?identifierType=alias`;
    return { path, body: { source: "Millrace", note: shortened(`${state} at ${at}: ${summary}`, 25_000) } };
  }
  const facts = { kind, name, severity, at, alert_id: shortened(alert_id, 600), key: shortened(key, 600) };
  const left = MOST_DETAILS - Object.entries(facts).flat().join("").length - "details".length;
  return {
    path: "/v2/alerts",
    body: {
      message: shortened(summary || name, 130),
      alias,
      description: shortened(summary, 15_000),
      entity: shortened(key, 512),
      source: "Millrace",
      priority: PRIORITIES[severity] ?? "P3",
      tags: [kind, name, severity].map((tag) => shortened(tag, 50)),
      details: { ...facts, details: shortened(JSON.stringify(details) ?? "null", left) },
    },
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
