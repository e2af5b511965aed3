import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * `GET /v1/ledger/history?hours=&stream=` (scope query): the ledger over time.
 *
 *     {"fromMs", "stepMs", "hops": [{"stream", "hop", "points": [{atMs, accepted, stored, duplicate, filtered, deadLettered, pending, balanced}]}]}
 *
 * `hours` are 1 to 168, by default 6. Counters are as they stood, written down once a minute where they had changed; where a step has no point it
 * stood as in the one before, and the first may be from before `fromMs`. `pending` is the most of a step, `balanced` whether it was so all through it.
 * Errors: REQUEST_INVALID, STATE_UNAVAILABLE.
 */
export interface LedgerHistoryView {
  readonly fromMs: number;
  readonly stepMs: number;
  readonly hops: readonly {
    readonly stream: string;
    readonly hop: string;
    readonly points: readonly LedgerPoint[];
  }[];
}

export interface LedgerPoint {
  readonly atMs: number;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
  readonly pending: number;
  readonly balanced: boolean;
}

export interface LedgerHistoryOptions {
  readonly history: { read(fromMs: number, stepMs: number, stream?: string): Promise<LedgerHistoryView["hops"]> };
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
  readonly clock: () => number;
}

const MOST_HOURS = 168;
/** What a chart shows, in whole minutes. */
const STEPS = 120;
const MINUTE_MS = 60_000;

/** A fastify plugin. */
export async function ledgerHistoryRoute(app: FastifyInstance, options: LedgerHistoryOptions): Promise<void> {
  const { history, requireScope, clock } = options;
  app.get("/v1/ledger/history", { preHandler: requireScope("query") }, async (request): Promise<LedgerHistoryView> => {
    const { hours = "6", stream, ...others } = request.query as Record<string, unknown>;
    const [other] = Object.keys(others);
    if (other !== undefined || (stream !== undefined && typeof stream !== "string")) {
      const reason = `the query takes hours and stream, each once${other === undefined ? "" : `, not "${other}"`}`;
      throw new MillraceError("REQUEST_INVALID", { reason });
    }
    const wanted = typeof hours === "string" && /^\d{1,3}$/.test(hours) ? Number(hours) : 0;
    if (wanted < 1 || wanted > MOST_HOURS)
      throw new MillraceError("REQUEST_INVALID", { reason: `hours must be a whole number from 1 to ${MOST_HOURS}` });
    const stepMs = Math.ceil((wanted * 60) / STEPS) * MINUTE_MS;
    const fromMs = Math.floor(clock() / stepMs) * stepMs + stepMs - wanted * 60 * MINUTE_MS;
    return { fromMs, stepMs, hops: await history.read(fromMs, stepMs, stream) };
  });
}
