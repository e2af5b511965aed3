import type { FastifyInstance, FastifyRequest, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Dead letters over HTTP.
 *
 *     GET  /v1/dead-letters?stream=&table=&stage=&code=&status=&limit=&before=    query
 *            {"deadLetters": [LetterView], "next"?}        newest first; `next` is the `before` of the page that follows
 *     GET  /v1/dead-letters/{id}                                                  query
 *            {"deadLetter": {…LetterView, "payload" | "payloadBase64"}}; with Accept: application/octet-stream the payload's bytes
 *     POST /v1/dead-letters/retry   {ids | filter, payload? | payloadBase64?}     admin
 *            {"retried", "failed", "results": [{id, outcome, code?, message?, partition?, offset?}], "resultsMore"?}
 *     POST /v1/dead-letters/discard {ids | filter, reason}                        admin
 *            {"discarded"}
 *
 * `filter` takes stream, table, stage and code, at least one of them, and means the open letters. `payload` is text, or JSON that is
 * sent as its text. An id is one part of a path: its slashes are written %2F.
 */
export interface DeadLetters {
  list(
    filter: LetterFilter & { status?: string | undefined },
    page: { limit: number; before?: number | undefined },
  ): Promise<{ deadLetters: readonly object[]; next: number | undefined }>;
  show(id: string): Promise<{ letter: object; payload: Buffer }>;
  retry(
    selection: LetterSelection,
    request: { actor: string; payload?: Uint8Array | undefined },
  ): Promise<readonly { readonly outcome: string }[]>;
  discard(selection: LetterSelection, request: { actor: string; reason: string }): Promise<number>;
  readonly stages: readonly string[];
  readonly statuses: readonly string[];
}

export type LetterFilter = { readonly [name in (typeof FILTERS)[number]]?: string | undefined };

export type LetterSelection = { readonly ids: readonly string[] } | { readonly filter: LetterFilter };

export interface DeadLettersRouteOptions {
  readonly deadLetters: DeadLetters;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

const FILTERS = ["stream", "table", "stage", "code"] as const;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
/** Ids in one request, and results listed in its answer. */
const MAX_LISTED = 10_000;
const MAX_REASON = 1000;

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function deadLettersRoute(app: FastifyInstance, options: DeadLettersRouteOptions): Promise<void> {
  const { deadLetters, requireScope } = options;
  const query = { preHandler: requireScope("query") };
  const admin = { preHandler: requireScope("admin") };

  app.get<{ Querystring: Record<string, unknown> }>("/v1/dead-letters", query, async (request) => {
    const given = request.query;
    const allowed = [...FILTERS, "status", "limit", "before"];
    for (const name of Object.keys(given)) {
      if (!allowed.includes(name)) throw invalid(name, "not known here", allowed.join(", "));
    }
    const filter = readFilter(given, deadLetters.stages);
    const status = oneOf(given, "status", deadLetters.statuses);
    const limit = wholeNumber(given, "limit", 1, MAX_LIMIT) ?? DEFAULT_LIMIT;
    const before = wholeNumber(given, "before", 0, Number.MAX_SAFE_INTEGER);
    return deadLetters.list({ ...filter, status }, { limit, before });
  });

  app.get<{ Params: { id: string } }>("/v1/dead-letters/:id", query, async (request, reply) => {
    const { letter, payload } = await deadLetters.show(request.params.id);
    if (request.headers.accept?.includes("application/octet-stream")) {
      return reply.type("application/octet-stream").send(payload);
    }
    const text = payload.toString("utf8");
    const exact = Buffer.from(text, "utf8").equals(payload);
    return {
      deadLetter: { ...letter, ...(exact ? { payload: text } : { payloadBase64: payload.toString("base64") }) },
    };
  });

  app.post("/v1/dead-letters/retry", admin, async (request) => {
    const body = readBody(request.body, ["ids", "filter", "payload", "payloadBase64"]);
    const selection = readSelection(body, deadLetters.stages);
    const payload = readPayload(body);
    if (payload !== undefined && !("ids" in selection && selection.ids.length === 1)) {
      throw new MillraceError("DEAD_LETTER_PAYLOAD", {
        reason: "it takes the place of one, so exactly one id is needed",
      });
    }
    const results = await deadLetters.retry(selection, { actor: actorOf(request), payload });
    const failed = results.filter(({ outcome }) => outcome === "failed").length;
    const more = results.length - MAX_LISTED;
    return {
      retried: results.length - failed,
      failed,
      results: results.slice(0, MAX_LISTED),
      ...(more > 0 ? { resultsMore: more } : {}),
    };
  });

  app.post("/v1/dead-letters/discard", admin, async (request) => {
    const body = readBody(request.body, ["ids", "filter", "reason"]);
    const selection = readSelection(body, deadLetters.stages);
    const { reason } = body;
    if (typeof reason !== "string" || reason.trim() === "" || reason.length > MAX_REASON)
      throw wrong(`reason must be text of 1 to ${MAX_REASON} characters that says why`);
    return { discarded: await deadLetters.discard(selection, { actor: actorOf(request), reason }) };
  });
}

function actorOf(request: FastifyRequest): string {
  return request.principal?.name ?? "";
}

function readBody(given: unknown, allowed: readonly string[]): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw wrong("the body must be a JSON object");
  for (const name of Object.keys(given)) {
    if (!allowed.includes(name)) throw wrong(`"${name}" is not known here; allowed is ${allowed.join(", ")}`);
  }
  return given as Record<string, unknown>;
}

function readSelection(body: Record<string, unknown>, stages: readonly string[]): LetterSelection {
  const { ids, filter } = body;
  if ((ids === undefined) === (filter === undefined))
    throw wrong("either ids or filter says which dead letters are meant");
  if (ids !== undefined) {
    const fine = Array.isArray(ids) && ids.every((id) => typeof id === "string");
    if (!fine || ids.length === 0 || ids.length > MAX_LISTED)
      throw wrong(`ids must be a list of 1 to ${MAX_LISTED} ids; use filter for more`);
    return { ids: [...new Set(ids as string[])] };
  }
  const read = readFilter(readBody(filter, FILTERS), stages);
  if (Object.values(read).every((value) => value === undefined))
    throw wrong(`filter must name at least one of ${FILTERS.join(", ")}`);
  return { filter: read };
}

function readFilter(given: Record<string, unknown>, stages: readonly string[]): LetterFilter {
  const [stream, table, code] = ["stream", "table", "code"].map((name) => text(given, name));
  return { stream, table, code, stage: oneOf(given, "stage", stages) };
}

/** Text as it is, anything else as JSON text. */
function readPayload({ payload, payloadBase64 }: Record<string, unknown>): Uint8Array | undefined {
  if (payload !== undefined && payloadBase64 !== undefined) throw wrong("payload and payloadBase64 exclude each other");
  if (typeof payloadBase64 === "string") return Buffer.from(payloadBase64, "base64");
  if (payloadBase64 !== undefined) throw wrong("payloadBase64 must be text");
  if (payload === undefined) return undefined;
  return Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload), "utf8");
}

function text(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value === undefined || typeof value === "string") return value;
  throw invalid(name, JSON.stringify(value), "one text");
}

function oneOf(given: Record<string, unknown>, name: string, allowed: readonly string[]): string | undefined {
  const value = text(given, name);
  if (value === undefined || allowed.includes(value)) return value;
  throw invalid(name, JSON.stringify(value), allowed.join(", "));
}

function wholeNumber(given: Record<string, unknown>, name: string, least: number, most: number): number | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw invalid(name, JSON.stringify(value), `a whole number from ${least} to ${most}`);
}

function invalid(name: string, got: string, allowed: string): MillraceError {
  return new MillraceError("PARAMETER_INVALID", { name, got, allowed });
}

function wrong(reason: string): MillraceError {
  return new MillraceError("REQUEST_INVALID", { reason });
}
