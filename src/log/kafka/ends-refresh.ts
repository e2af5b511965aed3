/**
 * Brings what this process knows of ends up to what every process was told. Callers of one moment share a request that starts after they
 * called: one that is already on its way may have been answered before what they want to see was acknowledged. Each leader is asked by
 * itself, so one that does not answer holds up nobody who does not ask for its partitions.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../errors.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusal, passes, refusalName } from "./failures.ts";
import type { KafkaPartition } from "./kafka-partition.ts";
import { askLeader, LATEST } from "./offsets.ts";

interface Asking {
  readonly partition: KafkaPartition;
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly done: Promise<void>;
}

export class EndsRefresh {
  readonly #cluster: Cluster;
  readonly #timeoutMs: number;
  readonly #learned: (partition: KafkaPartition, end: number, before: number) => Promise<void>;
  /** Not asked for yet. */
  #gathering = new Map<KafkaPartition, Asking>();
  /** Leaders with a request under way. */
  readonly #busy = new Set<number>();
  #scheduled = false;
  #closed = false;

  /** `learned` takes an end, and rejects when it cannot be right; `before` is what was known when the leader was asked. */
  constructor(
    cluster: Cluster,
    timeoutMs: number,
    learned: (partition: KafkaPartition, end: number, before: number) => Promise<void>,
  ) {
    this.#cluster = cluster;
    this.#timeoutMs = timeoutMs;
    this.#learned = learned;
  }

  async refresh(partitions: Iterable<KafkaPartition>): Promise<void> {
    const asked = [...partitions].map((partition) => this.#ask(partition).done);
    this.#schedule();
    await Promise.all(asked);
  }

  close(): void {
    this.#closed = true;
    for (const asking of this.#gathering.values()) asking.reject(new MillraceError("SHUTTING_DOWN"));
    this.#gathering.clear();
  }

  #ask(partition: KafkaPartition): Asking {
    let asking = this.#gathering.get(partition);
    if (!asking) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      promise.catch(() => undefined); // another of the same caller's may reject before
      asking = { partition, deadline: performance.now() + this.#timeoutMs, resolve, reject, done: promise };
      this.#gathering.set(partition, asking);
    }
    return asking;
  }

  /** Who asks in this turn of the event loop comes along. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  #send(): void {
    const byLeader = Map.groupBy(this.#gathering.values(), ({ partition }) =>
      this.#cluster.leader(partition.topic.name, partition.index),
    );
    for (const [leader, asked] of byLeader) {
      if (leader !== undefined && this.#busy.has(leader)) continue;
      for (const { partition } of asked) this.#gathering.delete(partition);
      if (leader === undefined) {
        void this.#again(asked, new BrokerRefusal("LEADER_NOT_AVAILABLE"));
        continue;
      }
      this.#busy.add(leader);
      void this.#sendTo(leader, asked).finally(() => {
        this.#busy.delete(leader);
        if (this.#gathering.size > 0) this.#schedule();
      });
    }
  }

  async #sendTo(leader: number, asked: readonly Asking[]): Promise<void> {
    try {
      const partitions = asked.map(({ partition }) => partition);
      const before = new Map(partitions.map((partition) => [partition, partition.ends.end]));
      const answers = await askLeader(this.#cluster, leader, partitions, LATEST);
      const unanswered: Asking[] = [];
      let refusal: BrokerRefusal | undefined;
      for (const asking of asked) {
        const { errorCode = -1, offset = 0 } = answers.get(asking.partition) ?? {};
        if (errorCode === 0) {
          this.#learned(asking.partition, offset, before.get(asking.partition) ?? 0).then(
            asking.resolve,
            asking.reject,
          );
        } else {
          refusal = new BrokerRefusal(refusalName(errorCode));
          unanswered.push(asking);
        }
      }
      if (refusal) void this.#again(unanswered, refusal);
    } catch (error) {
      void this.#again(asked, error);
    }
  }

  /** Asks again once the cluster was looked at, or gives up. */
  async #again(asked: readonly Asking[], reason: unknown): Promise<void> {
    const now = performance.now();
    const open = asked.filter(({ deadline }) => passes(reason) && deadline > now && !this.#closed);
    for (const { reject } of asked.filter((asking) => !open.includes(asking)))
      reject(this.#closed ? new MillraceError("SHUTTING_DOWN") : reason);
    if (open.length === 0) return;
    await sleep(AGAIN_MS);
    await this.#cluster.refresh().catch(() => undefined); // the next request says what is wrong
    for (const asking of open) {
      const other = this.#gathering.get(asking.partition);
      if (other) other.done.then(asking.resolve, asking.reject);
      else if (this.#closed) asking.reject(new MillraceError("SHUTTING_DOWN"));
      else this.#gathering.set(asking.partition, asking);
    }
    this.#schedule();
  }
}

const AGAIN_MS = 100;
