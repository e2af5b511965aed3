/**
 * The platform's tables in the lake: created and widened when the platform starts, and each one's newest snapshot at hand
 * without a look at the disk, which the platform may trust because it is the only committer.
 */
import { createHash, randomUUID } from "node:crypto";
import { compareColumns } from "../define/changes.ts";
import type { Column, Project, Stream, Table } from "../define/project.ts";
import { BRONZE_COLUMNS } from "../define/project.ts";
import type { Relation, RunOptions, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { cleanLog } from "../lake/clean-log.ts";
import type { CommitRequest, CommitResult, DataFile, DeltaTable, Snapshot } from "../lake/delta-table.ts";
import { dataFilePath } from "../lake/file-path.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import { openDeltaTable } from "../lake/open-delta-table.ts";

export interface LakeTable {
  readonly name: string;
  readonly delta: DeltaTable;
  /** Stored columns, partition columns included. */
  readonly columns: readonly Column[];
  readonly partitionColumns: readonly string[];
  /** Undefined for bronze. */
  readonly definition: Table | undefined;
  /** The newest committed state. */
  snapshot: Snapshot;
}

export class LakeTables {
  readonly #store: ObjectStore;
  readonly #root: string;
  readonly #engine: SqlEngine;
  readonly #tables = new Map<string, LakeTable>();
  /**
   * Keys of files on their way into a table. By their age vacuum could take them for what a crash left, since a clock that
   * jumps makes any file old. One that never got into its table stays until the next start.
   */
  readonly #onTheirWay = new Set<string>();

  private constructor(store: ObjectStore, root: string, engine: SqlEngine) {
    this.#store = store;
    this.#root = root;
    this.#engine = engine;
  }

  /**
   * Opens every table of the project, creating what is missing and adding columns that are new.
   * @throws SCHEMA_CHANGE_REFUSED when a definition no longer fits what is stored; all such tables are listed.
   */
  static async open(
    store: ObjectStore,
    root: string,
    engine: SqlEngine,
    project: Project,
    options: { readonly clock: () => number; readonly retentionMs: number },
  ): Promise<LakeTables> {
    const lake = new LakeTables(store, root, engine);
    const refused: { table: string; file: string; differences: unknown }[] = [];
    const wanted: [string, readonly Column[], Table | undefined, Stream | undefined][] = [];
    for (const stream of project.streams.values()) {
      wanted.push([`bronze.${stream.name}`, BRONZE_COLUMNS, undefined, stream]);
    }
    for (const table of project.tables.values()) wanted.push([table.name, table.columns, table, undefined]);
    // Each table's disk work is independent, and a new project has dozens of them.
    const tables = await Promise.all(
      wanted.map(async ([name, columns, definition, stream]) => {
        const delta = openDeltaTable(store, name.replace(".", "/"), { clock: options.clock });
        const opened = await openOne(name, delta, columns, definition, options.retentionMs);
        if ("delta" in opened) return opened;
        refused.push({ table: name, file: definition?.file ?? stream?.file ?? "", differences: opened.differences });
        return undefined;
      }),
    );
    for (const table of tables) if (table) lake.#tables.set(table.name, table);
    if (refused.length > 0) {
      const named = refused.map((r) => `${r.table} (${r.file}): ${JSON.stringify(r.differences)}`).join("; ");
      throw new MillraceError("SCHEMA_CHANGE_REFUSED", { tables: named }, { details: refused });
    }
    return lake;
  }

  /** @throws INTERNAL when there is no such table: names are resolved before they come here. */
  get(name: string): LakeTable {
    const table = this.#tables.get(name);
    if (!table) throw new MillraceError("INTERNAL", { what: `looking up table ${name}` });
    return table;
  }

  has(name: string): boolean {
    return this.#tables.has(name);
  }

  names(): string[] {
    return [...this.#tables.keys()];
  }

  /** The files of a snapshot (the newest unless given), or some of them, as an engine reads them. */
  relation(table: LakeTable, snapshot: Snapshot = table.snapshot, files = snapshot.files): Relation {
    return {
      kind: "files",
      columns: snapshot.columns,
      files: files.map((file) => ({
        path: `${this.#root}/${table.delta.location}/${file.path}`,
        partition: file.partition,
      })),
    };
  }

  /** Runs a statement and stores its rows as files of the table, durable but not yet part of it. */
  async write(table: LakeTable, statement: Statement, options: RunOptions = {}): Promise<DataFile[]> {
    const keys = new Map<string, string>();
    const written = await this.#engine.write(
      statement,
      {
        partitionColumns: table.partitionColumns,
        path: async (partition) => {
          const file = dataFilePath(partition, randomUUID());
          this.#onTheirWay.add(`${table.delta.location}/${file}`);
          const path = await this.#store.stage(`${table.delta.location}/${file}`);
          keys.set(path, file);
          return path;
        },
      },
      options,
    );
    return Promise.all(
      written.map(async ({ path, partition, stats }) => {
        const file = keys.get(path);
        if (file === undefined) throw new MillraceError("INTERNAL", { what: `placing file ${path}` });
        const info = await this.#store.publish(`${table.delta.location}/${file}`);
        return { path: file, sizeBytes: info.sizeBytes, modifiedAtMs: info.modifiedAtMs, partition, stats };
      }),
    );
  }

  /**
   * Removes what no version within the retention time needs: data files (also those a crash left behind) and old entries of the
   * tables' logs. Returns how many of each.
   */
  async vacuum(retentionMs: number, nowMs: number): Promise<{ files: number; entries: number }> {
    const removed = { files: 0, entries: 0 };
    for (const { delta } of this.#tables.values()) {
      const keep = (path: string) => this.#onTheirWay.has(`${delta.location}/${path}`);
      removed.files += (await delta.vacuum({ retentionMs, keep })).length;
      removed.entries += (await cleanLog(this.#store, delta.location, { retentionMs, nowMs })).length;
    }
    return removed;
  }

  /** Waits for what tables still do in the background. */
  async close(): Promise<void> {
    await Promise.all([...this.#tables.values()].map(({ delta }) => delta.close()));
  }

  /** Commits and, when that succeeded, makes the new state the table's snapshot. */
  async commit(table: LakeTable, request: CommitRequest): Promise<CommitResult> {
    const result = await table.delta.commit(request);
    const snapshot = await table.delta.snapshot(result.kind === "committed" ? { cached: true } : undefined);
    if (snapshot) table.snapshot = snapshot;
    for (const { path } of request.add ?? []) this.#onTheirWay.delete(`${table.delta.location}/${path}`);
    return result;
  }
}

/** Creates or widens one table; what it cannot become is returned. */
async function openOne(
  name: string,
  delta: DeltaTable,
  columns: readonly Column[],
  definition: Table | undefined,
  retentionMs: number,
): Promise<LakeTable | { differences: unknown }> {
  const partitionColumns = Object.keys(definition?.partitionBy ?? {});
  const configuration = {
    "delta.deletedFileRetentionDuration": `interval ${retentionMs} milliseconds`,
    ...(definition && { "millrace.definition": definitionHash(definition) }),
  };
  let snapshot = await delta.snapshot();
  if (snapshot === undefined) {
    await delta.commit({
      operation: "CREATE",
      readVersion: -1,
      schema: { columns, partitionColumns },
      configuration,
    });
    snapshot = await delta.snapshot();
  } else {
    const change = compareColumns(snapshot.columns, columns);
    if (change.kind === "incompatible") return { differences: change.differences };
    if (snapshot.partitionColumns.join("\0") !== partitionColumns.join("\0")) {
      return { differences: [{ what: "partitionBy", stored: snapshot.partitionColumns, wanted: partitionColumns }] };
    }
    if (change.kind === "additive") {
      await delta.commit({
        operation: "ALTER",
        readVersion: snapshot.version,
        schema: { columns: change.columns, partitionColumns },
      });
      snapshot = await delta.snapshot();
    }
  }
  if (snapshot === undefined) throw new MillraceError("INTERNAL", { what: `creating table ${name}` });
  return { name, delta, columns: snapshot.columns, partitionColumns, definition, snapshot };
}

/** Changes when what the table computes changes, so that a stored result of an older definition is recomputed. */
export function definitionHash(table: Table): string {
  const essence = [table.sql, table.mode === "refresh" ? table.by : null, table.partitionBy];
  return createHash("sha256").update(JSON.stringify(essence)).digest("hex").slice(0, 16);
}
