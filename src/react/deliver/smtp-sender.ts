/**
 * Mail by SMTP. The `Message-ID` is made from the changes' ids, so a mail that is sent twice is the same to programs that look; mails about one
 * alert refer to the same id, which shows them as one conversation.
 */
import { createHash } from "node:crypto";
import { createTransport } from "nodemailer";
import { hidden } from "./http-post.ts";
import { type Change, DeliveryFailure, type Sender, shortened, type Verdict } from "./sender.ts";

export interface SmtpParts {
  readonly host: string;
  readonly port: number;
  readonly tls: "starttls" | "implicit" | "none";
  readonly auth: { readonly user: string; readonly pass: string } | undefined;
  readonly from: string;
  readonly to: readonly string[];
  readonly ca: string | undefined;
  readonly timeoutMs: number;
  readonly secrets: readonly string[];
}

/** Mails that hold more are not read. */
const MOST_CHANGES = 20;
/** Messages of which some recipients were refused. Only as many are remembered as may be tried again at a time. */
const MOST_REMEMBERED = 1000;

export function smtpSender({ host, port, tls, auth, from, to, ca, timeoutMs, secrets }: SmtpParts): Sender {
  const transport = createTransport({
    ...{ host, port, secure: tls === "implicit", requireTLS: tls === "starttls", ignoreTLS: tls === "none" },
    ...{ connectionTimeout: timeoutMs, greetingTimeout: timeoutMs, socketTimeout: timeoutMs },
    ...(auth && { auth: { ...auth } }),
    ...(ca !== undefined && { tls: { ca } }),
    // Nothing of a message is a file or a URL to be read.
    ...{ disableFileAccess: true, disableUrlAccess: true },
  });
  /** By Message-ID: who has it already. A message is sent again only to the others. */
  const taken = new Map<string, Set<string>>();
  return {
    address: `smtp://${host.includes(":") ? `[${host}]` : host}:${port}`,
    mostChanges: MOST_CHANGES,
    async send(changes, signal) {
      const mail = mailOf(changes);
      const done = taken.get(mail.messageId) ?? new Set<string>();
      const recipients = to.filter((one) => !done.has(one));
      const sending = transport.sendMail({ ...mail, from, to: [...to], envelope: { from, to: recipients } });
      const { rejected, rejectedErrors } = await inTime(sending, timeoutMs, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        throw failureOf(error, secrets);
      });
      if (rejected.length === 0) {
        taken.delete(mail.messageId);
        return;
      }
      const refused = rejected.map(String);
      for (const one of recipients) if (!refused.some((address) => one.includes(address))) done.add(one);
      taken.set(mail.messageId, done);
      if (taken.size > MOST_REMEMBERED) taken.delete(taken.keys().next().value as string);
      throw failureOf(rejectedErrors?.[0] ?? new Error(`it refused ${refused.join(", ")}`), secrets);
    },
    close: () => transport.close(),
  };
}

export function mailOf(changes: readonly Change[]): {
  subject: string;
  text: string;
  messageId: string;
  headers: Record<string, string>;
  references?: string;
} {
  const first = changes[0] as Change;
  const title = ({ state, severity, name }: Change) => `[${state}] ${severity}: ${name}`;
  const subject =
    changes.length === 1 ? `${title(first)}: ${first.summary}` : `${title(first)}, and ${changes.length - 1} more`;
  const one = changes.length === 1;
  return {
    subject: shortened(subject.replaceAll(/\s+/g, " "), 200),
    text: changes.map(paragraph).join(`\n\n${"-".repeat(72)}\n\n`),
    messageId: mailId(changes.map(({ event_id }) => event_id).join("\n")),
    headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
    ...(one && { references: mailId(first.alert_id) }),
  };
}

function paragraph(change: Change): string {
  const { summary, state, severity, kind, name, key, at, alert_id, details } = change;
  const facts = { State: state, Severity: severity, Alert: `${kind}/${name}`, About: key, At: at, Id: alert_id };
  const lines = Object.entries(facts).map(([label, value]) => `${`${label}:`.padEnd(10)}${value}`);
  const more =
    details === undefined || details === null ? "" : `\n\n${shortened(JSON.stringify(details, null, 2), 20_000)}`;
  return `${summary}\n\n${lines.join("\n")}${more}`;
}

function mailId(text: string): string {
  return `<${createHash("sha256").update(text).digest("hex").slice(0, 40)}@millrace>`;
}

/** nodemailer's limits are of silence; a server that says one word a second stays within them for ever. */
function inTime<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(new Error(`it has not taken the mail within ${timeoutMs} ms`)), timeoutMs);
  const aborted = () => reject(signal.reason);
  signal.addEventListener("abort", aborted, { once: true });
  work.then(resolve, reject).finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
  });
  return promise;
}

/** A reply of 5xx is final (RFC 5321, 4.2.1), also to a password; 4xx says "later". Whoever gives no reply is not there. */
function failureOf(error: unknown, secrets: readonly string[]): DeliveryFailure {
  const { message, responseCode } = error as Error & { responseCode?: number };
  const verdict: Verdict =
    responseCode === undefined || responseCode === 421 ? "down" : responseCode >= 500 ? "refused" : "failed";
  return new DeliveryFailure(verdict, hidden(message, secrets));
}
