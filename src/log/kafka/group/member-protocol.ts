/**
 * What members of a group tell each other through the coordinator, in the format of Kafka's own consumers, so that its tools show it.
 *
 *     subscription (version 3): version INT16, [topic STRING], user_data BYTES, [owned: topic STRING, [partition INT32]], generation INT32,
 *                               rack NULLABLE_STRING
 *     assignment (version 0):   version INT16, [topic STRING, [partition INT32]], user_data BYTES
 *
 * Source: Apache Kafka, `ConsumerProtocolSubscription.json` and `ConsumerProtocolAssignment.json`.
 */
import { Reader, Writer } from "@platformatic/kafka";

/** Partitions by topic. */
export type TopicPartitions = ReadonlyMap<string, readonly number[]>;

export interface Subscription {
  readonly topics: readonly string[];
  readonly owned: TopicPartitions;
  /** In which it was given what it owns; -1 for none. */
  readonly generation: number;
}

export function writeSubscription({ topics, owned, generation }: Subscription): Buffer {
  const writer = Writer.create()
    .appendInt16(3)
    .appendArray([...topics], (out, topic) => void out.appendString(topic, false), false, false)
    .appendBytes(null, false);
  writeTopics(writer, owned);
  return writer.appendInt32(generation).appendString(null, false).buffer;
}

export function readSubscription(bytes: Buffer): Subscription {
  const reader = Reader.from(bytes);
  const version = reader.readInt16();
  const topics = reader.readArray((entry) => entry.readString(false), false, false);
  reader.readNullableBytes(false); // user data
  const owned = version >= 1 ? readTopics(reader) : new Map();
  const generation = version >= 2 ? reader.readInt32() : -1;
  return { topics, owned, generation };
}

export function writeAssignment(partitions: TopicPartitions): Buffer {
  const writer = Writer.create().appendInt16(0);
  writeTopics(writer, partitions);
  return writer.appendBytes(null, false).buffer;
}

/** An empty answer is that of a member to whom nothing was given. */
export function readAssignment(bytes: Buffer): TopicPartitions {
  if (bytes.length === 0) return new Map();
  const reader = Reader.from(bytes);
  reader.readInt16();
  return readTopics(reader);
}

function writeTopics(writer: Writer, partitions: TopicPartitions): void {
  writer.appendArray(
    [...partitions],
    (out, [topic, indexes]) => {
      out.appendString(topic, false);
      out.appendArray([...indexes], (list, index) => void list.appendInt32(index), false, false);
    },
    false,
    false,
  );
}

function readTopics(reader: Reader): TopicPartitions {
  const entries = reader.readArray(
    (entry) => {
      const topic = entry.readString(false);
      const partitions = entry.readArray((list) => list.readInt32(), false, false);
      return [topic, partitions] as const;
    },
    false,
    false,
  );
  return new Map(entries);
}
