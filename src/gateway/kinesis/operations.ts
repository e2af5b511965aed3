/** Which operation a request asks for, and how each but PutRecord and PutRecords is answered. */
import type { EventLog } from "../../log/event-log.ts";
import type { Refusal } from "../admission.ts";
import type { Principal } from "../auth.ts";
import type { StreamDoor } from "../stream-door.ts";
import { AwsError, invalidArgument } from "./aws-error.ts";
import type { Codec } from "./codec.ts";
import {
  describeLimits,
  describeStream,
  describeStreamSummary,
  listShards,
  listStreams,
  retentionHours,
} from "./describe.ts";
import { MOST_READ, recordsFrom } from "./get-records.ts";
import { ACCOUNT, definitionOf, openStream, requireAccess, streamName } from "./kinesis-streams.ts";
import type { Parameters } from "./parameters.ts";
import { optionalInteger, requiredText } from "./parameters.ts";
import { iteratorText, parseIterator, startingOffset } from "./shard-iterator.ts";
import { partitionOfShard } from "./shards.ts";
import type { StreamTags } from "./stream-tags.ts";
import { addTags, listResourceTags, listTags, removeTags } from "./stream-tags.ts";

/** What the door knows, beside its streams. */
export interface KinesisSetting {
  readonly tags: StreamTags;
  /** When the platform came to be, and its streams with it, for all that is known. */
  readonly createdAtMs: number;
  readonly retentionMs: number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
}

/** One call of an operation. */
export interface Call extends KinesisSetting {
  readonly input: Parameters;
  readonly principal: Principal;
  /** As the caller signed it: all regions are one here. */
  readonly region: string;
  readonly doors: ReadonlyMap<string, StreamDoor>;
  readonly log: EventLog;
  readonly maxEventBytes: number;
  /** In which the answer goes out. */
  readonly codec: Codec;
  /** Asks for room for bytes of the answer. */
  readonly hold: (bytes: number) => Refusal | undefined;
}

/** Undefined: an answer without a body. */
export type Operation = (call: Call) => object | undefined | Promise<object | undefined>;

const PREFIX = "Kinesis_20131202.";

/** The name in `X-Amz-Target`. @throws AwsError UnknownOperationException */
export function operationName(target: string | undefined): string {
  if (target?.startsWith(PREFIX)) {
    const name = target.slice(PREFIX.length);
    if (name === "PutRecords" || name === "PutRecord" || OPERATIONS.has(name)) return name;
  }
  const got =
    target === undefined ? "The header X-Amz-Target is missing" : `There is no operation '${target.slice(0, 100)}'`;
  throw new AwsError("UnknownOperationException", `${got}; it names one as ${PREFIX}PutRecords.`);
}

/** GetShardIterator {StreamName | StreamARN, ShardId, ShardIteratorType, StartingSequenceNumber?, Timestamp?} */
async function getShardIterator({ input, principal, doors, log, clock }: Call): Promise<object> {
  const name = streamName(input);
  requireAccess(principal, "read", name);
  openStream(doors, name);
  const partition = partitionOfShard(requiredText(input, "ShardId", 128), log.partitions(name), name);
  const offset = await startingOffset(log, name, partition, input, clock());
  return { ShardIterator: iteratorText({ stream: name, partition, offset }, clock()) };
}

/** GetRecords {ShardIterator, Limit?} */
async function getRecords({ input, principal, doors, log, clock, codec, hold }: Call): Promise<object> {
  const iterator = parseIterator(requiredText(input, "ShardIterator", 512), clock());
  const limit = optionalInteger(input, "Limit", 1, MOST_READ) ?? MOST_READ;
  requireAccess(principal, "read", iterator.stream);
  const { stream } = openStream(doors, iterator.stream);
  if (iterator.partition >= log.partitions(stream.name)) throw invalidArgument("Invalid ShardIterator.");
  return recordsFrom({ log, stream, iterator, limit, clock, codec, hold });
}

/** CreateStream {StreamName, …}: a stream is what the project says. */
function createStream({ input, principal, doors }: Call): never {
  const name = streamName(input);
  requireAccess(principal, "describe", name);
  if (doors.has(name)) {
    throw new AwsError("ResourceInUseException", `Stream ${name} under account ${ACCOUNT} already exists.`);
  }
  throw invalidArgument(
    `Stream ${name} is not created here, for streams are defined in the project: ${definitionOf(name)}`,
  );
}

/** IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod {StreamName | StreamARN, RetentionPeriodHours} */
function retention({ input, principal, doors, retentionMs }: Call): undefined {
  const name = streamName(input);
  requireAccess(principal, "administer", name);
  openStream(doors, name);
  const hours = optionalInteger(input, "RetentionPeriodHours", 1, 8760);
  const kept = retentionHours(retentionMs);
  if (hours === kept) return undefined;
  throw invalidArgument(
    `Stream ${name} is kept for ${kept} hours, as all streams are: the setting retentionMs says so (millrace start --retention ${hours ?? kept}h).`,
  );
}

/** An operation that this platform has no use for, with what there is instead. */
function refused(instead: string): Operation {
  return ({ input, principal, doors }) => {
    const given = ["StreamName", "StreamARN", "ResourceARN", "ConsumerARN"].some((name) => input[name] != null);
    if (given && input["ConsumerARN"] == null) {
      const name = streamName(input, input["ResourceARN"] == null ? "StreamARN" : "ResourceARN");
      requireAccess(principal, "describe", name);
      openStream(doors, name);
    }
    throw invalidArgument(instead);
  };
}

const RESHARD =
  "Shards are the partitions of the stream, and the key of an event decides for ever which one it is in: `partitions` in the stream's definition says how many there are, and it can be raised there.";
const FAN_OUT =
  "There is no enhanced fan-out: read with GetShardIterator and GetRecords (in the KCL: new PollingConfig), or follow GET /v1/streams/{stream}/events as server-sent events.";
const ENCRYPTION = "Encryption at rest is the disk's: there are no KMS keys.";
const MONITORING = "Metrics of all streams stand at GET /metrics.";
const POLICIES = "Who may do what is said by the scopes of keys (millrace keys create --scopes).";
const MODE = "Streams have a fixed number of partitions and no limit of throughput: there are no modes.";
const DELETE = "A stream lives as long as its definition: take that out of the project. What is stored stays.";

const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ["GetRecords", getRecords],
  ["GetShardIterator", getShardIterator],
  ["DescribeStream", describeStream],
  ["DescribeStreamSummary", describeStreamSummary],
  ["ListStreams", listStreams],
  ["ListShards", listShards],
  ["DescribeLimits", describeLimits],
  ["CreateStream", createStream],
  ["IncreaseStreamRetentionPeriod", retention],
  ["DecreaseStreamRetentionPeriod", retention],
  ["AddTagsToStream", (call) => addTags(call)],
  ["RemoveTagsFromStream", (call) => removeTags(call)],
  ["ListTagsForStream", listTags],
  ["TagResource", (call) => addTags(call, "ResourceARN")],
  ["UntagResource", (call) => removeTags(call, "ResourceARN")],
  ["ListTagsForResource", listResourceTags],
  ["DeleteStream", refused(DELETE)],
  ...["SplitShard", "MergeShards", "UpdateShardCount"].map((name) => [name, refused(RESHARD)] as const),
  ...[
    "RegisterStreamConsumer",
    "DeregisterStreamConsumer",
    "DescribeStreamConsumer",
    "ListStreamConsumers",
    "SubscribeToShard",
  ].map((name) => [name, refused(FAN_OUT)] as const),
  ...["StartStreamEncryption", "StopStreamEncryption"].map((name) => [name, refused(ENCRYPTION)] as const),
  ...["EnableEnhancedMonitoring", "DisableEnhancedMonitoring"].map((name) => [name, refused(MONITORING)] as const),
  ...["GetResourcePolicy", "PutResourcePolicy", "DeleteResourcePolicy"].map(
    (name) => [name, refused(POLICIES)] as const,
  ),
  ...["UpdateStreamMode", "UpdateStreamWarmThroughput"].map((name) => [name, refused(MODE)] as const),
  ["UpdateMaxRecordSize", refused("The largest event is said by the setting maxEventBytes.")],
]);

/** How an operation is answered. */
export function operationOf(name: string): Operation {
  return OPERATIONS.get(name) as Operation;
}
