/** The assignment of a process that works alone: every partition is its own, at once and until it leaves. */
import { MillraceError } from "../errors.ts";
import type { Assignment, GroupOptions, Membership, Owned } from "./assignment.ts";
import type { EventLog } from "./event-log.ts";

export function soleAssignment(log: Pick<EventLog, "partitions">): Assignment {
  return new SoleAssignment(log);
}

class SoleAssignment implements Assignment {
  readonly #log: Pick<EventLog, "partitions">;
  readonly #members = new Set<SoleMembership>();
  #closed = false;

  constructor(log: Pick<EventLog, "partitions">) {
    this.#log = log;
  }

  async join(options: GroupOptions): Promise<Membership> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    const all = options.streams.flatMap((stream) =>
      Array.from({ length: this.#log.partitions(stream) }, (_, partition): Owned => ({ stream, partition })),
    );
    const membership = new SoleMembership(options, all, () => this.#members.delete(membership));
    this.#members.add(membership);
    await options.gained(all);
    return membership;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#members].map((membership) => membership.leave()));
  }
}

class SoleMembership implements Membership {
  readonly #options: GroupOptions;
  readonly #left: () => void;
  #owned: readonly Owned[];
  #leaving: Promise<void> | undefined;

  constructor(options: GroupOptions, owned: readonly Owned[], left: () => void) {
    this.#options = options;
    this.#owned = owned;
    this.#left = left;
  }

  owns(stream: string, partition: number): boolean {
    return this.#owned.some((one) => one.stream === stream && one.partition === partition);
  }

  confirmed(): boolean {
    return true;
  }

  owned(): readonly Owned[] {
    return this.#owned;
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    const owned = this.#owned;
    this.#owned = [];
    try {
      if (owned.length > 0) await this.#options.lost(owned, "revoked");
    } catch (error) {
      this.#options.failed?.(error as Error);
    } finally {
      this.#left();
    }
  }
}
