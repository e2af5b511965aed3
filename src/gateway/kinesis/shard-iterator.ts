/**
 * Shard iterators: where a reader of a shard goes on, as text that means something to this door alone.
 *
 *     base64url of  1 \n stream \n partition \n offset \n issued at (ms)
 *
 * Nothing in it is secret or trusted: who may read is decided anew each time.
 */

import { MillraceError } from "../../errors.ts";
import type { EventLog } from "../../log/event-log.ts";
import { AwsError, invalidArgument, validation } from "./aws-error.ts";
import type { Parameters } from "./parameters.ts";
import { missing, optionalMoment, optionalText, requiredText } from "./parameters.ts";
import { parseSequenceNumber, shardId } from "./shards.ts";

export interface ShardIterator {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
}

const VERSION = "1";
const LIFETIME_MS = 5 * 60_000;
const TYPES = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

export function iteratorText({ stream, partition, offset }: ShardIterator, nowMs: number): string {
  return Buffer.from([VERSION, stream, partition, offset, nowMs].join("\n")).toString("base64url");
}

/** @throws AwsError InvalidArgumentException, ExpiredIteratorException */
export function parseIterator(text: string, nowMs: number): ShardIterator {
  const plain = Buffer.from(text, "base64url").toString("utf8");
  const match = /^1\n([a-z_][a-z0-9_]*)\n(\d{1,4})\n(\d{1,15})\n(\d{1,15})$/.exec(plain);
  if (match === null) throw invalidArgument("Invalid ShardIterator.");
  const [, stream = "", partition, offset, issued] = match;
  const issuedMs = Number(issued);
  if (issuedMs - nowMs > LIFETIME_MS) throw invalidArgument("Invalid ShardIterator.");
  if (nowMs - issuedMs > LIFETIME_MS) {
    const message = `Iterator expired. The iterator was created at time ${new Date(issuedMs).toISOString()} while right now it is ${new Date(nowMs).toISOString()} which is further in the future than the tolerated delay of ${LIFETIME_MS} milliseconds.`;
    throw new AwsError("ExpiredIteratorException", message);
  }
  return { stream, partition: Number(partition), offset: Number(offset) };
}

/** The offset at which an iterator of the type asked for begins. @throws AwsError, MillraceError of the log */
export async function startingOffset(
  log: EventLog,
  stream: string,
  partition: number,
  input: Parameters,
  nowMs: number,
): Promise<number> {
  const type = requiredText(input, "ShardIteratorType");
  const sequence = optionalText(input, "StartingSequenceNumber", 130);
  const timestampMs = optionalMoment(input, "Timestamp");
  const { start, end } = log.ends(stream, partition);
  switch (type) {
    case "TRIM_HORIZON":
      return start;
    case "LATEST":
      return end;
    case "AT_SEQUENCE_NUMBER":
    case "AFTER_SEQUENCE_NUMBER": {
      if (sequence === undefined) throw missing("StartingSequenceNumber");
      const known = parseSequenceNumber(sequence);
      if (known === undefined || known.partition !== partition || known.offset >= end) {
        // What a shard's description gives as its first sequence number may be asked for before there is an event.
        if (known?.partition === partition && known.offset === 0) return 0;
        throw invalidArgument(
          `StartingSequenceNumber ${sequence} used in GetShardIterator on shard ${shardId(partition)} in stream ${stream} is invalid because it did not come from this shard.`,
        );
      }
      return Math.max(start, type === "AT_SEQUENCE_NUMBER" ? known.offset : known.offset + 1);
    }
    case "AT_TIMESTAMP":
      if (timestampMs === undefined)
        throw invalidArgument(
          "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.",
        );
      if (timestampMs > nowMs) {
        throw invalidArgument(
          `The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: ${timestampMs}, currentTimestampInMillis: ${nowMs}`,
        );
      }
      return firstSince(log, stream, partition, timestampMs);
    default:
      throw validation(type, "shardIteratorType", `Member must satisfy enum value set: [${TYPES.join(", ")}]`);
  }
}

/** The first offset received at that moment or later, found by halves: times of arrival never go back within a partition. */
async function firstSince(log: EventLog, stream: string, partition: number, timeMs: number): Promise<number> {
  let { start: low, end: high } = log.ends(stream, partition);
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const batch = await spanAt(log, stream, partition, middle);
    if (batch === undefined) return high;
    if (batch.receivedAtMs < timeMs) low = batch.to + 1;
    else high = Math.max(low, batch.from);
  }
  return low;
}

/** Which events came with that one, and when; damaged ones are known too. */
async function spanAt(
  log: EventLog,
  stream: string,
  partition: number,
  offset: number,
): Promise<{ readonly from: number; readonly to: number; readonly receivedAtMs: number } | undefined> {
  try {
    const run = await log.read(stream, partition, offset, 1);
    const [span] = run?.spans ?? [];
    return span === undefined ? undefined : { from: offset, to: span.to, receivedAtMs: span.receivedAtMs };
  } catch (error) {
    const damage = damageOf(error);
    if (damage !== undefined) return damage;
    // What is gone meanwhile was older than all that is kept.
    if (error instanceof MillraceError && error.code === "LOG_OFFSET_GONE") {
      return { from: offset, to: log.ends(stream, partition).start - 1, receivedAtMs: Number.NEGATIVE_INFINITY };
    }
    throw error;
  }
}

/** The events that lie damaged in the log, when that is what an error of it says. */
export function damageOf(
  error: unknown,
): { readonly from: number; readonly to: number; readonly receivedAtMs: number } | undefined {
  if (!(error instanceof MillraceError) || error.code !== "LOG_CORRUPT") return undefined;
  return error.details as { from: number; to: number; receivedAtMs: number };
}
