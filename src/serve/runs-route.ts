import type { FastifyInstance, FastifyRequest, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Workflows and their runs over HTTP.
 *
 *     GET  /v1/workflows                                                        query   {"workflows": […]}
 *     POST /v1/workflows/{name}/runs        {input?}; Idempotency-Key: KEY        admin   202 {"run": RunView}; 200 when it was there
 *     POST /v1/workflows/{name}/backfills   {from, to, by | partitions, concurrency?}   admin   202 {"backfill": BackfillView}
 *     GET  /v1/backfills/{id}                                                   query   {"backfill": BackfillView}
 *     POST /v1/backfills/{id}/cancel                                            admin   {"backfill": {…BackfillView, "cancelled"}}
 *     GET  /v1/runs?workflow=&status=&backfill=&limit=&before=                  query   {"runs": [RunView], "next"?}   newest first
 *     GET  /v1/runs/{id}                                                        query   {"run": RunView, "steps": [StepView]}
 *     GET  /v1/runs/{id}/logs?limit=                                            query   {"logs": [LogView]}
 *     POST /v1/runs/{id}/cancel | /retry                                        admin   202 {"run": RunView}
 *     POST /v1/runs/{id}/signals/{name}     {data?}                             admin   202 {}
 */
export interface Runs {
  readonly statuses: readonly string[];
  workflows(): readonly object[];
  list(
    filter: { workflow?: string | undefined; status?: string | undefined; backfill?: string | undefined },
    page: { limit: number; before?: string | undefined },
  ): Promise<readonly { readonly id: string }[]>;
  show(id: string): Promise<{ run: object; steps: readonly object[] }>;
  logs(id: string, limit: number): Promise<readonly object[]>;
  start(request: {
    workflow: string;
    input: unknown;
    idempotencyKey: string | undefined;
    by: string;
  }): Promise<{ run: object; created: boolean }>;
  cancel(id: string, by: string): Promise<object>;
  retry(id: string): Promise<object>;
  signal(id: string, name: string, data: unknown): Promise<void>;
  backfill(request: { workflow: string; range: BackfillRange; concurrency: number; by: string }): Promise<object>;
  showBackfill(id: string): Promise<object>;
  cancelBackfill(id: string, by: string): Promise<object>;
}

export type BackfillRange =
  | { readonly partitions: readonly string[] }
  | { readonly from: string; readonly to: string; readonly by: string };

export interface RunsRouteOptions {
  readonly runs: Runs;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;
const MAX_LOGS = 10_000;
const MAX_KEY = 256;
const MAX_CONCURRENCY = 1_000;
const BACKFILL_CONCURRENCY = 4;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function runsRoute(app: FastifyInstance, { runs, requireScope }: RunsRouteOptions): Promise<void> {
  const query = { preHandler: requireScope("query") };
  const admin = { preHandler: requireScope("admin") };
  type ById = { Params: { id: string }; Querystring: Record<string, unknown> };
  type ByName = { Params: { name: string } };

  app.get("/v1/workflows", query, async () => ({ workflows: runs.workflows() }));

  app.post<ByName>("/v1/workflows/:name/runs", admin, async (request, reply) => {
    const { input } = readBody(request.body, ["input"]);
    const idempotencyKey = readKey(request.headers["idempotency-key"]);
    const started = await runs.start({ workflow: request.params.name, input, idempotencyKey, by: actorOf(request) });
    return reply.code(started.created ? 202 : 200).send({ run: started.run });
  });

  app.post<ByName>("/v1/workflows/:name/backfills", admin, async (request, reply) => {
    const body = readBody(request.body, ["from", "to", "by", "partitions", "concurrency"]);
    const { concurrency = BACKFILL_CONCURRENCY } = body;
    if (!Number.isInteger(concurrency) || (concurrency as number) < 1 || (concurrency as number) > MAX_CONCURRENCY)
      throw wrong(`concurrency must be a whole number from 1 to ${MAX_CONCURRENCY}`);
    const backfill = await runs.backfill({
      ...{ workflow: request.params.name, range: readRange(body), by: actorOf(request) },
      concurrency: concurrency as number,
    });
    return reply.code(202).send({ backfill });
  });

  app.get<ById>("/v1/backfills/:id", query, async ({ params }) => ({ backfill: await runs.showBackfill(params.id) }));

  app.post<ById>("/v1/backfills/:id/cancel", admin, async (request) => ({
    backfill: await runs.cancelBackfill(request.params.id, actorOf(request)),
  }));

  app.get<ById>("/v1/runs", query, async ({ query: given }) => {
    onlyKnown(given, ["workflow", "status", "backfill", "limit", "before"]);
    const status = text(given, "status");
    if (status !== undefined && !runs.statuses.includes(status))
      throw invalid("status", JSON.stringify(status), runs.statuses.join(", "));
    const limit = wholeNumber(given, "limit", MAX_LIMIT) ?? DEFAULT_LIMIT;
    const filter = { workflow: text(given, "workflow"), status, backfill: uuid(given, "backfill") };
    // One more than asked for tells whether there are more.
    const found = await runs.list(filter, { limit: limit + 1, before: uuid(given, "before") });
    const page = found.slice(0, limit);
    return { runs: page, ...(found.length > limit ? { next: page.at(-1)?.id } : {}) };
  });

  app.get<ById>("/v1/runs/:id", query, async ({ params }) => runs.show(params.id));

  app.get<ById>("/v1/runs/:id/logs", query, async ({ params, query: given }) => {
    onlyKnown(given, ["limit"]);
    return { logs: await runs.logs(params.id, wholeNumber(given, "limit", MAX_LOGS) ?? MAX_LIMIT) };
  });

  app.post<ById>("/v1/runs/:id/cancel", admin, async (request, reply) =>
    reply.code(202).send({ run: await runs.cancel(request.params.id, actorOf(request)) }),
  );

  app.post<ById>("/v1/runs/:id/retry", admin, async (request, reply) =>
    reply.code(202).send({ run: await runs.retry(request.params.id) }),
  );

  app.post<{ Params: { id: string; name: string } }>("/v1/runs/:id/signals/:name", admin, async (request, reply) => {
    const { data } = readBody(request.body, ["data"]);
    await runs.signal(request.params.id, request.params.name, data);
    return reply.code(202).send({});
  });
}

function actorOf(request: FastifyRequest): string {
  return request.principal?.name ?? "";
}

/** No body at all is an empty one. */
function readBody(given: unknown, allowed: readonly string[]): Record<string, unknown> {
  if (given === undefined || given === null) return {};
  if (typeof given !== "object" || Array.isArray(given)) throw wrong("the body must be a JSON object");
  for (const name of Object.keys(given)) {
    if (!allowed.includes(name)) throw wrong(`"${name}" is not known here; allowed is ${allowed.join(", ")}`);
  }
  return given as Record<string, unknown>;
}

function readKey(given: string | string[] | undefined): string | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== "string" || given === "" || given.length > MAX_KEY)
    throw wrong(`Idempotency-Key must be one text of 1 to ${MAX_KEY} characters`);
  return given;
}

function readRange({ from, to, by, partitions }: Record<string, unknown>): BackfillRange {
  if (partitions === undefined) {
    if (typeof from !== "string" || typeof to !== "string" || typeof by !== "string")
      throw wrong("from, to and by (hour, day, month) are needed, or a list of partitions");
    return { from, to, by };
  }
  if (from !== undefined || to !== undefined || by !== undefined)
    throw wrong("partitions and from, to, by exclude each other");
  const fine = Array.isArray(partitions) && partitions.every((name) => typeof name === "string" && name.length <= 200);
  if (!fine) throw wrong("partitions must be a list of texts of at most 200 characters");
  return { partitions: partitions as string[] };
}

function onlyKnown(given: Record<string, unknown>, allowed: readonly string[]): void {
  for (const name of Object.keys(given))
    if (!allowed.includes(name)) throw invalid(name, "not known here", allowed.join(", "));
}

function text(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value === undefined || typeof value === "string") return value;
  throw invalid(name, JSON.stringify(value), "one text");
}

function uuid(given: Record<string, unknown>, name: string): string | undefined {
  const value = text(given, name);
  if (value === undefined || UUID.test(value)) return value;
  throw invalid(name, JSON.stringify(value), "an id");
}

function wholeNumber(given: Record<string, unknown>, name: string, most: number): number | undefined {
  const value = text(given, name);
  if (value === undefined) return undefined;
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= 1 && number <= most) return number;
  throw invalid(name, JSON.stringify(value), `a whole number from 1 to ${most}`);
}

function invalid(name: string, got: string, allowed: string): MillraceError {
  return new MillraceError("PARAMETER_INVALID", { name, got, allowed });
}

function wrong(reason: string): MillraceError {
  return new MillraceError("REQUEST_INVALID", { reason });
}
