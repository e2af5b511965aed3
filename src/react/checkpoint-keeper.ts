/**
 * Keeps the checkpoint of a lane up: asks the worker for what has changed, writes it, and begins a new file when the changes outgrow the state.
 *
 * A commit is written once everything that was emitted up to its position is durable. While a new file is being made, changes go into both.
 */
import type {
  CheckpointWriter,
  Commit,
  FoundCheckpoint,
  LaneCheckpoints,
  LaneCounts,
  TargetRecord,
} from "./checkpoint-store.ts";
import { firstCommit, type LeftOut, newTargets, operatorRecords, withLeftOut } from "./compose-commit.ts";
import { type DoneSet, lowest } from "./done-set.ts";
import type { LaneName } from "./emission-mark.ts";
import type { LaneFloor } from "./lane-records.ts";
import type { LaneStart } from "./lane-start.ts";
import { isLaneTaken } from "./lane-taken.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { Retrying } from "./retrying.ts";
import { stateOfBlock } from "./state-entries.ts";

/** What the keeper asks of its lane. */
export interface KeptLane {
  readonly number: number;
  /** Where the search for marks begins that are not settled now. */
  targets(): readonly TargetRecord[];
  counts(): LaneCounts;
  readonly leftOut: LeftOut;
  committed(commit: Commit): void;
  /** Resolves once all that was reported so far is durable. */
  settled(): Promise<void>;
  say(message: ToWorker): void;
  /** Whether the lane is this process's now, as far as it knows. */
  mayWrite(): boolean;
  /** Resolves when it may write. @throws SHUTTING_DOWN */
  allowed(): Promise<void>;
  /** Another process has taken it. */
  taken(): void;
}

export interface KeeperParts {
  readonly checkpoints: LaneCheckpoints;
  readonly retrying: Retrying;
  readonly clock: () => number;
}

/** Changes may take this much more room than the state, so that small states are not copied all the time. */
const SPARE_BYTES = 4 * 1024 * 1024;
/** Of one operator: they are only asked for until their dead letter is settled, moments later. */
const MOST_RETRIED = 10_000;

interface Take {
  readonly number: number;
  taken?: {
    readonly state: (FromWorker & { kind: "taken" })["state"];
    readonly targets: readonly TargetRecord[];
    readonly counts: LaneCounts;
    readonly settled: Promise<void>;
  };
  /** The new file was whole but for this take when it began. */
  readonly completes: boolean;
  writes: Promise<unknown>[];
  readonly end: { resolve: () => void; reject: (error: unknown) => void };
}

export class CheckpointKeeper {
  readonly #o: KeeperParts;
  readonly #start: LaneStart;
  #lane!: KeptLane;
  /** The last durable one. */
  commit: Commit;
  committedAtMs: number | undefined;
  /** What the disk says, while it refuses. */
  problem: string | undefined;
  #file: CheckpointWriter;
  /** Bytes of the file when it became the lane's. */
  #wholeBytes: number;
  /** Lacks entries: it takes facts, and no changes. */
  #stale = false;
  #building: { readonly file: CheckpointWriter; readonly copy: number; copied: boolean } | undefined;
  #lastTake: number;
  #dropped: number[];
  #take: Take | undefined;
  readonly #retried = new Map<string, Set<number>>();
  #turn: Promise<unknown> = Promise.resolve();
  #commits: Promise<unknown> = Promise.resolve();
  #queued: Promise<void> | undefined;
  /** The commit of a take that is on its way to the disk, once it is durable or failed. */
  #writing: Promise<void> = Promise.resolve();
  /** There is no thread that would answer: none yet, or its end is being seen to. */
  #silent = true;

  private constructor(parts: KeeperParts, start: LaneStart, file: CheckpointWriter, commit: Commit, lastTake: number) {
    this.#o = parts;
    this.#start = start;
    this.#file = file;
    this.#wholeBytes = file.bytes;
    this.commit = commit;
    this.#lastTake = lastTake;
    this.#dropped = [...commit.takes.without];
    for (const { plan, retried } of start.operators) this.#retried.set(plan.name, new Set(retried));
  }

  /** Takes the found checkpoint over, or begins an empty one. */
  static async open(
    parts: KeeperParts,
    start: LaneStart,
    found: FoundCheckpoint,
    targets: readonly TargetRecord[],
  ): Promise<CheckpointKeeper> {
    const { checkpoints } = parts;
    if (start.keepsFile && found.kind === "whole") {
      const { checkpoint } = found;
      const file = await checkpoints.resume(checkpoint);
      return new CheckpointKeeper(parts, start, file, checkpoint.commit, checkpoint.lastTake);
    }
    const commit = firstCommit(start, targets);
    const before = found.kind === "none" ? 0 : found.kind === "whole" ? found.checkpoint.generation : found.generation;
    const file = await checkpoints.create(before + 1);
    try {
      // Of operators that go on, the entries are taken over as they are.
      if (found.kind === "whole") {
        const kept = new Set(start.operators.filter(({ restored }) => restored).map(({ plan }) => plan.name));
        await checkpoints.read(found.checkpoint, async (block) => {
          if (kept.has(operatorOf(block))) await file.entries(0, block);
        });
      }
      await file.commit(commit);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new CheckpointKeeper(parts, start, file, commit, 0);
  }

  attach(lane: KeptLane): void {
    this.#lane = lane;
  }

  /** A thread has the lane, with the state of the last commit. */
  begin(): void {
    this.#silent = false;
  }

  /** Counts up with each owner of the lane. */
  get owner(): number {
    return this.#o.checkpoints.owner;
  }

  floors({ stream, partition }: LaneName): LaneFloor[] {
    const { done, targets } = this.commit;
    return [
      { stream, partition, offset: lowest(done) },
      ...targets.map((target) => ({ stream: target.stream, partition: target.partition, offset: target.from })),
    ];
  }

  async restore(take: (entries: Uint8Array<ArrayBuffer>) => Promise<void>): Promise<void> {
    await this.#file.read(this.commit, take);
  }

  /** Makes durable what has changed up to now, where something has. With `must` it rejects when that fails; otherwise the next one makes up for it. */
  checkpoint(done: () => DoneSet, must = false): Promise<void> {
    if (this.#queued && !must) return this.#queued;
    const turn = this.#inTurn(async () => {
      if (!must) this.#queued = undefined;
      if (!must && !this.#lane.mayWrite()) return;
      if (!must && sameDone(done(), this.commit.done) && !this.#stale) return;
      try {
        await this.#checkpoint();
        this.problem = undefined;
      } catch (error) {
        if (error instanceof Interrupted && !must) return;
        if (isLaneTaken(error)) this.#lane.taken();
        else if (!(error instanceof Interrupted)) {
          this.problem = error instanceof Error ? error.message : String(error);
          this.#o.retrying.report(error, `writing the checkpoint ${this.#o.checkpoints.place}`);
          await this.#recover();
        }
        if (must) throw error;
      }
    });
    if (!must) this.#queued = turn;
    return turn;
  }

  /** Makes durable what is known beside the state: targets, and events left out. */
  commitFacts(): Promise<void> {
    return this.#o.retrying.until(`writing the checkpoint ${this.#o.checkpoints.place}`, () =>
      this.#alone(async () => {
        await this.#lane.allowed();
        const { targets, operators, done } = this.commit;
        const commit: Commit = {
          ...this.commit,
          operators: operators.map((record) => withLeftOut(record, this.#lane.leftOut, done)),
          // The position stays, and with it where the search for marks begins: only what is new comes in.
          targets: [...targets, ...newTargets(targets, this.#lane.targets())],
        };
        await this.#file.commit(commit).catch(async (error: unknown) => {
          if (isLaneTaken(error)) this.#lane.taken();
          else await this.#recover();
          throw error;
        });
        this.#committed(commit);
      }),
    );
  }

  /** Keeps checkpoints from being begun, until the function it resolves to is called. */
  hold(): Promise<() => void> {
    return new Promise((held) => {
      void this.#inTurn(() => new Promise<void>((release) => held(release)));
    });
  }

  hasRetried(operator: string, offset: number): boolean {
    return this.#retried.get(operator)?.has(offset) === true;
  }

  retried(operator: string, offset: number): void {
    this.#retried.get(operator)?.add(offset);
  }

  /**
   * The thread has ended: what it had not finished does not count. What is on its way to the disk counts if it gets there, so that is waited for: whoever
   * begins next begins with what is durable then.
   */
  async interrupt(): Promise<void> {
    this.#silent = true;
    const take = this.#take;
    this.#take = undefined;
    take?.end.reject(new Interrupted());
    await this.#writing;
    if (take && this.commit.takes.to < take.number) this.#dropped = [...this.#dropped, take.number];
    for (const { name, retried } of this.commit.operators) this.#retried.set(name, new Set(retried));
    await this.#abandon();
  }

  taken({ take: number, state }: FromWorker & { kind: "taken" }): void {
    const take = this.#take;
    if (take?.number !== number) return;
    const settled = this.#lane.settled().catch(() => {
      throw new Interrupted(); // nobody will tell any more
    });
    settled.catch(() => undefined); // awaited when the take ends
    take.taken = { state, targets: this.#lane.targets(), counts: this.#lane.counts(), settled };
  }

  part({ take: number, entries }: FromWorker & { kind: "part" }): void {
    const building = this.#building;
    const take = this.#take?.number === number ? this.#take : undefined;
    const writes: Promise<void>[] = [];
    if (take && !this.#stale) {
      writes.push(this.#file.entries(number, entries));
    }
    if (building && (take || building.copy === number)) {
      const written = building.file.entries(number, entries);
      writes.push(written);
      // A new file that fails is given up when its turn comes.
      written.catch(() => undefined);
    }
    take?.writes.push(...writes);
    const { number: lane } = this.#lane;
    void Promise.allSettled(writes).then(() => this.#lane.say({ kind: "written", lane }));
  }

  takeEnded({ take: number }: FromWorker & { kind: "take-ended" }): void {
    if (this.#take?.number === number) this.#take.end.resolve();
  }

  copyEnded({ copy }: FromWorker & { kind: "copy-ended" }): void {
    if (this.#building?.copy === copy) this.#building.copied = true;
  }

  async close(): Promise<void> {
    await this.interrupt();
    await this.#turn.catch(() => undefined); // told to whoever asked
    await this.#file.close();
  }

  async #checkpoint(): Promise<void> {
    if (this.#silent) throw new Interrupted();
    if (!this.#building && (this.#stale || this.#outgrown())) await this.#build();
    if (this.#silent) {
      await this.#abandon();
      throw new Interrupted();
    }
    const take = this.#beginTake();
    try {
      await new Promise<void>((resolve, reject) => {
        Object.assign(take.end, { resolve, reject });
        this.#lane.say({ kind: "take", lane: this.#lane.number, take: take.number });
      });
      await Promise.all(take.writes);
      const { taken } = take;
      // Interrupted while it was written: nobody would tell any more that what was emitted is durable.
      if (!taken || this.#take !== take) throw new Interrupted();
      await Promise.race([taken.settled, interrupted(take)]);
      await this.#alone(() => {
        if (this.#take !== take) throw new Interrupted();
        const writing = this.#write(take, taken);
        this.#writing = writing.catch(() => undefined); // told to whoever asked
        return writing;
      });
    } finally {
      if (this.#take === take) this.#take = undefined;
    }
  }

  #outgrown(): boolean {
    return this.#file.worn || this.#file.bytes > 2 * this.#wholeBytes + SPARE_BYTES;
  }

  #beginTake(): Take {
    const take: Take = {
      number: ++this.#lastTake,
      completes: this.#building?.copied === true,
      writes: [],
      end: { resolve: () => undefined, reject: () => undefined },
    };
    this.#take = take;
    return take;
  }

  async #write(take: Take, taken: NonNullable<Take["taken"]>): Promise<void> {
    const building = take.completes ? this.#building : undefined;
    if (!building) {
      if (this.#stale) return; // the file lacks entries: the new one will have them
      const commit = this.#commitOf(take, taken);
      await this.#file.commit(commit);
      this.#committed(commit);
      return;
    }
    const former = this.#file;
    this.#dropped = this.#dropped.filter((number) => number > building.copy);
    const commit = this.#commitOf(take, taken);
    await building.file.commit(commit);
    this.#file = building.file;
    this.#wholeBytes = building.file.bytes;
    this.#stale = false;
    this.#building = undefined;
    this.#committed(commit);
    await former.close();
  }

  #commitOf({ number }: Take, { state, targets, counts }: NonNullable<Take["taken"]>): Commit {
    const { begun, epoch, operators } = this.#start;
    const retried = [...this.#retried].map(([name, offsets]) => [name, [...offsets].slice(-MOST_RETRIED)] as const);
    return {
      ...{ format: 1, done: state.done, nowMs: state.nowMs, begun, epoch },
      takes: { to: number, without: [...this.#dropped] },
      operators: operatorRecords(operators, this.commit, state, this.#lane.leftOut, new Map(retried)),
      // Those that were declared since the state was taken stay.
      targets: [...targets, ...newTargets(targets, this.commit.targets)],
      counts: { ...counts, handled: state.done.next - state.done.pending.length - begun },
    };
  }

  #committed(commit: Commit): void {
    this.commit = commit;
    this.committedAtMs = this.#o.clock();
    this.#lane.committed(commit);
  }

  /** Begins a new file. */
  async #build(): Promise<void> {
    const file = await this.#o.checkpoints.create(this.#file.generation + 1);
    const copy = ++this.#lastTake;
    this.#building = { file, copy, copied: false };
    this.#lane.say({ kind: "copy", lane: this.#lane.number, copy });
  }

  /** After the disk has refused: the file goes back to its last commit, and can only be replaced. */
  async #recover(): Promise<void> {
    this.#stale = true;
    await this.#abandon();
    await this.#file.recover().catch(() => undefined); // tried again with the next write
  }

  async #abandon(): Promise<void> {
    const building = this.#building;
    this.#building = undefined;
    await building?.file.close().catch(() => undefined); // it never counted
  }

  /** One commit at a time: each builds on the one before. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#commits.then(work);
    this.#commits = turn.catch(() => undefined); // told to the caller
    return turn;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined); // told to the caller
    return turn;
  }
}

/** A take whose thread has ended. */
class Interrupted extends Error {}

function interrupted(take: Take): Promise<never> {
  return new Promise((_, reject) => {
    take.end.reject = reject;
  });
}

function sameDone(a: DoneSet, b: DoneSet): boolean {
  return a.next === b.next && a.pending.length === b.pending.length;
}

function operatorOf(block: Uint8Array): string {
  const { name } = stateOfBlock(block);
  return name.slice(0, name.indexOf("/"));
}
