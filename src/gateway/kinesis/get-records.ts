/**
 * GetRecords: the events of a shard from an iterator on, as they stand in the log.
 *
 * A record's partition key is the event's key (or its id), for the log keeps events and nothing beside them; where an event has neither
 * it is the shard's id. Damaged events are passed over: they are dead letters with the stage `log`.
 */
import type { Stream } from "../../define/project.ts";
import { MillraceError } from "../../errors.ts";
import type { EventLog, Run } from "../../log/event-log.ts";
import type { Refusal } from "../admission.ts";
import { keyOf } from "../partition-router.ts";
import { invalidArgument } from "./aws-error.ts";
import type { Codec } from "./codec.ts";
import type { ShardIterator } from "./shard-iterator.ts";
import { damageOf, iteratorText } from "./shard-iterator.ts";
import { sequenceNumber, shardId } from "./shards.ts";

/** A record as it goes out. */
interface ReadRecord {
  readonly ApproximateArrivalTimestamp: unknown;
  readonly Data: unknown;
  readonly EncryptionType: "NONE";
  readonly PartitionKey: string;
  readonly SequenceNumber: string;
}

export interface Reading {
  readonly log: EventLog;
  readonly stream: Stream;
  readonly iterator: ShardIterator;
  /** Of records. */
  readonly limit: number;
  readonly clock: () => number;
  readonly codec: Codec;
  /** Asks for room for bytes of the answer: where there is none an answer is shorter, as it may be. */
  readonly hold: (bytes: number) => Refusal | undefined;
}

/** As many records and bytes of data as AWS gives at most. */
export const MOST_READ = 10_000;
const MOST_BYTES = 10 * 1024 * 1024;
/** Read from the log at a time. */
const READ_BYTES = 1024 * 1024;
/** Parts of the log looked at for one answer: each may be one small file. */
const MOST_READS = 64;
const LONGEST_KEY = 256;
/** The events, their data as it goes out, and the answer they are put into. */
const ANSWER_GROWTH = 4;
const LINE_FEED = 0x0a;

/** @throws AwsError, MillraceError of the log, Refusal when there is no room for any record */
export async function recordsFrom({ log, stream, iterator, limit, clock, codec, hold }: Reading): Promise<object> {
  const { name } = stream;
  const { partition } = iterator;
  const { start, end } = log.ends(name, partition);
  if (iterator.offset > end) throw invalidArgument("Invalid ShardIterator: it is beyond the end of its shard.");
  let next = Math.max(start, iterator.offset);
  const records: ReadRecord[] = [];
  let bytes = 0;
  let lastMs: number | undefined;
  for (let reads = 0; reads < MOST_READS && records.length < limit && bytes < MOST_BYTES; reads++) {
    const run = await runAt(log, name, partition, next, Math.min(READ_BYTES, MOST_BYTES - bytes));
    if (run === undefined) break;
    if (typeof run === "number") {
      next = run;
      continue;
    }
    const refusal = hold(ANSWER_GROWTH * run.bytes.length);
    if (refusal !== undefined) {
      if (records.length === 0) throw refusal;
      break;
    }
    const taken = take(run, stream, partition, limit - records.length, codec, records);
    if (taken.count > 0) lastMs = taken.lastMs;
    next = run.from + taken.count;
    bytes += taken.bytes;
  }
  const nowMs = clock();
  const behind = next < log.ends(name, partition).end ? nowMs - (lastMs ?? nowMs) : 0;
  return {
    MillisBehindLatest: Math.max(0, behind),
    NextShardIterator: iteratorText({ stream: name, partition, offset: next }, nowMs),
    Records: records,
  };
}

/** The run at an offset; where to go on when it is damaged or gone; undefined at the end. */
async function runAt(
  log: EventLog,
  stream: string,
  partition: number,
  offset: number,
  maxBytes: number,
): Promise<Run | number | undefined> {
  try {
    return await log.read(stream, partition, offset, maxBytes);
  } catch (error) {
    const damage = damageOf(error);
    if (damage !== undefined) return damage.to + 1;
    if (error instanceof MillraceError && error.code === "LOG_OFFSET_GONE") return log.ends(stream, partition).start;
    throw error;
  }
}

function take(
  run: Run,
  stream: Stream,
  partition: number,
  limit: number,
  codec: Codec,
  into: ReadRecord[],
): { readonly count: number; readonly bytes: number; readonly lastMs: number } {
  const keyed = stream.key !== undefined || stream.id.length > 0;
  const text = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.length);
  let at = 0;
  let count = 0;
  let span = 0;
  let arrivedMs = 0;
  let arrived: unknown;
  let arrivedIn = -1;
  for (let offset = run.from; offset <= run.to && count < limit; offset++) {
    while (offset > (run.spans[span] as Run["spans"][number]).to) span++;
    if (arrivedIn !== span) {
      arrivedMs = (run.spans[span] as Run["spans"][number]).receivedAtMs;
      arrived = codec.moment(arrivedMs);
      arrivedIn = span;
    }
    const end = text.indexOf(LINE_FEED, at);
    const data = text.subarray(at, end);
    into.push({
      ApproximateArrivalTimestamp: arrived,
      Data: codec.blob(data),
      EncryptionType: "NONE",
      PartitionKey: (keyed ? keyIn(data, stream) : undefined) ?? shardId(partition),
      SequenceNumber: sequenceNumber(partition, offset),
    });
    at = end + 1;
    count++;
  }
  return { count, bytes: at, lastMs: arrivedMs };
}

function keyIn(data: Buffer, stream: Stream): string | undefined {
  const key = keyOf(stream, JSON.parse(data.toString("utf8")) as Record<string, unknown>);
  // A key of AWS has at least one character.
  return key === undefined || key === "" ? undefined : key.slice(0, LONGEST_KEY);
}
