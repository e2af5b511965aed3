/** Reads runs of events: from what is still in memory, else from the partition's leader. */
import { MillraceError } from "../../errors.ts";
import type { Run } from "../event-log.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusal, denied, reasonOf, refusalName } from "./failures.ts";
import { fetchRecords } from "./fetch-request.ts";
import type { KafkaPartition } from "./kafka-partition.ts";
import { readRecords, type StoredBatch, UnreadableBatch } from "./read-records.ts";
import type { RecentBatches } from "./recent-batches.ts";
import { FIELDS } from "./record-batch.ts";

export interface FetcherOptions {
  readonly cluster: Cluster;
  readonly recent: RecentBatches;
  readonly timeoutMs: number;
  /** Learns anew where a partition begins and ends. */
  readonly lookAgain: (partition: KafkaPartition) => Promise<void>;
}

/** A fetch of less saves nothing; one of more takes the broker's memory from others. */
const MIN_FETCH_BYTES = 64 * 1024;
const MAX_FETCH_BYTES = 16 * 1024 * 1024;
/** How long a leader that has just taken over may take to know what was acknowledged before. */
const WAIT_MS = 500;

/** What is left of an answer is kept for the next read, unless it is more than that. */
const MAX_REST_BYTES = 8 * 1024 * 1024;

/** What the last fetch of a partition brought beyond the run that was read of it. */
interface Rest {
  readonly batches: readonly StoredBatch[];
  /** Bytes fetched for a byte read: less than one where batches are compressed. */
  readonly share: number;
}

export class Fetcher {
  readonly #options: FetcherOptions;
  readonly #rests = new Map<KafkaPartition, Rest>();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /** As `EventLog.read`. */
  async read(partition: KafkaPartition, from: number, maxBytes: number): Promise<Run | undefined> {
    const { recent, lookAgain } = this.#options;
    const { stream, index } = partition;
    if (from > partition.ends.end) await this.#looking(partition, () => lookAgain(partition));
    const { start, end } = partition.trusted().ends;
    if (from === end) return undefined;
    if (from > end) throw new MillraceError("LOG_OFFSET_AHEAD", { stream, partition: index, offset: from, end });
    if (from < start) throw new MillraceError("LOG_OFFSET_GONE", { stream, partition: index, offset: from, start });
    recent.read(partition);
    const held = recent.from(partition, from);
    if (held.length > 0) return readRecords(held, from, maxBytes);
    const rest = this.#rests.get(partition);
    const left = rest?.batches.filter(({ to }) => to >= from) ?? [];
    const share = rest?.share ?? 1;
    const batches =
      (left[0]?.from ?? Number.POSITIVE_INFINITY) <= from
        ? left
        : await this.#looking(partition, () => this.#fetch(partition, from, maxBytes * share));
    // Retention was faster.
    if (batches.length === 0) return this.read(partition, from, maxBytes);
    try {
      const run = await readRecords(batches, from, maxBytes);
      this.#keepRest(partition, batches, run);
      return run;
    } catch (error) {
      this.#rests.delete(partition);
      if (error instanceof UnreadableBatch) throw corrupt(partition, from, error);
      throw error;
    }
  }

  #keepRest(partition: KafkaPartition, batches: readonly StoredBatch[], run: Run): void {
    const read = batches.filter(({ from }) => from <= run.to);
    const share = Math.min(1, read.reduce((sum, { bytes }) => sum + bytes.length, 0) / run.bytes.length);
    const left = batches.filter(({ to }) => to > run.to);
    const size = left.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#rests.set(partition, { batches: size > MAX_REST_BYTES ? [] : left, share });
  }

  /** Consecutive batches, of which the first one holds `from`; none when that is no longer kept. */
  async #fetch(partition: KafkaPartition, from: number, maxBytes: number): Promise<readonly StoredBatch[]> {
    const { cluster, lookAgain, timeoutMs } = this.#options;
    const { topic, index } = partition;
    const size = Math.ceil(Math.min(MAX_FETCH_BYTES, Math.max(MIN_FETCH_BYTES, maxBytes)));
    return cluster.retry(performance.now() + timeoutMs, async () => {
      const leader = cluster.leader(topic.name, index);
      if (leader === undefined) throw new BrokerRefusal("LEADER_NOT_AVAILABLE");
      const connection = await cluster.connection(leader, "fetch");
      const entries = [{ topic: topic.name, partition: index, offset: from, maxBytes: size }];
      const answers = await fetchRecords(connection, entries, { waitMs: WAIT_MS, maxBytes: size });
      const answer = answers.get(partition.name);
      const refusal = answer ? refusalName(answer.errorCode) : "UNKNOWN_TOPIC_OR_PARTITION";
      if (refusal === "OFFSET_OUT_OF_RANGE") {
        await lookAgain(partition);
        if (from < partition.trusted().ends.start) return [];
        throw new BrokerRefusal("OFFSET_NOT_AVAILABLE");
      }
      if (answer?.errorCode !== 0) throw new BrokerRefusal(refusal);
      partition.learn(answer);
      const batches = answer.batches.filter(({ to }) => to >= from);
      if (batches.length === 0) throw new BrokerRefusal("OFFSET_NOT_AVAILABLE");
      return batches;
    });
  }

  /** @throws LOG_UNREADABLE for whatever is no error of the log's own already */
  async #looking<T>(partition: KafkaPartition, look: () => Promise<T>): Promise<T> {
    try {
      return await look();
    } catch (error) {
      throw unreadable(partition, error, this.#options.cluster);
    }
  }
}

/** What keeps a partition from being read, as the port says it. */
export function unreadable({ stream, name, topic }: KafkaPartition, error: unknown, { settings }: Cluster): unknown {
  if (error instanceof MillraceError && (error.code.startsWith("LOG_") || error.code === "SHUTTING_DOWN")) return error;
  const cause = denied(error, `topic ${topic.name}`, "read", settings) ?? error;
  const reason = reasonOf(cause instanceof MillraceError ? { message: cause.message } : cause);
  return new MillraceError("LOG_UNREADABLE", { stream, file: name, reason }, { cause });
}

function corrupt(
  { stream, index, name }: KafkaPartition,
  from: number,
  { batch, message }: UnreadableBatch,
): MillraceError {
  const details = {
    ...{ stream, partition: index, file: name, from, to: batch.to, at: 0, bytes: batch.bytes.length },
    ...{ receivedAtMs: Number(batch.bytes.readBigInt64BE(FIELDS.maxTimestamp)), source: "", reason: message },
  };
  return new MillraceError("LOG_CORRUPT", details, { details });
}
