import type { DataFile, Snapshot } from "./delta-table.ts";

export interface CompactionOptions {
  /** Size a merged file should have. */
  readonly targetBytes: number;
  /** Fewer small files than this are not worth rewriting. */
  readonly minFiles: number;
}

/**
 * Which small files to merge, one group for each new file: files of one partition and about one size, in the order they
 * arrived, up to the target size. Files of half the target and more stay as they are.
 *
 * Files merge only with others of their size class (each `minFiles` times the one below), so that a byte is rewritten once
 * per class, and a growing file is not rewritten whenever a few small ones have come in.
 */
export function planCompaction(snapshot: Pick<Snapshot, "files">, options: CompactionOptions): DataFile[][] {
  const { targetBytes } = options;
  const minFiles = Math.max(options.minFiles, 2);
  const classes = new Map<string, DataFile[]>();
  for (const file of snapshot.files) {
    if (file.sizeBytes * 2 >= targetBytes) continue;
    const sizeClass = Math.floor(Math.log(Math.max(file.sizeBytes, 1)) / Math.log(minFiles));
    const key = JSON.stringify([sizeClass, Object.entries(file.partition).sort()]);
    const files = classes.get(key);
    if (files) files.push(file);
    else classes.set(key, [file]);
  }
  const groups: DataFile[][] = [];
  for (const files of classes.values()) {
    files.sort((a, b) => a.modifiedAtMs - b.modifiedAtMs || (a.path < b.path ? -1 : 1));
    for (const group of filled(files, targetBytes)) if (group.length >= minFiles) groups.push(group);
  }
  return groups;
}

function* filled(files: readonly DataFile[], targetBytes: number): Generator<DataFile[]> {
  let group: DataFile[] = [];
  let sizeBytes = 0;
  for (const file of files) {
    if (group.length > 0 && sizeBytes + file.sizeBytes > targetBytes) {
      yield group;
      group = [];
      sizeBytes = 0;
    }
    group.push(file);
    sizeBytes += file.sizeBytes;
  }
  yield group;
}
