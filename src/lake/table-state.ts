import type { Column } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { Actions, Metadata, Protocol, Txn } from "./actions.ts";
import { type AddedFile, fileKey, type RemovedFile } from "./data-file.ts";
import type { DataFile, Snapshot } from "./delta-table.ts";
import { checkReadable, type TableFacts } from "./features.ts";
import { readSchema } from "./table-schema.ts";

/**
 * A table's state at its newest known version, advanced commit by commit at a cost that depends on the commit alone, never on
 * the number of files in the table. Snapshots taken from it stay what they were while it moves on.
 */
export class TableState {
  readonly checkpointVersion: number;
  readonly #table: string;
  #version = -1;
  #timestampMs = 0;
  #protocol: Protocol | undefined;
  #metadata: Metadata | undefined;
  #columns: readonly Column[] | undefined;
  #deletionVectors = 0;
  readonly #live = new Map<string, AddedFile>();
  readonly #tombstones = new Map<string, RemovedFile>();
  #txns: ReadonlyMap<string, Txn> = new Map();
  #change: Change = { added: [], removed: [], next: undefined };
  #snapshot: Snapshot | undefined;

  /** `checkpointVersion`: the version whose checkpoint the state began with; 0 when with none. */
  constructor(table: string, checkpointVersion = 0) {
    this.#table = table;
    this.checkpointVersion = checkpointVersion;
  }

  get version(): number {
    return this.#version;
  }

  get timestampMs(): number {
    return this.#timestampMs;
  }

  get txns(): ReadonlyMap<string, Txn> {
    return this.#txns;
  }

  /** Files removed so lately that older versions may still be read, as far back as the log remembers them. */
  get tombstones(): Iterable<RemovedFile> {
    return this.#tombstones.values();
  }

  /** Rows that a checkpoint would have, nearly. */
  get entryCount(): number {
    return this.#live.size + this.#tombstones.size;
  }

  files(): AddedFile[] {
    return [...this.#live.values()];
  }

  /** @throws DELTA_CORRUPT when no commit said what the table is */
  get facts(): TableFacts {
    if (!this.#protocol || !this.#metadata) {
      const missing = this.#protocol ? "metaData" : "protocol";
      const details = { table: this.#table, file: "its log", reason: `holds no ${missing} action` };
      throw new MillraceError("DELTA_CORRUPT", details, { details });
    }
    return { protocol: this.#protocol, metadata: this.#metadata, hasDeletionVectors: this.#deletionVectors > 0 };
  }

  liveFile(path: string): AddedFile | undefined {
    return this.#live.get(path);
  }

  /** Applies the actions of version `version`, or of a checkpoint of it. */
  apply(actions: Actions, version: number, timestampMs: number): void {
    const added: AddedFile[] = [];
    const removed: AddedFile[] = [];
    for (const file of actions.removes) {
      const key = fileKey(file.path, file.deletionVector);
      const gone = this.#live.get(key);
      if (gone) {
        this.#live.delete(key);
        removed.push(gone);
      }
      // Kept for long, and statistics are most of it: who asks for those reads the commit.
      this.#tombstones.set(key, { ...file, statsText: undefined });
    }
    for (const file of actions.adds) {
      const before = this.#live.get(file.key);
      if (before) removed.push(before);
      this.#live.set(file.key, file);
      this.#tombstones.delete(file.key);
      added.push(file);
    }
    for (const file of added) if (file.deletionVector !== undefined) this.#deletionVectors++;
    for (const file of removed) if (file.deletionVector !== undefined) this.#deletionVectors--;
    if (actions.protocol) this.#protocol = actions.protocol;
    if (actions.metadata) {
      this.#metadata = actions.metadata;
      this.#columns = undefined;
    }
    if (actions.txns.length > 0) {
      const txns = new Map(this.#txns);
      for (const txn of actions.txns) txns.set(txn.appId, txn);
      this.#txns = txns;
    }
    this.#version = version;
    this.#timestampMs = timestampMs;
    this.#snapshot = undefined;
    this.#change.next = { added, removed, next: undefined };
    this.#change = this.#change.next;
  }

  /** Forgets removed files that no version within the retention needs. */
  dropTombstones(removedBeforeMs: number): void {
    for (const [key, file] of this.#tombstones) {
      if (file.removedAtMs < removedBeforeMs) this.#tombstones.delete(key);
    }
  }

  /**
   * The state as it is now; later commits do not change it.
   * @throws DELTA_FEATURE_UNSUPPORTED, DELTA_CORRUPT
   */
  snapshot(): Snapshot {
    if (this.#snapshot) return this.#snapshot;
    const facts = this.facts;
    checkReadable(this.#table, facts);
    this.#columns ??= Object.freeze(readSchema(this.#table, facts.metadata));
    const taken = this.#change;
    let files: readonly DataFile[] | undefined;
    const allFiles = () => this.#filesAfter(taken);
    this.#snapshot = {
      version: this.#version,
      timestampMs: this.#timestampMs,
      tableId: facts.metadata.id,
      columns: this.#columns,
      partitionColumns: facts.metadata.partitionColumns,
      txn: new Map([...this.#txns.values()].map((txn) => [txn.appId, txn.version])),
      configuration: facts.metadata.configuration,
      get files() {
        files ??= allFiles();
        return files;
      },
    };
    return this.#snapshot;
  }

  /** The live files as they were after a change: today's, with every later change undone, newest first. */
  #filesAfter(change: Change): readonly AddedFile[] {
    if (change === this.#change) return this.files();
    const later: Change[] = [];
    for (let next = change.next; next; next = next.next) later.push(next);
    const files = new Map(this.#live);
    for (const { added, removed } of later.reverse()) {
      for (const file of added) files.delete(file.key);
      for (const file of removed) files.set(file.key, file);
    }
    return [...files.values()];
  }
}

/**
 * What one commit did. Each change knows only the one after it, so a snapshot holds on to the changes that came after it was
 * taken, and those that no snapshot needs go with the garbage.
 */
interface Change {
  readonly added: readonly AddedFile[];
  readonly removed: readonly AddedFile[];
  next: Change | undefined;
}
