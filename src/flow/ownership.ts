/**
 * Which partitions this process stores. Alone it stores all of them, and nobody is asked; with others it is a member of the group `flow`, which
 * spreads the partitions, and stores those it has been given until it is told that they go.
 *
 * That two processes believe they own one partition is no danger, since a table's `txn` lets one of them commit. It is work done twice.
 */
import type { Assignment, Membership, Owned } from "../log/assignment.ts";
import { FLOW_GROUP } from "./sharing.ts";

export interface OwnershipParts {
  readonly streams: readonly string[];
  /** Brings a partition to the newest commits, before it is stored here. */
  readonly gained: (partitions: readonly Owned[]) => Promise<void>;
  /** Ends what is under way for partitions that go; `last`: stores what is staged of them. */
  readonly lost: (partitions: readonly Owned[], last: boolean) => Promise<void>;
  readonly failed: (error: unknown, what: string) => void;
}

export interface Ownership {
  owns(stream: string, partition: number): boolean;
  /** Tells the group how far a partition is stored. */
  progress(stream: string, partition: number, offset: number): void;
  /** Gives everything back. Again: the same. */
  leave(): Promise<void>;
}

/** Of a process that works alone. */
export const OWNS_ALL: Ownership = {
  owns: () => true,
  progress: () => undefined,
  leave: async () => undefined,
};

/** Of a process that shares the partitions with others; nothing is owned before `join`, and without an assignment nothing ever. */
export class SharedOwnership implements Ownership {
  readonly #owned = new Set<string>();
  #membership: Membership | undefined;
  #leaving: Promise<void> | undefined;

  owns(stream: string, partition: number): boolean {
    return this.#owned.has(nameOf({ stream, partition })) && (this.#membership?.owns(stream, partition) ?? true);
  }

  progress(stream: string, partition: number, offset: number): void {
    this.#membership?.progress?.(stream, partition, offset);
  }

  /** Resolves once this process has its first share. @throws what `Assignment.join` does */
  async join(assignment: Assignment, { streams, gained, lost, failed }: OwnershipParts): Promise<void> {
    this.#membership = await assignment.join({
      group: FLOW_GROUP,
      streams,
      gained: async (partitions) => {
        try {
          await gained(partitions);
        } catch (error) {
          // They are stored all the same: what this process does not know of the tables, its first conflict tells it.
          failed(error, "bringing gained partitions to the newest commits");
        }
        for (const owned of partitions) this.#owned.add(nameOf(owned));
      },
      lost: async (partitions, how) => {
        for (const owned of partitions) this.#owned.delete(nameOf(owned));
        await lost(partitions, how === "revoked");
      },
      failed: (error) => failed(error, "sharing partitions with other workers"),
    });
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#membership?.leave() ?? Promise.resolve();
    return this.#leaving;
  }
}

function nameOf({ stream, partition }: Owned): string {
  return `${stream}/${partition}`;
}
