/**
 * The records of a partition that count, out of what a broker answers to a reader of committed records.
 *
 * The broker stops before transactions that are still open, and sends those that were aborted with a list of them: (producer, first offset). From that
 * offset on the producer's batches do not count, up to its marker of the abort, which is a control batch and no record. The marker may lie behind the
 * answer, so nothing may be concluded from its absence. Offsets without a record (markers, what compaction has taken) are gaps.
 *
 * Source: Kafka, KIP-98, and `CompletedFetch` of its consumer.
 */
import type { RecordsBatch } from "@platformatic/kafka";

export interface TopicRecord {
  readonly offset: number;
  readonly key: Buffer | undefined;
  /** Undefined: a tombstone. */
  readonly value: Buffer | undefined;
  readonly headers: readonly (readonly [Buffer | undefined, Buffer | undefined])[];
  /** By the producer's clock, or the broker's where the topic says so. */
  readonly timestampMs: number;
}

export interface CommittedRecords {
  readonly records: readonly TopicRecord[];
  /** First offset behind everything that was looked at. */
  readonly next: number;
}

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

/** What counts from the offset `from` on. @throws RangeError for records in a format from before 2017 */
export function committedRecords(
  batches: readonly RecordsBatch[],
  aborted: readonly AbortedTransaction[],
  from: number,
): CommittedRecords {
  const waiting = [...aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  const aborting = new Set<bigint>();
  const records: TopicRecord[] = [];
  let next = from;
  for (const batch of batches) {
    if (batch.magic !== 2)
      throw new RangeError(`records at offset ${batch.firstOffset} have format ${batch.magic}, not 2`);
    const first = Number(batch.firstOffset);
    const last = first + batch.lastOffsetDelta;
    while (waiting[0] && Number(waiting[0].firstOffset) <= last) aborting.add(waiting.shift()!.producerId);
    if (batch.attributes & CONTROL) {
      if (isAbort(batch)) aborting.delete(batch.producerId);
    } else if (!(batch.attributes & TRANSACTIONAL && aborting.has(batch.producerId))) {
      const ofBroker = (batch.attributes & BROKER_TIME) !== 0;
      for (const record of batch.records) {
        const offset = first + record.offsetDelta;
        // An answer begins with the batch that holds the offset asked for.
        if (offset < from) continue;
        const timestamp = ofBroker ? batch.maxTimestamp : batch.firstTimestamp + record.timestampDelta;
        records.push({
          ...{ offset, key: bytesOf(record.key), value: bytesOf(record.value), timestampMs: Number(timestamp) },
          headers: (record.headers as [unknown, unknown][]).map(([name, value]) => [bytesOf(name), bytesOf(value)]),
        });
      }
    }
    next = Math.max(next, last + 1);
  }
  return { records, next };
}

const TRANSACTIONAL = 16;
const CONTROL = 32;
const BROKER_TIME = 8;

/** The key of a marker: version, then 0 for an abort and 1 for a commit. */
function isAbort(batch: RecordsBatch): boolean {
  const key = bytesOf(batch.records[0]?.key);
  return key !== undefined && key.length >= 4 && key.readInt16BE(2) === 0;
}

function bytesOf(value: unknown): Buffer | undefined {
  return Buffer.isBuffer(value) ? value : undefined;
}
