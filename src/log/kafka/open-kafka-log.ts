/**
 * The event log on Kafka: a topic per stream, an event per record. Any process of a cluster appends to and reads from any partition.
 *
 * What an acknowledgement rests on: acks=all, min.insync.replicas of the topic, and no transactions (their marks would take offsets).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../errors.ts";
import { flawOf } from "../batch-flaw.ts";
import type { Appended, Batch, Ends, EventLog, Run } from "../event-log.ts";
import { Appender } from "./appender.ts";
import { Cluster } from "./cluster.ts";
import type { ConnectSettings } from "./connect-settings.ts";
import { EndsRefresh } from "./ends-refresh.ts";
import { BrokerRefusal, denied, reasonOf } from "./failures.ts";
import { Fetcher, unreadable } from "./fetcher.ts";
import { KafkaPartition } from "./kafka-partition.ts";
import { EARLIEST, LATEST, listOffsets } from "./offsets.ts";
import { RecentBatches } from "./recent-batches.ts";
import type { Compression } from "./record-batch.ts";
import { removeReleased } from "./remove-released.ts";
import { Tail } from "./tail.ts";
import { openTopic } from "./topics.ts";

export interface KafkaLogOptions {
  readonly connect: ConnectSettings;
  /** Topics are named by it and the stream. */
  readonly topicPrefix: string;
  /** Brokers that keep each event, for topics that have to be made. */
  readonly replication: number;
  readonly compression: Compression;
  /** Largest batch that is appended at once; topics are made to take it. */
  readonly maxBatchBytes: number;
  /** Released events are kept at least this long. */
  readonly retentionMs: number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Hears what could lose events. */
  readonly warn: (warning: string) => void;
  /** Time after which an append or a read that the brokers do not answer fails. Milliseconds, default 20 s. */
  readonly timeoutMs?: number;
}

/**
 * Meets the cluster; streams are opened one by one.
 * @throws KAFKA_UNREACHABLE, KAFKA_CREDENTIALS, KAFKA_TLS, KAFKA_TOO_OLD
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<KafkaLog> {
  return new KafkaLog({ timeoutMs: 20_000, ...options }, await Cluster.connect(options.connect));
}

export class KafkaLog implements EventLog {
  readonly identity: string;
  readonly cluster: Cluster;
  readonly #options: Required<KafkaLogOptions>;
  readonly #appender: Appender;
  readonly #fetcher: Fetcher;
  readonly #ends: EndsRefresh;
  readonly #tail: Tail;
  readonly #opening = new Map<string, Promise<void>>();
  readonly #streams = new Map<string, readonly KafkaPartition[]>();
  readonly #removedAt = new Map<KafkaPartition, number>();
  readonly #watching: NodeJS.Timeout;
  #closed = false;
  #closing: Promise<void> | undefined;

  constructor(options: Required<KafkaLogOptions>, cluster: Cluster) {
    const { compression, timeoutMs, clock, topicPrefix } = options;
    const recent = new RecentBatches();
    const lookAgain = (partition: KafkaPartition) => this.#lookAgain([partition]);
    this.#options = options;
    this.cluster = cluster;
    this.identity = `kafka:${cluster.id}:${topicPrefix}`;
    this.#appender = new Appender({
      ...{ cluster, compression, timeoutMs, clock },
      stored: (partition, from, to, receivedAtMs, bytes) => {
        if (recent.wants(partition))
          recent.add(partition, [{ from, to, bytes: Buffer.copyBytesFrom(bytes), receivedAtMs }]);
        this.#tail.appended(partition);
      },
    });
    this.#fetcher = new Fetcher({ cluster, recent, timeoutMs, lookAgain });
    this.#tail = new Tail({ cluster, recent, lookAgain });
    this.#ends = new EndsRefresh(cluster, timeoutMs, (partition, end, before) => this.#judge(partition, end, before));
    // So that what is wrong shows before somebody's event meets it, and that it has passed as well.
    this.#watching = setInterval(() => cluster.refresh().catch(() => undefined), WATCH_MS);
    this.#watching.unref();
  }

  open(stream: string, { partitions = 1 }: { partitions?: number } = {}): Promise<void> {
    if (this.#closed) return Promise.reject(new MillraceError("SHUTTING_DOWN"));
    let opening = this.#opening.get(stream);
    if (!opening) {
      opening = this.#open(stream, partitions).catch((error: unknown) => {
        this.#opening.delete(stream);
        throw error;
      });
      this.#opening.set(stream, opening);
    }
    return opening;
  }

  async #open(stream: string, wanted: number): Promise<void> {
    const name = this.topicOf(stream);
    if (!/^\w[\w-]{0,199}$/.test(stream) || name.length > MAX_TOPIC_NAME)
      throw new MillraceError("LOG_STREAM_NAME", { stream });
    const { replication, maxBatchBytes, warn } = this.#options;
    const topic = await openTopic(this.cluster, {
      ...{ stream, topic: name, partitions: wanted, replication, warn },
      maxMessageBytes: Math.ceil(maxBatchBytes * RECORD_OVERHEAD),
    });
    const partitions = Array.from({ length: topic.partitions }, (_, index) => new KafkaPartition(stream, topic, index));
    await this.#lookAgain(partitions);
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    this.#streams.set(stream, partitions);
  }

  /** The topic of a stream, and what else of this project is named in the cluster. */
  topicOf(stream: string): string {
    return `${this.#options.topicPrefix}${stream}`;
  }

  partitions(stream: string): number {
    const partitions = this.#streams.get(stream);
    if (!partitions) throw new MillraceError("LOG_PARTITION_UNKNOWN", { stream, partition: 0, count: 0 });
    return partitions.length;
  }

  async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const flaw = flawOf(batch);
    if (flaw) throw new MillraceError("LOG_BATCH_INVALID", { stream, flaw });
    return this.#appender.append(this.#working(stream, partition).trusted(), batch);
  }

  ends(stream: string, partition: number): Ends {
    return this.#partition(stream, partition).ends;
  }

  async refresh(streams: Iterable<string> = this.#streams.keys()): Promise<void> {
    const partitions = [...streams].flatMap((stream) => {
      this.#working(stream, 0);
      return this.#streams.get(stream) ?? [];
    });
    const [first] = partitions;
    if (!first) return;
    for (const partition of partitions) partition.trusted();
    try {
      await this.#ends.refresh(partitions);
    } catch (error) {
      throw unreadable(first, error, this.cluster);
    }
  }

  async read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> {
    return this.#fetcher.read(this.#working(stream, partition).trusted(), from, maxBytes);
  }

  async wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void> {
    return this.#tail.wait(this.#working(stream, partition), offset, signal);
  }

  async release(stream: string, partition: number, offset: number): Promise<void> {
    const found = this.#working(stream, partition);
    const { retentionMs, clock, timeoutMs } = this.#options;
    if (!found.topic.keepsAll || offset <= found.ends.start) return;
    // What is kept for days need not be looked at with each flush.
    const now = performance.now();
    if (now - (this.#removedAt.get(found) ?? Number.NEGATIVE_INFINITY) < retentionMs / 100) return;
    this.#removedAt.set(found, now);
    const deadline = now + timeoutMs;
    await removeReleased(this.cluster, found, { offset, beforeMs: clock() - retentionMs, deadline });
  }

  problems(): readonly string[] {
    const { unreachable } = this.cluster;
    if (unreachable) return [unreachable instanceof MillraceError ? unreachable.message : reasonOf(unreachable)];
    const failures = this.#appender.failures();
    const problems = new Set<string>();
    for (const partition of [...this.#streams.values()].flat()) {
      const failure = failures.get(partition);
      const problem =
        partition.wentBack?.message ??
        this.#brokerProblem(partition) ??
        (failure === undefined ? undefined : `${partition.name}: ${this.#reasonOf(failure, partition)}`);
      if (problem !== undefined) problems.add(problem);
    }
    return [...problems];
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watching);
    await Promise.allSettled(this.#opening.values()); // whoever opened a stream hears of its failure
    await this.#appender.drained();
    this.#tail.close();
    this.#ends.close();
    for (const partition of [...this.#streams.values()].flat())
      partition.waiters.rejectAll(new MillraceError("SHUTTING_DOWN"));
    await this.cluster.close();
  }

  #reasonOf(failure: unknown, { topic }: KafkaPartition): string {
    return denied(failure, `topic ${topic.name}`, "write", this.cluster.settings)?.message ?? reasonOf(failure);
  }

  #brokerProblem({ topic, index, name }: KafkaPartition): string | undefined {
    const view = this.cluster.topic(topic.name);
    if (view instanceof BrokerRefusal) return `topic ${topic.name}: ${view.message}`;
    const seen = view?.partitions[index];
    if (!seen || seen.leader < 0) return `no broker leads ${name}`;
    if (seen.inSync < topic.minInSync)
      return `${name} has ${seen.inSync} replicas in sync, and takes events from ${topic.minInSync} on (min.insync.replicas)`;
    return undefined;
  }

  /** Takes an end that a leader told; `before` is what was known when it was asked. */
  async #judge(partition: KafkaPartition, end: number, before: number): Promise<void> {
    // A leader that has just taken over may need a moment to know what was acknowledged. One of another topic never will.
    const deadline = performance.now() + TAKE_OVER_MS;
    let told = end;
    while (told < before) {
      await this.cluster.refresh();
      const view = this.cluster.topic(partition.topic.name);
      const replaced = view !== undefined && !(view instanceof BrokerRefusal) && view.id !== partition.topic.id;
      if (replaced || performance.now() > deadline) throw partition.lost(told);
      await sleep(AGAIN_MS);
      told = (await listOffsets(this.cluster, [partition], LATEST, deadline)).get(partition) ?? told;
    }
    partition.learn({ end: told });
  }

  async #lookAgain(partitions: readonly KafkaPartition[]): Promise<void> {
    const before = new Map(partitions.map((partition) => [partition, partition.ends.end]));
    const deadline = performance.now() + this.#options.timeoutMs;
    const [ends, starts] = await Promise.all([
      listOffsets(this.cluster, partitions, LATEST, deadline),
      listOffsets(this.cluster, partitions, EARLIEST, deadline),
    ]);
    for (const [partition, end] of ends) await this.#judge(partition, end, before.get(partition) ?? 0);
    for (const [partition, start] of starts) partition.learn({ start });
  }

  #working(stream: string, partition: number): KafkaPartition {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    return this.#partition(stream, partition);
  }

  #partition(stream: string, partition: number): KafkaPartition {
    const partitions = this.#streams.get(stream);
    const found = partitions?.[partition];
    if (!found) throw new MillraceError("LOG_PARTITION_UNKNOWN", { stream, partition, count: partitions?.length ?? 0 });
    return found;
  }
}

const MAX_TOPIC_NAME = 249;
/** A record is longer than its line by some ten bytes: half of an event of twenty. */
const RECORD_OVERHEAD = 1.5;
const WATCH_MS = 5_000;
const TAKE_OVER_MS = 5_000;
const AGAIN_MS = 200;
