/** The operations that tell of streams and shards: DescribeStream, DescribeStreamSummary, ListStreams, ListShards, DescribeLimits. */

import { AwsError, invalidArgument } from "./aws-error.ts";
import { mayAccess, openStream, requireAccess, streamArn, streamName } from "./kinesis-streams.ts";
import type { Call } from "./operations.ts";
import { optionalInteger, optionalText } from "./parameters.ts";
import { hashKeyRange, sequenceNumber, shardId } from "./shards.ts";

const MS_PER_HOUR = 3_600_000;

/** DescribeStream {StreamName | StreamARN, Limit?, ExclusiveStartShardId?} */
export function describeStream(call: Call): object {
  const { input, region, log } = call;
  const { stream } = describable(call);
  const limit = optionalInteger(input, "Limit", 1, 10_000) ?? 100;
  const all = log.partitions(stream.name);
  const first = firstPartition(optionalText(input, "ExclusiveStartShardId", 128));
  const end = Math.min(all, first + limit);
  return {
    StreamDescription: {
      ...common(call, stream.name),
      StreamARN: streamArn(region, stream.name),
      Shards: shards(first, end, all),
      HasMoreShards: end < all,
    },
  };
}

/** DescribeStreamSummary {StreamName | StreamARN} */
export function describeStreamSummary(call: Call): object {
  const { stream } = describable(call);
  return {
    StreamDescriptionSummary: {
      ...common(call, stream.name),
      ConsumerCount: 0,
      OpenShardCount: call.log.partitions(stream.name),
      MaxRecordSizeInKiB: Math.floor(call.maxEventBytes / 1024),
    },
  };
}

/** ListStreams {Limit?, ExclusiveStartStreamName?, NextToken?}: those the key has to do with. */
export function listStreams({ input, principal, doors, region, createdAtMs, codec }: Call): object {
  const limit = optionalInteger(input, "Limit", 1, 10_000) ?? 100;
  const after =
    optionalText(input, "NextToken", 1_048_576) ?? optionalText(input, "ExclusiveStartStreamName", 128) ?? "";
  const names = [...doors.keys()].filter((name) => mayAccess(principal, "describe", name)).toSorted();
  const left = names.filter((name) => name > after);
  const listed = left.slice(0, limit);
  const more = left.length > listed.length;
  return {
    HasMoreStreams: more,
    ...(more && { NextToken: listed.at(-1) }),
    StreamNames: listed,
    StreamSummaries: listed.map((name) => ({
      StreamARN: streamArn(region, name),
      StreamCreationTimestamp: codec.moment(createdAtMs),
      StreamModeDetails: { StreamMode: "PROVISIONED" },
      StreamName: name,
      StreamStatus: "ACTIVE",
    })),
  };
}

/** ListShards {StreamName | StreamARN | NextToken, MaxResults?, ExclusiveStartShardId?, ShardFilter?}: no shard is ever closed. */
export function listShards(call: Call): object {
  const { input, log } = call;
  const token = optionalText(input, "NextToken", 1_048_576);
  const named = token === undefined ? undefined : parseToken(token);
  if (named !== undefined && (input["StreamName"] != null || input["ExclusiveStartShardId"] != null)) {
    throw invalidArgument("NextToken and StreamName or ExclusiveStartShardId cannot be provided together.");
  }
  const { stream } = describable(named === undefined ? call : { ...call, input: { StreamName: named.stream } });
  const most = optionalInteger(input, "MaxResults", 1, 10_000) ?? 1000;
  const all = log.partitions(stream.name);
  const first =
    named?.first ??
    Math.max(firstPartition(optionalText(input, "ExclusiveStartShardId", 128)), afterShard(input["ShardFilter"]));
  const end = Math.min(all, first + most);
  return {
    ...(end < all && { NextToken: Buffer.from(`${stream.name}/${end}`).toString("base64url") }),
    Shards: shards(first, end, all),
  };
}

/** DescribeLimits {}: the disk is the limit; what is said is what AWS says at least. */
export function describeLimits({ principal, doors, log }: Call): object {
  requireAccess(principal, "describe", undefined);
  const open = [...doors.keys()].reduce((sum, name) => sum + log.partitions(name), 0);
  return {
    OnDemandStreamCount: 0,
    OnDemandStreamCountLimit: 0,
    OpenShardCount: open,
    ShardLimit: Math.max(open, 1024),
  };
}

function describable({ input, principal, doors }: Pick<Call, "input" | "principal" | "doors">) {
  const name = streamName(input);
  requireAccess(principal, "describe", name);
  return openStream(doors, name);
}

function common({ createdAtMs, retentionMs, region, codec }: Call, name: string): object {
  return {
    EncryptionType: "NONE",
    EnhancedMonitoring: [{ ShardLevelMetrics: [] }],
    RetentionPeriodHours: retentionHours(retentionMs),
    StreamARN: streamArn(region, name),
    StreamCreationTimestamp: codec.moment(createdAtMs),
    StreamModeDetails: { StreamMode: "PROVISIONED" },
    StreamName: name,
    StreamStatus: "ACTIVE",
  };
}

/** Of the log, in full hours. */
export function retentionHours(retentionMs: number): number {
  return Math.floor(retentionMs / MS_PER_HOUR);
}

function shards(first: number, end: number, all: number): object[] {
  return Array.from({ length: Math.max(0, end - first) }, (_, index) => {
    const partition = first + index;
    const range = hashKeyRange(partition, all);
    return {
      HashKeyRange: { EndingHashKey: String(range.end), StartingHashKey: String(range.start) },
      SequenceNumberRange: { StartingSequenceNumber: sequenceNumber(partition, 0) },
      ShardId: shardId(partition),
    };
  });
}

function firstPartition(exclusiveStart: string | undefined): number {
  if (exclusiveStart === undefined) return 0;
  const match = /^shardId-(\d{12})$/.exec(exclusiveStart);
  if (match === null) throw invalidArgument(`ExclusiveStartShardId ${exclusiveStart} is no shard id.`);
  return Number(match[1]) + 1;
}

/** Of the filters only AFTER_SHARD_ID leaves out shards that are all open. */
function afterShard(filter: unknown): number {
  const { Type: type, ShardId: id } = (filter ?? {}) as { Type?: unknown; ShardId?: unknown };
  return type === "AFTER_SHARD_ID" ? firstPartition(String(id)) : 0;
}

function parseToken(token: string): { readonly stream: string; readonly first: number } {
  const match = /^([a-z_][a-z0-9_]*)\/(\d{1,4})$/.exec(Buffer.from(token, "base64url").toString("utf8"));
  if (match === null) throw new AwsError("ExpiredNextTokenException", "NextToken is none that this platform gave.");
  return { stream: match[1] as string, first: Number(match[2]) };
}
