import { basename, join } from "node:path";
import { MillraceError } from "../../errors.ts";
import { gather, hashOrder } from "./hash-order.ts";
import type { IdIndexOptions, IdIndexStats } from "./id-index.ts";
import { DISK, type IndexFiles } from "./index-files.ts";
import { lookUp } from "./look-up.ts";
import { readManifest, writeManifest } from "./manifest.ts";
import { planMerge } from "./merge-plan.ts";
import { mergeRuns } from "./merge-runs.ts";
import { arrivalOf, compareRecords } from "./records.ts";
import { DamagedRun, Run, RunWriter } from "./run-file.ts";
import { StagedIds } from "./staged-ids.ts";

/** A run, and the offset up to which everything stored is in it or in a run before it. */
interface Member {
  readonly run: Run;
  readonly coveredTo: number;
}

interface State {
  readonly members: readonly Member[];
  readonly coveredTo: number;
  /** Latest arrival in the index. */
  readonly newestMs: number;
  /** What arrived before this may have been let go of. */
  readonly completeFromMs: number;
}

/** Commits wait for merges from here on, so that look-ups never have many more runs than this to visit. */
const MANY_RUNS = 64;

/**
 * The index itself, a small log-structured merge tree, for the thread it is called in. Look-ups and staging are synchronous;
 * commits wait for the disk, and merges go on in the background between calls.
 *
 * What is durable is the manifest and the runs it names; everything here follows from them. A damaged run takes those after
 * it with it: `coveredTo` falls back to the last offset for which the rest is complete, and until a rebuild has made good
 * the loss nothing is answered or committed.
 */
export class LocalIndex {
  readonly #dir: string;
  readonly #files: IndexFiles;
  readonly #horizonMs: number;
  readonly #staged = new StagedIds();
  readonly #stop = new AbortController();
  #members: readonly Member[] = [];
  #coveredTo = -1;
  /** Latest arrival in the index. */
  #newestMs = 0;
  /** What arrived before this may have been let go of. */
  #completeFromMs = 0;
  #nextRun = 0;
  /** What the index must cover before it can be believed. */
  #neededTo = -1;
  #commits: Promise<void> = Promise.resolve();
  #merging: Promise<void> | undefined;
  #mergeFault: unknown;

  private constructor(dir: string, options: IdIndexOptions, files: IndexFiles) {
    this.#dir = dir;
    this.#horizonMs = options.horizonMs;
    this.#files = files;
  }

  /** As `openIdIndex`; `files` is the disk unless said otherwise. */
  static open(dir: string, options: IdIndexOptions, files: IndexFiles = DISK): LocalIndex {
    const index = new LocalIndex(dir, options, files);
    index.#guard("be opened", () => index.#load(options.storedTo));
    return index;
  }

  get coveredTo(): number {
    return this.#coveredTo;
  }

  /** As `IdIndex.lookup`, for packed records. */
  lookup(records: Uint32Array): Float64Array<ArrayBuffer> {
    this.#believable();
    return this.#guard("be read", () =>
      lookUp(records, this.#horizonMs, (wanted, onFound) => {
        for (const { run } of this.#members) run.find(wanted, onFound);
        this.#staged.find(wanted, onFound);
      }),
    );
  }

  /** As `IdIndex.stage`, for packed records. */
  stage(records: Uint32Array): void {
    this.#staged.add(records, this.#coveredTo);
  }

  /** As `IdIndex.commit`. With `rebuilding`, also while the index is not believable. */
  commit(toOffset: number, rebuilding = false): Promise<void> {
    const turn = this.#commits.then(async () => {
      if (!rebuilding) this.#believable();
      if (toOffset <= this.#coveredTo) return;
      try {
        await this.#commit(toOffset, rebuilding);
      } catch (error) {
        throw this.#explained("be written", error);
      }
    });
    this.#commits = turn.catch(() => undefined); // the caller of this commit sees why; the next one stands for itself
    return turn;
  }

  stats(): IdIndexStats {
    const sum = (of: (run: Run) => number) => this.#members.reduce((total, { run }) => total + of(run), 0);
    return {
      ids: sum((run) => run.count) + this.#staged.count,
      staged: this.#staged.count,
      runs: this.#members.length,
      bytesOnDisk: sum((run) => run.diskBytes),
      memoryBytes: sum((run) => run.memoryBytes) + this.#staged.memoryBytes,
      merging: this.#merging !== undefined,
      mergeFault: this.#mergeFault === undefined ? undefined : reasonOf(this.#mergeFault),
    };
  }

  /** Resolves when no merge is under way or due. */
  async settled(): Promise<void> {
    await this.#merging;
  }

  async close(): Promise<void> {
    await this.#commits;
    this.#stop.abort();
    await this.#merging;
  }

  #load(storedTo: number | undefined): void {
    this.#files.makeDir(this.#dir);
    const manifest = readManifest(this.#files, this.#dir);
    let repaired = false;
    // Ids that a shorter horizon has let go of are missing for a longer one.
    if (manifest && manifest.horizonMs < this.#horizonMs) {
      this.#neededTo = manifest.coveredTo;
      repaired = true;
    } else if (manifest) {
      this.#nextRun = manifest.nextRun;
      this.#newestMs = manifest.newestMs;
      this.#completeFromMs = manifest.completeFromMs;
      this.#coveredTo = manifest.coveredTo;
      for (const { file, coveredTo } of manifest.runs) {
        const run = this.#openRun(file);
        if (!run) {
          this.#neededTo = manifest.coveredTo;
          repaired = true;
          break;
        }
        this.#members = [...this.#members, { run, coveredTo }];
      }
      if (repaired) this.#fallBack(this.#members.length);
    }
    if (storedTo !== undefined) {
      this.#neededTo = storedTo;
      if (this.#coveredTo > storedTo) {
        this.#cutBack(storedTo);
        repaired = true;
      }
    }
    if (repaired) this.#save();
    const named = new Set(["manifest.json", ...this.#members.map(({ run }) => basename(run.path))]);
    for (const name of this.#files.list(this.#dir)) if (!named.has(name)) this.#files.remove(join(this.#dir, name));
  }

  /** An index ahead of its table knows a past that is not the table's: what lies beyond must go. */
  #cutBack(storedTo: number): void {
    const within = this.#members.filter(({ coveredTo }) => coveredTo <= storedTo).length;
    if (within < this.#members.length) this.#fallBack(within);
    else this.#coveredTo = storedTo;
    // The events to come may be so far back that they need what was let go of.
    if (this.#completeFromMs > this.#newestMs - this.#horizonMs) this.#fallBack(0);
  }

  #openRun(file: string): Run | undefined {
    try {
      return Run.open(this.#files, join(this.#dir, file));
    } catch (error) {
      if (error instanceof DamagedRun) return undefined;
      throw error;
    }
  }

  async #commit(toOffset: number, rebuilding: boolean): Promise<void> {
    if (this.#members.length >= MANY_RUNS) {
      this.#merge();
      await this.#merging;
      if (this.#members.length >= MANY_RUNS && this.#mergeFault !== undefined) throw this.#mergeFault;
    }
    const from = this.#coveredTo;
    const run = await this.#writeRun(this.#staged.upTo(toOffset));
    const { members, newestMs, completeFromMs } = this.#state();
    try {
      // While the run was written, a look-up or a merge may have met a damaged one.
      if (this.#coveredTo !== from) throw this.#behind();
      const newest = Math.max(newestMs, run?.lastArrivalMs ?? 0);
      // A rebuild is given a horizon's worth of events. Otherwise one commit's more is kept, for the sake of `#cutBack`.
      const keepFromMs = Math.max(completeFromMs, (rebuilding ? newest : newestMs) - this.#horizonMs);
      const kept = members.filter((member) => member.run.lastArrivalMs >= keepFromMs);
      if (run) kept.push({ run, coveredTo: toOffset });
      this.#become({ members: kept, newestMs: newest, completeFromMs: keepFromMs, coveredTo: toOffset });
    } catch (error) {
      if (run) this.#files.remove(run.path);
      throw error;
    }
    this.#staged.dropUpTo(toOffset);
    this.#removeAllBut(members);
    this.#merge();
  }

  async #writeRun(records: Uint32Array): Promise<Run | undefined> {
    if (records.length === 0) return undefined;
    const order = hashOrder(records);
    const sorted = gather(records, order);
    const writer = new RunWriter(this.#files, this.#newPath(), order.length);
    let lastArrivalMs = 0;
    try {
      for (let i = 0; i < order.length; i++) {
        // Staged twice, by a load that was done again.
        if (i > 0 && compareRecords(sorted, i - 1, sorted, i) === 0) continue;
        writer.push(sorted, i, false);
        lastArrivalMs = Math.max(lastArrivalMs, arrivalOf(sorted, i));
      }
      return await writer.finish(lastArrivalMs);
    } catch (error) {
      writer.abandon();
      throw error;
    }
  }

  #merge(): void {
    if (this.#merging) return;
    this.#merging = this.#mergeAll()
      .then(
        () => {
          this.#mergeFault = undefined;
        },
        (fault: unknown) => {
          // Unmerged runs are as right as merged ones. The next commit tries again, and fails once they are too many.
          this.#mergeFault = fault;
        },
      )
      .finally(() => {
        this.#merging = undefined;
      });
  }

  async #mergeAll(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const plan = planMerge(
        this.#members.map(({ run }) => run),
        this.#horizonMs,
      );
      if (!plan) return;
      const inputs = this.#members.slice(plan.from, plan.to);
      const merged = await this.#mergeRuns(inputs.map(({ run }) => run));
      if (this.#stop.signal.aborted) {
        if (merged) this.#files.remove(merged.path);
        return;
      }
      this.#replace(inputs, merged);
    }
  }

  async #mergeRuns(runs: readonly Run[]): Promise<Run | undefined> {
    try {
      return await mergeRuns(this.#files, runs, this.#newPath(), this.#completeFromMs, this.#stop.signal);
    } catch (error) {
      if (error instanceof DamagedRun) this.#lose(error.path);
      throw error;
    }
  }

  /** Puts a merged run in the place of its inputs, unless some of them have gone in the meantime. */
  #replace(inputs: readonly Member[], merged: Run | undefined): void {
    const at = this.#members.indexOf(inputs[0] as Member);
    const last = inputs.at(-1) as Member;
    if (at < 0 || this.#members[at + inputs.length - 1] !== last) {
      if (merged) this.#files.remove(merged.path);
      return;
    }
    const before = this.#members;
    const members = merged ? [{ run: merged, coveredTo: last.coveredTo }] : [];
    try {
      this.#become({ ...this.#state(), members: before.toSpliced(at, inputs.length, ...members) });
    } catch (error) {
      if (merged) this.#files.remove(merged.path);
      throw error;
    }
    this.#removeAllBut(before);
  }

  /** A run was found damaged: it and all after it are given up. */
  #lose(path: string): void {
    const at = this.#members.findIndex(({ run }) => run.path === path);
    if (at < 0) return;
    const before = this.#members;
    this.#neededTo = Math.max(this.#neededTo, this.#coveredTo);
    this.#fallBack(at);
    this.#save();
    this.#removeAllBut(before);
  }

  /** Only the first `count` runs remain. */
  #fallBack(count: number): void {
    this.#members = this.#members.slice(0, count);
    this.#coveredTo = this.#members.at(-1)?.coveredTo ?? -1;
    this.#newestMs = this.#members.reduce((most, { run }) => Math.max(most, run.lastArrivalMs), 0);
    if (this.#members.length === 0) this.#completeFromMs = 0;
  }

  /** Takes on a new state once it is durable; when that fails, nothing has changed. */
  #become(state: State): void {
    const before = this.#state();
    this.#take(state);
    try {
      this.#save();
    } catch (error) {
      this.#take(before);
      throw error;
    }
  }

  #state(): State {
    return {
      members: this.#members,
      coveredTo: this.#coveredTo,
      newestMs: this.#newestMs,
      completeFromMs: this.#completeFromMs,
    };
  }

  #take(state: State): void {
    this.#members = state.members;
    this.#coveredTo = state.coveredTo;
    this.#newestMs = state.newestMs;
    this.#completeFromMs = state.completeFromMs;
  }

  #save(): void {
    writeManifest(this.#files, this.#dir, {
      version: 1,
      coveredTo: this.#coveredTo,
      horizonMs: this.#horizonMs,
      newestMs: this.#newestMs,
      completeFromMs: this.#completeFromMs,
      nextRun: this.#nextRun,
      runs: this.#members.map(({ run, coveredTo }) => ({ file: basename(run.path), coveredTo })),
    });
  }

  /** Removes the files of runs that were members and are no longer. */
  #removeAllBut(before: readonly Member[]): void {
    for (const member of before) if (!this.#members.includes(member)) this.#files.remove(member.run.path);
  }

  #newPath(): string {
    return join(this.#dir, `${String(this.#nextRun++).padStart(10, "0")}.run`);
  }

  #believable(): void {
    if (this.#coveredTo < this.#neededTo) throw this.#behind();
  }

  #behind(): MillraceError {
    const facts = { dir: this.#dir, coveredTo: this.#coveredTo, storedTo: this.#neededTo };
    return new MillraceError("DEDUPE_INDEX_BEHIND", facts, { details: facts });
  }

  #guard<T>(operation: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#explained(operation, error);
    }
  }

  #explained(operation: string, error: unknown): unknown {
    if (error instanceof DamagedRun) {
      try {
        this.#lose(error.path);
      } catch (fault) {
        return this.#explained("be written", fault);
      }
      return this.#behind();
    }
    if (error instanceof MillraceError || (error as NodeJS.ErrnoException).code === undefined) return error;
    const facts = { dir: this.#dir, operation, reason: reasonOf(error) };
    return new MillraceError("DEDUPE_INDEX_UNAVAILABLE", facts, { details: facts, cause: error });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
