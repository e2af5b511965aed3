/**
 * A partition of a stream as Kinesis sees it.
 *
 *     shard id         shardId-000000000003                       partition 3
 *     hash key range   the 128-bit space in equal parts, as AWS divides it among a new stream's shards
 *     sequence number  1 oooooooooooooooooooo pppppppppppp        20 digits of the offset, 12 of the partition
 *
 * Sequence numbers are in order within a shard, as numbers and, for they are of one length, as text.
 */
import { hash } from "node:crypto";
import { AwsError } from "./aws-error.ts";

const SHARD_PREFIX = "shardId-";
const SPACE = 1n << 128n;

export function shardId(partition: number): string {
  return namesOf(partition).shardId;
}

/** A few per partition, asked for with every record. */
const names: { readonly shardId: string; readonly sequenceEnd: string }[] = [];

function namesOf(partition: number): { readonly shardId: string; readonly sequenceEnd: string } {
  let known = names[partition];
  if (known === undefined) {
    const digits = String(partition).padStart(12, "0");
    known = { shardId: `${SHARD_PREFIX}${digits}`, sequenceEnd: digits };
    names[partition] = known;
  }
  return known;
}

/** @throws AwsError ResourceNotFoundException when the stream has no such shard */
export function partitionOfShard(id: string, partitions: number, stream: string): number {
  const partition = /^shardId-\d{12}$/.test(id) ? Number(id.slice(SHARD_PREFIX.length)) : -1;
  if (partition >= 0 && partition < partitions) return partition;
  const message = `Could not find shard ${id} in stream ${stream}; its shards are ${shardId(0)} to ${shardId(partitions - 1)}.`;
  throw new AwsError("ResourceNotFoundException", message);
}

/** The first and the last hash key of a partition. */
export function hashKeyRange(partition: number, partitions: number): { readonly start: bigint; readonly end: bigint } {
  const width = SPACE / BigInt(partitions);
  const start = width * BigInt(partition);
  return { start, end: partition === partitions - 1 ? SPACE - 1n : start + width - 1n };
}

/** The partition whose range has a hash key. */
export function partitionOfHash(key: bigint, partitions: number): number {
  const partition = Number(key / (SPACE / BigInt(partitions)));
  return Math.min(partition, partitions - 1);
}

/** Where AWS puts a record: by its explicit hash key, else by the MD5 of its partition key. */
export function partitionOfKey(partitionKey: string, explicitHashKey: string | undefined, partitions: number): number {
  if (partitions === 1) return 0;
  return partitionOfHash(
    explicitHashKey === undefined ? BigInt(`0x${hash("md5", partitionKey, "hex")}`) : BigInt(explicitHashKey),
    partitions,
  );
}

export function isHashKey(text: string): boolean {
  return /^(0|[1-9]\d{0,38})$/.test(text) && BigInt(text) < SPACE;
}

export function sequenceNumber(partition: number, offset: number): string {
  return `1${String(offset).padStart(20, "0")}${namesOf(partition).sequenceEnd}`;
}

/** Partition and offset of a sequence number; undefined when it is none of ours. */
export function parseSequenceNumber(text: string): { readonly partition: number; readonly offset: number } | undefined {
  const match = /^1(\d{20})(\d{12})$/.exec(text);
  if (match === null) return undefined;
  const offset = Number(match[1]);
  return Number.isSafeInteger(offset) ? { partition: Number(match[2]), offset } : undefined;
}
