import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, preHandlerAsyncHookHandler } from "fastify";
import type { SqlInspector } from "../define/sql-inspector.ts";
import type { SqlEngine } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Principal } from "../gateway/auth.ts";
import { type BoundQuery, bindQuery } from "./bind-query.ts";
import type { Catalogue } from "./catalogue.ts";
import { type QueryLimits, type QueryRequest, readQueryRequest } from "./query-request.ts";
import { QuerySlots } from "./query-slots.ts";
import { chooseFormat, MEDIA_TYPES, type ResultFormat } from "./result-formats.ts";
import type { RunningQueries, RunningQuery } from "./running-queries.ts";

export interface SqlRouteOptions {
  readonly engine: SqlEngine;
  readonly inspector: SqlInspector;
  readonly catalogue: Catalogue;
  /** Lets only keys with the scope through. */
  readonly requireScope: (scope: "query") => preHandlerAsyncHookHandler;
  readonly settings: QueryLimits;
  readonly running: RunningQueries;
  /** Queries that run at once; others wait. Default 4: each holds a thread of libuv's pool, which the log's writes need too. */
  readonly mostAtOnce?: number;
  /** Called with the seconds that each query took. */
  readonly took?: (seconds: number) => void;
}

/**
 * Questions in SQL, and what is being asked.
 *
 *     POST   /v1/sql {sql, params?, maxRows?, timeoutMs?, id?}   one SELECT, as JSON, NDJSON, CSV or an Arrow stream by Accept
 *     GET    /v1/queries                                         {"queries": [QueryView]}: the key's own, or all for `admin`
 *     DELETE /v1/queries/{id}                                    204: it was told to stop, and its own answer is QUERY_CANCELLED
 *
 * All with the scope `query`. Errors are thrown; the server turns them into answers. Once rows are on their way, an error cuts the connection,
 * so that a part never passes for the whole.
 */
export async function sqlRoute(app: FastifyInstance, options: SqlRouteOptions): Promise<void> {
  const slots = new QuerySlots(options.mostAtOnce ?? 4, MOST_WAITING);
  app.post("/v1/sql", { preHandler: options.requireScope("query") }, async (request, reply) => {
    const format = chooseFormat(request.headers.accept);
    if (format === undefined) {
      throw new MillraceError("FORMAT_UNSUPPORTED", { got: request.headers.accept, allowed: MEDIA_TYPES.join(", ") });
    }
    const query = readQueryRequest(request.body, options.settings);
    const running = options.running.begin(query.id, query.sql, request.principal as Principal);
    const pieces = answer(query, format, options, slots, running, AbortSignal.any([running.signal, leaving(reply)]));
    // What fails by the second piece still has a proper answer, and most results are whole by then.
    const begun: Buffer[] = [];
    let next = await pieces.next();
    for (; !next.done && begun.length < 2; next = await pieces.next()) begun.push(next.value);
    reply.header("content-type", format.contentType);
    if (next.done) return reply.send(Buffer.concat(begun));
    begun.push(next.value);
    return reply.send(Readable.from(chain(begun, pieces), { objectMode: false, highWaterMark: PIECE_BYTES }));
  });

  const query = { preHandler: options.requireScope("query") };
  app.get("/v1/queries", query, async (request) => ({
    queries: options.running.list(request.principal as Principal),
  }));
  app.delete<{ Params: { id: string } }>("/v1/queries/:id", query, async (request, reply) => {
    options.running.cancel(request.params.id, request.principal as Principal);
    return reply.code(204).send();
  });
}

const MOST_WAITING = 64;
const PIECE_BYTES = 64 * 1024;

/** Aborts when the client goes before it has its answer. */
function leaving(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

/** The answer's bytes. Whatever way it ends, the query has ended too and holds nothing any more. */
async function* answer(
  query: QueryRequest,
  format: ResultFormat,
  options: SqlRouteOptions,
  slots: QuerySlots,
  running: RunningQuery,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const startedAt = performance.now();
  let giveBack: () => void = () => undefined;
  let bound: BoundQuery | undefined;
  try {
    giveBack = await slots.take(signal);
    running.began();
    bound = await bindQuery(query.sql, query.params, options);
    // Counting how far it is costs the engine time, so only who can ask for it by name pays for it.
    const told = query.id !== undefined && { onProgress: (share: number) => running.progressed(share) };
    const result = await options.engine.query(bound.statement, { timeoutMs: query.timeoutMs, signal, ...told });
    const maxRows =
      query.maxRows ?? (format.tellsTruncation ? options.settings.queryMaxRows : Number.POSITIVE_INFINITY);
    const writer = format.writer(result.columns);
    let piece = [bytes(writer.head())];
    let size = 0;
    let rowCount = 0;
    let truncated = false;
    for await (const batch of result.batches) {
      truncated = rowCount + batch.length > maxRows;
      const rows = truncated ? batch.slice(0, maxRows - rowCount) : batch;
      rowCount += rows.length;
      const written = bytes(writer.rows(rows));
      piece.push(written);
      size += written.length;
      if (truncated) break;
      if (size >= PIECE_BYTES) {
        yield Buffer.concat(piece);
        piece = [];
        size = 0;
      }
    }
    const elapsedMs = Math.round((performance.now() - startedAt) * 100) / 100;
    piece.push(bytes(writer.tail({ rowCount, elapsedMs, truncated })));
    yield Buffer.concat(piece);
  } finally {
    bound?.release();
    giveBack();
    options.took?.((performance.now() - startedAt) / 1000);
    running.ended();
  }
}

async function* chain(first: readonly Buffer[], rest: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
  try {
    yield* first;
    yield* rest;
  } finally {
    // Reached too when the client goes while the first pieces are being sent.
    await rest.return();
  }
}

function bytes(part: string | Uint8Array): Uint8Array {
  return typeof part === "string" ? Buffer.from(part) : part;
}
