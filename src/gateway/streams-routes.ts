import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import type { KeyVerifier } from "./auth.ts";
import { scopeGuard } from "./auth.ts";
import type { FollowOptions } from "./follow-events.ts";
import { followEvents, parsePositions } from "./follow-events.ts";
import { integerParameter, onlyParameters } from "./query-parameters.ts";
import { unknownStream } from "./stream-names.ts";

export interface StreamsRoutesDeps {
  readonly log: EventLog;
  readonly streams: ReadonlyMap<string, Stream>;
  readonly keys: KeyVerifier;
  readonly closing: AbortSignal;
  readonly heartbeatMs: number;
}

const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 100_000;
/** Read from the log at a time. */
const READ_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/**
 * Reading streams: `GET /v1/streams`, `GET /v1/streams/{stream}/schema`, and the raw events of a partition:
 *
 *     GET /v1/streams/{stream}/events?partition=0&from=OFFSET&limit=N      NDJSON, as in the log
 *     the same with Accept: text/event-stream                              goes on as events come in (follow-events.ts)
 *
 * `Millrace-Partition`, `Millrace-From` and `Millrace-End` (one past the newest event) come as headers; `from` is the
 * first event kept unless given.
 */
export function streamsRoutes(deps: StreamsRoutesDeps): (app: FastifyInstance) => Promise<void> {
  const { log, streams } = deps;
  const guard = scopeGuard(deps.keys);
  const streamOf = (request: FastifyRequest): Stream => {
    const { stream: name } = request.params as { stream: string };
    const stream = streams.get(name);
    if (stream === undefined) throw unknownStream(name, streams);
    return stream;
  };

  return async (app) => {
    app.addHook("preHandler", guard("query"));

    app.get("/v1/streams", async () => ({ streams: [...streams.values()].map((stream) => described(stream, log)) }));

    app.get("/v1/streams/:stream/schema", async (request, reply) => {
      reply.header("Content-Type", "application/schema+json; charset=utf-8");
      return JSON.stringify(streamOf(request).jsonSchema);
    });

    app.get("/v1/streams/:stream/events", async (request, reply) => {
      const { name } = streamOf(request);
      const query = request.query as Record<string, unknown>;
      onlyParameters(query, ["partition", "from", "limit"]);
      const partition = integerParameter(query, "partition", 0, Number.MAX_SAFE_INTEGER);
      const from = integerParameter(query, "from", 0, Number.MAX_SAFE_INTEGER);
      const limit = integerParameter(query, "limit", 1, MAX_LIMIT);
      const partitions = log.partitions(name);
      if (partition !== undefined && partition >= partitions) {
        throw new MillraceError("PARTITION_UNKNOWN", { stream: name, partition, partitions });
      }
      if (wantsToFollow(request)) {
        const starts = followFrom(log, name, partition, from, request.headers["last-event-id"]);
        const options: FollowOptions = {
          log,
          stream: name,
          starts,
          closing: deps.closing,
          heartbeatMs: deps.heartbeatMs,
        };
        reply.hijack();
        await followEvents(request.raw, reply.raw, options);
        return;
      }
      return readEvents(log, name, partition ?? 0, from, limit ?? DEFAULT_LIMIT, reply);
    });
  };
}

function described(stream: Stream, log: EventLog): object {
  const { name, id, key, time, columns } = stream;
  const partitions = Array.from({ length: log.partitions(name) }, (_, partition) => ({
    partition,
    ...log.ends(name, partition),
  }));
  const roles = { id, key: key ?? null, time: time ?? null, segment: stream.segment !== undefined };
  return { name, ...roles, fields: columns.map((column) => column.name), partitions };
}

/** The first run is read before anything is sent, so that what is wrong can still be said. */
async function readEvents(
  log: EventLog,
  stream: string,
  partition: number,
  wanted: number | undefined,
  limit: number,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { start, end } = log.ends(stream, partition);
  const from = wanted ?? start;
  const first = from < end ? await log.read(stream, partition, from, READ_BYTES) : undefined;
  async function* lines(): AsyncGenerator<Uint8Array> {
    let run = first;
    let left = Math.min(limit, end - from);
    while (run !== undefined && left > 0) {
      const count = run.to - run.from + 1;
      yield count <= left ? run.bytes : firstLines(run.bytes, left);
      left -= count;
      run = left > 0 ? await log.read(stream, partition, run.to + 1, READ_BYTES) : undefined;
    }
  }
  reply.headers({
    "Content-Type": "application/x-ndjson; charset=utf-8",
    "Millrace-Partition": String(partition),
    "Millrace-From": String(from),
    "Millrace-End": String(end),
  });
  return reply.send(Readable.from(lines(), { objectMode: false }));
}

function firstLines(bytes: Uint8Array, count: number): Uint8Array {
  let at = 0;
  for (let line = 0; line < count; line++) at = bytes.indexOf(LINE_FEED, at) + 1;
  return bytes.subarray(0, at);
}

function wantsToFollow(request: FastifyRequest): boolean {
  return /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(request.headers.accept ?? "");
}

/** Where to begin in each partition that is followed: after the last event seen, at `from`, or at the end. */
function followFrom(
  log: EventLog,
  stream: string,
  partition: number | undefined,
  from: number | undefined,
  lastEventId: string | string[] | undefined,
): Map<number, number> {
  const partitions = log.partitions(stream);
  const followed = partition === undefined ? Array.from({ length: partitions }, (_, index) => index) : [partition];
  const seen =
    typeof lastEventId === "string" && lastEventId !== "" ? parsePositions(lastEventId) : new Map<number, number>();
  return new Map(
    followed.map((index) => {
      const last = seen.get(index);
      const { start, end } = log.ends(stream, index);
      const next = last === undefined ? (from ?? end) : last + 1;
      if (next < start) throw new MillraceError("LOG_OFFSET_GONE", { stream, partition: index, offset: next, start });
      return [index, next];
    }),
  );
}
