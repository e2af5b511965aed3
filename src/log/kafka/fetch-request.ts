/**
 * Fetch, version 12, without a session. The client library takes records apart one by one; here they stay as they are until they are read.
 *
 *     request:  replica_id INT32 (-1), max_wait_ms INT32, min_bytes INT32, max_bytes INT32, isolation_level INT8, session_id INT32 (0),
 *               session_epoch INT32 (-1), [topic: name COMPACT_STRING, [partition: index INT32, leader_epoch INT32, fetch_offset INT64,
 *               last_fetched_epoch INT32, log_start_offset INT64, max_bytes INT32, TAGS], TAGS], [forgotten], rack_id COMPACT_STRING, TAGS
 *     response: throttle_time_ms INT32, error_code INT16, session_id INT32, [topic: name COMPACT_STRING, [partition: index INT32,
 *               error_code INT16, high_watermark INT64, last_stable_offset INT64, log_start_offset INT64, [aborted transaction: producer INT64,
 *               first_offset INT64, TAGS], preferred_replica INT32, records COMPACT_RECORDS, TAGS], TAGS], TAGS
 */
import { type Connection, fetchV12, type Reader, Writer } from "@platformatic/kafka";
import { BrokerRefusal, check } from "./failures.ts";
import { type StoredBatch, splitBatches } from "./read-records.ts";

export interface FetchEntry {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly maxBytes: number;
}

export interface FetchAnswer {
  readonly errorCode: number;
  /** The first offset that readers do not see yet. */
  readonly end: number;
  readonly start: number;
  readonly batches: readonly StoredBatch[];
}

/** Asks the leader of all entries; by `topic-partition`. It answers at once when it has something, else after `waitMs`. */
export function fetchRecords(
  connection: Connection,
  entries: readonly FetchEntry[],
  { waitMs, maxBytes }: { waitMs: number; maxBytes: number },
): Promise<ReadonlyMap<string, FetchAnswer>> {
  const { key, version } = fetchV12.api;
  return new Promise((resolve, reject) => {
    const request = () => writeRequest(entries, waitMs, maxBytes);
    connection.send(key, version, request, parseAnswer, true, true, (error, answer) => {
      if (answer) resolve(answer);
      else reject(error ?? new BrokerRefusal("NETWORK_EXCEPTION", "no answer"));
    });
  });
}

function writeRequest(entries: readonly FetchEntry[], waitMs: number, maxBytes: number): Writer {
  const topics = [...Map.groupBy(entries, ({ topic }) => topic)];
  return Writer.create()
    .appendInt32(-1)
    .appendInt32(waitMs)
    .appendInt32(1)
    .appendInt32(maxBytes)
    .appendInt8(0)
    .appendInt32(0)
    .appendInt32(-1)
    .appendArray(topics, (writer, [topic, parts]) => {
      writer.appendString(topic).appendArray([...parts], (writer, { partition, offset, maxBytes }) => {
        writer
          .appendInt32(partition)
          .appendInt32(-1)
          .appendInt64(BigInt(offset))
          .appendInt32(-1)
          .appendInt64(-1n)
          .appendInt32(maxBytes);
      });
    })
    .appendArray([], () => undefined)
    .appendString("")
    .appendTaggedFields();
}

function parseAnswer(
  _correlation: number,
  _key: number,
  _version: number,
  reader: Reader,
): ReadonlyMap<string, FetchAnswer> {
  reader.readInt32(); // throttle time
  check(reader.readInt16());
  reader.readInt32(); // session
  const answers = new Map<string, FetchAnswer>();
  reader.readArray((topics) => {
    const topic = topics.readString();
    topics.readArray((parts) => {
      const partition = parts.readInt32();
      const errorCode = parts.readInt16();
      const end = Number(parts.readInt64());
      parts.readInt64(); // last stable offset
      const start = Number(parts.readInt64());
      parts.readNullableArray((aborted) => [aborted.readInt64(), aborted.readInt64()]); // aborted transactions
      parts.readInt32(); // preferred replica
      const size = Math.max(0, parts.readUnsignedVarInt() - 1);
      const batches = splitBatches(parts.buffer.slice(parts.position, parts.position + size));
      parts.skip(size);
      answers.set(`${topic}-${partition}`, { errorCode, end, start, batches });
    });
  });
  return answers;
}
