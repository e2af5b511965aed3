import { setTimeout as sleep } from "node:timers/promises";

/**
 * The platform's front door as any client sees it: `POST /v1/streams/{stream}/events` with NDJSON over kept-alive connections. A batch is
 * sent until it is answered: 429 and 503 are waited out as `Retry-After` asks, a lost connection is tried again. A batch whose
 * answer was lost may have been stored, so its events may arrive twice; their ids make them one.
 */
export class Door {
  readonly #url: string;
  readonly #key: string;
  readonly #signal: AbortSignal;
  readonly #giveUpAfterMs: number;
  readonly #sleep: (ms: number) => Promise<void>;

  /** `signal` ends all waiting and sending. A batch that finds nobody for `giveUpAfterMs` fails. */
  constructor(options: {
    url: string;
    key: string;
    signal: AbortSignal;
    giveUpAfterMs?: number;
    sleep?: (ms: number) => Promise<void>;
  }) {
    const { url, key, signal, giveUpAfterMs = 60_000 } = options;
    this.#url = url.replace(/\/$/, "");
    this.#key = key;
    this.#signal = signal;
    this.#giveUpAfterMs = giveUpAfterMs;
    this.#sleep = options.sleep ?? ((ms) => sleep(ms, undefined, { signal }));
  }

  /** Sends one batch and gives the platform's answer to it. Throws `DoorError` when no answer can be had. */
  async send(stream: string, lines: readonly string[]): Promise<Answer> {
    const body = `${lines.join("\n")}\n`;
    let throttled = 0;
    let resent = 0;
    let silentMs = 0;
    let pauseMs = 100;
    for (;;) {
      const response = await this.#post(stream, body);
      if (response === undefined) {
        if (silentMs >= this.#giveUpAfterMs) throw new DoorError(`nobody answers at ${this.#url}`);
        resent++;
        silentMs += pauseMs;
        await this.#sleep(pauseMs);
        pauseMs = Math.min(pauseMs * 2, 5_000);
        continue;
      }
      if (response.status === 429 || response.status === 503) {
        throttled++;
        await this.#sleep(retryAfterMs(response.retryAfter));
        continue;
      }
      return { ...read(stream, lines.length, response), throttled, resent };
    }
  }

  /** Undefined when the connection failed before the whole answer was here. */
  async #post(stream: string, body: string): Promise<Response | undefined> {
    try {
      const response = await fetch(`${this.#url}/v1/streams/${stream}/events`, {
        method: "POST",
        headers: { authorization: `Bearer ${this.#key}`, "content-type": "application/x-ndjson" },
        body,
        signal: this.#signal,
      });
      return { status: response.status, retryAfter: response.headers.get("retry-after"), text: await response.text() };
    } catch (error) {
      // fetch throws TypeError for every failure of the network, and the signal's reason when it was told to stop.
      if (this.#signal.aborted || !(error instanceof TypeError)) throw error;
      return undefined;
    }
  }
}

export class DoorError extends Error {}

export interface Answer {
  readonly accepted: number;
  readonly rejected: number;
  /** Codes of the rejected events, as far as the answer names them. */
  readonly codes: readonly string[];
  /** Times the platform asked to wait, and times the batch was sent again because no answer came. */
  readonly throttled: number;
  readonly resent: number;
}

interface Response {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly text: string;
}

/** `Retry-After` is a number of seconds or an HTTP date; a second where it says nothing of use. */
function retryAfterMs(header: string | null): number {
  if (header === null) return 1_000;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1_000);
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? 1_000 : Math.max(0, dateMs - Date.now());
}

/** 202: some or all were accepted. 422: none was. Anything else is a mistake that sending again does not mend. */
function read(stream: string, sent: number, { status, text }: Response): Omit<Answer, "throttled" | "resent"> {
  if (status === 202) {
    const { accepted, rejected } = JSON.parse(text) as { accepted: number; rejected: { code: string }[] };
    return { accepted, rejected: sent - accepted, codes: rejected.map((r) => r.code) };
  }
  if (status === 422) return { accepted: 0, rejected: sent, codes: codesOf(text) };
  throw new DoorError(`stream "${stream}" was answered ${status}: ${text.slice(0, 500)}`);
}

function codesOf(text: string): string[] {
  const body = JSON.parse(text) as {
    rejected?: { code: string }[];
    error?: { details?: { rejected?: { code: string }[] } };
  };
  return (body.rejected ?? body.error?.details?.rejected ?? []).map((r) => r.code);
}
