/**
 * Who works on which partitions of the log, when several processes share the work.
 *
 * A group is a set of processes that divide all partitions of some streams among them. What every adapter promises:
 * - **One owner**: a partition that `owns` tells of is owned by no other member whose own `owns` is right. A process that was paused may believe
 *   for a moment that it owns what was given away; whoever commits must therefore be fenced by the commit itself (a table's `txn`).
 * - **Co-partitioning**: partition p of every stream of the group has one owner, so state kept by key may be shared by streams.
 * - **Hand-over**: a partition is given to another member only after `lost` has resolved here, or once this process was given up. Partitions
 *   that do not move are not disturbed.
 * - **Order**: `gained` and `lost` of a group are called one after the other, never two at a time.
 */
export interface Assignment {
  /**
   * Joins a group and resolves once this process is a member and `gained` was called for its first share, which may be empty. The streams
   * must be open in the log. One membership per group and process.
   * @throws LOG_UNAVAILABLE (retryable) when the group cannot be reached, LOG_PARTITION_UNKNOWN for a stream that is not open,
   * SHUTTING_DOWN after `close`.
   */
  join(options: GroupOptions): Promise<Membership>;

  /** Leaves every group, each as `Membership.leave` does. */
  close(): Promise<void>;
}

export interface GroupOptions {
  /** Name of the group: members of the same name share the partitions. */
  readonly group: string;
  readonly streams: readonly string[];
  /** Partitions that are this process's from now on. Awaited before anything else happens to the group's share here; must not reject. */
  gained(partitions: readonly Owned[]): void | Promise<void>;
  /**
   * Partitions that leave this process; `owns` is false from the call on.
   * - `revoked`: they go to somebody else once the promise resolves: finish and store what is staged of them, then resolve. Members that take
   *   longer than the hand-over limit (60 s) lose them all the same.
   * - `fenced`: they are somebody else's already, because this process was silent for too long: drop what is staged of them.
   *
   * A rejection is told to `failed`, and the partitions are given away.
   */
  lost(partitions: readonly Owned[], how: "revoked" | "fenced"): Promise<void>;
  /**
   * What keeps the membership from working: retryable when it goes on trying by itself (the group cannot be reached), not retryable when it has
   * ended (LOG_WORKER_TWICE: another process has joined under the same worker id).
   */
  failed?(error: Error): void;
}

export interface Owned {
  readonly stream: string;
  readonly partition: number;
}

export interface Membership {
  /**
   * Whether the partition is this process's now. False as soon as the group may have given this process up, before it has learned of it: ask
   * right before a commit.
   */
  owns(stream: string, partition: number): boolean;

  /**
   * Whether the group was sure of this process within the session time, by a monotonic clock: then nothing that is owned, nor what a `lost`
   * ("revoked") under way still has, can be somebody else's yet. Ask right before an effect that nothing else fences.
   */
  confirmed(): boolean;

  /** Everything that is owned now, by stream and partition. */
  owned(): readonly Owned[];

  /**
   * Tells the group how far a partition is stored: `offset` is the first one that is not. For others to see (lag, autoscalers); nothing
   * is read from it. Returns at once; what is told in the same moment goes out together, and a failure is told to `failed`. Absent where nobody looks.
   */
  progress?(stream: string, partition: number, offset: number): void;

  /** Calls `lost` ("revoked") for everything owned, awaits it, tells what `progress` has left, and leaves. Again: the same promise. */
  leave(): Promise<void>;
}
