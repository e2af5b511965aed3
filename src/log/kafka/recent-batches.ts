/**
 * The newest record batches of partitions that somebody here reads: what was just appended, what a long poll has brought, and what the
 * last read did not take. Readers are mostly close behind the end, and get from here what would be asked of a broker again.
 */
import type { KafkaPartition } from "./kafka-partition.ts";
import type { StoredBatch } from "./read-records.ts";

/** More than a reader takes at once. */
const PARTITION_BYTES = 8 * 1024 * 1024;
const TOTAL_BYTES = 64 * 1024 * 1024;
/** Whoever has not read for so long starts from a broker again. */
const INTEREST_MS = 10_000;

interface Held {
  /** Consecutive. */
  batches: StoredBatch[];
  bytes: number;
  readAt: number;
}

export class RecentBatches {
  /** The least recently read first. */
  readonly #held = new Map<KafkaPartition, Held>();
  #bytes = 0;

  /** Somebody reads the partition, or waits for it: from now on its newest batches are kept. */
  read(partition: KafkaPartition): void {
    const held = this.#held.get(partition) ?? { batches: [], bytes: 0, readAt: 0 };
    held.readAt = performance.now();
    this.#held.delete(partition);
    this.#held.set(partition, held);
  }

  /** Whether anybody here reads the partition. */
  wants(partition: KafkaPartition): boolean {
    return this.#held.has(partition);
  }

  /** Takes consecutive batches, if anybody cares. */
  add(partition: KafkaPartition, batches: readonly StoredBatch[]): void {
    const held = this.#held.get(partition);
    if (!held) return;
    if (performance.now() - held.readAt > INTEREST_MS) {
      this.#drop(held, held.batches.length);
      this.#held.delete(partition);
      return;
    }
    for (const batch of batches) {
      const next = (held.batches.at(-1)?.to ?? batch.from - 1) + 1;
      if (batch.to < next) continue;
      if (batch.from > next) this.#drop(held, held.batches.length);
      held.batches.push(batch);
      held.bytes += batch.bytes.length;
      this.#bytes += batch.bytes.length;
    }
    while (held.bytes > PARTITION_BYTES && held.batches.length > 1) this.#drop(held, 1);
    for (const other of this.#held.values()) {
      if (this.#bytes <= TOTAL_BYTES) break;
      this.#drop(other, other.batches.length);
    }
  }

  /** The batch of an offset and those behind it; none when it is not here. A list of the caller's own: what comes meanwhile changes nothing about it. */
  from(partition: KafkaPartition, offset: number): readonly StoredBatch[] {
    const held = this.#held.get(partition);
    const first = held?.batches.findIndex(({ to }) => to >= offset) ?? -1;
    if (!held || first === -1 || (held.batches[first]?.from ?? 0) > offset) return [];
    return held.batches.slice(first);
  }

  #drop(held: Held, count: number): void {
    for (const { bytes } of held.batches.splice(0, count)) {
      held.bytes -= bytes.length;
      this.#bytes -= bytes.length;
    }
  }
}
