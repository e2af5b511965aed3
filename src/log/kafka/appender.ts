/**
 * Makes batches durable on the brokers: acks=all, each batch sent until it is answered, and stored once however often it is sent.
 *
 * While a partition has a batch on its way, what comes meanwhile gathers and goes together next: the embedded log's group commit, with the
 * network in place of the disk. So each partition has one batch on its way, and nothing can overtake; a broker answers the requests of a connection one after the
 * other in any case, and what two of them could overlap is the way there. All partitions that one broker leads share a request.
 *
 * Source: KIP-98 (idempotent producer): the broker knows a batch again by producer, partition and sequence.
 */
import { initProducerIdV4, produceV9 } from "@platformatic/kafka";
import { MillraceError } from "../../errors.ts";
import type { Appended, Batch } from "../event-log.ts";
import type { Cluster } from "./cluster.ts";
import { answerOf, BrokerRefusal, check, denied, passes, reasonOf, refusalName } from "./failures.ts";
import type { KafkaPartition } from "./kafka-partition.ts";
import { type ProduceAnswer, parseProduceAnswer, writeProduceRequest } from "./produce-request.ts";
import {
  type Compression,
  encodedBound,
  encodeRecordBatch,
  type ProducerIdentity,
  sealRecordBatch,
} from "./record-batch.ts";

export interface AppenderOptions {
  readonly cluster: Cluster;
  readonly compression: Compression;
  /** Time after which a batch that nobody has stored is given up. */
  readonly timeoutMs: number;
  readonly clock: () => number;
  /** Hears of each batch that became durable. The bytes that hold it are used again after that. */
  readonly stored: (partition: KafkaPartition, from: number, to: number, receivedAtMs: number, bytes: Buffer) => void;
}

interface Waiting {
  readonly batch: Batch;
  readonly deadline: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
}

/** Batches that are one for the broker, from the moment they are sent until they are answered. */
interface Group {
  readonly members: readonly Waiting[];
  readonly bytes: Buffer;
  /** What `bytes` lie in, to be used again. */
  readonly room: Buffer | undefined;
  readonly count: number;
  readonly sentAtMs: number;
  identity: ProducerIdentity | undefined;
  sequence: number;
  /** Sent more than once. */
  resent: boolean;
  /** Sent at least once without an answer that says whether it was stored. */
  doubtful: boolean;
  /** The end as it was known before the batch was sent: it cannot be stored below that. */
  readonly notBelow: number;
}

/** What is to be written to a partition, and how far its producer has counted. */
class Queue {
  readonly partition: KafkaPartition;
  waiting: Waiting[] = [];
  group: Group | undefined;
  busy = false;
  identity: ProducerIdentity | undefined;
  sequence = 0;
  /** So many at the front go one by one, because together they were too large. */
  oneByOne = 0;
  notBefore = 0;
  pauseMs = 0;
  /** Why the last attempt failed; undefined once one has worked. */
  failure: unknown;
  failedAt = 0;
  /** Batches were given up: what comes now waits only for a short time, until one is stored. */
  down = false;

  constructor(partition: KafkaPartition) {
    this.partition = partition;
  }
}

export class Appender {
  readonly #options: AppenderOptions;
  readonly #queues = new Map<KafkaPartition, Queue>();
  /** Queues that have something to do. */
  readonly #open = new Set<Queue>();
  readonly #onTheirWay = new Map<number, number>();
  /** Memory of batches that have gone: buffers of this size, made anew for each, would be most of what the collector has to do. */
  readonly #rooms: Buffer[] = [];
  #identity: Promise<ProducerIdentity> | undefined;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** @throws LOG_UNAVAILABLE, LOG_BATCH_TOO_LARGE, LOG_WENT_BACK */
  append(partition: KafkaPartition, batch: Batch): Promise<Appended> {
    let queue = this.#queues.get(partition);
    if (!queue) {
      queue = new Queue(partition);
      this.#queues.set(partition, queue);
    }
    return new Promise((resolve, reject) => {
      const patienceMs = queue.down ? DOWN_TIMEOUT_MS : this.#options.timeoutMs;
      queue.waiting.push({ batch, deadline: performance.now() + patienceMs, resolve, reject });
      this.#open.add(queue);
      this.#schedule();
    });
  }

  /** Why partitions take nothing at the moment. A failure that nobody has met for a while is forgotten: only an append can show that it has passed. */
  failures(): ReadonlyMap<KafkaPartition, unknown> {
    const since = performance.now() - REMEMBERED_MS;
    const failing = [...this.#queues.values()].filter(
      ({ failure, failedAt }) => failure !== undefined && failedAt > since,
    );
    return new Map(failing.map(({ partition, failure }) => [partition, failure]));
  }

  /** Resolves once everything appended so far has its answer. */
  async drained(): Promise<void> {
    while (this.#open.size > 0) {
      this.#idle ??= Promise.withResolvers<void>();
      await this.#idle.promise;
    }
  }

  /** Whoever appends in this turn of the event loop shares the request: also those who just had their answer. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  /** Gives up what has waited for too long, and sends what can be sent. */
  #pump(): void {
    const now = performance.now();
    const ready: Queue[] = [];
    for (const queue of this.#open) {
      if (queue.busy) continue;
      this.#expire(queue, now);
      if (!queue.group && queue.waiting.length === 0) this.#open.delete(queue);
      else if (queue.notBefore <= now) ready.push(queue);
    }
    const { cluster } = this.#options;
    const byLeader = Map.groupBy(ready, ({ partition }) => cluster.leader(partition.topic.name, partition.index));
    for (const [leader, queues] of byLeader) {
      if (leader === undefined) {
        const view = cluster.topic(queues[0]?.partition.topic.name ?? "");
        const reason =
          cluster.unreachable ?? (view instanceof BrokerRefusal ? view : new BrokerRefusal("LEADER_NOT_AVAILABLE"));
        for (const queue of queues) this.#later(queue, reason);
      } else if ((this.#onTheirWay.get(leader) ?? 0) < REQUESTS_PER_BROKER) {
        void this.#send(leader, withinRequest(queues));
      }
    }
    if (this.#open.size > 0) this.#timer ??= setTimeout(this.#tick, TICK_MS);
    else this.#idle?.resolve();
    if (this.#open.size === 0) this.#idle = undefined;
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    this.#pump();
  };

  /** One request with a batch of each queue. Never rejects. */
  async #send(leader: number, queues: readonly Queue[]): Promise<void> {
    for (const queue of queues) queue.busy = true;
    this.#onTheirWay.set(leader, (this.#onTheirWay.get(leader) ?? 0) + 1);
    const sent: { queue: Queue; group: Group }[] = [];
    try {
      for (const queue of queues) {
        const group = await this.#groupOf(queue);
        if (group) sent.push({ queue, group });
      }
      if (sent.length > 0) await this.#exchange(leader, sent);
    } catch (error) {
      for (const queue of queues) this.#later(queue, error);
    }
    this.#onTheirWay.set(leader, (this.#onTheirWay.get(leader) ?? 1) - 1);
    for (const queue of queues) queue.busy = false;
    this.#schedule();
  }

  /** The batch that the queue sends next: the one it could not get rid of, or a new one. */
  async #groupOf(queue: Queue): Promise<Group | undefined> {
    queue.group ??= await this.#newGroup(queue);
    const { group } = queue;
    if (!group) return undefined;
    if (!group.identity) {
      if (!queue.identity) {
        queue.identity = await this.#producer();
        queue.sequence = 0;
      }
      group.identity = queue.identity;
      group.sequence = queue.sequence;
      sealRecordBatch(group.bytes, group.identity, group.sequence);
    }
    return group;
  }

  async #newGroup(queue: Queue): Promise<Group | undefined> {
    const { compression, clock } = this.#options;
    const { maxMessageBytes = Number.POSITIVE_INFINITY } = queue.partition.topic;
    const notBelow = queue.partition.ends.end;
    const members = takeGroup(queue, Math.min(GROUP_BYTES, maxMessageBytes));
    if (members.length === 0) return undefined;
    const batches = members.map(({ batch }) => batch);
    const sentAtMs = clock();
    const bound = batches.reduce((sum, batch) => sum + encodedBound(batch), 0);
    const room = bound > ROOM_BYTES ? undefined : (this.#rooms.pop() ?? Buffer.allocUnsafeSlow(ROOM_BYTES));
    let bytes: Buffer;
    try {
      bytes = await encodeRecordBatch(batches, sentAtMs, compression, room);
    } catch (error) {
      const failure = new MillraceError("LOG_BATCH_INVALID", { stream: queue.partition.stream, flaw: reasonOf(error) });
      for (const { reject } of members) reject(failure);
      return undefined;
    }
    const packed = compression !== "none";
    if (packed) this.#freeRoom(room);
    if (bytes.length > maxMessageBytes) {
      refuseLarge(queue.partition, members, bytes.length);
      return undefined;
    }
    const count = batches.reduce((sum, batch) => sum + batch.count, 0);
    return {
      ...{ members, bytes, count, sentAtMs, room: packed ? undefined : room },
      ...{ identity: undefined, sequence: 0, resent: false, doubtful: false, notBelow },
    };
  }

  async #exchange(leader: number, ready: readonly { queue: Queue; group: Group }[]): Promise<void> {
    const connection = await this.#options.cluster.connection(leader, "produce");
    // Nothing is waited for between the question and the bytes: a process may stand still wherever it waits.
    const sent = ready.filter(({ queue, group }) => this.#stillMay(queue, group));
    if (sent.length === 0) return;
    const entries = sent.map(({ queue: { partition }, group: { bytes } }) => ({
      topic: partition.topic.name,
      partition: partition.index,
      records: bytes,
    }));
    const { key, version } = produceV9.api;
    const request = () => writeProduceRequest(entries, STORE_TIMEOUT_MS);
    for (const { group } of sent) group.doubtful = true;
    const answers = await new Promise<ReadonlyMap<string, ProduceAnswer>>((resolve, reject) => {
      connection.send(key, version, request, parseProduceAnswer, true, true, (error, answer) => {
        if (answer) resolve(answer);
        else reject(error ?? new BrokerRefusal("NETWORK_EXCEPTION", "no answer"));
      });
    });
    for (const { queue, group } of sent) {
      const answer = answers.get(queue.partition.name);
      if (answer?.errorCode === 0) this.#stored(queue, group, answer);
      else this.#refused(queue, group, new BrokerRefusal(refusalName(answer?.errorCode ?? -1), answer?.message));
    }
  }

  #stillMay(queue: Queue, group: Group): boolean {
    if (group.members[0]?.batch.may?.() !== false) return true;
    queue.group = undefined;
    if (group.doubtful) this.#forget(queue);
    this.#freeRoom(group.room);
    const { stream, name } = queue.partition;
    const reason = `${name}: what is appended belongs to another worker by now`;
    const remedy = "see which workers are there (millrace workers)";
    for (const { reject } of group.members) reject(new MillraceError("LOG_UNAVAILABLE", { stream, reason, remedy }));
    return false;
  }

  #stored(queue: Queue, group: Group, { baseOffset, appendTimeMs, startOffset }: ProduceAnswer): void {
    const { partition } = queue;
    queue.group = undefined;
    if (baseOffset < group.notBelow) {
      const failure = partition.lost(baseOffset);
      for (const { reject } of [...group.members, ...queue.waiting.splice(0)]) reject(failure);
      return;
    }
    queue.failure = undefined;
    queue.down = false;
    queue.pauseMs = 0;
    queue.sequence = sequenceAfter(group.sequence, group.count);
    const receivedAtMs = appendTimeMs >= 0 ? appendTimeMs : group.sentAtMs;
    this.#options.stored(partition, baseOffset, baseOffset + group.count - 1, receivedAtMs, group.bytes);
    this.#freeRoom(group.room);
    partition.learn({ start: startOffset, end: baseOffset + group.count });
    let from = baseOffset;
    for (const { batch, resolve } of group.members) {
      resolve({ from, to: from + batch.count - 1, receivedAtMs });
      from += batch.count;
    }
  }

  #freeRoom(room: Buffer | undefined): void {
    if (room && this.#rooms.length < MAX_ROOMS) this.#rooms.push(room);
  }

  #refused(queue: Queue, group: Group, refusal: BrokerRefusal): void {
    if (TOO_LARGE.has(refusal.refusal)) {
      queue.group = undefined;
      if (group.members.length === 1) {
        refuseLarge(queue.partition, group.members, group.bytes.length);
      } else {
        queue.waiting.unshift(...group.members);
        queue.oneByOne = group.members.length;
      }
    } else if (PRODUCER_UNKNOWN.has(refusal.refusal)) {
      this.#unknown(queue, group, refusal);
    } else {
      this.#later(queue, refusal);
    }
  }

  /**
   * The broker does not know how far this producer is. A batch that was sent once cannot have been stored then; of one that was sent
   * again nobody knows, and who waits for it must hear that.
   */
  #unknown(queue: Queue, group: Group, refusal: BrokerRefusal): void {
    this.#forget(queue);
    if (group.resent) {
      this.#fail(queue, refusal);
    } else {
      group.identity = undefined;
      group.doubtful = false;
    }
  }

  /** Tries again after a pause when that can help; else tells everybody. */
  #later(queue: Queue, reason: unknown): void {
    queue.failure = reason;
    queue.failedAt = performance.now();
    if (queue.group?.doubtful) queue.group.resent = true;
    if (!passes(reason)) {
      this.#fail(queue, reason);
      return;
    }
    queue.pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, queue.pauseMs * 2));
    queue.notBefore = queue.failedAt + queue.pauseMs;
    this.#options.cluster.refresh().catch(() => undefined); // the next attempt says what is wrong
  }

  /** Nothing of the queue can be stored as it is. */
  #fail(queue: Queue, reason: unknown): void {
    const { group } = queue;
    queue.group = undefined;
    if (group?.doubtful) this.#forget(queue);
    const failure = this.#unavailable(queue.partition, reason);
    for (const { reject } of [...(group?.members ?? []), ...queue.waiting.splice(0)]) reject(failure);
  }

  /** Gives up what has waited for too long. */
  #expire(queue: Queue, now: number): void {
    const { group } = queue;
    const expired = (waiting: Waiting): boolean => waiting.deadline <= now;
    if (group?.members.some(expired)) {
      queue.group = undefined;
      queue.down = true;
      if (group.doubtful) this.#forget(queue);
      const failure = this.#unavailable(queue.partition, queue.failure);
      for (const { reject } of group.members) reject(failure);
    }
    if (!queue.waiting.some(expired)) return;
    const failure = this.#unavailable(queue.partition, queue.failure);
    for (const { reject } of queue.waiting.filter(expired)) reject(failure);
    queue.waiting = queue.waiting.filter((waiting) => !expired(waiting));
  }

  #unavailable(partition: KafkaPartition, cause: unknown): MillraceError {
    const { stream, topic } = partition;
    const { settings } = this.#options.cluster;
    const error =
      denied(cause, `topic ${topic.name}`, "write", settings) ?? cause ?? new BrokerRefusal("REQUEST_TIMED_OUT");
    const reason = `${partition.name}: ${explained(error)}`;
    const remedy = "look after the brokers of kafkaBrokers";
    return new MillraceError("LOG_UNAVAILABLE", { stream, reason, remedy }, { cause });
  }

  /** One producer for the whole process; asked for again when a partition cannot go on with it. */
  #producer(): Promise<ProducerIdentity> {
    this.#identity ??= this.#newProducer().catch((error: unknown) => {
      this.#identity = undefined;
      throw error;
    });
    return this.#identity;
  }

  async #newProducer(): Promise<ProducerIdentity> {
    const connection = await this.#options.cluster.any("control");
    const { errorCode, producerId, producerEpoch } = await answerOf(
      initProducerIdV4.api.async(connection, null, 0, -1n, -1),
    );
    check(errorCode, "no id for this producer");
    return { id: producerId, epoch: producerEpoch };
  }

  /** The partition counts anew, as another producer. */
  #forget(queue: Queue): void {
    const { identity } = queue;
    queue.identity = undefined;
    if (!identity) return;
    void this.#identity?.then((current) => {
      if (current === identity) this.#identity = undefined;
    });
  }
}

/** What gathers into one batch: larger ones save nothing, and hold up each other. A single batch may be larger. */
const GROUP_BYTES = 1024 * 1024;
/** Of a group of many small events, with what stands around each. */
const ROOM_BYTES = GROUP_BYTES + 64 * 1024;
const MAX_ROOMS = 16;
/** Well below what brokers take at once (socket.request.max.bytes, 100 MiB). */
const REQUEST_BYTES = 16 * 1024 * 1024;
/** One is answered while the next one is on its way. */
const REQUESTS_PER_BROKER = 2;
/** How long the leader waits for the replicas; less than an answer may take. */
const STORE_TIMEOUT_MS = 6_000;
const DOWN_TIMEOUT_MS = 1_000;
const REMEMBERED_MS = 10_000;
const TICK_MS = 50;
const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 500;

const TOO_LARGE = new Set(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"]);
const PRODUCER_UNKNOWN = new Set([
  "OUT_OF_ORDER_SEQUENCE_NUMBER",
  "DUPLICATE_SEQUENCE_NUMBER",
  "UNKNOWN_PRODUCER_ID",
  "INVALID_PRODUCER_EPOCH",
  "INVALID_PRODUCER_ID_MAPPING",
]);

/** As many from the front as go together, one at least. */
function takeGroup(queue: Queue, limit: number): Waiting[] {
  let bytes = 0;
  let length = 0;
  const may = queue.waiting[0]?.batch.may;
  for (const { batch } of queue.waiting) {
    bytes += encodedBound(batch);
    if (length > 0 && (bytes > limit || queue.oneByOne > 0 || batch.may !== may)) break;
    length++;
  }
  queue.oneByOne = Math.max(0, queue.oneByOne - length);
  return queue.waiting.splice(0, length);
}

/** As many of the queues as go into one request, one at least. */
function withinRequest(queues: readonly Queue[]): Queue[] {
  let bytes = 0;
  return queues.filter(({ group, waiting }, i) => {
    bytes += group?.bytes.length ?? Math.max(GROUP_BYTES, waiting[0]?.batch.payload.length ?? 0);
    return i === 0 || bytes <= REQUEST_BYTES;
  });
}

function refuseLarge({ stream, topic }: KafkaPartition, members: readonly Waiting[], bytes: number): void {
  const allowed = topic.maxMessageBytes ?? "less";
  const failure = new MillraceError("LOG_BATCH_TOO_LARGE", { stream, topic: topic.name, bytes, allowed });
  for (const { reject } of members) reject(failure);
}

/** Sequences go up to the largest 32-bit integer, and from there to 0. */
function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % 2 ** 31;
}

function explained(error: unknown): string {
  if (error instanceof MillraceError) return error.message;
  if (!(error instanceof BrokerRefusal)) return reasonOf(error);
  return EXPLAINED[error.refusal] ?? error.message;
}

const EXPLAINED: Readonly<Record<string, string>> = {
  NOT_ENOUGH_REPLICAS: "fewer of its replicas are in sync than min.insync.replicas asks for",
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: "fewer of its replicas are in sync than min.insync.replicas asks for",
  LEADER_NOT_AVAILABLE: "no broker leads it at the moment",
  NOT_LEADER_OR_FOLLOWER: "its leader is changing",
  REQUEST_TIMED_OUT: "its replicas did not confirm in time",
  UNKNOWN_TOPIC_OR_PARTITION: "the topic is not there any more",
};
