/**
 * Webhooks, signed as Standard Webhooks 1.0.0 says (https://github.com/standard-webhooks/standard-webhooks):
 *
 *     webhook-id: msg_<43 of base64url>          the same for every attempt of a change
 *     webhook-timestamp: 1735689600              seconds, of the attempt
 *     webhook-signature: v1,<base64> v1,<base64> HMAC-SHA256 of `<id>.<timestamp>.<body>`, one for each secret
 *
 *     {"type": "alert.firing", "timestamp": "2026-01-01T00:00:00.000Z", "data": {"event_id", "alert_id", …}}
 */
import { createHash, createHmac } from "node:crypto";
import { post } from "./http-post.ts";
import { type Change, type Sender, told } from "./sender.ts";

export interface WebhookParts {
  readonly url: string;
  /** Keys of the signing secrets; none: requests are not signed. */
  readonly keys: readonly Uint8Array[];
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
  readonly clock: () => number;
}

export function webhookSender(parts: WebhookParts): Sender {
  const { url, keys, headers, timeoutMs, secrets, clock } = parts;
  return {
    address: new URL(url).origin,
    mostChanges: 1,
    async send([change], signal) {
      const { event_id, state, at } = change as Change;
      const body = JSON.stringify({ type: `alert.${state}`, timestamp: at, data: told(change as Change) });
      const id = webhookId(event_id);
      const timestamp = String(Math.floor(clock() / 1000));
      const signature = keys.map((key) => sign(key, id, timestamp, body)).join(" ");
      const signed = signature === "" ? {} : { "webhook-signature": signature };
      const own = { "webhook-id": id, "webhook-timestamp": timestamp, ...signed };
      await post({ url, headers: { ...headers, ...own }, body, timeoutMs, secrets, clock }, signal);
    },
  };
}

/** Of one form whatever the event's id holds: a header takes no line breaks, and the dot is what separates the parts that are signed. */
export function webhookId(eventId: string): string {
  return `msg_${createHash("sha256").update(eventId).digest("base64url")}`;
}

export function sign(key: Uint8Array, id: string, timestamp: string, body: string): string {
  return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}
