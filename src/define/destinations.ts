import { type Definition, define } from "./definition.ts";
import type { EnvReference } from "./secret.ts";
import type { StreamDefinition } from "./stream.ts";

/** Text that is shown nowhere: itself, or `env("NAME")` for an environment variable that the platform reads when it starts. */
export type SecretText = string | EnvReference;

/** What every destination outside the platform takes. */
export interface DeliveryOptions {
  /** How long a delivery is tried again before it becomes a dead letter: `"6h"`. Default `"24h"`. */
  readonly giveUpAfter?: string;
  /** Longest time of one attempt. Default `"10s"`. */
  readonly timeout?: string;
  /** At most so many messages in a time: `{ most: 60, per: "1m" }`. Default: `{ most: 1, per: "1s" }` for Slack, else no limit. */
  readonly rate?: { readonly most: number; readonly per: string };
}

export interface WebhookOptions extends DeliveryOptions {
  /** `https://…`; `http://` too. */
  readonly url: SecretText;
  /**
   * Signs every request as Standard Webhooks says: `whsec_` and base64 of 24 to 64 bytes, or any text of at least 16 characters.
   * A list, while a secret is being replaced: requests are signed with each of them. Without one requests are not signed.
   */
  readonly secret?: SecretText | readonly SecretText[];
  /** Further headers of every request. Their values are shown nowhere. */
  readonly headers?: Readonly<Record<string, SecretText>>;
}

export interface SlackOptions extends DeliveryOptions {
  /** The incoming webhook's address. Who has it may post, so it is a secret. */
  readonly url: SecretText;
}

export interface PagerDutyOptions extends DeliveryOptions {
  /** The integration key of an Events API v2 integration. */
  readonly routingKey: SecretText;
  /** Default `https://events.pagerduty.com/v2/enqueue`; `https://events.eu.pagerduty.com/v2/enqueue` for accounts in the EU. */
  readonly url?: SecretText;
}

export interface OpsgenieOptions extends DeliveryOptions {
  /** Key of an API integration. */
  readonly apiKey: SecretText;
  /** Default `https://api.opsgenie.com`; `https://api.eu.opsgenie.com` for accounts in the EU. */
  readonly url?: SecretText;
}

export interface SmtpOptions extends DeliveryOptions {
  readonly host: string;
  /** Default 465 with `tls: "implicit"`, 587 with `"starttls"`, 25 with `"none"`. */
  readonly port?: number;
  /**
   * `"starttls"`: the connection must become encrypted before anything is said. `"implicit"`: it is from its beginning. `"none"`: it is not, which
   * is refused together with a password unless the server is on this machine. Default `"starttls"`, or `"implicit"` on port 465.
   */
  readonly tls?: "starttls" | "implicit" | "none";
  readonly user?: SecretText;
  readonly password?: SecretText;
  /** `"Millrace <alerts@example.com>"` */
  readonly from: string;
  readonly to: string | readonly string[];
  /** Certificate of the authority that signed the server's, as PEM, where the system does not know it. */
  readonly ca?: SecretText;
}

/** A change of an alert, as `toStream` and its function see it. */
export interface AlertChange {
  readonly event_id: string;
  readonly alert_id: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly kind: string;
  readonly name: string;
  readonly severity: "info" | "warning" | "critical";
  readonly state: string;
  readonly key: string;
  readonly summary: string;
  readonly details: unknown;
  /** Who acknowledged or resolved it by hand, and what they noted. */
  readonly actor?: string;
  readonly note?: string;
}

export interface ToStreamOptions {
  /** Makes the stream's event from the change of an alert. Default: the change as it is, with the fields of `AlertChange`. */
  readonly event?: (change: AlertChange) => Readonly<Record<string, unknown>>;
}

export type DestinationKind = "webhook" | "slack" | "pagerduty" | "opsgenie" | "smtp" | "stream";
export type DestinationDefinition = Definition<"destination", Readonly<Record<string, unknown>>>;

function destination(
  kind: DestinationKind,
  name: string,
  options: object,
  caller: (...args: never[]) => unknown,
): DestinationDefinition {
  return define("destination", name, { ...options, kind }, caller);
}

/**
 * Posts every change of an alert to a URL: `export const ops = webhook("ops", { url: env("OPS_URL"), secret: env("OPS_SECRET") })`.
 *
 * The body is `{"type": "alert.firing", "timestamp", "data": {…the change}}`. With a secret the request is signed as Standard Webhooks says,
 * and `webhook-id` is the same for every attempt, so a receiver that keeps the ids it has seen takes each change once.
 */
export function webhook(name: string, options: WebhookOptions): DestinationDefinition {
  return destination("webhook", name, options, webhook);
}

/** Posts to a Slack incoming webhook: `export const team = slack("team", { url: env("SLACK_URL") })`. */
export function slack(name: string, options: SlackOptions): DestinationDefinition {
  return destination("slack", name, options, slack);
}

/**
 * Triggers, acknowledges and resolves PagerDuty alerts by the Events API v2: `pagerduty("on-call", { routingKey: env("PAGERDUTY_KEY") })`. The
 * alert's id is the `dedup_key`.
 */
export function pagerduty(name: string, options: PagerDutyOptions): DestinationDefinition {
  return destination("pagerduty", name, options, pagerduty);
}

/** Creates, acknowledges and closes Opsgenie alerts: `opsgenie("on-call", { apiKey: env("OPSGENIE_KEY") })`. The alert's id is the `alias`. */
export function opsgenie(name: string, options: OpsgenieOptions): DestinationDefinition {
  return destination("opsgenie", name, options, opsgenie);
}

/** Sends mail: `smtp("mail", { host: "mail.example.com", user: "alerts", password: env("MAIL_PASSWORD"), from: "…", to: "ops@example.com" })`. */
export function smtp(name: string, options: SmtpOptions): DestinationDefinition {
  return destination("smtp", name, options, smtp);
}

/**
 * Appends an event to a stream of the project for every change of an alert, exactly once: `toStream("drivers", driverAlerts, { event: ({ key, summary })
 * => ({ driver_id: key, text: summary }) })`. The event passes the stream's contract; one that is refused is a dead letter.
 */
export function toStream(
  name: string,
  // biome-ignore lint/suspicious/noExplicitAny: what the stream's fields are is its own
  stream: StreamDefinition<any> | string,
  options: ToStreamOptions = {},
): DestinationDefinition {
  const target = typeof stream === "string" ? stream : stream?.name;
  return destination("stream", name, { ...options, stream: target }, toStream);
}
