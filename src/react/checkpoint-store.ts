/**
 * Where the checkpoints of lanes are kept: in files of this machine (`checkpoint-file.ts`), or as objects of the store that processes share
 * (`object-checkpoints.ts`).
 *
 * What every adapter promises:
 * - A commit is whole or not there, and durable once it has resolved, with all entries before it. A commit that rejected may be there all the same.
 * - Entries count by the commits behind them: those of every take that the commit names.
 * - **One owner**: where processes share the store, a lane belongs to whoever took it last. Every commit of an earlier owner rejects with
 *   REACT_LANE_TAKEN from then on, whatever any clock says; so what a commit of its own says is still so when it has resolved.
 */
import type { DoneSet } from "./done-set.ts";
import type { LaneName } from "./emission-mark.ts";

export interface CheckpointStore {
  /** True when the lane was begun in other partitions before this one was there: all events of this one are newer than the lane. `partitions`: of the stream now. */
  isLater(lane: LaneName, partitions: number): Promise<boolean>;
  of(lane: LaneName): LaneCheckpoints;
}

/** Those of one lane. */
export interface LaneCheckpoints {
  /** For messages. */
  readonly place: string;
  /** Counts up with each taking of the lane; 0 where nobody else could take it. */
  readonly owner: number;
  /** Takes the lane, and tells where it is. */
  take(): Promise<FoundCheckpoint>;
  /** Gives the blocks of entries that count, in order. @throws EntriesDamaged */
  read(checkpoint: ReadCheckpoint, take: TakeBlock): Promise<void>;
  /** Goes on behind what was found. */
  resume(checkpoint: ReadCheckpoint): Promise<CheckpointWriter>;
  /** Begins anew; what was there counts until the first commit. */
  create(generation: number): Promise<CheckpointWriter>;
}

/** A copy of the state and what changed since. After a call that rejects every other one does, until it has recovered. */
export interface CheckpointWriter {
  readonly generation: number;
  /** Written so far. */
  readonly bytes: number;
  /** It consists of so many pieces that a new one should be begun. */
  readonly worn: boolean;
  /** Takes a block, which is durable with the next commit. Resolves when there is room for the next one. */
  entries(take: number, block: Uint8Array): Promise<void>;
  /** Resolves once the commit and all before it are durable. @throws REACT_LANE_TAKEN */
  commit(commit: Commit): Promise<void>;
  /** Gives the blocks that count by the last commit, which is given too. @throws EntriesDamaged */
  read(commit: Commit, take: TakeBlock): Promise<void>;
  /** After a failure: goes back to the last commit. Entries behind it are gone. */
  recover(): Promise<void>;
  close(): Promise<void>;
}

/** Its length is that of its memory. */
export type TakeBlock = (block: Uint8Array<ArrayBuffer>) => Promise<void>;

/** Entries that were committed cannot be read as they were written. */
export class EntriesDamaged extends Error {
  readonly path: string;
  readonly at: number;

  constructor(path: string, at: number) {
    super(`${path} is damaged at byte ${at}`);
    this.path = path;
    this.at = at;
  }
}

export interface Commit {
  /** Version of this format. */
  readonly format: 1;
  /** Takes whose entries count: all up to `to` but for those that a thread did not live to finish. */
  readonly takes: { readonly to: number; readonly without: readonly number[] };
  readonly done: DoneSet;
  /** Arrival of the newest event applied. */
  readonly nowMs: number;
  /** First offset the lane has ever been given. */
  readonly begun: number;
  /** Counts how often emissions began anew; part of the marks. */
  readonly epoch: number;
  readonly operators: readonly OperatorRecord[];
  /** Where the search for this lane's marks begins, of every partition it has emitted to. */
  readonly targets: readonly TargetRecord[];
  readonly counts: LaneCounts;
}

export interface OperatorRecord {
  readonly name: string;
  readonly stateHash: string;
  /** What it has applied beyond the lane. */
  readonly done?: DoneSet;
  /** What it applies again for its state only. */
  readonly muted?: DoneSet;
  /** Dead-lettered events that were tried again and are done. */
  readonly retried?: readonly number[];
  /** Events left out, which ended a thread. */
  readonly leftOut?: readonly (readonly [offset: number, code: string, message: string])[];
  /** State name -> version of its codec. */
  readonly versions: Readonly<Record<string, string>>;
}

export interface TargetRecord {
  readonly stream: string;
  readonly partition: number;
  readonly from: number;
  /** What it holds of these operators since before emissions began anew. */
  readonly former?: { readonly operators: readonly string[]; readonly done: DoneSet } | undefined;
}

export interface LaneCounts {
  readonly handled: number;
  /** Dead letters but for those that were tried again and taken. */
  readonly dead: number;
  /** Events that repeat earlier ones, which no operator got. */
  readonly repeated?: number;
  readonly emitted: number;
}

/** What is there of a lane. */
export interface ReadCheckpoint {
  readonly generation: number;
  /** Bytes up to the end of the last commit that is whole with all before it. */
  readonly end: number;
  readonly commit: Commit;
  /** Takes used in it, also those that do not count. */
  readonly lastTake: number;
  /** A commit behind damaged bytes: the lane had come that far. */
  readonly behind: Commit | undefined;
  /** For messages. */
  readonly path: string;
}

export type FoundCheckpoint =
  | { readonly kind: "none" }
  | { readonly kind: "whole"; readonly checkpoint: ReadCheckpoint }
  /** A commit is there and what lies before it is not what was written. `known`: the last commit that can be read. */
  | {
      readonly kind: "damaged";
      readonly generation: number;
      readonly path: string;
      readonly at: number;
      readonly known: Commit | undefined;
    };
