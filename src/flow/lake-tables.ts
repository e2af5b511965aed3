/**
 * The platform's tables in the lake: created and widened when the platform starts, and each one's newest snapshot at hand
 * without a look at the disk, which the platform may trust because it is the only committer.
 */
import { createHash, randomUUID } from "node:crypto";
import { compareColumns } from "../define/changes.ts";
import type { AppendTable, Column, Project, Stream, Table } from "../define/project.ts";
import { BRONZE_COLUMNS, META_COLUMNS } from "../define/project.ts";
import type { Relation, RunOptions, SqlEngine, Statement, WrittenFile } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { cleanLog } from "../lake/clean-log.ts";
import type { CommitRequest, CommitResult, DataFile, DeltaTable, Snapshot } from "../lake/delta-table.ts";
import { dataFilePath } from "../lake/file-path.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import { openDeltaTable } from "../lake/open-delta-table.ts";
import { continueLog, examineLog, isDamage } from "../lake/repair-log.ts";
import { storeNowMs } from "../lake/store-clock.ts";
import type { TableCopy } from "../lake/table-copy.ts";
import type { EventLog } from "../log/event-log.ts";
import { type DamagedFile, damagedFile } from "./damaged-file.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import { building, heldTables, tableUnavailable } from "./held-tables.ts";
import { mendTable, streamOf, type Unavailable } from "./mend-table.ts";
import { mayLackFields, newHistoryText, STREAM_HISTORY } from "./stream-history.ts";
import { SHAPE, shapeDifferences, shapeText } from "./table-shape.ts";

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

export interface LakeTablesOptions {
  readonly clock: () => number;
  readonly retentionMs: number;
  /** Open, with the streams of the project: it says which events can be stored again. */
  readonly log: EventLog;
  /** A table that lacks more than this of bronze's files is built beside the flow. */
  readonly flushBytes: number;
  /** Present where other processes have the tables open as well. */
  readonly shared?: object;
}

export class LakeTables {
  readonly #store: ObjectStore;
  readonly #engine: SqlEngine;
  readonly #options: LakeTablesOptions;
  readonly #tables = new Map<string, LakeTable>();
  /** Tables that are damaged, and those that wait for one of them. */
  #held = new Map<string, Unavailable>();
  /** By key in the store. */
  readonly #damagedFiles = new Map<string, DamagedFile>();
  /**
   * Keys of files on their way into a table. By their age vacuum could take them for what a crash left, since a clock that
   * jumps makes any file old. One that never got into its table stays until the next start.
   */
  readonly #onTheirWay = new Set<string>();
  /** True when tables that are made now may get rows without what their definitions say is always there. */
  #nullable = false;
  readonly #listeners = new Set<(table: string, by: Committer, seconds?: number) => void>();
  /** Brings tables to the newest commits of other processes; undefined while there are none. */
  #refresh: ((tables: readonly string[]) => Promise<void>) | undefined;
  /** The end of the queue of works that want no file removed, or remove some. */
  #undisturbed: Promise<unknown> = Promise.resolve();

  private constructor(store: ObjectStore, engine: SqlEngine, options: LakeTablesOptions) {
    this.#options = options;
    this.#store = store;
    this.#engine = engine;
  }

  /**
   * Opens every table of the project, creating what is missing and adding columns that are new. One whose log is damaged is mended
   * where that loses and repeats nothing; otherwise it is unavailable, and the rest goes on.
   * @throws SCHEMA_CHANGE_REFUSED when a definition no longer fits what is stored; all such tables are listed.
   */
  static async open(
    store: ObjectStore,
    engine: SqlEngine,
    project: Project,
    options: LakeTablesOptions,
  ): Promise<LakeTables> {
    const lake = new LakeTables(store, engine, options);
    const damaged = new Map<string, Unavailable>();
    const refused: Refused[] = [];
    const { streams, tables } = project;
    type Wanted = readonly [string, readonly Column[], Table | undefined, Stream | undefined];
    const open = async (wanted: readonly Wanted[]) => {
      const all = await Promise.all(wanted.map((one) => lake.#open(...one)));
      for (const [i, opened] of all.entries()) {
        const [table, , definition, stream] = wanted[i] as Wanted;
        if ("delta" in opened) lake.#tables.set(table, opened);
        else if ("remedy" in opened) damaged.set(table, opened);
        else refused.push({ table, file: definition?.file ?? stream?.file ?? "", differences: opened.differences });
      }
    };
    // Each table's disk work is independent, and a new project has dozens of them.
    await open([...streams.values()].map((s) => [`bronze.${s.name}`, BRONZE_COLUMNS, undefined, s] as const));
    lake.#nullable = [...streams.values()].some((stream) => {
      const bronze = lake.#tables.get(`bronze.${stream.name}`);
      return bronze !== undefined && mayLackFields(bronze.snapshot.configuration, stream, options.log);
    });
    await open([...tables.values()].map((table) => [table.name, table.columns, table, undefined] as const));
    if (refused.length > 0) throw changeRefused(refused);
    lake.#held = heldTables(project, lake, options.log, damaged, options.flushBytes);
    return lake;
  }

  async #open(
    name: string,
    columns: readonly Column[],
    definition: Table | undefined,
    ofStream: Stream | undefined,
  ): Promise<LakeTable | Unavailable | { differences: readonly Difference[] }> {
    const location = name.replace(".", "/");
    const { clock, retentionMs, log } = this.#options;
    const stream = streamOf(definition, ofStream);
    const form = { ...formOf(definition, retentionMs, ofStream), columns, nowMs: clock(), shared: this.#isShared() };
    const open = () =>
      openOne(name, openDeltaTable(this.#store, location, { clock }), form, definition, this.#nullable);
    try {
      return await open();
    } catch (error) {
      if (!isDamage(error)) throw error;
      return (
        (await mendTable({ ...form, store: this.#store, location, log, stream, definition }, error)) ?? (await open())
      );
    }
  }

  #isShared(): boolean {
    return this.#options.shared !== undefined;
  }

  /** Why a table takes no events and answers no query; undefined for one that does. */
  held(name: string): Unavailable | undefined {
    return this.#held.get(name);
  }

  /** @throws TABLE_UNAVAILABLE when the table stands still. */
  check(name: string): void {
    const held = this.#held.get(name);
    if (held) throw tableUnavailable(name, held);
  }

  /** Every table that stands still, the damaged ones before those that wait for them. */
  unavailable(): ReadonlyMap<string, Unavailable> {
    return this.#held;
  }

  /** Puts an empty table in place of one that cannot be read, for it to be built anew. It stays held until `take`. */
  async restart(definition: Table): Promise<void> {
    const { name, columns } = definition;
    if (this.#tables.has(name)) return;
    const { clock, retentionMs } = this.#options;
    const location = name.replace(".", "/");
    const remains = await examineLog(this.#store, location);
    const form = { ...formOf(definition, retentionMs), columns, nowMs: clock(), shared: this.#isShared() };
    await continueLog(this.#store, location, { ...remains, state: undefined }, form);
    const delta = openDeltaTable(this.#store, location, { clock });
    const opened = await openOne(name, delta, form, definition, this.#nullable);
    if (!("delta" in opened)) throw new MillraceError("INTERNAL", { what: `starting ${name} anew` });
    this.#tables.set(name, opened);
  }

  /** Which tables stand still as things are now: other processes build, and store without tables they do not know. */
  heldNow(project: Project): Map<string, Unavailable> {
    const damaged = [...this.#held].filter(([, { waitsFor, builds }]) => waitsFor === undefined && !builds);
    const { log, flushBytes } = this.#options;
    return heldTables(project, this, log, new Map(damaged), flushBytes);
  }

  /** From now on these tables stand still, and no others. */
  holdOnly(held: Map<string, Unavailable>): void {
    this.#held = held;
  }

  /** From now on the table takes events again. */
  take(name: string): void {
    this.#held.delete(name);
  }

  /** From now on a table that stood still because of another one is being built. */
  build(table: AppendTable): void {
    this.#held.set(table.name, building(this, this.#options.log, table));
  }

  /** From now on a table that stood still because of its own files is being built, from where it is, and what waits for it with it. */
  buildOn(project: Project, table: AppendTable): void {
    const { log, flushBytes } = this.#options;
    const others = [...this.#held].filter(([name, { waitsFor }]) => waitsFor === undefined && name !== table.name);
    const held = heldTables(project, this, log, new Map(others), flushBytes);
    // However little it lacks: the flow is past it, and does not come back.
    const lacking = new Map([...others, [table.name, building(this, log, table)]]);
    this.#held = held.has(table.name) ? held : heldTables(project, this, log, lacking, flushBytes);
  }

  /** @throws TABLE_UNAVAILABLE; INTERNAL when there is no such table: names are resolved before they come here. */
  get(name: string): LakeTable {
    const table = this.#tables.get(name);
    const held = table ? undefined : this.#held.get(name);
    if (held) throw tableUnavailable(name, held);
    if (!table) throw new MillraceError("INTERNAL", { what: `looking up table ${name}` });
    return table;
  }

  has(name: string): boolean {
    return this.#tables.has(name);
  }

  names(): string[] {
    return [...this.#tables.keys()];
  }

  /** True where reading a file again may mean to fetch it again. */
  get isRemote(): boolean {
    return this.#store.remote;
  }

  /** CRC-32 of a data file as it is on the disk now. */
  checksum(table: LakeTable, file: DataFile): Promise<string> {
    return this.#store.checksum(`${table.delta.location}/${file.path}`);
  }

  /** Notes why a data file must not be read, or with `undefined` that it may. True when that is news. */
  mark(table: LakeTable, file: DataFile, reason: string | undefined): boolean {
    const key = `${table.delta.location}/${file.path}`;
    const known = this.#damagedFiles.has(key);
    if (reason === undefined) this.#damagedFiles.delete(key);
    else this.#damagedFiles.set(key, damagedFile(table, file, reason));
    return known !== (reason !== undefined);
  }

  /** Data files that must not be read, and that their tables still have. */
  damagedFiles(): DamagedFile[] {
    return [...this.#damagedFiles.values()].filter(({ table, file }) => {
      const { delta, snapshot } = this.get(table);
      return snapshot.files.some(({ path }) => file === `lake/${delta.location}/${path}`);
    });
  }

  isDamaged(table: LakeTable, file: DataFile): boolean {
    return this.#damagedFiles.has(`${table.delta.location}/${file.path}`);
  }

  /** From now on the table and what waits for it stand still. */
  hold(project: Project, name: string, reason: Unavailable): void {
    const damaged = new Map([...this.#held].filter(([, { waitsFor }]) => waitsFor === undefined));
    const { log, flushBytes } = this.#options;
    this.#held = heldTables(project, this, log, damaged.set(name, reason), flushBytes);
  }

  /**
   * The files of a snapshot (the newest unless given), or some of them, as an engine reads them.
   * @throws DATA_FILE_DAMAGED when one of them is known not to be what was written
   */
  relation(table: LakeTable, snapshot: Snapshot = table.snapshot, files = snapshot.files): Relation {
    if (this.#damagedFiles.size > 0) {
      const bad = files.find((file) => this.isDamaged(table, file));
      const known = bad && this.#damagedFiles.get(`${table.delta.location}/${bad.path}`);
      if (known) throw new MillraceError("DATA_FILE_DAMAGED", { ...known }, { details: known });
    }
    return {
      kind: "files",
      columns: snapshot.columns,
      files: files.map((file) => {
        const store = this.#store;
        const key = `${table.delta.location}/${file.path}`;
        const { partition, stats, sizeBytes } = file;
        return {
          path: store.localPath(key),
          // Few engines ask for it, and a query may have thousands of files.
          get uri() {
            return store.uri(key);
          },
          ...{ partition, rowCount: stats?.rowCount, sizeBytes },
        };
      }),
    };
  }

  /**
   * Runs a statement and stores its rows as files of the table, durable but not yet part of it. `engine`: who computes it, when it is
   * not the embedded one.
   */
  async write(
    table: LakeTable,
    statement: Statement,
    options: RunOptions & { readonly engine?: SqlEngine | undefined } = {},
  ): Promise<DataFile[]> {
    const keys = new Map<string, string>();
    let written: WrittenFile[] = [];
    try {
      written = await (options.engine ?? this.#engine).write(
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
    } finally {
      // A statement without rows, or one that failed, leaves no file; remembering each for ever would add up.
      const there = new Set(written.map(({ path }) => path));
      for (const [path, file] of keys) {
        if (!there.has(path)) this.#onTheirWay.delete(`${table.delta.location}/${file}`);
      }
    }
    return Promise.all(
      written.map(async ({ path, partition, stats }) => {
        const file = keys.get(path);
        if (file === undefined) throw new MillraceError("INTERNAL", { what: `placing file ${path}` });
        const key = `${table.delta.location}/${file}`;
        const { sizeBytes, modifiedAtMs, checksum } = await this.#store.publish(key);
        return { path: file, sizeBytes, modifiedAtMs, partition, stats, checksum };
      }),
    );
  }

  /** Lets vacuum take files that were written and shall not be committed after all. */
  forget(table: LakeTable, files: readonly DataFile[]): void {
    for (const { path } of files) this.#onTheirWay.delete(`${table.delta.location}/${path}`);
  }

  /**
   * Removes what no version within the retention time needs: data files (also those a crash left behind) and old entries of the
   * tables' logs. Returns how many of each.
   */
  vacuum(retentionMs: number, ownNowMs: number): Promise<{ files: number; entries: number }> {
    return this.undisturbed(async () => {
      const removed = { files: 0, entries: 0 };
      const failures: unknown[] = [];
      await this.#refresh?.(this.names());
      // What other processes are writing is told by its age alone, and that by one clock.
      const nowMs = this.#isShared() ? await storeNowMs(this.#store) : ownNowMs;
      const others = this.#isShared() ? { nowMs, orphansForMs: OTHERS_ORPHANS_MS } : {};
      for (const { delta } of this.#tables.values()) {
        const keep = (path: string) => this.#onTheirWay.has(`${delta.location}/${path}`);
        try {
          removed.files += (await delta.vacuum({ retentionMs, keep, ...others })).length;
          removed.entries += (await cleanLog(this.#store, delta.location, { retentionMs, nowMs })).length;
        } catch (error) {
          // One table that refuses must not let all others grow.
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
      return removed;
    });
  }

  /** Does work while nothing is removed from the lake: one such work after the other. */
  undisturbed<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#undisturbed.then(work);
    this.#undisturbed = done.catch(() => undefined); // whoever asked for this one is told; the next does not care
    return done;
  }

  /**
   * Every table of the project at one moment: what a table was computed from is there with it, in that version or a newer one.
   * Nothing is waited for, so whoever asks for the log's ends in the same breath has all that these tables hold.
   */
  copies(): TableCopy[] {
    return [...this.#tables.values()].flatMap(({ delta }) => delta.copy() ?? []);
  }

  /** Tables in the store that no definition names any more. Nobody commits to them. */
  async formerCopies(): Promise<TableCopy[]> {
    const known = new Set([...this.#tables.values()].map(({ delta }) => delta.location));
    const keys = (await this.#store.list("")).map(({ key }) => key);
    const all = new Set(keys.flatMap((key) => /^(.*)\/_delta_log\//.exec(key)?.[1] ?? []));
    const copies: TableCopy[] = [];
    for (const location of all) {
      if (known.has(location)) continue;
      const delta = openDeltaTable(this.#store, location);
      await delta.snapshot();
      copies.push(...[delta.copy() ?? []].flat());
    }
    return copies;
  }

  /**
   * Calls `listener` with a table's name after each of its commits, those of other processes as soon as they are known, and with the seconds
   * that one of this process took. Returns what ends it.
   */
  onCommit(listener: (table: string, by: Committer, seconds?: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Waits for what tables still do in the background. */
  async close(): Promise<void> {
    await Promise.all([...this.#tables.values()].map(({ delta }) => delta.close()));
  }

  /** From now on other processes commit as well: a conflict means that there is more to know than this table's newest state. */
  share(refresh: (tables: readonly string[]) => Promise<void>): void {
    this.#refresh = refresh;
  }

  /** Takes in newer states, all at the same moment. Resolves to the tables that moved on. */
  renew(snapshots: ReadonlyMap<string, Snapshot>): string[] {
    const moved = [...snapshots].flatMap(([name, snapshot]) => {
      const table = this.#tables.get(name);
      return table && moveOn(table, snapshot) ? [name] : [];
    });
    for (const table of moved) for (const listener of this.#listeners) listener(table, "others");
    return moved;
  }

  /** Commits and, when that succeeded, makes the new state the table's snapshot. */
  async commit(table: LakeTable, request: CommitRequest): Promise<CommitResult> {
    const startedMs = performance.now();
    const result = await table.delta.commit(request);
    if (result.kind === "conflict" && this.#refresh) await this.#refresh([table.name]);
    else {
      const snapshot = await table.delta.snapshot(result.kind === "committed" ? { cached: true } : undefined);
      if (snapshot) moveOn(table, snapshot);
    }
    for (const { path } of request.add ?? []) this.#onTheirWay.delete(`${table.delta.location}/${path}`);
    if (result.kind === "committed") {
      const seconds = (performance.now() - startedMs) / 1000;
      for (const listener of this.#listeners) listener(table.name, "us", seconds);
    }
    return result;
  }
}

/** Who made a commit: this process, or another one. */
export type Committer = "us" | "others";

/** A table's state never goes back: of two answers the one asked for first may come last. */
function moveOn(table: LakeTable, snapshot: Snapshot): boolean {
  if (snapshot.version <= table.snapshot.version) return false;
  table.snapshot = snapshot;
  return true;
}

/** No replay of another process, whose files are committed in the end, takes this long. */
const OTHERS_ORPHANS_MS = 2 * 86_400_000;

/** For how long a table remembers the files it no longer has. */
const REMEMBERS = "delta.deletedFileRetentionDuration";

/** Why a definition cannot follow what is stored. */
type Difference = { readonly path: string; readonly message: string };

interface Refused {
  readonly table: string;
  readonly file: string;
  readonly differences: readonly Difference[];
}

function changeRefused(refused: readonly Refused[]): MillraceError {
  const told = refused
    .toSorted((a, b) => (a.table < b.table ? -1 : 1))
    .map(
      ({ table, file, differences }) =>
        `${table}${file === "" ? "" : ` (${file})`}: ${differences.map(({ message }) => message).join(". ")}`,
    );
  return new MillraceError("SCHEMA_CHANGE_REFUSED", { tables: told.join("\n  ") }, { details: refused });
}

type Form = ReturnType<typeof formOf> & { readonly columns: readonly Column[]; readonly shared: boolean };

/**
 * Creates or widens one table; what it cannot become is returned. Other processes may be about to do the same: who comes second looks at what
 * there is by then.
 */
async function openOne(
  name: string,
  delta: DeltaTable,
  form: Form,
  definition: Table | undefined,
  nullable: boolean,
): Promise<LakeTable | { differences: readonly Difference[] }> {
  const { partitionColumns } = form;
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    await giveWay(attempt);
    const snapshot = await delta.snapshot();
    const wanted = snapshot === undefined ? creation(form, definition, nullable) : widening(snapshot, form, definition);
    if (wanted !== undefined && "differences" in wanted) return wanted;
    if (wanted === undefined && snapshot) {
      return { name, delta, columns: snapshot.columns, partitionColumns, definition, snapshot };
    }
    if (wanted !== undefined) await delta.commit(wanted); // whatever came of it, the next look tells
  }
  throw new MillraceError("COMMIT_CONFLICT", { table: name });
}

function creation(
  { columns, partitionColumns, configuration }: Form,
  definition: Table | undefined,
  nullable: boolean,
) {
  const own = new Set<string>(META_COLUMNS.map((column) => column.name));
  const relaxed = columns.map((column) => (own.has(column.name) ? column : { ...column, nullable: true }));
  return {
    ...{ operation: "CREATE", readVersion: -1, configuration },
    schema: { columns: nullable && definition ? relaxed : columns, partitionColumns },
  };
}

/** The commit that makes a table what its definition says; undefined when it is that already. */
function widening(
  snapshot: Snapshot,
  { columns, partitionColumns, configuration, shared }: Form,
  definition: Table | undefined,
): CommitRequest | { differences: readonly Difference[] } | undefined {
  const shape = definition ? shapeDifferences(snapshot, definition) : [];
  if (shape.length > 0) return { differences: shape };
  // A worker with a newer definition has added what this one does not know: its own rows have nothing there.
  const known = new Set(columns.map((column) => column.name));
  const newer = shared ? snapshot.columns.filter((column) => column.nullable && !known.has(column.name)) : [];
  const change = compareColumns(snapshot.columns, [...columns, ...newer]);
  if (change.kind === "incompatible") return { differences: change.differences };
  const [stored, wanted] = [snapshot.partitionColumns, partitionColumns].map((names) => names.join(", ") || "nothing");
  if (stored !== wanted) {
    const message =
      `its files are divided by ${stored}, and its definition now wants ${wanted} (partitionBy); put that back, or give the ` +
      "table a new name: it is then built from all events there are";
    return { differences: [{ path: "partitionBy", message }] };
  }
  // A table remembers removed files by its own property: unless it follows the setting, a longer one cannot be kept.
  const follows = Object.entries(configuration).filter(
    ([key, value]) => (key === REMEMBERS || key === SHAPE) && snapshot.configuration[key] !== value,
  );
  if (change.kind !== "additive" && follows.length === 0) return undefined;
  return {
    operation: "ALTER",
    readVersion: snapshot.version,
    ...(change.kind === "additive" && { schema: { columns: change.columns, partitionColumns } }),
    ...(follows.length > 0 && { configuration: Object.fromEntries(follows) }),
  };
}

/** What a new table is given beside its columns. */
function formOf(definition: Table | undefined, retentionMs: number, stream?: Stream) {
  return {
    partitionColumns: Object.keys(definition?.partitionBy ?? {}),
    configuration: {
      [REMEMBERS]: `interval ${retentionMs} milliseconds`,
      ...(definition && { "millrace.definition": definitionHash(definition), [SHAPE]: shapeText(definition) }),
      ...(stream && { [STREAM_HISTORY]: newHistoryText(stream) }),
    } as Record<string, string>,
  };
}

/** Changes when what the table computes changes, so that a stored result of an older definition is recomputed. */
export function definitionHash(table: Table): string {
  const essence: unknown[] = [table.sql, table.mode === "refresh" ? table.by : null, table.partitionBy];
  if (table.geoDatabase !== undefined) essence.push(table.geoDatabase);
  if (table.functions !== undefined) essence.push(table.functions);
  if (table.spark !== undefined) essence.push({ spark: table.spark });
  return createHash("sha256").update(JSON.stringify(essence)).digest("hex").slice(0, 16);
}
