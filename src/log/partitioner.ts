/**
 * Which partition the events of a key go to: the default partitioner of Kafka's producers, so that a stream moved to
 * Kafka keeps each key where it was.
 *
 * Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2` and `BuiltInPartitioner.partitionForKey`.
 */

/** The partition of a key, from 0 to `partitions - 1`: murmur2 of its UTF-8 bytes, made positive, modulo the count. */
export function partitionOf(key: string, partitions: number): number {
  if (partitions === 1) return 0;
  return (murmur2(encode(key)) & 0x7fffffff) % partitions;
}

/** MurmurHash2, 32 bits, with Kafka's seed; signed, as in Java. */
export function murmur2(data: Uint8Array): number {
  const length = data.length;
  const body = length & ~3;
  let h = 0x9747b28c ^ length;
  for (let i = 0; i < body; i += 4) {
    let k = byte(data, i) | (byte(data, i + 1) << 8) | (byte(data, i + 2) << 16) | (byte(data, i + 3) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = length - body;
  if (rest === 3) h ^= byte(data, body + 2) << 16;
  if (rest >= 2) h ^= byte(data, body + 1) << 8;
  if (rest >= 1) h = Math.imul(h ^ byte(data, body), M);
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return h ^ (h >>> 15);
}

const M = 0x5bd1e995;
const encoder = new TextEncoder();
/** Keys are short: encoding into a buffer that is there already takes a third of the time. */
const scratch = new Uint8Array(1024);

function encode(key: string): Uint8Array {
  // A UTF-16 unit takes at most three bytes.
  if (key.length * 3 > scratch.length) return encoder.encode(key);
  return scratch.subarray(0, encoder.encodeInto(key, scratch).written);
}

function byte(data: Uint8Array, i: number): number {
  return data[i] as number;
}
