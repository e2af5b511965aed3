/**
 * What the flow asks of the cluster when several processes share one log and one lake. A process that works alone is given none of it: it owns
 * every partition, leads, and hears of every commit, because it makes them all.
 *
 * None of this makes anything right or wrong. Who commits is fenced by the tables (`txn`, conflicts), who queries asks log and tables
 * himself; ownership, leases and notices only keep processes from doing the same work twice, or late.
 */
import type { Assignment } from "../log/assignment.ts";

export interface Sharing {
  /** Gives this process its partitions; undefined for a process that stores none (it has no role `flow`). The flow joins the group `flow`. */
  readonly assignment: Assignment | undefined;
  readonly lead: Lead;
  readonly turns: Turns;
  readonly notices: CommitNotices;
}

/** The group in which flow workers share the partitions. */
export const FLOW_GROUP = "flow";

/**
 * Work that one process does for all: refreshes, compaction, vacuum, scrub, recount, builds of tables that lack history. A process without the
 * role `flow` never leads.
 */
export interface Lead {
  /** Whether this process leads now; asked before each piece of such work. */
  held(): boolean;
  /** Calls `listener` after each change. Returns what ends it. */
  onChange(listener: (held: boolean) => void): () => void;
}

/** Work that any process may be asked for and one may do at a time: `dead-letters` (retries, what replays do with letters) and `replay`. */
export interface Turns {
  /**
   * Runs work while no other process runs work of that name, after waiting for its turn. `lost` aborts when another process may have begun:
   * what is under way is fenced by its commits, and need not be begun further.
   * @throws STATE_UNAVAILABLE when turns cannot be told; what `work` throws
   */
  inTurn<T>(name: "dead-letters" | "replay", work: (lost: AbortSignal) => Promise<T>): Promise<T>;
}

/** Tells processes of each other's commits, soon. Notices may be lost: who waits for tables looks by himself every few seconds as well. */
export interface CommitNotices {
  /** This process has committed to tables. Returns at once. */
  committed(tables: readonly string[]): void;
  /** Calls `listener` with tables that another process has committed to. Returns what ends it. */
  on(listener: (tables: readonly string[]) => void): () => void;
}
