import type { FastifyInstance, FastifyRequest, preHandlerAsyncHookHandler } from "fastify";
import { parseDuration } from "../define/duration.ts";
import { invalidOption } from "../define/options.ts";
import { triggerProblems } from "../define/read-workflow.ts";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * Alerts and silences over HTTP. JSON both ways; moments are ISO 8601 UTC text.
 *
 *     GET    /v1/alerts?state=&kind=&name=&key=&severity=&limit=&before=     query
 *              {"alerts": [AlertView], "next"?}     newest first; state may be `open`: firing or acknowledged
 *     GET    /v1/alerts/{id}                                                 query     {"alert": AlertView}
 *     POST   /v1/alerts/{id}/ack      {note?}                                admin     {"alert": AlertView}
 *     POST   /v1/alerts/{id}/resolve  {note?}                                admin     {"alert": AlertView}
 *     GET    /v1/silences?state=                                             query     {"silences": [SilenceView]}     newest first
 *     POST   /v1/silences {match, reason, from?, to? | for?, repeat?}        admin     201 {"silence": SilenceView}
 *     DELETE /v1/silences/{id}                                               admin     {"silence": SilenceView}
 *
 * An id is one part of a path: its slashes are written %2F. `match` has kind, name, key and severity, at least one of them; `*` in name and key stands for
 * any text. A silence lasts from `from` (now) to `to`, or for `for`; with `repeat` {cron, timezone?, for} it comes again at each moment of the
 * expression, between `from` and `to` where they are given.
 *
 * Errors: ALERT_UNKNOWN, ALERT_OVER, SILENCE_UNKNOWN, REQUEST_INVALID, PARAMETER_INVALID.
 */
export interface AlertsPort {
  list(
    filter: AlertFilter,
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<{ readonly alerts: readonly AlertNow[]; readonly next: number | undefined }>;
  show(id: string): Promise<AlertNow>;
  acknowledge(id: string, by: ByHand): Promise<AlertNow>;
  resolve(id: string, by: ByHand): Promise<AlertNow>;
  silences(): Promise<readonly SilenceNow[]>;
  silence(given: NewSilence): Promise<SilenceNow>;
  endSilence(id: string, actor: string): Promise<SilenceNow>;
  readonly clock: () => number;
}

export interface AlertFilter {
  readonly state?: State | "open" | undefined;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly key?: string | undefined;
  readonly severity?: string | undefined;
}

type State = (typeof STATES)[number];

interface ByHand {
  readonly actor: string;
  readonly note?: string | undefined;
}

interface Done {
  readonly atMs: number;
  readonly by: string | undefined;
  readonly note: string | undefined;
}

export interface AlertNow {
  readonly id: string;
  readonly kind: string;
  readonly name: string;
  readonly key: string;
  readonly severity: string;
  readonly state: string;
  readonly summary: string;
  readonly details: unknown;
  readonly atMs: number;
  readonly acknowledged: Done | undefined;
  readonly resolved: Done | undefined;
  readonly silencedUntilMs: number | undefined;
}

export interface NewSilence {
  readonly actor: string;
  readonly reason: string;
  readonly match: Readonly<Partial<Record<(typeof MATCHERS)[number], string | undefined>>>;
  readonly startsAtMs: number;
  readonly endsAtMs: number | undefined;
  readonly repeat: { readonly cron: string; readonly timezone: string; readonly lastsMs: number } | undefined;
}

export interface SilenceNow extends NewSilence {
  readonly id: string;
  readonly createdAtMs: number;
  readonly state: string;
  readonly ended: { readonly atMs: number; readonly actor: string } | undefined;
}

export interface AlertsRouteOptions {
  readonly alerts: AlertsPort;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

const STATES = ["firing", "acknowledged", "resolved"] as const;
const SEVERITIES = ["info", "warning", "critical"];
const SILENCE_STATES = ["active", "waiting", "over"];
const MATCHERS = ["kind", "name", "key", "severity"] as const;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_TEXT = 1000;
const DURATION = "a duration such as 30m, 8h or 2d";

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function alertsRoute(app: FastifyInstance, { alerts, requireScope }: AlertsRouteOptions): Promise<void> {
  const query = { preHandler: requireScope("query") };
  const admin = { preHandler: requireScope("admin") };

  app.get<{ Querystring: Record<string, unknown> }>("/v1/alerts", query, async ({ query: given }) => {
    onlyParameters(given, ["state", ...MATCHERS, "limit", "before"]);
    const filter: AlertFilter = {
      state: oneOf(given, "state", [...STATES, "open"]) as AlertFilter["state"],
      severity: oneOf(given, "severity", SEVERITIES),
      ...{ kind: parameter(given, "kind"), name: parameter(given, "name"), key: parameter(given, "key") },
    };
    const limit = wholeNumber(given, "limit", 1, MAX_LIMIT) ?? DEFAULT_LIMIT;
    const before = wholeNumber(given, "before", 0, Number.MAX_SAFE_INTEGER);
    const page = await alerts.list(filter, { limit, before });
    return { alerts: page.alerts.map(alertView), ...(page.next === undefined ? {} : { next: page.next }) };
  });

  app.get<{ Params: { id: string } }>("/v1/alerts/:id", query, async ({ params }) => ({
    alert: alertView(await alerts.show(params.id)),
  }));

  app.post<{ Params: { id: string } }>("/v1/alerts/:id/ack", admin, async (request) => ({
    alert: alertView(await alerts.acknowledge(request.params.id, byHand(request))),
  }));

  app.post<{ Params: { id: string } }>("/v1/alerts/:id/resolve", admin, async (request) => ({
    alert: alertView(await alerts.resolve(request.params.id, byHand(request))),
  }));

  app.get<{ Querystring: Record<string, unknown> }>("/v1/silences", query, async ({ query: given }) => {
    onlyParameters(given, ["state"]);
    const state = oneOf(given, "state", SILENCE_STATES);
    const silences = await alerts.silences();
    return { silences: silences.filter((one) => state === undefined || one.state === state).map(silenceView) };
  });

  app.post("/v1/silences", admin, async (request, reply) => {
    const silence = await alerts.silence(await readSilence(request, alerts.clock()));
    return reply.code(201).send({ silence: silenceView(silence) });
  });

  app.delete<{ Params: { id: string } }>("/v1/silences/:id", admin, async (request) => ({
    silence: silenceView(await alerts.endSilence(request.params.id, actorOf(request))),
  }));
}

function alertView({ acknowledged, resolved, atMs, silencedUntilMs, ...alert }: AlertNow): object {
  const { id, kind, name, key, severity, state, summary, details } = alert;
  return {
    ...{ id, kind, name, key, severity, state, summary, details, at: iso(atMs) },
    ...{ acknowledgedAt: iso(acknowledged?.atMs), acknowledgedBy: acknowledged?.by ?? null },
    ...{ resolvedAt: iso(resolved?.atMs), resolvedBy: resolved?.by ?? null },
    note: resolved?.note ?? acknowledged?.note ?? null,
    silencedUntil: iso(silencedUntilMs),
  };
}

function silenceView(silence: SilenceNow): object {
  const { id, state, match, reason, actor, createdAtMs, startsAtMs, endsAtMs, repeat, ended } = silence;
  return {
    ...{
      id,
      state,
      match,
      reason,
      createdBy: actor,
      createdAt: iso(createdAtMs),
      from: iso(startsAtMs),
      to: iso(endsAtMs),
    },
    repeat: repeat === undefined ? null : { cron: repeat.cron, timezone: repeat.timezone, forMs: repeat.lastsMs },
    ...{ endedAt: iso(ended?.atMs), endedBy: ended?.actor ?? null },
  };
}

/** Null for what is not there, and for what has no end. */
function iso(ms: number | undefined): string | null {
  return ms === undefined || !Number.isFinite(ms) ? null : new Date(ms).toISOString();
}

async function readSilence(request: FastifyRequest, nowMs: number): Promise<NewSilence> {
  const body = readBody(request.body, ["match", "reason", "from", "to", "for", "repeat"]);
  const { reason } = body;
  if (typeof reason !== "string" || reason.trim() === "" || reason.length > MAX_TEXT)
    throw wrong(`reason must be text of 1 to ${MAX_TEXT} characters that says why`);
  const match = readMatch(body["match"]);
  const startsAtMs = moment(body, "from") ?? nowMs;
  const repeat = body["repeat"] === undefined ? undefined : await readRepeat(body["repeat"]);
  const lastsMs = duration(body, "for");
  const to = moment(body, "to");
  if (to !== undefined && lastsMs !== undefined) throw wrong("to and for exclude each other");
  const endsAtMs = lastsMs === undefined ? to : startsAtMs + lastsMs;
  if (endsAtMs === undefined && repeat === undefined) throw wrong("a silence needs an end: to, or for");
  if (endsAtMs !== undefined && endsAtMs <= Math.max(startsAtMs, nowMs))
    throw wrong("a silence must end after it begins, and after now");
  return { actor: actorOf(request), reason, match, startsAtMs, endsAtMs, repeat };
}

function readMatch(given: unknown): NewSilence["match"] {
  const match = readBody(given ?? {}, MATCHERS);
  for (const [name, value] of Object.entries(match))
    if (typeof value !== "string" || value === "" || value.length > MAX_TEXT)
      throw wrong(`match.${name} must be text of 1 to ${MAX_TEXT} characters`);
  if (Object.keys(match).length === 0)
    throw wrong(`match must have at least one of ${MATCHERS.join(", ")}; "name": "*" is every alert`);
  const { severity } = match as { severity?: string };
  if (severity !== undefined && !SEVERITIES.includes(severity))
    throw wrong(`match.severity must be one of ${SEVERITIES.join(", ")}`);
  return match as NewSilence["match"];
}

async function readRepeat(given: unknown): Promise<NonNullable<NewSilence["repeat"]>> {
  const repeat = readBody(given, ["cron", "timezone", "for"]);
  const { cron, timezone = "UTC" } = repeat;
  const [found] = await triggerProblems({ kind: "cron", expression: cron, timezone, missed: "skip" }, "repeat");
  if (found !== undefined) throw wrong(`${found.message}. ${found.hint}`);
  const lastsMs = duration(repeat, "for");
  if (lastsMs === undefined) throw wrong(`repeat needs for: ${DURATION}`);
  return { cron: String(cron), timezone: String(timezone), lastsMs };
}

function byHand(request: FastifyRequest): ByHand {
  const { note } = readBody(request.body ?? {}, ["note"]);
  if (note !== undefined && (typeof note !== "string" || note.length > MAX_TEXT))
    throw wrong(`note must be text of at most ${MAX_TEXT} characters`);
  return { actor: actorOf(request), note };
}

function actorOf(request: FastifyRequest): string {
  return request.principal?.name ?? "";
}

function readBody(given: unknown, allowed: readonly string[]): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw wrong("the body must be a JSON object");
  for (const name of Object.keys(given))
    if (!allowed.includes(name)) throw wrong(`"${name}" is not known here; allowed is ${allowed.join(", ")}`);
  return given as Record<string, unknown>;
}

function moment(body: Record<string, unknown>, name: string): number | undefined {
  const value = body[name];
  if (value === undefined) return undefined;
  const ms =
    typeof value === "string" && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw wrong(`${name} must be a moment with its zone such as 2026-01-31T18:00:00Z`);
  return ms;
}

function duration(body: Record<string, unknown>, name: string): number | undefined {
  const value = body[name];
  if (value === undefined) return undefined;
  const ms = typeof value === "string" ? parseDuration(value) : undefined;
  if (ms === undefined || ms <= 0) throw wrong(invalidOption("a silence", name, value, DURATION).message);
  return ms;
}

function onlyParameters(given: Record<string, unknown>, allowed: readonly string[]): void {
  for (const name of Object.keys(given))
    if (!allowed.includes(name)) throw invalid(name, "not known here", allowed.join(", "));
}

function parameter(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value === undefined || typeof value === "string") return value;
  throw invalid(name, JSON.stringify(value), "one text");
}

function oneOf(given: Record<string, unknown>, name: string, allowed: readonly string[]): string | undefined {
  const value = parameter(given, name);
  if (value === undefined || allowed.includes(value)) return value;
  throw invalid(name, JSON.stringify(value), allowed.join(", "));
}

function wholeNumber(given: Record<string, unknown>, name: string, least: number, most: number): number | undefined {
  const value = parameter(given, name);
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
