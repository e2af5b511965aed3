import { MillraceError } from "../errors.ts";
import { type Actions, MalformedAction, parseActions } from "./actions.ts";
import { unsealCommit } from "./commit-checksum.ts";
import { getIfPresent, type LogListing, listLog } from "./log-listing.ts";
import { commitKey, logPrefix } from "./log-names.ts";
import type { ObjectStore } from "./object-store.ts";
import { CheckpointUnreadable, readCheckpoint } from "./read-checkpoint.ts";
import { TableState } from "./table-state.ts";

/** A commit as read from the log. */
export interface LoggedCommit {
  readonly version: number;
  readonly timestampMs: number;
  readonly actions: Actions;
}

/** Commits fetched at once: on a remote store each takes a round trip. */
const FETCH_BATCH = 16;

/** Times a load starts over because the log was cleaned under its feet. Cleaning removes an entry once. */
const MAX_RELOADS = 3;

/**
 * Builds a table's state from its log: the newest complete checkpoint at or before `version` (default: the newest version of
 * all) and the commits after it. A checkpoint that cannot be read is passed over when an older one leads to the same state.
 * Undefined when the log is empty.
 * @throws DELTA_VERSION_GONE, DELTA_CORRUPT
 */
export async function replay(store: ObjectStore, location: string, version?: number): Promise<TableState | undefined> {
  let newestOnly = version === undefined;
  for (let reload = 0; ; reload++) {
    const listing = await listLog(store, location, newestOnly);
    try {
      return await replayListed(store, location, listing, version);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const vanished = error.code === "OBJECT_NOT_FOUND";
      if (vanished && reload === MAX_RELOADS) {
        const missing = { table: location, file: "its log", reason: `names a file that is missing: ${error.message}` };
        throw new MillraceError("DELTA_CORRUPT", missing, { cause: error, details: missing });
      }
      // What does not work from the newest checkpoint on may work from an older one.
      if (!vanished && !(error.code === "DELTA_CORRUPT" && newestOnly)) throw error;
      if (!vanished) newestOnly = false;
    }
  }
}

async function replayListed(
  store: ObjectStore,
  location: string,
  listing: LogListing,
  version: number | undefined,
): Promise<TableState | undefined> {
  if (listing.newest < 0) return undefined;
  const target = version ?? listing.newest;
  if (target > listing.newest || target < 0) throw versionGone(location, `version ${target}`, listing);

  const starts = [...listing.checkpoints.keys()].filter((c) => c <= target).sort((a, b) => b - a);
  let unreadable: unknown;
  for (const start of [...starts, -1]) {
    const gap = firstGap(listing, start, target);
    if (gap !== undefined) {
      if (unreadable) throw unreadable;
      if (start === -1 && version !== undefined) throw versionGone(location, `version ${target}`, listing);
      throw corrupt(location, commitKey(location, gap), "is missing, though there are later versions");
    }
    const state = new TableState(location, Math.max(start, 0));
    try {
      if (start >= 0) await applyCheckpoint(store, location, listing, start, state);
    } catch (error) {
      if (!(error instanceof CheckpointUnreadable)) throw error;
      unreadable ??= corrupt(location, error.key, error.message, error);
      continue;
    }
    for (let next = start + 1; next <= target; next += FETCH_BATCH) {
      const count = Math.min(FETCH_BATCH, target - next + 1);
      const batch = await Promise.all(
        Array.from({ length: count }, (_, i) => readListed(store, location, listing, next + i)),
      );
      for (const commit of batch) state.apply(commit.actions, commit.version, commit.timestampMs);
    }
    return state;
  }
  throw unreadable;
}

/**
 * The commit that made `version`, or undefined when the log has none.
 * @throws DELTA_CORRUPT
 */
export async function readCommit(
  store: ObjectStore,
  location: string,
  version: number,
): Promise<LoggedCommit | undefined> {
  const key = commitKey(location, version);
  const bytes = await getIfPresent(store, key);
  if (!bytes) return undefined;
  const actions = parseCommit(location, key, bytes);
  const timestampMs =
    writtenTimestamp(actions) ?? (await store.list(key)).find((o) => o.key === key)?.modifiedAtMs ?? 0;
  return { version, timestampMs, actions };
}

/** A range that can be read: from the first version a checkpoint or commit 0 leads to, up to the newest. */
export function versionGone(location: string, wanted: string, listing: LogListing): MillraceError {
  const first = Math.min(...listing.checkpoints.keys(), listing.commits.has(0) ? 0 : Number.POSITIVE_INFINITY);
  const range = { first: `version ${first}`, last: `version ${listing.newest}` };
  return new MillraceError("DELTA_VERSION_GONE", { table: location, wanted, ...range });
}

async function readListed(
  store: ObjectStore,
  location: string,
  listing: LogListing,
  version: number,
): Promise<LoggedCommit> {
  const key = commitKey(location, version);
  const actions = parseCommit(location, key, await store.get(key));
  const timestampMs = writtenTimestamp(actions) ?? listing.commits.get(version)?.modifiedAtMs ?? 0;
  return { version, timestampMs, actions };
}

async function applyCheckpoint(
  store: ObjectStore,
  location: string,
  listing: LogListing,
  version: number,
  state: TableState,
): Promise<void> {
  const files = listing.checkpoints.get(version)!;
  const actions = await readCheckpoint(
    store,
    files.map((file) => file.key),
    logPrefix(location),
  );
  // The checkpoint does not say when its version was made; its commit does, unless it was cleaned away.
  const commit = listing.commits.has(version) ? await readCommit(store, location, version) : undefined;
  state.apply(actions, version, commit?.timestampMs ?? files[0]!.modifiedAtMs);
}

function firstGap(listing: LogListing, start: number, target: number): number | undefined {
  for (let version = start + 1; version <= target; version++) if (!listing.commits.has(version)) return version;
  return undefined;
}

function parseCommit(location: string, key: string, bytes: Uint8Array): Actions {
  try {
    return parseActions(unsealCommit(bytes));
  } catch (error) {
    if (error instanceof MalformedAction) throw corrupt(location, key, error.message, error);
    throw error;
  }
}

/** When the writer says the commit was made. Modification times of files do not survive a copy of the table. */
function writtenTimestamp({ commitInfo }: Actions): number | undefined {
  const time = commitInfo?.inCommitTimestamp ?? commitInfo?.timestamp;
  return typeof time === "number" ? time : undefined;
}

function corrupt(table: string, key: string, reason: string, cause?: unknown): MillraceError {
  const file = key.slice(table.length + 1);
  return new MillraceError("DELTA_CORRUPT", { table, file, reason }, { cause, details: { table, file, reason } });
}
