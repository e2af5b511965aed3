/**
 * Which data files have been counted, and with what result: the memory of the recount. It holds some hundred bytes per file and
 * nothing per event.
 */
import type { Project } from "../../define/project.ts";
import type { SqlEngine } from "../../engine/sql-engine.ts";
import type { DataFile, Snapshot } from "../../lake/delta-table.ts";
import type { LakeTable, LakeTables } from "../lake-tables.ts";
import { countFiles, type FileCount, type FileToCount, type Unreadable } from "./file-counts.ts";
import { type Imbalance, streamOf } from "./imbalance.ts";
import type { Part } from "./locate.ts";

/** What one round counts at most; a larger file is a round of its own. */
const BATCH_FILES = 32;
const BATCH_BYTES = 64 * 1024 * 1024;
/** A file that could not be read is tried again before it is called damaged, since the disk may have refused for a moment. */
const TRIES = 2;
/** A file that was right is counted again when this has passed, */
const AGAIN_MS = 3_600_000;
/** where each may have to be fetched for it, from a store that looks after its bytes itself, */
const AGAIN_REMOTE_MS = 86_400_000;
/** and one that was not when this has: somebody may have put it back. */
const DAMAGED_AGAIN_MS = 60_000;

export interface CountedFilesParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly engine: SqlEngine;
  readonly clock: () => number;
}

export type Snapshots = ReadonlyMap<string, Snapshot>;

interface CountedTable {
  readonly version: number;
  readonly counts: Map<string, FileCount | Unreadable>;
}

export class CountedFiles {
  readonly #o: CountedFilesParts;
  readonly #tables = new Map<string, CountedTable>();
  /** How often a file could not be read, by table and path. */
  readonly #tries = new Map<string, number>();
  #pass = 0;
  #total = 0;

  constructor(parts: CountedFilesParts) {
    this.#o = parts;
  }

  /** Files counted since the start, those counted again among them. */
  get total(): number {
    return this.#total;
  }

  /** Tells this turn's paths from those the engine remembers (see `freshFiles`). */
  get pass(): number {
    return this.#pass;
  }

  /** Every file is to be counted anew. */
  forget(): void {
    this.#tables.clear();
    this.#tries.clear();
    this.#pass++;
  }

  /** Files that are in a table and not counted yet, newest first; what is no longer in one is forgotten. */
  uncounted(snapshots: Snapshots): FileToCount[] {
    const fresh: FileToCount[] = [];
    for (const [name, { version, files }] of snapshots) {
      const table = this.#o.lake.get(name);
      const known = this.#tables.get(name);
      let counts = known?.counts ?? new Map<string, FileCount | Unreadable>();
      if (known?.version !== version) {
        const kept = new Map<string, FileCount | Unreadable>();
        for (const { path } of files) {
          const count = counts.get(path);
          if (count) kept.set(path, count);
        }
        counts = kept;
        this.#tables.set(name, { version, counts });
      }
      for (const file of files) {
        const count = counts.get(file.path);
        if (!count || ("unreadable" in count && this.#triesOf(name, file.path) < TRIES)) fresh.push({ table, file });
      }
    }
    return fresh.sort((a, b) => b.file.modifiedAtMs - a.file.modifiedAtMs);
  }

  /** Files that are due to be counted again, the oldest count first, no more than fit one round. */
  due(snapshots: Snapshots): FileToCount[] {
    const now = this.#o.clock();
    const againMs = this.#o.lake.isRemote ? AGAIN_REMOTE_MS : AGAIN_MS;
    const old: (FileToCount & { atMs: number })[] = [];
    for (const [name, { files }] of snapshots) {
      const table = this.#o.lake.get(name);
      for (const file of files) {
        const count = this.#tables.get(name)?.counts.get(file.path);
        if (!count) continue;
        const age = now - count.countedAtMs;
        if (age < 0 || age > (isDamaged(file, count) ? DAMAGED_AGAIN_MS : againMs)) {
          old.push({ table, file, atMs: count.countedAtMs });
        }
      }
    }
    if (old.length > 0) this.#pass++;
    return firstOf(old.sort((a, b) => a.atMs - b.atMs));
  }

  /** Counts as many of the files as fit one round; resolves to those. */
  async count(files: readonly FileToCount[], signal: AbortSignal): Promise<readonly FileToCount[]> {
    const batch = firstOf(files);
    const counted = await countFiles({ ...this.#o, signal, pass: this.#pass }, batch);
    this.#total += batch.length;
    batch.forEach(({ table, file }, i) => {
      const count = counted[i];
      if (!count) return;
      const id = `${table.name}/${file.path}`;
      if ("unreadable" in count) this.#tries.set(id, this.#triesOf(table.name, file.path) + 1);
      else this.#tries.delete(id);
      this.#tables.get(table.name)?.counts.set(file.path, count);
    });
    return batch;
  }

  /** The counts of a table's files when there are all of them. */
  of(table: string, snapshot: Snapshot): FileCount[] | undefined {
    const known = this.#tables.get(table);
    if (known?.version !== snapshot.version) return undefined;
    const counts: FileCount[] = [];
    for (const { path } of snapshot.files) {
      const count = known.counts.get(path);
      if (!count) return undefined;
      // What cannot be read is an imbalance by itself; what its rows leave out is found by their absence.
      if ("rows" in count) counts.push(count);
      else if (this.#triesOf(table, path) < TRIES) return undefined;
    }
    return counts;
  }

  /** The files of a table that hold rows of a partition. */
  part(table: LakeTable, snapshot: Snapshot, partition: number): Part {
    const counts = this.#tables.get(table.name)?.counts;
    const files = snapshot.files.flatMap((file) => {
      const count = counts?.get(file.path);
      const part = count && "rows" in count ? count.partitions.get(partition) : undefined;
      return part ? [{ file, min: part.min, max: part.max }] : [];
    });
    return { table, partition, files };
  }

  /** Files of a table that do not hold what their commits say. */
  damaged(name: string, { files }: Snapshot): Imbalance[] {
    const counts = this.#tables.get(name)?.counts;
    return files.flatMap((file) => {
      const count = counts?.get(file.path);
      if (!count || !isDamaged(file, count)) return [];
      if ("unreadable" in count && this.#triesOf(name, file.path) < TRIES) return [];
      return [this.#imbalance(name, file, count)];
    });
  }

  #imbalance(hop: string, file: DataFile, count: FileCount | Unreadable): Imbalance {
    const expected = file.stats?.rowCount;
    const bounds = [file.stats?.min["_offset"], file.stats?.max["_offset"]].map(Number);
    const [from, to] = bounds.every(Number.isSafeInteger) ? bounds : [];
    const [low, high] = [file.stats?.min["_partition"], file.stats?.max["_partition"]];
    const unreadable = "unreadable" in count;
    const events = from === undefined ? "" : `, offsets ${from} to ${to},`;
    const facts = unreadable ? `cannot be read (${count.unreadable})` : `holds ${count.rows} rows of ${expected}`;
    return {
      what: "file",
      stream: streamOf(this.#o.project, hop),
      hop,
      partition: typeof low === "number" && low === high ? low : undefined,
      from,
      to,
      ranges: from === undefined || to === undefined ? [] : [{ from, to }],
      expected,
      found: unreadable ? undefined : count.rows,
      file: file.path,
      message: `${hop}: the data file ${file.path}${events} ${facts}`,
      sinceMs: this.#o.clock(),
    };
  }

  #triesOf(table: string, path: string): number {
    return this.#tries.get(`${table}/${path}`) ?? 0;
  }
}

function isDamaged({ stats }: DataFile, count: FileCount | Unreadable): boolean {
  return "unreadable" in count || (stats !== undefined && stats.rowCount !== count.rows);
}

function firstOf<T extends FileToCount>(files: readonly T[]): T[] {
  const batch: T[] = [];
  let bytes = 0;
  for (const one of files) {
    if (batch.length === BATCH_FILES || (batch.length > 0 && bytes + one.file.sizeBytes > BATCH_BYTES)) break;
    batch.push(one);
    bytes += one.file.sizeBytes;
  }
  return batch;
}
