/**
 * This process as a member of a group: joins, divides when it is told to lead, says that it is alive, and hands over what it loses.
 *
 * The group's protocol of Kafka (JoinGroup, SyncGroup, Heartbeat), with partitions that move handed over by their owner in one round and given to
 * the next one in the round after it. A name of its own (`group.instance.id`) lets a process that is started again within the session have its
 * partitions back without a round.
 *
 * Source: KIP-429 (cooperative rebalancing), KIP-345 (static membership).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { heartbeatV4, joinGroupV9, leaveGroupV5, offsetCommitV8, syncGroupV5 } from "@platformatic/kafka";
import { MillraceError } from "../../../errors.ts";
import type { GroupOptions, Membership, Owned } from "../../assignment.ts";
import type { Cluster } from "../cluster.ts";
import { answerOf, BrokerRefusal, passes } from "../failures.ts";
import { Coordinator } from "./coordinator.ts";
import { dividePartitions } from "./divide-partitions.ts";
import {
  readAssignment,
  readSubscription,
  type TopicPartitions,
  writeAssignment,
  writeSubscription,
} from "./member-protocol.ts";

export interface MemberOptions {
  readonly cluster: Cluster;
  /** As Kafka has it. */
  readonly groupId: string;
  /** The name that this process keeps when it is started again. */
  readonly workerId: string;
  /** Topic and number of partitions of each stream. */
  readonly topics: ReadonlyMap<string, { readonly topic: string; readonly partitions: number }>;
  readonly sessionMs: number;
  readonly handOverMs: number;
}

/** The one way of dividing that all members know. */
const PROTOCOL = "millrace";
/** A member that does not come to a round in this time is given up. */
const REBALANCE_MS = 60_000;
const PROGRESS_MS = 1_000;
const PAUSE_MS = 300;
const BEAT_MS = 1_000;
const JOIN_TIMEOUT_MS = 30_000;
/** How long a member that leaves waits until the group knows. */
const LEAVE_WITHIN_MS = 8_000;

export class GroupMember implements Membership {
  readonly #options: MemberOptions;
  readonly #user: GroupOptions;
  readonly #coordinator: Coordinator;
  readonly #streams: ReadonlyMap<string, string>;
  readonly #owned = new Set<string>();
  /** Being handed over: still this process's for the group. */
  readonly #leavingSoon = new Set<string>();
  readonly #progress = new Map<string, number>();
  readonly #first = Promise.withResolvers<void>();
  #joined = false;
  #memberId = "";
  #generation = -1;
  /** When the group was last sure of this process: the moment before it was asked. */
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #wake: () => void = () => undefined;
  #rejoin = false;
  #told: string | undefined;
  #calls: Promise<void> = Promise.resolve();
  #progressTimer: NodeJS.Timeout | undefined;
  #stopping = false;
  #leave: Promise<void> | undefined;
  #running: Promise<void>;

  static async join(options: MemberOptions, user: GroupOptions): Promise<GroupMember> {
    const member = new GroupMember(options, user);
    await member.#first.promise;
    return member;
  }

  private constructor(options: MemberOptions, user: GroupOptions) {
    this.#options = options;
    this.#user = user;
    this.#coordinator = new Coordinator(options.cluster, options.groupId);
    this.#streams = new Map([...options.topics].map(([stream, { topic }]) => [topic, stream]));
    this.#running = this.#run();
  }

  owns(stream: string, partition: number): boolean {
    return this.#owned.has(keyOf(stream, partition)) && this.confirmed();
  }

  confirmed(): boolean {
    return performance.now() - this.#confirmedAt < this.#options.sessionMs;
  }

  owned(): readonly Owned[] {
    return this.confirmed() ? [...this.#owned].map(ownedOf) : [];
  }

  progress(stream: string, partition: number, offset: number): void {
    this.#progress.set(keyOf(stream, partition), offset);
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined;
      this.#tellProgress().catch((error: unknown) => this.#user.failed?.(this.#coordinator.explained(error)));
    }, PROGRESS_MS);
  }

  leave(): Promise<void> {
    this.#leave ??= this.#leaving();
    return this.#leave;
  }

  async #leaving(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await this.#handOver([...this.#owned], "revoked");
    clearTimeout(this.#progressTimer);
    // Others get the partitions when the session ends, if the group cannot be told: brokers may be out of reach, and a round waits for others for a minute.
    const late = new AbortController();
    const told = this.#tellLeave().then(() => this.#running);
    await Promise.race([told, sleep(LEAVE_WITHIN_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
  }

  /** Never rejects. */
  async #tellLeave(): Promise<void> {
    await this.#tellProgress().catch((error: unknown) => this.#user.failed?.(this.#coordinator.explained(error)));
    const members = [{ memberId: this.#memberId, groupInstanceId: this.#options.workerId, reason: "it stops" }];
    const { group } = this.#coordinator;
    if (this.#memberId !== "")
      await this.#coordinator
        .ask("beat", (connection) => leaveGroupV5.api.async(connection, group, members))
        .catch((error: unknown) => this.#user.failed?.(this.#coordinator.explained(error)));
  }

  /** Round after round, until it leaves or has been replaced. */
  async #run(): Promise<void> {
    const deadline = performance.now() + JOIN_TIMEOUT_MS;
    while (!this.#stopping) {
      try {
        await this.#round();
        await this.#stayAlive();
      } catch (error) {
        if (this.#stopping) return;
        const failure = this.#replaced(error) ?? this.#coordinator.explained(error);
        const ends = failure.code === "LOG_WORKER_TWICE" || (!this.#joined && !failure.retryable);
        if (ends || (!this.#joined && performance.now() > deadline)) {
          this.#stopping = true;
          await this.#handOver([...this.#owned], "fenced");
          this.#first.reject(failure);
          if (this.#joined) this.#user.failed?.(failure);
          return;
        }
        this.#tell(error, failure);
        await sleep(PAUSE_MS);
        await this.#options.cluster.refresh().catch(() => undefined); // the next round says what is wrong
      }
    }
  }

  /** Tells once of each thing that keeps the group from being sure of this process. */
  #tell(error: unknown, failure: MillraceError): void {
    const known = error instanceof BrokerRefusal && ROUND_UNDER_WAY.has(error.refusal);
    if (!this.#joined || known || (passes(error) && this.confirmed()) || this.#told === failure.message) return;
    this.#told = failure.message;
    this.#user.failed?.(failure);
  }

  #replaced(error: unknown): MillraceError | undefined {
    if (!(error instanceof BrokerRefusal) || error.refusal !== "FENCED_INSTANCE_ID") return undefined;
    return new MillraceError("LOG_WORKER_TWICE", { group: this.#user.group, worker: this.#options.workerId });
  }

  /** Joins with what it has, and takes what it is given. */
  async #round(): Promise<void> {
    this.#rejoin = false;
    const { workerId, sessionMs, topics } = this.#options;
    const { group } = this.#coordinator;
    const holding = [...this.#owned, ...this.#leavingSoon];
    const metadata = writeSubscription({
      topics: [...topics.values()].map(({ topic }) => topic),
      owned: this.#byTopic(holding),
      generation: this.#generation,
    });
    const protocols = [{ name: PROTOCOL, metadata }];
    const reason = holding.length > 0 ? "it has changed what it owns, or others have come or gone" : "it is new";
    const joined = await this.#asMember(() =>
      this.#coordinator.ask("join", (connection) =>
        joinGroupV9.api.async(
          ...([connection, group, sessionMs, REBALANCE_MS, this.#memberId, workerId] as const),
          ...(["consumer", protocols, reason] as const),
        ),
      ),
    );
    this.#memberId = joined.memberId ?? this.#memberId;
    const assignments =
      joined.leader === this.#memberId && !joined.skipAssignment ? await this.#divide(joined.members) : [];
    const askedAt = performance.now();
    const synced = await this.#asMember(() =>
      this.#coordinator.ask("join", (connection) =>
        syncGroupV5.api.async(
          ...([connection, group, joined.generationId, this.#memberId, workerId] as const),
          ...(["consumer", PROTOCOL, assignments] as const),
        ),
      ),
    );
    this.#generation = joined.generationId;
    this.#confirmedAt = askedAt;
    this.#told = undefined;
    this.#take(this.#keysOf(readAssignment(synced.assignment)));
  }

  async #divide(
    members: readonly joinGroupV9.JoinGroupResponseMember[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const joined = members.map(({ memberId, groupInstanceId, metadata }) => {
      return { id: memberId, name: groupInstanceId ?? memberId, ...readSubscription(metadata ?? Buffer.alloc(0)) };
    });
    const counts = await this.#counts(new Set(joined.flatMap(({ topics }) => topics)));
    const divided = dividePartitions(joined, counts);
    return [...divided].map(([memberId, partitions]) => ({ memberId, assignment: writeAssignment(partitions) }));
  }

  /** Partitions by topic; also of topics that only members of another version of the project know. */
  async #counts(topics: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
    const { cluster, topics: known } = this.#options;
    const counts = new Map([...known.values()].map(({ topic, partitions }) => [topic, partitions]));
    const unknown = [...topics].filter((topic) => !counts.has(topic));
    for (const topic of unknown) cluster.want(topic);
    if (unknown.length > 0) await cluster.refresh();
    for (const topic of unknown) {
      const view = cluster.topic(topic);
      if (view !== undefined && !(view instanceof BrokerRefusal)) counts.set(topic, view.partitions.length);
    }
    return counts;
  }

  #take(given: ReadonlySet<string>): void {
    const gained = [...given].filter((key) => !this.#owned.has(key) && !this.#leavingSoon.has(key));
    const lost = [...this.#owned].filter((key) => !given.has(key));
    for (const key of gained) this.#owned.add(key);
    if (gained.length > 0) this.#call(async () => this.#user.gained(sorted(gained)));
    if (lost.length > 0)
      void this.#handOver(lost, "revoked").then(() => {
        // They are free now: another round gives them away.
        this.#rejoin = true;
        this.#wake();
      });
    const first = this.#calls;
    if (!this.#joined) {
      this.#joined = true;
      void first.then(() => this.#first.resolve());
    }
  }

  /** Says that it is alive, until a round is due. */
  async #stayAlive(): Promise<void> {
    const { workerId, sessionMs } = this.#options;
    const { group } = this.#coordinator;
    // Often enough that a hand-over is heard of within a second.
    const pauseMs = Math.min(BEAT_MS, sessionMs / 6);
    for (let pause = pauseMs; !this.#stopping && !this.#rejoin; ) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      const timer = setTimeout(woken.resolve, pause);
      await woken.promise;
      clearTimeout(timer);
      if (this.#stopping || this.#rejoin) return;
      const askedAt = performance.now();
      try {
        await this.#asMember(() =>
          this.#coordinator.ask("beat", (connection) =>
            heartbeatV4.api.async(connection, group, this.#generation, this.#memberId, workerId),
          ),
        );
        this.#confirmedAt = askedAt;
        pause = pauseMs;
      } catch (error) {
        if (error instanceof BrokerRefusal && error.refusal === "REBALANCE_IN_PROGRESS") return;
        if (!passes(error)) throw error;
        pause = PAUSE_MS;
      }
    }
  }

  /** Hears whether the group has given this process up. */
  async #asMember<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      const refusal = error instanceof BrokerRefusal ? error.refusal : "";
      if (GIVEN_UP.has(refusal)) {
        this.#confirmedAt = Number.NEGATIVE_INFINITY;
        this.#generation = -1;
        if (refusal !== "ILLEGAL_GENERATION") this.#memberId = "";
        await this.#handOver([...this.#owned], "fenced");
      }
      throw error;
    }
  }

  /** Takes partitions away from the user of the group; resolves when he has let go, or has had his time. */
  async #handOver(keys: readonly string[], how: "revoked" | "fenced"): Promise<void> {
    if (keys.length === 0) return;
    for (const key of keys) {
      this.#owned.delete(key);
      if (how === "revoked") this.#leavingSoon.add(key);
    }
    const { handOverMs } = this.#options;
    const done = this.#call(() => this.#user.lost(sorted(keys), how));
    const late = new AbortController();
    await Promise.race([done, sleep(handOverMs, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
    for (const key of keys) this.#leavingSoon.delete(key);
  }

  /** One after the other. */
  #call(call: () => Promise<void> | void): Promise<void> {
    this.#calls = this.#calls.then(call).catch((error: unknown) => this.#user.failed?.(error as Error));
    return this.#calls;
  }

  async #tellProgress(): Promise<void> {
    const told = new Map(this.#progress);
    this.#progress.clear();
    if (told.size === 0 || this.#generation < 0) return;
    const topics = [...this.#byTopic([...told.keys()])].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: BigInt(told.get(keyOf(this.#streams.get(name) ?? "", partitionIndex)) ?? 0),
        committedLeaderEpoch: -1,
        committedMetadata: null,
      })),
    }));
    const { workerId } = this.#options;
    const { group } = this.#coordinator;
    try {
      await this.#coordinator.ask("beat", async (connection) => {
        const request = offsetCommitV8.api.async(connection, group, this.#generation, this.#memberId, workerId, topics);
        const parts = (await answerOf(request)).topics.flatMap(({ partitions }) => partitions);
        return { errorCode: parts.find(({ errorCode }) => errorCode !== 0)?.errorCode ?? 0 };
      });
    } catch (error) {
      // The next heartbeat or round says more of these; what is not told now is told with the next flush.
      if (!(error instanceof BrokerRefusal) || !ROUND_UNDER_WAY.has(error.refusal)) throw error;
    }
  }

  #byTopic(keys: readonly string[]): TopicPartitions {
    const byStream = Map.groupBy(sorted(keys), ({ stream }) => stream);
    const entries: [string, number[]][] = [];
    for (const [stream, owned] of byStream) {
      const known = this.#options.topics.get(stream);
      if (known) entries.push([known.topic, owned.map(({ partition }) => partition)]);
    }
    return new Map(entries);
  }

  #keysOf(partitions: TopicPartitions): Set<string> {
    const keys = new Set<string>();
    for (const [topic, indexes] of partitions) {
      const stream = this.#streams.get(topic);
      if (stream !== undefined) for (const index of indexes) keys.add(keyOf(stream, index));
    }
    return keys;
  }
}

/** The group goes on without this process. */
const GIVEN_UP = new Set(["UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "FENCED_INSTANCE_ID"]);
/** Nothing is wrong with the group: another round comes, or has come. */
const ROUND_UNDER_WAY = new Set(["REBALANCE_IN_PROGRESS", ...GIVEN_UP]);

function keyOf(stream: string, partition: number): string {
  return `${stream}/${partition}`;
}

function ownedOf(key: string): Owned {
  const at = key.lastIndexOf("/");
  return { stream: key.slice(0, at), partition: Number(key.slice(at + 1)) };
}

function sorted(keys: readonly string[]): Owned[] {
  return keys
    .map(ownedOf)
    .sort((a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : a.partition - b.partition));
}
