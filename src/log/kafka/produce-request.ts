/**
 * Produce, version 9. The client library has it for single messages; here whole record batches go out as they are.
 *
 *     request:  transactional_id COMPACT_NULLABLE_STRING, acks INT16, timeout_ms INT32,
 *               [topic: name COMPACT_STRING, [partition: index INT32, records COMPACT_RECORDS, TAGS], TAGS], TAGS
 *     response: [topic: name COMPACT_STRING, [partition: index INT32, error_code INT16, base_offset INT64, log_append_time_ms INT64,
 *               log_start_offset INT64, [record error: batch_index INT32, message COMPACT_NULLABLE_STRING, TAGS],
 *               error_message COMPACT_NULLABLE_STRING, TAGS], TAGS], throttle_time_ms INT32, TAGS
 */
import { type Reader, Writer } from "@platformatic/kafka";

export interface ProduceEntry {
  readonly topic: string;
  readonly partition: number;
  readonly records: Buffer;
}

export interface ProduceAnswer {
  readonly errorCode: number;
  readonly baseOffset: number;
  /** -1 when the topic keeps the sender's time. */
  readonly appendTimeMs: number;
  readonly startOffset: number;
  readonly message: string | null;
}

/** `timeoutMs`: how long the leader waits for the replicas. */
export function writeProduceRequest(entries: readonly ProduceEntry[], timeoutMs: number): Writer {
  const topics = [...Map.groupBy(entries, ({ topic }) => topic)];
  return Writer.create()
    .appendString(null)
    .appendInt16(ACKS_ALL)
    .appendInt32(timeoutMs)
    .appendArray(topics, (writer, [topic, parts]) => {
      writer.appendString(topic).appendArray([...parts], (writer, { partition, records }) => {
        writer
          .appendInt32(partition)
          .appendUnsignedVarInt(records.length + 1)
          .append(records);
      });
    })
    .appendTaggedFields();
}

/** By `topic-partition`. */
export function parseProduceAnswer(
  _correlation: number,
  _key: number,
  _version: number,
  reader: Reader,
): ReadonlyMap<string, ProduceAnswer> {
  const answers = new Map<string, ProduceAnswer>();
  reader.readArray((topics) => {
    const topic = topics.readString();
    topics.readArray((parts) => {
      const partition = parts.readInt32();
      const errorCode = parts.readInt16();
      const baseOffset = Number(parts.readInt64());
      const appendTimeMs = Number(parts.readInt64());
      const startOffset = Number(parts.readInt64());
      const details = parts.readArray((errors) => ({
        index: errors.readInt32(),
        message: errors.readNullableString(),
      }));
      const message = parts.readNullableString() ?? details[0]?.message ?? null;
      answers.set(`${topic}-${partition}`, { errorCode, baseOffset, appendTimeMs, startOffset, message });
    });
  });
  return answers;
}

const ACKS_ALL = -1;
