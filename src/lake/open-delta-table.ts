import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import { Checkpointer } from "./checkpointer.ts";
import { sealCommit } from "./commit-checksum.ts";
import { conflictWith, planCommit } from "./commit-plan.ts";
import type { CommitInfo, CommitRequest, CommitResult, DataFile, DeltaTable, Snapshot } from "./delta-table.ts";
import { checkWritable } from "./features.ts";
import { commitInfoOf, dataChanges, versionAt, versionThatAdded } from "./history.ts";
import { commitKey } from "./log-names.ts";
import { LogTail } from "./log-tail.ts";
import type { ObjectStore } from "./object-store.ts";
import { isDamage, REPAIR } from "./repair-log.ts";
import { type LoggedCommit, replay } from "./replay.ts";
import { copyOf, type TableCopy } from "./table-copy.ts";
import { type VacuumOptions, vacuum } from "./vacuum.ts";

export interface DeltaTableOptions {
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  readonly newId?: () => string;
  /** Commits between two checkpoints, at least. A large table takes its time: see `checkpointer.ts`. */
  readonly checkpointInterval?: number;
  /** Told when a checkpoint could not be written. Nothing is lost by it, and the next commit tries again. */
  readonly onCheckpointFailed?: (error: unknown) => void;
}

/** Opens the table whose folder is `location` in the store; nothing is read before it is asked for. */
export function openDeltaTable(store: ObjectStore, location: string, options: DeltaTableOptions = {}): DeltaTable {
  return new StoredDeltaTable(store, location, options);
}

/** Commits of others that come first this often in a row mean that something is wrong; each try sees all that came before. */
const MAX_ATTEMPTS = 100;

class StoredDeltaTable implements DeltaTable {
  readonly location: string;
  readonly #store: ObjectStore;
  readonly #clock: () => number;
  readonly #newId: () => string;
  readonly #log: LogTail;
  readonly #checkpoints: Checkpointer;
  /** The end of the queue of commits: two of this process never race each other. */
  #committing: Promise<unknown> = Promise.resolve();

  constructor(store: ObjectStore, location: string, options: DeltaTableOptions) {
    this.location = location;
    this.#store = store;
    this.#clock = options.clock ?? Date.now;
    this.#newId = options.newId ?? randomUUID;
    this.#log = new LogTail(store, location, this.#clock);
    this.#checkpoints = new Checkpointer(store, location, this.#clock, options);
  }

  async snapshot(at?: { version: number } | { timestampMs: number } | { cached: true }): Promise<Snapshot | undefined> {
    if (at && "cached" in at) return (this.#log.state ?? (await this.#log.advance()))?.snapshot();
    const state = await this.#log.advance();
    if (!at || !state) return state?.snapshot();
    const version = "version" in at ? at.version : await versionAt(this.#store, this.location, at.timestampMs);
    if (version === state.version) return state.snapshot();
    return (await replay(this.#store, this.location, version))?.snapshot();
  }

  commit(request: CommitRequest): Promise<CommitResult> {
    const result = this.#committing.then(() => this.#commit(request));
    // The next commit does not care how this one ended; whoever asked for this one is told.
    this.#committing = result.catch(() => undefined);
    return result;
  }

  async history(limit: number): Promise<CommitInfo[]> {
    const state = await this.#log.advance();
    const infos: CommitInfo[] = [];
    for (let version = state?.version ?? -1; version >= 0 && infos.length < limit; version--) {
      const commit = await this.#readable(version);
      if (!commit) break;
      infos.push(commitInfoOf(commit));
    }
    return infos;
  }

  async changes(after: number, to: number): Promise<{ added: DataFile[]; removed: DataFile[] } | undefined> {
    const commits = [];
    for (let version = after + 1; version <= to; version++) {
      const commit = await this.#readable(version);
      if (!commit || commit.actions.commitInfo?.operation === REPAIR) return undefined;
      commits.push(commit);
    }
    return dataChanges(commits);
  }

  async vacuum(options: Omit<VacuumOptions, "nowMs"> & { readonly nowMs?: number }): Promise<string[]> {
    const state = await this.#log.advance();
    if (!state) return [];
    checkWritable(this.location, state.facts);
    return vacuum(this.#store, this.location, state, { nowMs: this.#clock(), ...options });
  }

  addedIn(file: DataFile): Promise<number | undefined> {
    return versionThatAdded(this.#store, this.location, file);
  }

  copy(): TableCopy | undefined {
    const { state } = this.#log;
    return state && copyOf(this.#store, this.location, state);
  }

  async close(): Promise<void> {
    await this.#committing;
    await this.#checkpoints.close();
  }

  /** A commit that is in the log and whole. */
  async #readable(version: number): Promise<LoggedCommit | undefined> {
    try {
      return await this.#log.commit(version);
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  async #commit(request: CommitRequest): Promise<CommitResult> {
    let state = this.#log.state ?? (await this.#log.advance());
    if (request.readVersion > (state?.version ?? -1)) state = await this.#log.advance();
    if (request.readVersion > (state?.version ?? -1)) {
      const reason = `version ${request.readVersion} has not been made yet`;
      throw new MillraceError("DELTA_COMMIT_INVALID", { table: this.location, reason });
    }
    let checked = request.readVersion;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      for (; checked < (state?.version ?? -1); checked++) {
        const reason = await this.#conflict(request, checked + 1);
        if (reason) return { kind: "conflict", reason, version: state!.version };
      }
      if (state) checkWritable(this.location, state.facts);
      const version = (state?.version ?? -1) + 1;
      // Time stands still rather than go back, so that every moment has one newest version.
      const timestampMs = state ? Math.max(this.#clock(), state.timestampMs + 1) : this.#clock();
      const actions = planCommit(this.location, request, state, timestampMs, this.#newId);
      if (actions === "removed") return { kind: "conflict", reason: "removed", version: state?.version ?? -1 };
      if (await this.#store.putIfAbsent(commitKey(this.location, version), sealCommit(actions))) {
        this.#log.committed({ version, timestampMs, actions });
        if (this.#log.state) this.#checkpoints.after(this.#log.state);
        return { kind: "committed", version };
      }
      state = await this.#log.advance();
    }
    throw new MillraceError("DELTA_CONTENTION", { table: this.location, attempts: MAX_ATTEMPTS }, { retryAfterS: 1 });
  }

  async #conflict(request: CommitRequest, version: number): Promise<ReturnType<typeof conflictWith>> {
    if (request.readVersion < 0) return "exists";
    const other = await this.#log.commit(version);
    if (!other) {
      const reason = `it was read at version ${request.readVersion}, and the log no longer says what came after`;
      throw new MillraceError("DELTA_COMMIT_INVALID", { table: this.location, reason });
    }
    return conflictWith(request, other);
  }
}
