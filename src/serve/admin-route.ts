import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import { MillraceError } from "../errors.ts";
import type { Scope } from "../gateway/auth.ts";

/**
 * How a running platform is looked after over HTTP. JSON both ways; moments are ISO 8601 UTC text.
 *
 *     GET    /v1/keys                      {"keys": [{id, name, scopes, createdAt, revokedAt, accessKeyId}]}      admin
 *     POST   /v1/keys {name, scopes, aws?} 201 {"key": {…}, "token": "mk_…"} (shown this once)       admin
 *                                          with `aws` also "accessKey": {accessKeyId, secretAccessKey}
 *     DELETE /v1/keys/{id}                 {"key": {…}}                                              admin
 *     GET    /v1/config                    {"settings": [{name, value, source, doc}]}                admin
 *     GET    /v1/status                    PlatformStatus                                            query
 *     GET    /v1/ledger                    {"balanced", "hops": [LedgerHop], "imbalances": [LedgerImbalance]}    query
 *     POST   /v1/tables/{table}/refresh {full?}    {table, kind, version, elapsedMs}                 admin
 *     POST   /v1/tables/{table}/replay {fromOffset?, fromTime?, source?, only?}
 *                                          {table, version, tables: [ReplayedTable], elapsedMs}      admin
 *
 * A replay asked for with `Accept: application/x-ndjson` answers line by line: {"progress": ReplayProgress} now and then, at last
 * {"replayed": {…}} or {"error": {…}}. Going away cancels it.
 *
 * Errors: KEY_INVALID, KEY_UNKNOWN, REQUEST_INVALID, TABLE_UNKNOWN, REFRESH_NOT_POSSIBLE, STATE_UNAVAILABLE, REPLAY_RUNNING,
 * REPLAY_RANGE, REPLAY_NOT_POSSIBLE, REPLAY_LOG_GONE, REPLAY_SOURCE_DAMAGED, REPLAY_CANCELLED.
 */
export interface Administration {
  readonly keys: {
    create(request: { name: string; scopes: readonly string[]; aws?: boolean }): Promise<{
      key: KeyView;
      token: string;
      accessKey?: { readonly accessKeyId: string; readonly secretAccessKey: string };
    }>;
    list(): Promise<KeyView[]>;
    revoke(id: string): Promise<KeyView>;
  };
  /** Every setting in force; secrets hidden. */
  config(): SettingView[];
  /** `hops`: of a ledger that was just read, to be told of the same moment and without reading it again. */
  status(hops?: readonly LedgerHop[]): Promise<PlatformStatus>;
  ledger(): Promise<LedgerView>;
  refresh(table: string, options: RunOptions & { full: boolean }): Promise<RefreshView>;
  replay(
    table: string,
    order: ReplayOrder,
    options: RunOptions & { readonly onProgress?: (progress: ReplayProgress) => void },
  ): Promise<ReplayView>;
}

export interface ReplayOrder {
  /** First offset in every partition that has it, or by partition. */
  readonly fromOffset?: number | ReadonlyMap<number, number> | undefined;
  readonly fromTimeMs?: number | undefined;
  readonly source?: "bronze" | "log" | undefined;
  /** Leaves the tables over it to themselves. */
  readonly only?: boolean | undefined;
}

export interface ReplayView {
  readonly version: number;
  readonly tables: readonly object[];
}

export interface ReplayProgress {
  readonly phase: string;
  readonly table: string;
  readonly events: number;
  readonly total: number;
}

interface RunOptions {
  /** Aborted when the caller goes. */
  readonly signal: AbortSignal;
}

export interface KeyView {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAt: Date;
  readonly revokedAt: Date | undefined;
  readonly accessKeyId: string | undefined;
}

export interface SettingView {
  readonly name: string;
  readonly value: string | null;
  readonly source: string;
  readonly doc: string;
}

export interface PlatformStatus {
  readonly project: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly uptimeMs: number;
  /** False while some part cannot take or store events. */
  readonly ready: boolean;
  /** Which part, and why; of a platform that is ready, what is not as it should be. */
  readonly problems: readonly string[];
  readonly residentBytes: number;
  /** Counted at the door since the start. */
  readonly door: {
    readonly accepted: number;
    readonly rejected: number;
    readonly eventsPerSecond: number;
  };
  readonly streams: readonly StreamStatus[];
  readonly tables: readonly TableStatus[];
  readonly functions: readonly FunctionStatus[];
}

export interface FunctionStatus {
  readonly name: string;
  readonly stream: string;
  readonly handled: number;
  readonly deadLettered: number;
  readonly emitted: number;
  /** Acknowledged events that are not handled yet. */
  readonly pending: number;
  /** Why it stands still, where it does. */
  readonly problem: string | null;
}

export interface StreamStatus {
  readonly name: string;
  /** All events ever accepted. */
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
  /** Accepted and not yet committed to the lake; queries see them all the same. */
  readonly pending: number;
}

export interface TableStatus {
  readonly name: string;
  readonly mode: string;
  /** The stream that brings its rows; for a table that combines rows every stream that reaches it. */
  readonly streams: readonly string[];
  readonly rows: number;
  readonly files: number;
  readonly bytes: number;
  readonly version: number;
  /** When its newest rows were committed; null before the first commit. */
  readonly committedAtMs: number | null;
  /** How it stands in PostgreSQL; null for a table that is not served. */
  readonly published: {
    /** Null before the first publication. */
    readonly version: number | null;
    readonly rows: number;
    /** Rows of that version that PostgreSQL refused. */
    readonly refused: number;
    readonly versionsBehind: number;
    readonly behindMs: number;
    /** Why the last attempt failed. */
    readonly failure: string | null;
  } | null;
}

export interface LedgerView {
  readonly balanced: boolean;
  readonly hops: readonly LedgerHop[];
  /** What the recount found, the data files of any table included. */
  readonly imbalances: readonly LedgerImbalance[];
}

/** Where what the platform says of events and what is there are not the same. Null is what does not apply or could not be told. */
export interface LedgerImbalance {
  /** `rows`, `stored`, `duplicate`, `dead`, `counters`, `progress`, `log` or `file`. */
  readonly what: string;
  readonly stream: string | null;
  readonly hop: string;
  readonly partition: number | null;
  /** Offsets it lies between, both inclusive. */
  readonly from: number | null;
  readonly to: number | null;
  /** The runs of offsets within, where they could be told. */
  readonly ranges: readonly { readonly from: number; readonly to: number }[];
  readonly expected: number | null;
  readonly found: number | null;
  readonly file: string | null;
  readonly message: string;
  readonly since: string;
}

/** What became of the events of one stream at one hop; `balanced` is accepted = stored + duplicate + filtered + deadLettered + pending. */
export interface LedgerHop {
  readonly stream: string;
  readonly hop: string;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
  readonly pending: number;
  readonly balanced: boolean;
  /** Events that the recount has compared with what is stored; grows behind the others. */
  readonly verified: number;
  /** When, ISO 8601; null while the recount has not been there since the start. */
  readonly verifiedAt: string | null;
  /** Of the hop `publish` alone, which counts rows: `stream` is the table's name there. */
  readonly publication?: {
    /** Of the table in the lake; null before the first publication. */
    readonly version: number | null;
    readonly versionsBehind: number;
    readonly behindMs: number;
  };
}

export interface RefreshView {
  readonly kind: "none" | "full" | "by";
  readonly version: number;
}

export interface AdminRouteOptions {
  readonly administration: Administration;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
}

/** A fastify plugin. Errors are thrown; the server turns them into answers. */
export async function adminRoute(app: FastifyInstance, options: AdminRouteOptions): Promise<void> {
  const { administration: platform, requireScope } = options;
  const admin = { preHandler: requireScope("admin") };
  const query = { preHandler: requireScope("query") };

  app.get("/v1/keys", admin, async () => ({ keys: await platform.keys.list() }));

  app.post("/v1/keys", admin, async (request, reply) => {
    const { name, scopes, aws = false } = body(request.body);
    if (typeof name !== "string") throw new MillraceError("REQUEST_INVALID", { reason: "name must be text" });
    if (!Array.isArray(scopes) || !scopes.every((scope) => typeof scope === "string")) {
      throw new MillraceError("REQUEST_INVALID", { reason: "scopes must be a list of texts" });
    }
    if (typeof aws !== "boolean") throw new MillraceError("REQUEST_INVALID", { reason: "aws must be true or false" });
    reply.code(201);
    return platform.keys.create({ name, scopes, ...(aws && { aws }) });
  });

  app.delete<{ Params: { id: string } }>("/v1/keys/:id", admin, async (request) => ({
    key: await platform.keys.revoke(request.params.id),
  }));

  app.get("/v1/config", admin, async () => ({ settings: platform.config() }));

  app.get("/v1/status", query, () => platform.status());

  app.get("/v1/ledger", query, () => platform.ledger());

  app.post<{ Params: { table: string } }>("/v1/tables/:table/refresh", admin, async (request) => {
    const { full = false } = body(request.body);
    if (typeof full !== "boolean") throw new MillraceError("REQUEST_INVALID", { reason: "full must be true or false" });
    const { table } = request.params;
    return timed(table, () => platform.refresh(table, { full, signal: request.signal }));
  });

  app.post<{ Params: { table: string } }>("/v1/tables/:table/replay", admin, async (request, reply) => {
    const order = replayOrder(body(request.body));
    const { table } = request.params;
    const { signal } = request;
    const run = (onProgress: (progress: ReplayProgress) => void) =>
      timed(table, () => platform.replay(table, order, { signal, onProgress }));
    if (!request.headers.accept?.includes("application/x-ndjson")) return run(() => undefined);
    return reply.type("application/x-ndjson").send(Readable.from(replayLines(run)));
  });
}

/** A line of progress for a person who watches; more of them would only be overwritten. */
const PROGRESS_MS = 200;

async function* replayLines(
  run: (tell: (progress: ReplayProgress) => void) => Promise<object>,
): AsyncGenerator<string> {
  const line = (content: object) => `${JSON.stringify(content)}\n`;
  let latest: ReplayProgress | undefined;
  const outcome = run((progress) => {
    latest = progress;
  }).then(
    (replayed) => ({ replayed }),
    (error: unknown) => ({
      error:
        error instanceof MillraceError ? error : new MillraceError("INTERNAL", { what: "a replay" }, { cause: error }),
    }),
  );
  for (;;) {
    const ended = await Promise.race([outcome, sleep(PROGRESS_MS, undefined)]);
    if (ended !== undefined) return yield line(ended);
    if (latest !== undefined) yield line({ progress: latest });
    latest = undefined;
  }
}

function replayOrder(given: Record<string, unknown>): ReplayOrder {
  const refuse = (reason: string) => new MillraceError("REQUEST_INVALID", { reason });
  const { fromOffset, fromTime, source, only, ...others } = given;
  const [other] = Object.keys(others);
  if (other !== undefined) throw refuse(`a replay has no "${other}"; it takes fromOffset, fromTime, source and only`);
  if (source !== undefined && source !== "bronze" && source !== "log") throw refuse("source must be bronze or log");
  if (only !== undefined && typeof only !== "boolean") throw refuse("only must be true or false");
  const order = { source, only } as const;
  if (fromOffset !== undefined) return { ...order, fromOffset: offsets(fromOffset), fromTimeMs: moment(fromTime) };
  return { ...order, fromTimeMs: moment(fromTime) };
}

function offsets(given: unknown): number | Map<number, number> {
  const isOffset = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (isOffset(given)) return given;
  const entries = typeof given === "object" && given !== null ? Object.entries(given) : [];
  if (
    entries.length === 0 ||
    !entries.every(([partition, offset]) => /^\d{1,9}$/.test(partition) && isOffset(offset))
  ) {
    const reason = 'fromOffset must be an offset, like 5000, or one for each of some partitions, like {"0": 5000}';
    throw new MillraceError("REQUEST_INVALID", { reason });
  }
  return new Map(entries.map(([partition, offset]) => [Number(partition), offset as number]));
}

function moment(given: unknown): number | undefined {
  if (given === undefined) return undefined;
  const ms = typeof given === "string" && /^\d{4}-\d\d-\d\d/.test(given) ? Date.parse(given) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new MillraceError("REQUEST_INVALID", { reason: "fromTime must be a moment like 2026-01-31T12:00:00Z" });
}

async function timed<T extends object>(
  table: string,
  work: () => Promise<T>,
): Promise<T & { table: string; elapsedMs: number }> {
  const started = performance.now();
  const outcome = await work();
  return { ...outcome, table, elapsedMs: Math.round(performance.now() - started) };
}

/** No body is an empty object: nothing has to be said where everything has a default. */
function body(given: unknown): Record<string, unknown> {
  if (given === undefined || given === null) return {};
  if (typeof given === "object" && !Array.isArray(given)) return given as Record<string, unknown>;
  throw new MillraceError("REQUEST_INVALID", { reason: "the body must be a JSON object" });
}
