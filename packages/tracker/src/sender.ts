/**
 * One packet to `POST {endpoint}/v1/streams/{stream}/events`, and what its answer means:
 *
 * | answer | |
 * |---|---|
 * | 202, and 422 with `rejected` | done; refused events are given up |
 * | 413; 400 and 415 in the platform's words | halves are sent by themselves, until the event that is too much stands alone and is given up |
 * | 404 `STREAM_UNKNOWN` | the packet is given up |
 * | none, or anything else | sent again, after `Retry-After` or with exponential backoff and full jitter, elsewhere meanwhile |
 *
 * Anything else includes 200 with a page: that is how a captive portal answers.
 *
 * Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
import type { Host } from "./host.ts";
import type { Options, Trouble } from "./options.ts";
import type { QueuedEvent } from "./store.ts";

export interface Sender {
  /** True when the events are off our hands, false when they have to wait. */
  deliver(events: QueuedEvent[], last?: boolean): Promise<boolean>;
  /** Until some endpoint may be tried. */
  waitMs(): number;
  /** Endpoints that could not be reached may be tried at once. */
  wake(): void;
  abort(): void;
}

interface Surroundings {
  allowed(): boolean;
  remove(events: readonly QueuedEvent[]): Promise<void>;
  drop(stream: string, event: unknown, code: string, message: string): void;
  onError(error: Trouble): void;
}

interface Answer {
  readonly accepted?: number;
  readonly rejected?: readonly { readonly index: number; readonly code: string; readonly message: string }[];
  readonly error?: { readonly code: string; readonly message: string };
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function sender(options: Options, host: Host, { allowed, remove, drop, onError }: Surroundings): Sender {
  /** In the order of preference: base URL, failures in a row, when to try again, whether it could not be reached. */
  const endpoints = [options.endpoints].flat().map((url) => ({ url, failures: 0, again: 0, gone: false }));
  const requests = new Set<AbortController>();

  const deliver = async (events: QueuedEvent[], last = false): Promise<boolean> => {
    const giveUp = async (code: string, message: string): Promise<boolean> => {
      await remove(events);
      for (const { s, e } of events) drop(s, JSON.parse(e), code, message);
      return true;
    };
    for (;;) {
      const endpoint = endpoints.find(({ again }) => again <= performance.now());
      if (!endpoint || !allowed()) return false;
      const stream = (events[0] as QueuedEvent).s;
      const text = events.map((event) => event.e).join("\n");
      const headers: Record<string, string> = {
        Authorization: `Bearer ${options.key}`,
        "Content-Type": "application/x-ndjson",
      };
      const request = new AbortController();
      requests.add(request);
      const timer = setTimeout(() => request.abort(), options.requestTimeoutMs ?? 30_000);
      let status = 0;
      let retryMs = 0;
      let answer: Answer | undefined;
      let message = "no answer";
      try {
        let body: string | ArrayBuffer = text;
        // A page that goes has no time left for what is not done at once.
        if (!last && text.length > 1_024 && globalThis.CompressionStream) {
          const gzip = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
          body = await new Response(gzip).arrayBuffer();
          headers["Content-Encoding"] = "gzip";
        }
        const response = await fetch(`${endpoint.url.replace(/\/+$/, "")}/v1/streams/${stream}/events`, {
          method: "POST",
          headers,
          body,
          keepalive: last,
          credentials: "omit",
          signal: request.signal,
        });
        status = response.status;
        retryMs = retryAfterMs(response.headers.get("Retry-After"), host.now());
        answer = (await response.json()) as Answer;
      } catch (error) {
        message = String(error);
      }
      clearTimeout(timer);
      requests.delete(request);

      const { accepted, rejected, error } = answer ?? {};
      if ((status === 202 && accepted! >= 0) || (status === 422 && rejected)) {
        endpoint.failures = 0;
        await remove(events);
        for (const { index, code, message } of rejected ?? []) {
          const event = events[index];
          if (event) drop(stream, JSON.parse(event.e), code, message);
        }
        return true;
      }
      if (status === 413 || (error && (status === 400 || status === 415))) {
        const half = events.length >> 1;
        if (half) return (await deliver(events.slice(0, half), last)) && deliver(events.slice(half), last);
        return giveUp(error?.code ?? "EVENT_TOO_LARGE", error?.message ?? "413");
      }
      if (error?.code === "STREAM_UNKNOWN") return giveUp(error.code, error.message);
      if (!allowed()) return false;

      const backoffMs = host.random() * Math.min(300_000, 1_000 * 2 ** endpoint.failures++);
      const retryInMs = Math.min(LONGEST_TIMER_MS, Math.max(retryMs, backoffMs));
      endpoint.again = performance.now() + retryInMs;
      endpoint.gone = !status;
      onError({ message: error?.message ?? `${message} (${status})`, status, endpoint: endpoint.url, retryInMs });
    }
  };

  return {
    deliver,
    waitMs: () => Math.max(0, Math.min(...endpoints.map(({ again }) => again)) - performance.now()),
    wake() {
      for (const endpoint of endpoints) if (endpoint.gone) endpoint.again = 0;
    },
    abort() {
      for (const request of requests) request.abort();
    },
  };
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3). */
function retryAfterMs(header: string | null, now: number): number {
  if (!header) return 0;
  return Math.max(0, (+header >= 0 ? +header * 1_000 : Date.parse(header) - now) || 0);
}
