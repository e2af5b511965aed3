import { commitKey } from "./log-names.ts";
import type { ObjectStore } from "./object-store.ts";
import { readCommit } from "./replay.ts";
import type { TableState } from "./table-state.ts";
import { type CheckpointContent, writeCheckpoint } from "./write-checkpoint.ts";

/** One version of a table, to be written elsewhere; it stays what it is while the table moves on. */
export interface TableCopy {
  /** Key prefix of the table, in this store and in the other. */
  readonly location: string;
  readonly version: number;
  readonly tableId: string;
  /** The files of this version. None of them changes, but vacuum may remove them once they are no longer the newest. */
  readonly files: readonly { readonly path: string; readonly sizeBytes: number }[];
  /**
   * Writes a log that begins with this version: its checkpoint, and its commit where there still is one. Older versions are not
   * part of the copy, for their files are not; asking for one there is DELTA_VERSION_GONE.
   */
  writeLog(target: ObjectStore): Promise<void>;
}

/** Takes the state as it is now, without waiting for anything. */
export function copyOf(store: ObjectStore, location: string, state: TableState): TableCopy {
  const { protocol, metadata } = state.facts;
  const files = state.files();
  const content: CheckpointContent = {
    ...{ version: state.version, protocol, metadata },
    ...{ txns: [...state.txns.values()], files, tombstones: [] },
  };
  return {
    location,
    version: content.version,
    tableId: metadata.id,
    files,
    async writeLog(target) {
      const key = commitKey(location, content.version);
      if (await readCommit(store, location, content.version)) await target.put(key, await store.get(key));
      await writeCheckpoint(target, location, content);
    },
  };
}
