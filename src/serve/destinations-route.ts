import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Destinations of alerts over HTTP.
 *
 *     GET  /v1/destinations                                                  query
 *            {"destinations": [{name, kind, address, status, waiting, oldestWaiting, lastDelivered, lastFailure, pausedUntil, delivered, …}]}
 *     POST /v1/destinations/{name}/test                                      admin
 *            {"delivered": true, "elapsedMs"}: a made-up alert was taken. DESTINATION_UNKNOWN, DELIVERY_REFUSED or DELIVERY_FAILED otherwise
 *     GET  /v1/deliveries?destination=&alert=&status=&limit=&before=         query
 *            {"deliveries": [DeliveryView], "next"?}       newest first; `next` is the `before` of the page that follows
 */
export interface Destinations {
  list(): Promise<readonly object[]>;
  test(name: string): Promise<{ readonly elapsedMs: number }>;
  deliveries(
    filter: { readonly [name in "destination" | "alert" | "status"]?: string | undefined },
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<{ deliveries: readonly object[]; next: number | undefined }>;
  readonly statuses: readonly string[];
}

export interface DestinationsRouteOptions {
  readonly destinations: Destinations;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

const PARAMETERS = ["destination", "alert", "status", "limit", "before"];
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function destinationsRoute(app: FastifyInstance, options: DestinationsRouteOptions): Promise<void> {
  const { destinations, requireScope } = options;
  const query = { preHandler: requireScope("query") };

  app.get("/v1/destinations", query, async () => ({ destinations: await destinations.list() }));

  app.post<{ Params: { name: string } }>(
    "/v1/destinations/:name/test",
    { preHandler: requireScope("admin") },
    async (request) => ({ delivered: true, ...(await destinations.test(request.params.name)) }),
  );

  app.get<{ Querystring: Record<string, unknown> }>("/v1/deliveries", query, async (request) => {
    const given = request.query;
    for (const name of Object.keys(given))
      if (!PARAMETERS.includes(name)) throw invalid(name, "not known here", PARAMETERS.join(", "));
    const [destination, alert, status] = ["destination", "alert", "status"].map((name) => text(given, name));
    if (status !== undefined && !destinations.statuses.includes(status))
      throw invalid("status", JSON.stringify(status), destinations.statuses.join(", "));
    const limit = wholeNumber(given, "limit", 1, MAX_LIMIT) ?? DEFAULT_LIMIT;
    const before = wholeNumber(given, "before", 0, Number.MAX_SAFE_INTEGER);
    return destinations.deliveries({ destination, alert, status }, { limit, before });
  });
}

function text(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value === undefined || typeof value === "string") return value;
  throw invalid(name, JSON.stringify(value), "one text");
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
