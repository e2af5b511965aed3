import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import type { Principal } from "../gateway/auth.ts";

/** A query as `GET /v1/queries` shows it. */
export interface QueryView {
  readonly id: string;
  /** The name of the key that asked. */
  readonly by: string;
  /** The first 2,000 characters of the statement. */
  readonly sql: string;
  /** `waiting` for one of the places in which queries run, `running`, or `stopping` once it was cancelled. */
  readonly state: "waiting" | "running" | "stopping";
  /** The engine's own estimate of the share done, 0 to 1; null while there is none, and for a query without an `id` of its client's. */
  readonly progress: number | null;
  readonly startedAt: string;
  readonly elapsedMs: number;
}

/** One query for as long as it is answered. */
export interface RunningQuery {
  /** Aborts when somebody cancels it. */
  readonly signal: AbortSignal;
  /** It has its place. */
  began(): void;
  progressed(share: number): void;
  /** To be called once, however it ended. */
  ended(): void;
}

interface Entry {
  readonly by: Principal;
  readonly sql: string;
  readonly startedAtMs: number;
  readonly controller: AbortController;
  state: QueryView["state"];
  progress: number | null;
}

const MOST_SQL = 2_000;

/** What this process is asked and has not answered yet. A key sees and cancels its own queries, one with the scope `admin` all. */
export class RunningQueries {
  readonly #entries = new Map<string, Entry>();
  readonly #clock: () => number;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @throws QUERY_ID_TAKEN while another query of that id runs */
  begin(id: string | undefined, sql: string, by: Principal): RunningQuery {
    const name = id ?? randomUUID();
    if (this.#entries.has(name)) throw new MillraceError("QUERY_ID_TAKEN", { id: name });
    const entry: Entry = {
      ...{ by, sql, startedAtMs: this.#clock(), controller: new AbortController(), state: "waiting", progress: null },
    };
    this.#entries.set(name, entry);
    return {
      signal: entry.controller.signal,
      began: () => {
        if (entry.state === "waiting") entry.state = "running";
      },
      progressed: (share) => {
        entry.progress = share;
      },
      ended: () => this.#entries.delete(name),
    };
  }

  /** Oldest first. */
  list(viewer: Principal): QueryView[] {
    return [...this.#entries].flatMap(([id, entry]) => {
      const { by, sql, state, progress, startedAtMs } = entry;
      if (!mayTouch(viewer, entry)) return [];
      const startedAt = new Date(startedAtMs).toISOString();
      const elapsedMs = Math.max(0, this.#clock() - startedAtMs);
      return [{ id, by: by.name, sql: sql.slice(0, MOST_SQL), state, progress, startedAt, elapsedMs }];
    });
  }

  /** @throws QUERY_UNKNOWN for one that has ended, and for another's */
  cancel(id: string, viewer: Principal): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || !mayTouch(viewer, entry)) throw new MillraceError("QUERY_UNKNOWN", { id });
    entry.state = "stopping";
    entry.controller.abort();
  }
}

function mayTouch(viewer: Principal, { by }: Entry): boolean {
  return viewer.id === by.id || viewer.scopes.has("admin");
}
