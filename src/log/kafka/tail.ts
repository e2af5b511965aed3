/**
 * Waits for what other processes append: a long poll to each broker over the partitions that somebody here waits for. The broker answers
 * the moment there is something, or after half a second; nobody waits, nothing is asked.
 *
 * A broker answers the requests of a connection one by one, so whoever begins to wait while a poll is out has one of his own on another
 * connection, and joins the others when it comes back.
 */
import { MillraceError } from "../../errors.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusal, passes, refusalName } from "./failures.ts";
import { fetchRecords } from "./fetch-request.ts";
import type { KafkaPartition } from "./kafka-partition.ts";
import type { RecentBatches } from "./recent-batches.ts";

export interface TailOptions {
  readonly cluster: Cluster;
  readonly recent: RecentBatches;
  /** Learns where a partition begins and ends when a broker says that its end is not where it was thought to be. */
  readonly lookAgain: (partition: KafkaPartition) => Promise<void>;
}

const POLL_MS = 500;
const POLL_BYTES = 8 * 1024 * 1024;
/** What a poll brings is kept for the read that follows; a batch comes whole all the same. */
const PARTITION_BYTES = 512 * 1024;
/** A reader that was woken comes back soon: until then its partition stays in the polls. */
const FOLLOW_MS = 1_000;
/** Whoever appends here learns of ends by the answers. For so long after one nobody is asked, or each append would come back by a poll. */
const APPENDED_MS = 20;
const PAUSE_MS = 200;
/** Polls that may be out to one broker. */
const SLOTS = 4;

interface Following {
  waiting: number;
  until: number;
  /** Not asked for before. */
  notBefore: number;
  /** In a poll that is out. */
  asked: boolean;
}

export class Tail {
  readonly #options: TailOptions;
  readonly #following = new Map<KafkaPartition, Following>();
  /** Slots in use, by broker. */
  readonly #slots = new Map<number, Set<number>>();
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: TailOptions) {
    this.#options = options;
  }

  /** Resolves once the partition's end is above `offset`, or when the signal aborts. */
  async wait(partition: KafkaPartition, offset: number, signal: AbortSignal): Promise<void> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    if (partition.ends.end > offset || signal.aborted) return;
    this.#options.recent.read(partition);
    const following = this.#following.get(partition) ?? { waiting: 0, until: 0, notBefore: 0, asked: false };
    this.#following.set(partition, following);
    following.waiting++;
    this.#schedule();
    try {
      await partition.waiters.wait(offset, signal);
    } finally {
      following.waiting--;
      following.until = performance.now() + FOLLOW_MS;
    }
  }

  /** The partition's end has just moved by an append from here. */
  appended(partition: KafkaPartition): void {
    const following = this.#following.get(partition);
    if (following) following.notBefore = performance.now() + APPENDED_MS;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#ask();
    });
  }

  #ask(): void {
    if (this.#closed) return;
    const now = performance.now();
    const ready: KafkaPartition[] = [];
    let next = Number.POSITIVE_INFINITY;
    let somebodyWaits = false;
    for (const [partition, following] of this.#following) {
      const { waiting, until, notBefore, asked } = following;
      if (partition.wentBack || (waiting === 0 && until <= now && !asked)) this.#following.delete(partition);
      else if (asked) continue;
      else if (notBefore > now) next = Math.min(next, notBefore);
      else {
        ready.push(partition);
        if (waiting > 0) somebodyWaits = true;
      }
    }
    // Partitions that are only followed come along; a poll for nobody but them would be out for nothing.
    if (somebodyWaits) {
      const { cluster } = this.#options;
      for (const [leader, partitions] of Map.groupBy(ready, ({ topic, index }) => cluster.leader(topic.name, index))) {
        if (leader === undefined) this.#pause(partitions);
        else if (!this.#poll(leader, partitions)) next = Math.min(next, now + POLL_MS / 10);
      }
    }
    this.#wakeAt(Math.min(next, ...this.#pausedUntil(now)));
  }

  #pausedUntil(now: number): number[] {
    return [...this.#following.values()]
      .filter(({ notBefore, asked }) => !asked && notBefore > now)
      .map((f) => f.notBefore);
  }

  #wakeAt(at: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (at === Number.POSITIVE_INFINITY || this.#closed) return;
    this.#timer = setTimeout(() => this.#ask(), Math.max(1, at - performance.now()));
  }

  /** Sends a poll, if the broker has a slot for one. */
  #poll(leader: number, partitions: readonly KafkaPartition[]): boolean {
    const used = this.#slots.get(leader) ?? new Set();
    this.#slots.set(leader, used);
    const slot = Array.from({ length: SLOTS }, (_, i) => i).find((i) => !used.has(i));
    if (slot === undefined) return false;
    used.add(slot);
    const set = (asked: boolean) => {
      for (const partition of partitions) {
        const following = this.#following.get(partition);
        if (following) following.asked = asked;
      }
    };
    set(true);
    void this.#exchange(leader, slot, partitions).finally(() => {
      used.delete(slot);
      set(false);
      this.#schedule();
    });
    return true;
  }

  async #exchange(leader: number, slot: number, partitions: readonly KafkaPartition[]): Promise<void> {
    const { cluster, recent, lookAgain } = this.#options;
    try {
      const connection = await cluster.connection(leader, `poll/${slot}`);
      const entries = partitions.map(({ topic, index, ends }) => ({
        ...{ topic: topic.name, partition: index, offset: ends.end, maxBytes: PARTITION_BYTES },
      }));
      const answers = await fetchRecords(connection, entries, { waitMs: POLL_MS, maxBytes: POLL_BYTES });
      const moved: KafkaPartition[] = [];
      for (const partition of partitions) {
        const answer = answers.get(partition.name);
        if (answer?.errorCode === 0) {
          recent.add(partition, answer.batches);
          partition.learn(answer);
          continue;
        }
        const refusal = new BrokerRefusal(refusalName(answer?.errorCode ?? -1));
        // Readers hear of what does not pass from `read` and `refresh`.
        if (refusal.refusal === "OFFSET_OUT_OF_RANGE") lookAgain(partition).catch(() => this.#pause([partition]));
        this.#pause([partition]);
        if (passes(refusal)) moved.push(partition);
      }
      if (moved.length > 0) await cluster.refresh();
    } catch {
      // Asked again after a pause; what is wrong with the broker shows in `problems` and in reads.
      this.#pause(partitions);
      await cluster.refresh().catch(() => undefined);
    }
  }

  #pause(partitions: readonly KafkaPartition[]): void {
    const until = performance.now() + PAUSE_MS;
    for (const partition of partitions) {
      const following = this.#following.get(partition);
      if (following) following.notBefore = until;
    }
  }
}
