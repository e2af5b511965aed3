import { zstdDecompressSync } from "node:zlib";
import { type FileMetaData, parquetMetadata, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { type Actions, collectAction, isRecord, MalformedAction, noActions, parseActions } from "./actions.ts";
import type { ObjectStore } from "./object-store.ts";

/** Our own checkpoints are in zstd, which Node brings natively. */
const DECOMPRESSORS = { ...compressors, ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes) };

/** Row by row, the columns of a checkpoint that make up the state. Each row fills one of them. */
const STATE_COLUMNS = ["txn", "add", "remove", "metaData", "protocol", "sidecar"];

/**
 * The actions of a checkpoint: a Parquet file, the parts of one, or a V2 checkpoint with its sidecars.
 * @throws MalformedAction saying which file cannot be read; OBJECT_NOT_FOUND
 */
export async function readCheckpoint(store: ObjectStore, keys: readonly string[], log: string): Promise<Actions> {
  const actions = noActions();
  for (const key of keys) await readFile(store, key, actions);
  for (const sidecar of actions.sidecars) await readFile(store, `${log}_sidecars/${sidecar}`, actions);
  return actions;
}

async function readFile(store: ObjectStore, key: string, into: Actions): Promise<void> {
  const bytes = await store.get(key);
  try {
    if (key.endsWith(".json")) merge(parseActions(bytes), into);
    else for (const row of await readRows(bytes)) collectAction(row, into);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointUnreadable(key, reason, cause);
  }
}

export class CheckpointUnreadable extends MalformedAction {
  readonly key: string;

  constructor(key: string, reason: string, cause: unknown) {
    super(`cannot be read: ${reason}`, { cause });
    this.key = key;
  }
}

async function readRows(bytes: Uint8Array): Promise<Record<string, unknown>[]> {
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const metadata: FileMetaData = parquetMetadata(buffer);
  const present = new Set(topLevelNames(metadata));
  const columns = STATE_COLUMNS.filter((name) => present.has(name));
  const rows = await parquetReadObjects({ file: buffer, metadata, columns, compressors: DECOMPRESSORS });
  for (const row of rows) if (isRecord(row.add)) useStructStats(row.add);
  return rows;
}

function topLevelNames(metadata: FileMetaData): string[] {
  const names: string[] = [];
  for (let i = 1; i < metadata.schema.length; ) {
    names.push(metadata.schema[i]!.name);
    let open = 1;
    for (; open > 0; i++) open += (metadata.schema[i]!.num_children ?? 0) - 1;
  }
  return names;
}

/** Writers may leave statistics as text out of a checkpoint and keep them as a struct only. */
function useStructStats(add: Record<string, unknown>): void {
  if (typeof add.stats === "string" || !isRecord(add.stats_parsed)) return;
  add.stats = JSON.stringify(add.stats_parsed, (_, value: unknown) => {
    if (typeof value === "bigint") return Number(value);
    if (isRecord(value))
      return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null && v !== undefined));
    return value;
  });
}

function merge(from: Actions, into: Actions): void {
  for (const file of from.adds) into.adds.push(file);
  for (const file of from.removes) into.removes.push(file);
  for (const txn of from.txns) into.txns.push(txn);
  for (const name of from.sidecars) into.sidecars.push(name);
  if (from.metadata) into.metadata = from.metadata;
  if (from.protocol) into.protocol = from.protocol;
}
