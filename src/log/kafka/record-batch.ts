/**
 * The unit in which Kafka stores events: the record batch, format version 2.
 *
 *     baseOffset            int64    given by the broker
 *     batchLength           int32    of everything behind this field
 *     partitionLeaderEpoch  int32    -1, set by the broker
 *     magic                 int8     2
 *     crc                   uint32   CRC-32C of everything behind this field
 *     attributes            int16    bits 0-2 compression, 3 time given by the broker, 4 transaction, 5 control
 *     lastOffsetDelta       int32
 *     baseTimestamp         int64
 *     maxTimestamp          int64    time of arrival where the broker gives it
 *     producerId            int64  } what makes sending a batch again harmless
 *     producerEpoch         int16  }
 *     baseSequence          int32  }
 *     recordCount           int32
 *     records                        compressed as one where bits 0-2 say so
 *
 *     record: length varint, attributes int8 (0), timestampDelta varlong, offsetDelta varint, keyLength varint (-1: none), key,
 *             valueLength varint (-1: none), value, headerCount varint, headers (keyLength varint, key, valueLength varint, value)
 *
 * An event is a record whose value is its line without the line break, so that any consumer reads plain JSON. Where it came from stands in the
 * header `source` of the first record of its batch, and again where it changes: a header on each would make events a tenth longer.
 *
 * Source: Apache Kafka, `org.apache.kafka.common.record.DefaultRecordBatch` and `DefaultRecord`.
 */

import { promisify } from "node:util";
import { constants, zstdCompress } from "node:zlib";
import { crc32c } from "@node-rs/crc32";
import { compressionsAlgorithms } from "@platformatic/kafka";
import type { Batch } from "../event-log.ts";

export type Compression = "none" | "lz4" | "zstd";

/** What the broker knows a producer by. */
export interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}

/** Where fields of a batch lie. */
export const FIELDS = {
  baseOffset: 0,
  batchLength: 8,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
  records: 61,
} as const;

/** Length of base offset and batch length, which `batchLength` does not count. */
export const LENGTH_PREFIX = 12;
export const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export const SOURCE_HEADER = "source";

const sourceKey = Buffer.from(SOURCE_HEADER);
const compressZstd = promisify(zstdCompress);
/** Level 1: half the time of the default level for a few percent more bytes. */
const ZSTD_OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 }, chunkSize: 256 * 1024 };

/**
 * A record batch of several batches of events, in their order, that still lacks its producer: `seal` it before it is sent.
 * @param nowMs the time that readers see where the broker gives none.
 * @param room memory for it, of `encodedBound` of all batches together; without compression it is what is returned.
 */
export async function encodeRecordBatch(
  batches: readonly Batch[],
  nowMs: number,
  compression: Compression,
  room?: Buffer,
): Promise<Buffer> {
  const plain = encodeRecords(batches, room);
  const count = batches.reduce((sum, batch) => sum + batch.count, 0);
  const batch = compression === "none" ? plain : await compressed(plain, compression);
  batch.writeBigInt64BE(0n, FIELDS.baseOffset);
  batch.writeInt32BE(batch.length - LENGTH_PREFIX, FIELDS.batchLength);
  batch.writeInt32BE(-1, FIELDS.batchLength + 4);
  batch.writeInt8(2, FIELDS.magic);
  batch.writeInt16BE(CODECS[compression], FIELDS.attributes);
  batch.writeInt32BE(count - 1, FIELDS.lastOffsetDelta);
  batch.writeBigInt64BE(BigInt(nowMs), FIELDS.baseTimestamp);
  batch.writeBigInt64BE(BigInt(nowMs), FIELDS.maxTimestamp);
  batch.writeInt32BE(count, FIELDS.recordCount);
  return batch;
}

/** Says who sends the batch and as which of his records, and computes the checksum. A batch may be sealed again for another producer. */
export function sealRecordBatch(batch: Buffer, { id, epoch }: ProducerIdentity, sequence: number): void {
  batch.writeBigInt64BE(id, FIELDS.producerId);
  batch.writeInt16BE(epoch, FIELDS.producerEpoch);
  batch.writeInt32BE(sequence, FIELDS.baseSequence);
  batch.writeUInt32BE(crc32c(batch.subarray(FIELDS.attributes)), FIELDS.crc);
}

/** At most what `encodeRecordBatch` without compression makes of a batch; close to it. */
export function encodedBound({ payload, count, source }: Batch): number {
  return FIELDS.records + payload.length + count * RECORD_BOUND + source.length * 3 + sourceKey.length + 8;
}

/** Length, attributes, time, offset, key, length of the value, headers; less the line break. */
const RECORD_BOUND = 5 + 1 + 1 + 5 + 1 + 5 + 1 - 1;

/** The records, behind room for the fields of the batch. */
function encodeRecords(batches: readonly Batch[], room?: Buffer): Buffer {
  const out = room ?? Buffer.allocUnsafe(batches.reduce((sum, batch) => sum + encodedBound(batch), 0));
  let at: number = FIELDS.records;
  let delta = 0;
  let lastSource: string | undefined;
  for (const { payload, count, source } of batches) {
    const lines = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    let from = 0;
    for (let i = 0; i < count; i++) {
      const to = lines.indexOf(10, from);
      if (to === -1) throw new RangeError(`a batch of ${count} events has ${i} lines`);
      const header = source === lastSource ? undefined : Buffer.from(source);
      lastSource = source;
      const size = to - from;
      const headers = header ? 1 + 1 + sourceKey.length + varintLength(header.length) + header.length : 1;
      at = writeVarint(out, at, 3 + varintLength(delta) + varintLength(size) + size + headers);
      out[at++] = 0; // attributes
      out[at++] = 0; // time: that of the batch
      at = writeVarint(out, at, delta++);
      out[at++] = 1; // no key: -1
      at = writeVarint(out, at, size);
      at += lines.copy(out, at, from, to);
      if (header) {
        out[at++] = 2; // one header
        at = writeVarint(out, at, sourceKey.length);
        at += sourceKey.copy(out, at);
        at = writeVarint(out, at, header.length);
        at += header.copy(out, at);
      } else {
        out[at++] = 0;
      }
      from = to + 1;
    }
    if (from !== lines.length) throw new RangeError(`a batch of ${count} events has more lines than that`);
  }
  return out.subarray(0, at);
}

async function compressed(plain: Buffer, compression: "lz4" | "zstd"): Promise<Buffer> {
  const records = plain.subarray(FIELDS.records);
  const packed =
    compression === "zstd"
      ? await compressZstd(records, ZSTD_OPTIONS)
      : compressionsAlgorithms.lz4.compressSync(records);
  const batch = Buffer.allocUnsafe(FIELDS.records + packed.length);
  packed.copy(batch, FIELDS.records);
  return batch;
}

/** Zigzag of what is never negative here: twice the value, seven bits a byte, the lowest first. */
function writeVarint(out: Buffer, at: number, value: number): number {
  let rest = value * 2;
  let to = at;
  while (rest > 127) {
    out[to++] = (rest & 127) | 128;
    rest = Math.floor(rest / 128);
  }
  out[to++] = rest;
  return to;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value * 2; rest > 127; rest = Math.floor(rest / 128)) length++;
  return length;
}
