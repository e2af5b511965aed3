/**
 * One POST to a destination. Nothing follows a redirect (it would carry the message and its secrets to somewhere the project does not name), an answer
 * is read as far as a message about it needs, and an attempt has an end.
 */
import { DeliveryFailure, type Verdict } from "./sender.ts";

export interface PostRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
  /** Texts that no message may show, whoever sends them back. */
  readonly secrets: readonly string[];
  readonly clock: () => number;
}

/** How much of an answer is read: what it says about a failure is at its beginning. */
const MOST_ANSWER_BYTES = 16 * 1024;
const MOST_SHOWN = 200;
/** However long the other side asks to be left alone, it is tried again after a day. */
const MOST_WAIT_MS = 86_400_000;
/** Shorter secrets would hide parts of ordinary words. */
const LEAST_SECRET = 6;

/**
 * Resolves once the other side has answered with success.
 * @throws DeliveryFailure; the signal's reason when that aborts
 */
export async function post(request: PostRequest, signal: AbortSignal): Promise<void> {
  const { url, headers, body, timeoutMs, secrets, clock } = request;
  const timeout = AbortSignal.timeout(timeoutMs);
  const both = AbortSignal.any([signal, timeout]);
  let response: Response;
  let answer = "";
  try {
    response = await fetch(url, {
      ...{ method: "POST", redirect: "manual", signal: both, body },
      headers: { "content-type": "application/json", "user-agent": "Millrace", ...headers },
    });
    if (response.ok) {
      await response.body?.cancel().catch(() => undefined); // it is taken, whatever else the answer was to say
      return;
    }
    answer = await beginning(response);
  } catch (error) {
    signal.throwIfAborted();
    const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error);
    throw new DeliveryFailure("down", hidden(reason, secrets));
  }
  const { status } = response;
  const said = answer === "" ? "" : `: ${shown(answer)}`;
  const redirect = status >= 300 && status < 400 ? " (redirects are not followed)" : "";
  const retryAfterMs = waitOf(response.headers.get("retry-after"), clock());
  throw new DeliveryFailure(
    verdictOf(status, retryAfterMs),
    hidden(`it answered ${status}${redirect}${said}`, secrets),
    retryAfterMs,
  );
}

/** 408, 425 and 429 say "later" like 5xx do; what else a 4xx says will not change by waiting. */
function verdictOf(status: number, retryAfterMs: number | undefined): Verdict {
  if (status === 429 || status === 503 || status === 502 || status === 504) return "down";
  if (status >= 400 && status < 500 && status !== 408 && status !== 425) return "refused";
  return retryAfterMs === undefined ? "failed" : "down";
}

/** `Retry-After`: seconds or a date. */
function waitOf(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const waitMs = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), MOST_WAIT_MS);
}

async function beginning(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MOST_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function reasonOf(error: unknown): string {
  // fetch says "fetch failed" and has the reason as its cause.
  const cause = (error as Error).cause ?? error;
  const { code, message } = cause as NodeJS.ErrnoException;
  return (
    [message, code !== undefined && !message.includes(code) ? `(${code})` : ""].filter(Boolean).join(" ") ||
    String(cause)
  );
}

function shown(answer: string): string {
  const line = answer.replaceAll(/\s+/g, " ").trim();
  return line.length > MOST_SHOWN ? `${line.slice(0, MOST_SHOWN)}…` : line;
}

/** Text in which no secret is. */
export function hidden(text: string, secrets: readonly string[]): string {
  // The longest first: of one that another is part of, no rest may stay.
  return secrets
    .filter((secret) => secret.length >= LEAST_SECRET)
    .sort((a, b) => b.length - a.length)
    .reduce((rest, secret) => rest.replaceAll(secret, "********"), text);
}
