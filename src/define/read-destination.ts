import type { Definition } from "./definition.ts";
import type { AlertChange, DestinationKind } from "./destinations.ts";
import { parseDuration } from "./duration.ts";
import { invalidOption, isNameList, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";
import { Secret } from "./secret.ts";

/** A destination of alerts whose options have been checked. Secrets are read from the environment when the platform starts. */
export type Destination =
  | WebhookDestination
  | SlackDestination
  | PagerDutyDestination
  | OpsgenieDestination
  | SmtpDestination
  | StreamDestination;

interface DestinationBase {
  readonly name: string;
  readonly giveUpAfterMs: number;
  readonly timeoutMs: number;
  readonly rate: { readonly most: number; readonly perMs: number } | undefined;
  readonly file: string;
}

export interface WebhookDestination extends DestinationBase {
  readonly kind: "webhook";
  readonly url: Secret;
  readonly secrets: readonly Secret[];
  readonly headers: Readonly<Record<string, Secret>>;
}

export interface SlackDestination extends DestinationBase {
  readonly kind: "slack";
  readonly url: Secret;
}

export interface PagerDutyDestination extends DestinationBase {
  readonly kind: "pagerduty";
  readonly url: Secret;
  readonly routingKey: Secret;
}

export interface OpsgenieDestination extends DestinationBase {
  readonly kind: "opsgenie";
  readonly url: Secret;
  readonly apiKey: Secret;
}

export interface SmtpDestination extends DestinationBase {
  readonly kind: "smtp";
  readonly host: string;
  readonly port: number;
  readonly tls: "starttls" | "implicit" | "none";
  readonly user: Secret | undefined;
  readonly password: Secret | undefined;
  readonly from: string;
  readonly to: readonly string[];
  readonly ca: Secret | undefined;
}

export interface StreamDestination extends DestinationBase {
  readonly kind: "stream";
  readonly stream: string;
  readonly event: ((change: AlertChange) => Readonly<Record<string, unknown>>) | undefined;
}

const DELIVERY = ["kind", "giveUpAfter", "timeout", "rate"];
const OPTIONS: Record<DestinationKind, readonly string[]> = {
  webhook: [...DELIVERY, "url", "secret", "headers"],
  slack: [...DELIVERY, "url"],
  pagerduty: [...DELIVERY, "url", "routingKey"],
  opsgenie: [...DELIVERY, "url", "apiKey"],
  smtp: [...DELIVERY, "host", "port", "tls", "user", "password", "from", "to", "ca"],
  stream: ["kind", "stream", "event"],
};
const NAME = /^[a-z][a-z0-9_-]{0,99}$/;
const DAY_MS = 86_400_000;
const DEFAULT_TIMEOUT_MS = 10_000;
/** An attempt holds a place among those under way and the platform's stop waits for it. */
const MOST_TIMEOUT_MS = 300_000;
const HEADER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Headers that the platform writes itself. */
const OWN_HEADERS = new Set([
  ...["content-type", "content-length", "host", "connection", "transfer-encoding", "user-agent"],
  ...["webhook-id", "webhook-timestamp", "webhook-signature"],
]);
const TEXT_OR_ENV = 'text, or env("NAME")';

/** The destination that a definition describes, or everything that is wrong with it as such. Secrets are never shown. */
export function readDestination(definition: Definition, file: string): Destination | readonly Problem[] {
  const { name, options } = definition;
  const problems: Problem[] = [];
  if (typeof name !== "string" || !NAME.test(name)) {
    const allowed =
      "a name is lower-case letters, digits, - and _, begins with a letter and has at most 100 characters";
    problems.push(problem("NAME_INVALID", { subject: "a destination", got: name, allowed }));
  }
  const given = options as Record<string, unknown> & { readonly kind: DestinationKind };
  const subject = `${given.kind === "stream" ? "toStream" : given.kind} "${name}"`;
  problems.push(...unknownOptions(subject, given, OPTIONS[given.kind]));
  const reading = new Reading(given, subject, problems);
  const base = { ...reading.delivery(given.kind), name, file };
  const destination = reading.destination(given.kind, base);
  return problems.length > 0 ? problems : destination;
}

class Reading {
  private readonly given: Record<string, unknown>;
  private readonly subject: string;
  private readonly problems: Problem[];

  constructor(given: Record<string, unknown>, subject: string, problems: Problem[]) {
    this.given = given;
    this.subject = subject;
    this.problems = problems;
  }

  destination(kind: DestinationKind, base: DestinationBase): Destination {
    switch (kind) {
      case "webhook":
        return { ...base, kind, url: this.url(), secrets: this.signing(), headers: this.headers() };
      case "slack":
        return { ...base, kind, url: this.url() };
      case "pagerduty":
        return {
          ...base,
          kind,
          url: this.url("https://events.pagerduty.com/v2/enqueue"),
          routingKey: this.secret("routingKey"),
        };
      case "opsgenie":
        return { ...base, kind, url: this.url("https://api.opsgenie.com"), apiKey: this.secret("apiKey") };
      case "smtp":
        return this.smtp(base);
      case "stream":
        return { ...base, kind, stream: this.text("stream", "a stream, or its name"), event: this.function("event") };
    }
  }

  delivery(kind: DestinationKind): Omit<DestinationBase, "name" | "file"> {
    const { rate = kind === "slack" ? { most: 1, per: "1s" } : undefined } = this.given;
    return {
      giveUpAfterMs: this.duration("giveUpAfter", DAY_MS, 30 * DAY_MS),
      timeoutMs: this.duration("timeout", DEFAULT_TIMEOUT_MS, MOST_TIMEOUT_MS),
      rate: rate === undefined ? undefined : this.rate(rate),
    };
  }

  private smtp(base: DestinationBase): SmtpDestination {
    const { port: givenPort, tls = givenPort === 465 ? "implicit" : "starttls", to } = this.given;
    const isTls = tls === "starttls" || tls === "implicit" || tls === "none";
    if (!isTls) this.refuse("tls", tls, '"starttls", "implicit" or "none"');
    const port = givenPort ?? (tls === "implicit" ? 465 : tls === "none" ? 25 : 587);
    if (!(Number.isInteger(port) && (port as number) >= 1 && (port as number) <= 65_535))
      this.refuse("port", port, "a whole number from 1 to 65535");
    const host = this.text("host", "a host name or an address");
    const recipients = typeof to === "string" ? [to] : to;
    if (!isNameList(recipients) || recipients.length === 0 || !recipients.every(isAddress))
      this.refuse("to", to, "a mail address, or a list of them");
    const from = this.text("from", 'a mail address such as "Millrace <alerts@example.com>"');
    if (from !== "" && !isAddress(from)) this.refuse("from", from, "a mail address");
    const user = this.optionalSecret("user");
    const password = this.optionalSecret("password");
    if ((user === undefined) !== (password === undefined))
      this.refuse(user === undefined ? "user" : "password", undefined, "given together with the other one");
    if (tls === "none" && password !== undefined && !isLoopback(host))
      this.refuse("tls", tls, '"starttls" or "implicit" where a password goes to another machine');
    const ca = this.optionalSecret("ca");
    return {
      ...{ ...base, kind: "smtp", host, port: port as number, tls: tls as SmtpDestination["tls"] },
      ...{ user, password, from, to: recipients as string[], ca },
    };
  }

  private url(standard?: string): Secret {
    const { url = standard } = this.given;
    const secret = Secret.read(url);
    if (secret === undefined || (secret.literal !== undefined && !isHttpUrl(secret.literal)))
      this.refuseUnseen("url", url, 'a URL that begins with https:// or http:// and names no user, or env("NAME")');
    return secret ?? new Secret("");
  }

  private signing(): readonly Secret[] {
    const { secret = [] } = this.given;
    return (Array.isArray(secret) ? secret : [secret]).map((one) => {
      const read = Secret.read(one);
      if (read === undefined || (read.literal !== undefined && signingKey(read.literal) === undefined))
        this.refuseUnseen("secret", one, `${SIGNING_SECRET}, or env("NAME")`);
      return read ?? new Secret("");
    });
  }

  private headers(): Readonly<Record<string, Secret>> {
    const { headers = {} } = this.given;
    if (!isRecord(headers)) {
      this.refuseUnseen("headers", headers, "an object of header names and values");
      return {};
    }
    return Object.fromEntries(
      Object.entries(headers).map(([name, value]) => {
        if (!HEADER.test(name) || OWN_HEADERS.has(name.toLowerCase()))
          this.refuse("headers", name, "names of headers that the platform does not write itself");
        const read = Secret.read(value);
        if (read === undefined || (read.literal !== undefined && !isHeaderValue(read.literal)))
          this.refuseUnseen(`headers.${name}`, value, `${TEXT_OR_ENV} of one line`);
        return [name.toLowerCase(), read ?? new Secret("")] as const;
      }),
    );
  }

  private secret(option: string): Secret {
    const read = Secret.read(this.given[option]);
    if (read === undefined) this.refuseUnseen(option, this.given[option], TEXT_OR_ENV);
    return read ?? new Secret("");
  }

  private optionalSecret(option: string): Secret | undefined {
    return this.given[option] === undefined ? undefined : this.secret(option);
  }

  private text(option: string, allowed: string): string {
    const value = this.given[option];
    if (typeof value === "string" && value.trim() !== "") return value;
    this.refuse(option, value, allowed);
    return "";
  }

  private function(option: string): StreamDestination["event"] {
    const value = this.given[option];
    if (value !== undefined && typeof value !== "function") this.refuse(option, value, "a function");
    return value as StreamDestination["event"];
  }

  private duration(option: string, standard: number, most: number): number {
    const value = this.given[option];
    if (value === undefined) return standard;
    const durationMs = typeof value === "string" ? parseDuration(value) : undefined;
    if (durationMs === undefined || durationMs < 1 || durationMs > most)
      this.refuse(option, value, `a duration such as 30s, 15m or 2h of at most ${most / 1000}s`);
    return durationMs ?? standard;
  }

  private rate(value: unknown): DestinationBase["rate"] {
    const { most, per } = isRecord(value) ? value : {};
    const perMs = typeof per === "string" ? parseDuration(per) : undefined;
    if (!(Number.isInteger(most) && (most as number) >= 1) || perMs === undefined || perMs < 1)
      this.refuse("rate", value, 'a number of messages and a time such as { most: 60, per: "1m" }');
    return { most: most as number, perMs: perMs ?? 1 };
  }

  private refuse(option: string, value: unknown, allowed: string): void {
    this.problems.push(invalidOption(this.subject, option, value, allowed));
  }

  /** Of an option that may hold a secret nothing is shown but whether it is there. */
  private refuseUnseen(option: string, value: unknown, allowed: string): void {
    const got = value === undefined ? "missing" : "something else";
    this.problems.push(problem("OPTION_INVALID", { subject: this.subject, option, got, allowed }));
  }
}

/** What a signing secret may be, in words. */
export const SIGNING_SECRET = "whsec_ and base64 of 24 to 64 bytes, or other text of at least 16 characters";

/** The key that a signing secret stands for; undefined when it is none. */
export function signingKey(secret: string): Buffer | undefined {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1];
  if (base64 !== undefined) {
    const key = Buffer.from(base64, "base64");
    return key.length >= 24 && key.length <= 64 ? key : undefined;
  }
  return secret.length >= 16 && !secret.startsWith("whsec_") ? Buffer.from(secret, "utf8") : undefined;
}

/** A URL to post to. Names and passwords do not belong into it: they go into headers. */
export function isHttpUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === "" && password === "";
}

/** Text that HTTP takes as the value of a header. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e]+$/.test(text);
}

function isAddress(text: string): boolean {
  return !/[\r\n]/.test(text) && /[^\s@<]@[^\s@>]/.test(text);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
