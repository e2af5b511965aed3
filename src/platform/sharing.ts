/** What processes that share the work tell and ask of each other, as the flow sees it. */
import type { CommitNotices, Lead, Sharing, Turns } from "../flow/sharing.ts";
import type { Assignment } from "../log/assignment.ts";
import type { Lease, Leases } from "../state/leases.ts";
import type { State } from "../state/state.ts";

const CHANNEL = "millrace_commits";
/** Commits within this time are told together. */
const TOGETHER_MS = 20;
/** PostgreSQL takes 8000 bytes; names of tables are short. */
const MOST_NAMES = 50;
const TURN_PAUSE_MS = 200;

export interface SharingParts {
  readonly state: State;
  readonly leases: Leases;
  /** Of this process, to tell its own notices from others'. */
  readonly workerId: string;
  /** Undefined for a process that stores nothing. */
  readonly assignment: Assignment | undefined;
  readonly report: (error: unknown, what: string) => void;
}

export async function openSharing(parts: SharingParts): Promise<Sharing & { close(): Promise<void> }> {
  const notices = new PostgresNotices(parts);
  await notices.open();
  const lead = parts.assignment === undefined ? NEVER : new LeasedLead(parts.leases, "flow");
  return {
    ...{ assignment: parts.assignment, lead, notices, turns: leasedTurns(parts.leases) },
    async close() {
      await lead.close();
      await notices.close();
    },
  };
}

const NEVER: Lead & { close(): Promise<void> } = {
  held: () => false,
  onChange: () => () => undefined,
  close: async () => undefined,
};

class LeasedLead implements Lead {
  readonly #listeners = new Set<(held: boolean) => void>();
  readonly #wanted: { end(): Promise<void> };
  #lease: Lease | undefined;

  constructor(leases: Leases, name: string) {
    this.#wanted = leases.want(name, {
      gained: (lease) => {
        this.#lease = lease;
        for (const listener of this.#listeners) listener(true);
      },
      lost: () => {
        this.#lease = undefined;
        for (const listener of this.#listeners) listener(false);
      },
    });
  }

  held(): boolean {
    return this.#lease?.holds() === true;
  }

  onChange(listener: (held: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    return this.#wanted.end();
  }
}

/** A turn is a lease: who waits has it once it is given back. */
function leasedTurns(leases: Leases): Turns {
  return {
    async inTurn(name, work) {
      for (;;) {
        const lease = await leases.take(name);
        if (lease === undefined) {
          await new Promise((resolve) => setTimeout(resolve, TURN_PAUSE_MS));
          continue;
        }
        try {
          return await work(lease.signal);
        } finally {
          await lease.release();
        }
      }
    },
  };
}

/** `{"by": worker, "tables": […]}` on one channel. */
class PostgresNotices implements CommitNotices {
  readonly #o: SharingParts;
  readonly #listeners = new Set<(tables: readonly string[]) => void>();
  readonly #untold = new Set<string>();
  #telling: Promise<void> | undefined;
  #unlisten: (() => Promise<void>) | undefined;

  constructor(parts: SharingParts) {
    this.#o = parts;
  }

  async open(): Promise<void> {
    this.#unlisten = await this.#o.state.listen(CHANNEL, (payload) => {
      // What was missed is found by looking, as everybody does now and then.
      if (payload === undefined) return;
      const { by, tables } = JSON.parse(payload) as { by: string; tables: string[] };
      if (by === this.#o.workerId) return;
      for (const listener of this.#listeners) listener(tables);
    });
  }

  committed(tables: readonly string[]): void {
    for (const table of tables) this.#untold.add(table);
    this.#telling ??= this.#tell().finally(() => {
      this.#telling = undefined;
    });
  }

  on(listener: (tables: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    await this.#unlisten?.();
    await this.#telling;
  }

  async #tell(): Promise<void> {
    while (this.#untold.size > 0) {
      await new Promise((resolve) => setTimeout(resolve, TOGETHER_MS));
      const tables = [...this.#untold].slice(0, MOST_NAMES);
      for (const table of tables) this.#untold.delete(table);
      try {
        await this.#o.state.query("select pg_notify($1, $2)", [
          CHANNEL,
          JSON.stringify({ by: this.#o.workerId, tables }),
        ]);
      } catch {
        // Nobody relies on it.
        return;
      }
    }
  }
}
