import type { DataFile, FileStats } from "./delta-table.ts";
import { readStats } from "./file-stats.ts";
import type { PartitionValues } from "./partition-values.ts";

/** The tag of an `add` action that holds a file's checksum. Readers pass tags on and make nothing of them. */
export const CHECKSUM_TAG = "millrace.crc32";

/** A file that an `add` action put into a table. A table may hold very many, so statistics stay text until asked for. */
export class AddedFile implements DataFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly partition: PartitionValues;
  readonly statsText: string | undefined;
  /** False when the rows were in the table before, in other files. */
  readonly dataChange: boolean;
  readonly tags: Readonly<Record<string, string | null>> | undefined;
  /** Unique id of the deletion vector that hides some of the rows. */
  readonly deletionVector: string | undefined;
  #stats: FileStats | undefined;

  constructor(facts: AddedFileFacts) {
    this.path = facts.path;
    this.sizeBytes = facts.sizeBytes;
    this.modifiedAtMs = facts.modifiedAtMs;
    this.partition = facts.partition;
    this.statsText = facts.statsText;
    this.dataChange = facts.dataChange;
    this.tags = facts.tags;
    this.deletionVector = facts.deletionVector;
  }

  get stats(): FileStats | undefined {
    if (this.#stats === undefined && this.statsText !== undefined) this.#stats = readStats(this.statsText);
    return this.#stats;
  }

  get checksum(): string | undefined {
    return this.tags?.[CHECKSUM_TAG] ?? undefined;
  }

  /** What makes a file of a table the same one: its path and which of its rows are hidden. */
  get key(): string {
    return fileKey(this.path, this.deletionVector);
  }
}

export interface AddedFileFacts {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly partition: PartitionValues;
  readonly statsText: string | undefined;
  readonly dataChange: boolean;
  readonly tags?: Readonly<Record<string, string | null>> | undefined;
  readonly deletionVector?: string | undefined;
}

/** A file that a `remove` action took out of a table. Readers of older versions still need it for a while. */
export interface RemovedFile {
  readonly path: string;
  readonly deletionVector: string | undefined;
  readonly removedAtMs: number;
  readonly dataChange: boolean;
  readonly sizeBytes: number | undefined;
  readonly partition: PartitionValues | undefined;
  readonly statsText: string | undefined;
}

export function fileKey(path: string, deletionVector: string | undefined): string {
  return deletionVector === undefined ? path : `${path}\0${deletionVector}`;
}
