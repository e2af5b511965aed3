/**
 * Events as they come in, as server-sent events (HTML standard, section 9.2):
 *
 *     id: 0-1234                 partition-offset; with several partitions the last of each: 0-1234,1-77
 *     data: {"order_id":…}       the event as it is in the log
 *
 * A client that comes back with `Last-Event-ID` goes on after it. Comments keep silent connections open. What the client
 * does not read in time waits in the log, not in memory.
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../errors.ts";
import type { EventLog, Run } from "../log/event-log.ts";

export interface FollowOptions {
  readonly log: EventLog;
  readonly stream: string;
  /** First offset by partition. */
  readonly starts: ReadonlyMap<number, number>;
  /** Ends the answer. */
  readonly closing: AbortSignal;
  readonly heartbeatMs: number;
}

const READ_BYTES = 256 * 1024;
const LINE_FEED = 0x0a;

/** Resolves when the client has gone or the server closes. */
export async function followEvents(
  request: IncomingMessage,
  response: ServerResponse,
  options: FollowOptions,
): Promise<void> {
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, options.closing]);
  request.once("close", () => gone.abort());
  response.once("close", () => gone.abort());
  response.on("error", () => gone.abort());
  response.writeHead(200, {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  response.write(": following\n\n");
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(": still here\n\n");
  }, options.heartbeatMs);
  const positions = new Map([...options.starts].map(([partition, start]) => [partition, start - 1]));
  try {
    await Promise.all(
      [...options.starts].map(([partition, start]) =>
        followPartition(response, options, partition, start, positions, signal),
      ),
    );
  } catch (error) {
    gone.abort();
    if (!(error instanceof MillraceError)) throw error;
    response.write(`event: error\ndata: ${JSON.stringify({ error })}\n\n`);
  } finally {
    clearInterval(heartbeat);
    response.end();
  }
}

async function followPartition(
  response: ServerResponse,
  { log, stream }: FollowOptions,
  partition: number,
  start: number,
  positions: Map<number, number>,
  signal: AbortSignal,
): Promise<void> {
  let next = start;
  while (!signal.aborted) {
    // An offset that is not there yet is waited for, however far ahead it is.
    await log.wait(stream, partition, next, signal);
    if (signal.aborted) return;
    const run = await log.read(stream, partition, next, READ_BYTES);
    if (run === undefined) continue;
    next = run.to + 1;
    if (!response.write(messages(run, partition, positions))) {
      await once(response, "drain", { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }
}

function messages(run: Run, partition: number, positions: Map<number, number>): string {
  const { bytes } = run;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: string[] = [];
  let at = 0;
  for (let offset = run.from; offset <= run.to; offset++) {
    const end = bytes.indexOf(LINE_FEED, at);
    positions.set(partition, offset);
    parts.push(`id: ${formatPositions(positions)}\ndata: ${text.toString("utf8", at, end)}\n\n`);
    at = end + 1;
  }
  return parts.join("");
}

function formatPositions(positions: ReadonlyMap<number, number>): string {
  return [...positions]
    .filter(([, offset]) => offset >= 0)
    .map(([partition, offset]) => `${partition}-${offset}`)
    .join(",");
}

/** The last offset seen by partition. @throws PARAMETER_INVALID */
export function parsePositions(text: string): Map<number, number> {
  const positions = new Map<number, number>();
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,9})-(\d{1,15})\s*$/.exec(part);
    if (match === null) {
      throw new MillraceError("PARAMETER_INVALID", {
        name: "Last-Event-ID",
        got: JSON.stringify(text.slice(0, 100)),
        allowed: "partition-offset, as in an event's id",
      });
    }
    positions.set(Number(match[1]), Number(match[2]));
  }
  return positions;
}
