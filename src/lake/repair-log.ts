import { randomUUID } from "node:crypto";
import type { Column } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import { type Metadata, noActions } from "./actions.ts";
import { sealCommit } from "./commit-checksum.ts";
import type { Snapshot } from "./delta-table.ts";
import { listLog } from "./log-listing.ts";
import { commitKey, logPrefix } from "./log-names.ts";
import type { ObjectStore } from "./object-store.ts";
import { readCommit, replay } from "./replay.ts";
import { writeSchema } from "./table-schema.ts";
import type { TableState } from "./table-state.ts";
import { writeCheckpoint } from "./write-checkpoint.ts";

/** The operation of the commit that continues a damaged log. What lies before it and after it is not connected by changes. */
export const REPAIR = "REPAIR";

/** What is left of a log whose newest version cannot be read. */
export interface Remains {
  /** Newest version the log names. */
  readonly newest: number;
  /** The newest state that can be read; undefined when none can. */
  readonly state: TableState | undefined;
  readonly snapshot: Snapshot | undefined;
  /** What the commits after it did; undefined for one that does not even tell that. */
  readonly operations: readonly (string | undefined)[];
  /** Commits after it that cannot be read. */
  readonly damaged: readonly number[];
}

/** Looks how far back a table's log must be read to find a whole state. */
export async function examineLog(store: ObjectStore, location: string): Promise<Remains> {
  const { newest } = await listLog(store, location, false);
  let state: TableState | undefined;
  let snapshot: Snapshot | undefined;
  for (let target = newest; target >= 0 && !snapshot; ) {
    try {
      state = await replay(store, location, target);
      snapshot = state?.snapshot();
    } catch (error) {
      if (!isDamage(error)) throw error;
      state = undefined;
      const commit = /(\d{20})\.json$/.exec((error.details as { file?: string } | undefined)?.file ?? "");
      const before = commit ? Number(commit[1]) - 1 : -1;
      target = before < target ? before : -1;
    }
  }
  const operations: (string | undefined)[] = [];
  const damaged: number[] = [];
  for (let version = (state?.version ?? -1) + 1; version <= newest; version++) {
    const operation = await operationOf(store, location, version);
    operations.push(operation.name);
    if (!operation.whole) damaged.push(version);
  }
  return { newest, state, snapshot, operations, damaged };
}

/** True when every file of a version is there in its size: vacuum may have taken those that later versions had removed. */
export async function filesAreThere(store: ObjectStore, location: string, snapshot: Snapshot): Promise<boolean> {
  const sizes = new Map((await store.list(`${location}/`)).map(({ key, sizeBytes }) => [key, sizeBytes]));
  return snapshot.files.every(({ path, sizeBytes }) => sizes.get(`${location}/${path}`) === sizeBytes);
}

export interface ContinueOptions {
  /** What the table is, where not even that could be read. */
  readonly columns: readonly Column[];
  readonly partitionColumns: readonly string[];
  readonly configuration: Readonly<Record<string, string>>;
  readonly nowMs: number;
}

/**
 * Makes a table readable again: a commit after the newest one, and a checkpoint there, whose state is the newest that could be
 * read, or an empty table. No version number is used twice, so whoever remembers one is not misled. Damaged commits
 * are kept beside the log as `<version>.json.damaged`.
 */
export async function continueLog(
  store: ObjectStore,
  location: string,
  { newest, state, damaged }: Remains,
  { columns, partitionColumns, configuration, nowMs }: ContinueOptions,
): Promise<void> {
  const version = newest + 1;
  const timestampMs = Math.max(nowMs, (state?.timestampMs ?? 0) + 1);
  const fresh: Metadata = {
    id: randomUUID(),
    format: { provider: "parquet", options: {} },
    schemaString: writeSchema(location, columns, undefined),
    partitionColumns,
    configuration,
    createdTime: timestampMs,
  };
  const { protocol, metadata } = state?.facts ?? {
    protocol: { minReaderVersion: 1, minWriterVersion: 2 },
    metadata: fresh,
  };
  const commitInfo = {
    timestamp: timestampMs,
    operation: REPAIR,
    operationParameters: {},
    engineInfo: "Millrace",
    txnId: randomUUID(),
    millrace: { continues: state?.version ?? null, damaged },
  };
  const actions = { ...noActions(), commitInfo, ...(state ? {} : { protocol, metadata }) };
  await store.putIfAbsent(commitKey(location, version), sealCommit(actions));
  await writeCheckpoint(store, location, {
    version,
    protocol,
    metadata,
    txns: [...(state?.txns.values() ?? [])],
    files: state?.files() ?? [],
    tombstones: [...(state?.tombstones ?? [])],
  });
  for (const other of damaged) await setAside(store, commitKey(location, other));
}

async function setAside(store: ObjectStore, key: string): Promise<void> {
  const [found] = await store.list(key);
  if (found?.key !== key) return;
  await store.put(`${key}.damaged`, await store.get(key));
  await store.delete(key);
}

/** A commit's operation, from its first line where the rest is damaged. */
async function operationOf(
  store: ObjectStore,
  location: string,
  version: number,
): Promise<{ name: string | undefined; whole: boolean }> {
  try {
    const commit = await readCommit(store, location, version);
    const operation = commit?.actions.commitInfo?.operation;
    return { name: typeof operation === "string" ? operation : undefined, whole: commit !== undefined };
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  const text = new TextDecoder().decode(await store.get(commitKey(location, version)));
  return { name: /^\{"commitInfo":\{"timestamp":\d+,"operation":"([A-Z]+)",/.exec(text)?.[1], whole: false };
}

export function isDamage(error: unknown): error is MillraceError {
  return error instanceof MillraceError && (error.code === "DELTA_CORRUPT" || error.code === "DELTA_VERSION_GONE");
}

/** Where the parts of a table's log are, for whoever has to put one back. */
export function logFolder(location: string): string {
  return logPrefix(location).slice(0, -1);
}
