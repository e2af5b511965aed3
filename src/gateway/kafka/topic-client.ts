/**
 * A topic at its brokers, and the group of processes that share its partitions. The library speaks the protocol; what it would decide by itself
 * (which records count, where to go on, when partitions are given away) is decided here.
 *
 * Two connections to each broker: a request for records waits at the broker, and what keeps the membership alive must not stand behind it.
 */
import {
  Consumer,
  FetchIsolationLevels,
  findErrorBy,
  ListOffsetTimestamps,
  type RecordsBatch,
} from "@platformatic/kafka";
import { MillraceError } from "../../errors.ts";
import type { AbortedTransaction } from "./committed-records.ts";

export interface TopicAccess {
  /** How errors name it. */
  readonly subject: string;
  readonly topic: string;
  readonly brokers: readonly string[];
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  readonly sasl:
    | {
        readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" | "OAUTHBEARER";
        readonly username?: string;
        readonly password?: string;
        readonly token?: string;
      }
    | undefined;
  readonly group: string;
  /** Of this process among the members: one that comes back under it takes its own place at once. */
  readonly member: string;
  /** A process that is silent for longer loses its partitions. */
  readonly sessionMs: number;
}

export interface TopicFacts {
  /** Another topic of the same name has another one. */
  readonly id: string;
  readonly partitions: number;
}

export interface Fetched {
  readonly batches: readonly RecordsBatch[];
  readonly aborted: readonly AbortedTransaction[];
  /** First offset that is not committed yet. */
  readonly end: number;
}

export interface GroupListener {
  /** These are this process's from now on. */
  gained(partitions: readonly number[]): void;
  /** All of them may go to somebody else once it resolves; must not reject. */
  lost(): Promise<void>;
  /** The membership has ended and must be begun again. */
  failed(error: unknown): void;
}

/** Longest wait at the broker for the first record: as long waits a partition that has room again. */
const FETCH_WAIT_MS = 100;
const FETCH_BYTES = 8 * 1024 * 1024;
const PARTITION_BYTES = 1024 * 1024;
const REQUEST_TIMEOUT_MS = 15_000;
/** Members have as long to finish what they have under way. */
const REBALANCE_MS = 60_000;

export class TopicClient {
  readonly #access: TopicAccess;
  readonly #reader: Consumer;
  readonly #member: Consumer;
  #listener: GroupListener | undefined;
  #partitions = 0;
  #heartbeatAtMs = 0;
  /** When the group last confirmed that this process is a member, by a clock that nobody sets. */
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(access: TopicAccess) {
    this.#access = access;
    const { brokers, tls, sasl, group, member, sessionMs, topic } = access;
    const base = {
      clientId: "millrace",
      bootstrapBrokers: [...brokers],
      groupId: group,
      connectTimeout: 5_000,
      requestTimeout: REQUEST_TIMEOUT_MS,
      retries: 1,
      retryDelay: 200,
      metadataMaxAge: 30_000,
      ...(tls && { tls, tlsServerName: true }),
      ...(sasl && { sasl }),
    };
    this.#reader = new Consumer(base);
    this.#member = new Consumer({
      ...base,
      groupInstanceId: member,
      sessionTimeout: sessionMs,
      heartbeatInterval: Math.floor(sessionMs / 5),
      rebalanceTimeout: REBALANCE_MS,
      // Asked for before each joining: the place to give back what goes to others. A count that differs makes the group divide anew.
      protocolsMetadata: async () => {
        await this.#listener?.lost();
        this.#confirmedAtMs = performance.now();
        return Buffer.from(String(this.#partitions));
      },
    });
    for (const client of [this.#reader, this.#member]) client.topics.track(topic);
    this.#member.on("consumer:group:join", ({ assignments }) => {
      const own = assignments?.find((assignment) => assignment.topic === topic);
      this.#listener?.gained(own?.partitions ?? []);
    });
    this.#member.on("consumer:heartbeat:start", () => {
      this.#heartbeatAtMs = performance.now();
    });
    this.#member.on("consumer:heartbeat:end", () => {
      this.#confirmedAtMs = this.#heartbeatAtMs;
    });
    this.#member.on("error", (error: Error) => {
      if (!this.#closed) this.#listener?.failed(this.#told(error));
    });
  }

  /** False as soon as the group may have given this process up, before it has learned of it. */
  get isMember(): boolean {
    return performance.now() - this.#confirmedAtMs < this.#access.sessionMs * 0.8;
  }

  /** The topic as it is now. @throws SOURCE_TOPIC_UNKNOWN, SOURCE_UNREACHABLE, SOURCE_REFUSED */
  async facts(): Promise<TopicFacts> {
    const { topic } = this.#access;
    const { topics } = await this.#attempt(() => this.#reader.metadata({ topics: [topic], forceUpdate: true }));
    const found = topics.get(topic);
    if (!found) throw new MillraceError("SOURCE_TOPIC_UNKNOWN", { source: this.#access.subject });
    this.#partitions = found.partitionsCount;
    return { id: found.id, partitions: found.partitionsCount };
  }

  /** Partitions by the broker that leads them. */
  async leaders(partitions: readonly number[]): Promise<Map<number, number[]>> {
    const { topic } = this.#access;
    const { topics } = await this.#attempt(() => this.#reader.metadata({ topics: [topic] }));
    const leaders = new Map<number, number[]>();
    for (const partition of partitions) {
      const leader = topics.get(topic)?.partitions[partition]?.leader ?? -1;
      if (leader >= 0) leaders.set(leader, [...(leaders.get(leader) ?? []), partition]);
    }
    return leaders;
  }

  /** What the brokers said of leaders counts no longer. */
  forgetLeaders(): void {
    this.#reader.clearMetadata();
  }

  /** Offsets of partitions: the first, the one behind the last committed, or the first that is not older than a time (undefined: none is). */
  async offsets(at: "first" | "end" | number, partitions: readonly number[]): Promise<Map<number, number | undefined>> {
    const { topic } = this.#access;
    const times = { first: ListOffsetTimestamps.EARLIEST, end: ListOffsetTimestamps.LATEST };
    const timestamp = typeof at === "number" ? BigInt(at) : times[at];
    const isolationLevel = FetchIsolationLevels.READ_COMMITTED;
    const found = await this.#attempt(() =>
      this.#reader.listOffsets({
        topics: [topic],
        partitions: { [topic]: [...partitions] },
        timestamp,
        isolationLevel,
      }),
    );
    return new Map(
      partitions.map((partition) => {
        const offset = Number(found.get(topic)?.[partition] ?? -1);
        return [partition, offset < 0 ? undefined : offset] as const;
      }),
    );
  }

  /** Joins, and joins again whenever the group divides anew. @throws SOURCE_UNREACHABLE, SOURCE_REFUSED */
  async join(listener: GroupListener): Promise<void> {
    this.#listener = listener;
    await this.#attempt(() => this.#member.joinGroup());
  }

  /** Tells the group how far partitions are read: for others to see. */
  async tell(positions: readonly { readonly partition: number; readonly position: number }[]): Promise<void> {
    const { topic } = this.#access;
    const offsets = positions.map(({ partition, position }) => ({
      topic,
      partition,
      offset: BigInt(position),
      leaderEpoch: -1,
    }));
    await this.#attempt(() => this.#member.commit({ offsets }));
  }

  /**
   * Committed records of partitions that one broker leads, from offsets on; waits a moment for the first. An error of one partition stands in its place.
   * @throws SOURCE_UNREACHABLE, SOURCE_REFUSED
   */
  async fetch(
    node: number,
    topicId: string,
    wanted: readonly { readonly partition: number; readonly offset: number }[],
  ): Promise<Map<number, Fetched | { readonly problem: string }>> {
    const partitions = wanted.map(({ partition, offset }) => ({
      ...{ partition, currentLeaderEpoch: -1, fetchOffset: BigInt(offset), lastFetchedEpoch: -1 },
      partitionMaxBytes: PARTITION_BYTES,
    }));
    const options = {
      node,
      topics: [{ topicId, partitions }],
      maxWaitTime: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytes: FETCH_BYTES,
    };
    const isolationLevel = FetchIsolationLevels.READ_COMMITTED;
    let answer: Awaited<ReturnType<Consumer["fetch"]>>;
    try {
      answer = await this.#reader.fetch({ ...options, isolationLevel });
    } catch (error) {
      const found = answerOf(error);
      if (!found) throw this.#told(error);
      answer = found;
    }
    const fetched = new Map<number, Fetched | { readonly problem: string }>();
    for (const { partitions: answered } of answer.responses)
      for (const { partitionIndex, errorCode, records, abortedTransactions, lastStableOffset } of answered)
        fetched.set(
          partitionIndex,
          errorCode === 0
            ? { batches: records ?? [], aborted: abortedTransactions ?? [], end: Number(lastStableOffset) }
            : { problem: PROBLEMS.get(errorCode) ?? `error ${errorCode}` },
        );
    return fetched;
  }

  /** Leaves the group, which then gives its partitions to others. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const client of [this.#member, this.#reader]) {
      const closed: Promise<void> = client.close(true);
      // One that cannot say goodbye is given up by the group after its time.
      await closed.catch(() => client.connections.close());
    }
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#told(error);
    }
  }

  #told(error: unknown): MillraceError {
    if (error instanceof MillraceError) return error;
    const { subject: source, group } = this.#access;
    const inner = innermost(error);
    const says = (ids: readonly string[]) => ids.find((id) => findErrorBy(error as Error, "apiId", id) !== null);
    const refused = says(REFUSALS) ?? (/\bSASL\b|authenticat/i.test(inner) ? inner : undefined);
    if (refused) return new MillraceError("SOURCE_REFUSED", { source, group, reason: refused }, { cause: error });
    if (says(UNKNOWN) || /^Unknown topic/.test(inner))
      return new MillraceError("SOURCE_TOPIC_UNKNOWN", { source }, { cause: error });
    return new MillraceError("SOURCE_UNREACHABLE", { source, reason: inner }, { cause: error });
  }
}

/** What a broker says of a partition, where the reader must know it. */
export const OUT_OF_RANGE = "OFFSET_OUT_OF_RANGE";
const PROBLEMS = new Map([
  [1, OUT_OF_RANGE],
  [3, "UNKNOWN_TOPIC_OR_PARTITION"],
  [6, "NOT_LEADER_OR_FOLLOWER"],
  [29, "TOPIC_AUTHORIZATION_FAILED"],
  [100, "UNKNOWN_TOPIC_ID"],
  [103, "INCONSISTENT_TOPIC_ID"],
]);
const UNKNOWN = ["UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "INCONSISTENT_TOPIC_ID"];
const REFUSALS = [
  ...["TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"],
  ...["SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE"],
];

/** The answer of a broker that holds an error for some of its partitions. */
function answerOf(error: unknown): Awaited<ReturnType<Consumer["fetch"]>> | undefined {
  const { response, errors = [] } = error as { response?: { responses?: unknown[] }; errors?: unknown[] };
  if (Array.isArray(response?.responses) && response.responses.length > 0)
    return response as unknown as Awaited<ReturnType<Consumer["fetch"]>>;
  // After retries the last attempt's answer counts.
  for (const inner of [...errors].reverse()) {
    const found = answerOf(inner ?? {});
    if (found) return found;
  }
  return undefined;
}

/** The words nearest to what went wrong. */
function innermost(error: unknown): string {
  const { errors, cause, message } = error as { errors?: unknown[]; cause?: unknown; message?: string };
  const inner = errors?.find((one) => one instanceof Error) ?? cause;
  return inner instanceof Error ? innermost(inner) : (message ?? String(error));
}
