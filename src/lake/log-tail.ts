import { listLog } from "./log-listing.ts";
import type { ObjectStore } from "./object-store.ts";
import { type LoggedCommit, readCommit, replay } from "./replay.ts";
import { TableState } from "./table-state.ts";

/** Commits kept at hand: whoever follows a table asks for what changed since a moment ago. */
const RECENT_COMMITS = 256;

/** Commits asked for at once when others have committed; asking for one that is not there yet costs next to nothing. */
const MAX_LOOKAHEAD = 16;

/**
 * After this long without looking at the listing, a next version that is not there may also have been cleaned from the log.
 * Far below the time for which logs are kept.
 */
const RELIST_AFTER_MS = 3_600_000;

/**
 * A table's newest state, kept up to date by reading the commits that came after it and nothing else: versions count up by one,
 * so the next one is asked for by name and nothing is listed.
 */
export class LogTail {
  readonly #store: ObjectStore;
  readonly #location: string;
  readonly #clock: () => number;
  readonly #recent = new Map<number, LoggedCommit>();
  #state: TableState | undefined;
  #loading: Promise<TableState | undefined> | undefined;
  #listedAtMs = 0;

  constructor(store: ObjectStore, location: string, clock: () => number) {
    this.#store = store;
    this.#location = location;
    this.#clock = clock;
  }

  /** As far as known; undefined when nothing was read yet or there is no table. */
  get state(): TableState | undefined {
    return this.#state;
  }

  /** The newest state there is. @throws DELTA_CORRUPT */
  async advance(): Promise<TableState | undefined> {
    if (!this.#state) return this.#load();
    for (let lookahead = 1; ; lookahead = Math.min(lookahead * 2, MAX_LOOKAHEAD)) {
      const from = this.#state.version + 1;
      const versions = Array.from({ length: lookahead }, (_, i) => from + i);
      const commits = await Promise.all(versions.map((version) => readCommit(this.#store, this.#location, version)));
      const missing = commits.indexOf(undefined);
      for (const commit of missing < 0 ? commits : commits.slice(0, missing)) this.committed(commit!);
      if (missing >= 0) break;
    }
    if (this.#clock() - this.#listedAtMs >= RELIST_AFTER_MS) await this.#relist();
    return this.#state;
  }

  /** Takes in a commit that is in the log, unless it is known already. Commits come in order; one too far ahead is read later. */
  committed(commit: LoggedCommit): void {
    if (!this.#state && commit.version === 0) {
      this.#state = new TableState(this.#location);
      this.#listedAtMs = this.#clock();
    }
    if (commit.version !== (this.#state?.version ?? -1) + 1) return;
    this.#state?.apply(commit.actions, commit.version, commit.timestampMs);
    this.#recent.set(commit.version, commit);
    this.#recent.delete(commit.version - RECENT_COMMITS);
  }

  /** The commit that made a version; undefined when the log no longer has it. @throws DELTA_CORRUPT */
  async commit(version: number): Promise<LoggedCommit | undefined> {
    return this.#recent.get(version) ?? (await readCommit(this.#store, this.#location, version));
  }

  #load(): Promise<TableState | undefined> {
    this.#loading ??= this.#reload().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #reload(): Promise<TableState | undefined> {
    const startedMs = this.#clock();
    const loaded = await replay(this.#store, this.#location);
    // Commits of our own may have been taken in meanwhile; the newer state is the right one.
    if (loaded && loaded.version > (this.#state?.version ?? -1)) {
      this.#state = loaded;
      this.#recent.clear();
    }
    this.#listedAtMs = startedMs;
    return this.#state;
  }

  async #relist(): Promise<void> {
    const startedMs = this.#clock();
    const { newest } = await listLog(this.#store, this.#location, true);
    this.#listedAtMs = startedMs;
    if (newest > (this.#state?.version ?? -1)) await this.#load();
  }
}
