/**
 * What the processes that share lanes tell each other of them: how far each is, and what of the log it still needs. The one that has a lane publishes it, all
 * others read it here.
 */
import type { LaneStatus } from "./reactor-options.ts";

export interface LaneRecords {
  /** Resolves once the records are there. One of an owner that was followed by another changes nothing. @throws STATE_UNAVAILABLE */
  publish(lanes: readonly LaneRecord[]): Promise<void>;
  /** Of every lane there ever was, as last published. @throws STATE_UNAVAILABLE */
  all(): Promise<readonly LaneRecord[]>;
}

export interface LaneRecord {
  readonly stream: string;
  readonly partition: number;
  readonly lane: string;
  /** Counts up with each owner of the lane. */
  readonly owner: number;
  /** The process that has it. */
  readonly worker: string;
  readonly status: LaneStatus;
  /** The first offset that is needed of each partition it reads, or has emitted to. */
  readonly floors: readonly LaneFloor[];
}

export interface LaneFloor {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
}
