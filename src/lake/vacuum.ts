import { MillraceError } from "../errors.ts";
import type { ObjectInfo, ObjectStore } from "./object-store.ts";
import { removedFileRetentionMs } from "./table-retention.ts";
import type { TableState } from "./table-state.ts";

export interface VacuumOptions {
  readonly retentionMs: number;
  readonly nowMs: number;
  readonly dryRun?: boolean;
  /** Paths that stay whatever their age seems to be: those the caller knows are being written. */
  readonly keep?: (path: string) => boolean;
  /** Files that no commit knows stay for this long at least; an hour unless given, and no less. */
  readonly orphansForMs?: number;
}

/** Deletes under way at once where each takes a round trip. */
const MOST_DELETES = 16;

/** A file that no commit knows may be one that somebody is writing just now; no write takes this long, by a clock that does not jump. */
const YOUNGEST_ORPHAN_MS = 3_600_000;

/**
 * Removes the data files that no version within the retention refers to, oldest first, and returns their paths: those removed
 * from the table before it, and orphans (left by a crash between write and commit) that are older than it and than an hour.
 * Names that begin with `_` or `.` are no data files.
 * @throws DELTA_COMMIT_INVALID when the table does not remember removed files for as long as `retentionMs`
 */
export async function vacuum(
  store: ObjectStore,
  location: string,
  state: TableState,
  { retentionMs, nowMs, dryRun = false, keep = () => false, orphansForMs = 0 }: VacuumOptions,
): Promise<string[]> {
  const rememberedMs = removedFileRetentionMs(state.facts.metadata.configuration);
  if (retentionMs > rememberedMs) {
    const reason = `it remembers removed files for ${rememberedMs} ms, less than the retention of ${retentionMs} ms`;
    throw new MillraceError("DELTA_COMMIT_INVALID", { table: location, reason });
  }
  const removedAtMs = new Map<string, number>();
  for (const file of state.tombstones) removedAtMs.set(file.path, file.removedAtMs);

  const unneeded: ObjectInfo[] = [];
  for (const object of await store.list(`${location}/`)) {
    const path = object.key.slice(location.length + 1);
    if (isHidden(path) || state.liveFile(path) || keep(path)) continue;
    const removed = removedAtMs.get(path);
    const neededUntilMs =
      removed === undefined
        ? object.modifiedAtMs + Math.max(retentionMs, orphansForMs, YOUNGEST_ORPHAN_MS)
        : removed + retentionMs;
    if (neededUntilMs <= nowMs) unneeded.push(object);
  }
  unneeded.sort((a, b) => a.modifiedAtMs - b.modifiedAtMs);
  const together = store.remote ? MOST_DELETES : 1;
  for (let i = 0; i < unneeded.length && !dryRun; i += together) {
    await Promise.all(unneeded.slice(i, i + together).map(({ key }) => store.delete(key)));
  }
  return unneeded.map(({ key }) => key.slice(location.length + 1));
}

/** `_delta_log/`, checksums and the like; a partition folder such as `_day=2026-01-31/` is not meant. */
function isHidden(path: string): boolean {
  return path.split("/").some((segment) => /^[_.]/.test(segment) && !segment.includes("="));
}
