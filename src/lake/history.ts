import { isRecord } from "./actions.ts";
import { AddedFile } from "./data-file.ts";
import type { CommitInfo, DataFile } from "./delta-table.ts";
import { listLog } from "./log-listing.ts";
import type { ObjectStore } from "./object-store.ts";
import { type LoggedCommit, readCommit, versionGone } from "./replay.ts";

/** A commit as its table's history shows it. */
export function commitInfoOf({ version, timestampMs, actions }: LoggedCommit): CommitInfo {
  const { adds, removes, commitInfo = {} } = actions;
  const { operation, timestamp: _, txnId: __, millrace, ...rest } = commitInfo;
  const rows = adds.map((file) => file.stats?.rowCount);
  return {
    version,
    timestampMs,
    operation: typeof operation === "string" ? operation : "unknown",
    addedFiles: adds.length,
    removedFiles: removes.length,
    addedRows: rows.reduce((sum, count) => (sum === undefined || count === undefined ? undefined : sum + count), 0),
    info: isRecord(millrace) ? millrace : rest,
  };
}

/**
 * Files whose rows consecutive commits brought in or took out. A file that one of them added and a later one removed is in
 * both lists; commits that only rearranged rows (compaction) count for neither, so that an added file may by now have been
 * merged into another: it stays readable until vacuum takes it.
 */
export function dataChanges(commits: readonly LoggedCommit[]): { added: DataFile[]; removed: DataFile[] } {
  const added: DataFile[] = [];
  const removed: DataFile[] = [];
  for (const { timestampMs, actions } of commits) {
    for (const file of actions.adds) if (file.dataChange) added.push(file);
    for (const { path, sizeBytes, partition, statsText, dataChange } of actions.removes) {
      if (!dataChange) continue;
      const facts = { path, sizeBytes: sizeBytes ?? 0, partition: partition ?? {}, statsText };
      removed.push(new AddedFile({ ...facts, modifiedAtMs: timestampMs, dataChange }));
    }
  }
  return { added, removed };
}

/**
 * The version that was the newest at a moment. Commits are searched by halving: their times count up, as every writer's do
 * that goes by one clock.
 * @throws DELTA_VERSION_GONE when the moment is before the first commit that is kept
 */
export async function versionAt(store: ObjectStore, location: string, timestampMs: number): Promise<number> {
  const listing = await listLog(store, location, false);
  const versions = [...listing.commits.keys()].sort((a, b) => a - b);
  let found: number | undefined;
  let low = 0;
  let high = versions.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const commit = await readCommit(store, location, versions[middle]!);
    if (commit && commit.timestampMs <= timestampMs) {
      found = versions[middle];
      low = middle + 1;
    } else high = middle - 1;
  }
  if (found !== undefined) return found;
  throw versionGone(location, new Date(timestampMs).toISOString(), listing);
}

/** Commits looked at behind the moment a file was finished: a table's commits follow its files within seconds. */
const NEAR_COMMITS = 200;

/** The version whose commit added a file, where the log still has that commit near the time the file was written. */
export async function versionThatAdded(
  store: ObjectStore,
  location: string,
  file: DataFile,
): Promise<number | undefined> {
  const listing = await listLog(store, location, false);
  const versions = [...listing.commits.keys()].sort((a, b) => a - b);
  let low = 0;
  let high = versions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const commit = await readCommit(store, location, versions[middle]!);
    if (commit && commit.timestampMs < file.modifiedAtMs - CLOCK_GRAIN_MS) low = middle + 1;
    else high = middle;
  }
  for (const version of versions.slice(low, low + NEAR_COMMITS)) {
    const commit = await readCommit(store, location, version);
    if (commit?.actions.adds.some((added) => added.path === file.path)) return version;
  }
  return undefined;
}

/** File systems round the times of files, some to whole seconds. */
const CLOCK_GRAIN_MS = 2000;
