import { listLog } from "./log-listing.ts";
import { logPrefix, parseLogName } from "./log-names.ts";
import type { ObjectStore } from "./object-store.ts";
import { readCommit } from "./replay.ts";

export interface CleanLogOptions {
  /** Every version that was the newest within this time stays readable. At least an hour is kept. */
  readonly retentionMs: number;
  readonly nowMs: number;
}

/** Others may have read the log's listing a moment ago. */
const SHORTEST_RETENTION_MS = 3_600_000;

/**
 * Removes the entries of a table's log that come before the newest checkpoint older than the retention, and returns their
 * names. Nothing is removed while there is no such checkpoint. Oldest first: what a crash leaves is a whole log.
 */
export async function cleanLog(store: ObjectStore, location: string, options: CleanLogOptions): Promise<string[]> {
  const keptSinceMs = options.nowMs - Math.max(options.retentionMs, SHORTEST_RETENTION_MS);
  const { checkpoints } = await listLog(store, location, false);
  let first: number | undefined;
  for (const [version, files] of [...checkpoints].sort(([a], [b]) => b - a)) {
    const madeAtMs = (await readCommit(store, location, version))?.timestampMs ?? files[0]!.modifiedAtMs;
    if (madeAtMs > keptSinceMs) continue;
    first = version;
    break;
  }
  if (first === undefined) return [];
  const removed: string[] = [];
  for (const { key } of await store.list(logPrefix(location))) {
    const name = key.slice(logPrefix(location).length);
    const version = parseLogName(name)?.version;
    if (version === undefined || version >= first) continue;
    await store.delete(key);
    removed.push(name);
  }
  return removed;
}
