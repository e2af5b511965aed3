/** Makes the sender of a destination, with its secrets read from the environment. */
import {
  type Destination,
  isHeaderValue,
  isHttpUrl,
  SIGNING_SECRET,
  type StreamDestination,
  signingKey,
} from "../../define/read-destination.ts";
import type { Secret } from "../../define/secret.ts";
import { MillraceError } from "../../errors.ts";
import { opsgenieSender } from "./opsgenie-sender.ts";
import { pagerdutySender } from "./pagerduty-sender.ts";
import type { Sender } from "./sender.ts";
import { slackSender } from "./slack-sender.ts";
import { webhookSender } from "./webhook-sender.ts";

export type OutsideDestination = Exclude<Destination, StreamDestination>;

export interface SenderParts {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: () => number;
}

/** @throws DESTINATION_UNSET when the environment does not hold what the destination needs */
export async function openSender(destination: OutsideDestination, { env, clock }: SenderParts): Promise<Sender> {
  const secrets: string[] = [];
  const named = `${destination.kind} "${destination.name}"`;
  const read = (secret: Secret, fits: (text: string) => boolean = () => true, allowed = "text"): string => {
    const text = secret.reveal(env);
    if (text === undefined || !fits(text)) {
      const reason = text === undefined ? "is not set" : `is not ${allowed}`;
      throw new MillraceError("DESTINATION_UNSET", { destination: named, variable: secret.variable ?? "", reason });
    }
    secrets.push(text);
    return text;
  };
  const url = (secret: Secret) => {
    const text = read(secret, isHttpUrl, "a URL that begins with https:// or http:// and names no user");
    const { origin, pathname, search, searchParams } = new URL(text);
    secrets.push(`${pathname}${search}`, pathname, search, ...searchParams.values());
    // The part that everybody may see is no secret, and messages name it.
    secrets.splice(secrets.indexOf(text), 1, ...(text.replace(/\/$/, "") === origin ? [] : [text]));
    return text;
  };
  const { timeoutMs } = destination;
  const shared = { timeoutMs, secrets, clock };
  switch (destination.kind) {
    case "webhook": {
      const signing = destination.secrets.map((secret) => read(secret, isSigning, SIGNING_SECRET));
      const headers = Object.entries(destination.headers).map(
        ([name, value]) => [name, read(value, isHeaderValue, "text of one line")] as const,
      );
      const keys = signing.map((secret) => signingKey(secret) as Buffer);
      return webhookSender({ url: url(destination.url), keys, headers: Object.fromEntries(headers), ...shared });
    }
    case "slack":
      return slackSender({ url: url(destination.url), ...shared });
    case "pagerduty":
      return pagerdutySender({ url: url(destination.url), routingKey: read(destination.routingKey), ...shared });
    case "opsgenie":
      return opsgenieSender({
        url: url(destination.url),
        apiKey: read(destination.apiKey, isHeaderValue, "text of one line"),
        ...shared,
      });
    case "smtp": {
      const { host, port, tls, user, password, from, to, ca } = destination;
      const auth = user && password && { user: read(user), pass: read(password) };
      const { smtpSender } = await import("./smtp-sender.ts");
      const parts = { host, port, tls, auth, from, to, ca: ca && read(ca), timeoutMs, secrets };
      return smtpSender(parts);
    }
  }
}

function isSigning(text: string): boolean {
  return signingKey(text) !== undefined;
}
