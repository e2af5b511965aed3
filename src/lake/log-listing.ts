import { MillraceError } from "../errors.ts";
import { isRecord } from "./actions.ts";
import { LAST_CHECKPOINT, logPrefix, parseLogName, versionText } from "./log-names.ts";
import type { ObjectInfo, ObjectStore } from "./object-store.ts";

/** What a table's log holds: commits by version, and the checkpoints of which every part is there. */
export interface LogListing {
  readonly commits: ReadonlyMap<number, ObjectInfo>;
  /** Version -> files of the checkpoint, in their order. */
  readonly checkpoints: ReadonlyMap<number, readonly ObjectInfo[]>;
  /** Newest version of any; -1 when the log is empty. */
  readonly newest: number;
}

/**
 * Lists a table's log. With `newestOnly` it starts at the checkpoint that `_last_checkpoint` names, if that one is there: all
 * that the newest state needs.
 */
export async function listLog(store: ObjectStore, location: string, newestOnly: boolean): Promise<LogListing> {
  const hint = newestOnly ? await lastCheckpoint(store, location) : undefined;
  if (hint !== undefined) {
    const listing = await list(store, location, hint);
    if (listing.checkpoints.has(hint)) return listing;
  }
  return list(store, location, 0);
}

async function list(store: ObjectStore, location: string, fromVersion: number): Promise<LogListing> {
  const prefix = logPrefix(location);
  const objects = await store.list(prefix, fromVersion > 0 ? { after: prefix + versionText(fromVersion) } : {});
  const commits = new Map<number, ObjectInfo>();
  const groups = new Map<string, { version: number; parts: number; files: ObjectInfo[] }>();
  let newest = -1;
  for (const object of objects) {
    const entry = parseLogName(object.key.slice(prefix.length));
    if (!entry) continue;
    if (entry.kind === "commit") {
      commits.set(entry.version, object);
      newest = Math.max(newest, entry.version);
      continue;
    }
    const parts = entry.kind === "checkpoint" ? entry.parts : 1;
    const id = entry.kind === "checkpoint" ? `${entry.version}/${parts}` : object.key;
    const group = groups.get(id) ?? { version: entry.version, parts, files: [] };
    group.files.push(object);
    groups.set(id, group);
  }
  const checkpoints = new Map<number, readonly ObjectInfo[]>();
  for (const { version, parts, files } of groups.values()) {
    if (files.length !== parts) continue;
    checkpoints.set(version, files);
    newest = Math.max(newest, version);
  }
  return { commits, checkpoints, newest };
}

async function lastCheckpoint(store: ObjectStore, location: string): Promise<number | undefined> {
  const key = logPrefix(location) + LAST_CHECKPOINT;
  const bytes = await getIfPresent(store, key);
  if (!bytes) return undefined;
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const version = isRecord(json) ? json.version : undefined;
    return Number.isSafeInteger(version) && (version as number) >= 0 ? (version as number) : undefined;
  } catch (error) {
    // Only a hint: one that cannot be read is as good as none, the listing finds the checkpoint.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export async function getIfPresent(store: ObjectStore, key: string): Promise<Uint8Array | undefined> {
  try {
    return await store.get(key);
  } catch (error) {
    if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
    throw error;
  }
}
