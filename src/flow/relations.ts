/**
 * What a name in SQL stands for right now: the committed snapshot of a table and, above it, every event that has been
 * acknowledged since, in one consistent picture. This is what makes a query see all that was acknowledged before it began
 * while flushes stay large and rare.
 */

import { didYouMean } from "../define/nearest.ts";
import type { AppendTable, Column, Project, RefreshTable, Stream, Table } from "../define/project.ts";
import { BRONZE_COLUMNS, META_COLUMNS } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import { jsonStructure } from "../define/types.ts";
import type { Relation, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { Snapshot } from "../lake/delta-table.ts";
import { type Predicate, pruneFiles } from "../lake/prune.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { latestPerKey } from "./merge.ts";
import { committedTo } from "./progress.ts";
import type { Chunk } from "./staged-events.ts";
import { requiredPresent, type Staging } from "./staging.ts";

/** One reference of a statement. */
export interface Reference {
  readonly name: string;
  /** An older state instead of the newest. */
  readonly at?: { readonly version: number } | { readonly timestampMs: number };
  /** Conditions every row the statement uses must meet: files that cannot hold such rows are left out. */
  readonly predicates?: readonly Predicate[];
}

export interface Resolved {
  /** What the references stand for, in their order. */
  readonly relations: readonly Relation[];
  /** The same by name, for statements that refer to each name once. */
  readonly inputs: Map<string, Relation>;
  /** Must be called once the statement has been read to its end. */
  release(): void;
}

/** Gives the rows a refreshed table has when everything a picture shows is worked in. */
export interface CurrentRows {
  current(table: RefreshTable, picture: Picture): Promise<Relation>;
}

/** A relation that is computed from others and from the platform's own counts each time it is read. */
export interface VirtualTable {
  readonly columns: readonly Column[];
  readonly inputs: readonly string[];
  /** True where it tells of all tables and of the whole log beside its inputs. */
  readonly ofEverything?: boolean;
  relation(picture: Picture): Promise<Relation>;
}

/** Which events a picture shows: all that are acknowledged, or those in committed snapshots. */
export type Reach = "acknowledged" | "committed";

export interface RelationsOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly stagings: ReadonlyMap<string, readonly Staging[]>;
  /** Relations that are computed rather than stored, by name. */
  readonly virtual: ReadonlyMap<string, VirtualTable>;
  /** Loads the streams' acknowledged events; resolves when everything acknowledged before the call is staged. */
  readonly load: (streams: ReadonlySet<string>) => Promise<void>;
  /**
   * Brings what this process knows of tables and streams up to what other processes did before the call; undefined while it works alone. For
   * pictures of committed rows no stream is asked for.
   */
  readonly bring?: ((names: readonly string[], streams: ReadonlySet<string>) => Promise<void>) | undefined;
}

export class Relations {
  readonly #o: RelationsOptions;
  #refresher: CurrentRows | undefined;

  constructor(options: RelationsOptions) {
    this.#o = options;
  }

  /** The refresher needs relations and relations need it; the composition root joins them once. */
  use(refresher: CurrentRows): void {
    this.#refresher = refresher;
  }

  /** Every name a statement may use. */
  names(): string[] {
    const { project, lake, virtual } = this.#o;
    return [...new Set([...project.streams.keys(), ...lake.names(), ...lake.unavailable().keys(), ...virtual.keys()])];
  }

  /** Columns as queries see them; undefined for a name that is not there. */
  columns(name: string): readonly Column[] | undefined {
    const stream = this.#o.project.streams.get(name);
    if (stream) return [...stream.columns, ...META_COLUMNS];
    const computed = this.#o.virtual.get(name);
    if (computed) return computed.columns;
    if (this.#o.lake.has(name)) return this.#o.lake.get(name).columns;
    if (!this.#o.lake.held(name)) return undefined;
    return this.#o.project.tables.get(name)?.columns ?? BRONZE_COLUMNS;
  }

  /** @throws TABLE_UNKNOWN, DELTA_VERSION_GONE */
  async resolve(references: readonly Reference[], reach: Reach): Promise<Resolved> {
    const names = references.map(({ name }) => name);
    const streams = reach === "acknowledged" ? this.#streamsBehind(names) : NO_STREAMS;
    if (this.#o.bring) await this.#o.bring(names, streams);
    if (reach === "acknowledged") await this.#o.load(streams);
    const picture = new Picture(this.#o, this.#refresher, reach);
    try {
      const relations: Relation[] = [];
      for (const reference of references) relations.push(await picture.relation(reference));
      const inputs = new Map(references.map(({ name }, i) => [name, relations[i] as Relation]));
      return { relations, inputs, release: () => picture.release() };
    } catch (error) {
      picture.release();
      throw error;
    }
  }

  #streamsBehind(names: readonly string[]): Set<string> {
    const found = new Set<string>();
    const visit = (name: string) => {
      const bronze = /^bronze\.(.+)$/.exec(name);
      const stream = bronze?.[1] ?? name;
      if (this.#o.project.streams.has(stream)) found.add(stream);
      else (this.#o.virtual.get(name) ?? this.#o.project.tables.get(name))?.inputs.forEach(visit);
    };
    for (const name of names) visit(name);
    return found;
  }
}

const NO_STREAMS: ReadonlySet<string> = new Set();

/** One consistent picture: snapshots and staged chunks are taken at its beginning and held until it is released. */
export class Picture {
  readonly #o: RelationsOptions;
  readonly #refresher: CurrentRows | undefined;
  readonly #reach: Reach;
  readonly #memo = new Map<string, Promise<Relation>>();
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #staged = new Map<string, { chunk: Chunk; to: number }[]>();
  /** By stream and partition the first offset that is staged or will be. */
  readonly #stagedFrom = new Map<string, readonly number[]>();
  readonly #pins: (() => void)[] = [];

  constructor(options: RelationsOptions, refresher: CurrentRows | undefined, reach: Reach) {
    this.#o = options;
    this.#refresher = refresher;
    this.#reach = reach;
    // No await between these lines: a flush that commits meanwhile would show its events twice or not at all.
    for (const name of options.lake.names()) this.#snapshots.set(name, options.lake.get(name).snapshot);
    if (reach === "committed") return;
    for (const [stream, stagings] of options.stagings) {
      const held = stagings.flatMap((staging) => staging.chunks.map((chunk) => ({ chunk, to: chunk.to })));
      for (const { chunk } of held) this.#pins.push(chunk.pin());
      this.#staged.set(stream, held);
      this.#stagedFrom.set(
        stream,
        stagings.map((staging) => staging.chunks[0]?.from ?? staging.end),
      );
    }
  }

  get showsStaged(): boolean {
    return this.#reach === "acknowledged";
  }

  /** Does something when the picture is no longer read. */
  onRelease(done: () => void): void {
    this.#pins.push(done);
  }

  release(): void {
    for (const unpin of this.#pins.splice(0)) unpin();
  }

  /** @throws TABLE_UNAVAILABLE, which what is computed from the table passes on. */
  snapshot(name: string): Snapshot {
    this.#o.lake.check(name);
    return this.#snapshots.get(name) ?? this.#o.lake.get(name).snapshot;
  }

  async relation({ name, at, predicates = [] }: Reference): Promise<Relation> {
    if (at === undefined) this.#o.lake.check(name);
    if (at !== undefined) return this.#past(name, at);
    if (predicates.length > 0) return this.#make(name, predicates);
    const known = this.#memo.get(name) ?? this.#make(name, predicates);
    this.#memo.set(name, known);
    return known;
  }

  /** An append table's own rows, also where a computed relation stands under its name. */
  stored(name: string): Relation {
    const table = this.#o.project.tables.get(name);
    if (table?.mode !== "append") throw this.#unknown(name);
    return this.#appendRelation(table, []);
  }

  async #past(name: string, at: NonNullable<Reference["at"]>): Promise<Relation> {
    if (!this.#o.lake.has(name)) throw this.#unknown(name);
    const table = this.#o.lake.get(name);
    const snapshot = await table.delta.snapshot(at);
    return this.#o.lake.relation(table, snapshot ?? table.snapshot);
  }

  async #make(name: string, predicates: readonly Predicate[]): Promise<Relation> {
    const { project, virtual, lake } = this.#o;
    const computed = virtual.get(name);
    if (computed) return computed.relation(this);
    const stream = project.streams.get(name);
    if (stream) return this.#streamRelation(stream, predicates);
    const table = project.tables.get(name);
    if (table?.mode === "refresh") return this.#refreshRelation(table, predicates);
    if (table) return this.#appendRelation(table, predicates);
    if (lake.has(name)) return this.#bronzeRelation(name, predicates);
    throw this.#unknown(name);
  }

  #unknown(name: string): MillraceError {
    const { project, lake, virtual } = this.#o;
    return unknownTable(name, [...project.streams.keys(), ...lake.names(), ...virtual.keys()]);
  }

  #files(table: LakeTable, predicates: readonly Predicate[]): Relation {
    const snapshot = this.snapshot(table.name);
    return this.#o.lake.relation(table, snapshot, pruneFiles(snapshot.files, predicates));
  }

  /** Staged rows above what a table's snapshot reflects, as SQL, one statement per chunk. */
  stagedSql(table: string, stream: string, select: (chunk: Chunk, from: number, to: number) => string): string[] {
    const snapshot = this.snapshot(table);
    for (const [partition, from] of (this.#stagedFrom.get(stream) ?? []).entries()) {
      const stored = committedTo(snapshot, stream, partition);
      if (stored + 1 >= from) continue;
      // Rather no answer than one that lacks events.
      const what = `reading ${table} at offset ${stored + 1} of ${stream}/${partition}, where staging begins at ${from},`;
      throw new MillraceError("INTERNAL", { what });
    }
    const parts: string[] = [];
    for (const { chunk, to } of this.#staged.get(stream) ?? []) {
      const from = Math.max(chunk.from, committedTo(snapshot, stream, chunk.partition) + 1);
      if (from <= to) parts.push(select(chunk, from, to));
    }
    return parts;
  }

  #bronzeRelation(name: string, predicates: readonly Predicate[]): Relation {
    const stream = name.slice("bronze.".length);
    const staged = this.stagedSql(name, stream, (chunk, from, to) => chunk.bronzeSql(from, to));
    return union(this.#files(this.#o.lake.get(name), predicates), staged);
  }

  /** The stream by its own name: its plain silver table where it has one, else bronze parsed anew. */
  async #streamRelation(stream: Stream, predicates: readonly Predicate[]): Promise<Relation> {
    const source = this.#o.project.tables.get(sourceTable(this.#o.project, stream.name));
    if (source?.mode === "append") return this.#appendRelation(source, predicates);
    const bronze = `bronze.${stream.name}`;
    const files = this.#files(this.#o.lake.get(bronze), []);
    const staged = this.stagedSql(bronze, stream.name, (chunk, from, to) => chunk.eventsSql(from, to));
    return union({ kind: "view", statement: parseBronze(stream, files) }, staged);
  }

  #appendRelation(table: AppendTable, predicates: readonly Predicate[]): Relation {
    this.#o.lake.check(table.name);
    const lakeTable = this.#o.lake.get(table.name);
    const staged = this.stagedSql(table.name, table.stream, (chunk, from, to) =>
      isStreamItself(table)
        ? chunk.eventsSql(from, to)
        : `select * from ${chunk.table(table.name)} where _offset between ${from} and ${to}`,
    );
    // A newer row may lie outside the predicates that its key's stored row meets, so keyed tables are not pruned.
    if (table.key.length === 0) return union(this.#files(lakeTable, predicates), staged);
    const files = this.#files(lakeTable, staged.length === 0 ? predicates : []);
    if (staged.length === 0) return files;
    return {
      kind: "view",
      statement: latestPerKey(table, files, { kind: "native", sql: staged.join(" union all by name ") }),
    };
  }

  async #refreshRelation(table: RefreshTable, predicates: readonly Predicate[]): Promise<Relation> {
    if (this.#reach === "committed" || !this.#refresher) return this.#files(this.#o.lake.get(table.name), predicates);
    return this.#refresher.current(table, this);
  }

  /** Statements that give the rows of an input which no committed snapshot holds yet. */
  stagedRows(input: string): string[] {
    const table = this.#o.project.tables.get(input);
    if (table?.mode !== "append") {
      const stream = this.#o.project.streams.get(input);
      if (!stream) return [];
      return this.stagedSql(sourceTable(this.#o.project, input), input, (chunk, from, to) => chunk.eventsSql(from, to));
    }
    return this.stagedSql(table.name, table.stream, (chunk, from, to) =>
      isStreamItself(table)
        ? chunk.eventsSql(from, to)
        : `select * from ${chunk.table(table.name)} where _offset between ${from} and ${to}`,
    );
  }
}

/** Names the nearest of what there is. */
export function unknownTable(name: string, known: Iterable<string>): MillraceError {
  return new MillraceError("TABLE_UNKNOWN", { table: name, nearest: didYouMean(name, known) });
}

/** The stored table behind a name that SQL may use: a stream's own rows are in a table that is the stream itself, or in bronze. */
export function sourceTable(project: Pick<Project, "streams" | "tables">, name: string): string {
  if (!project.streams.has(name)) return name;
  const same = [...project.tables.values()].find(
    (table) => table.mode === "append" && table.stream === name && isStreamItself(table),
  );
  return same?.name ?? `bronze.${name}`;
}

/** True for a table that stores the stream as it is, so that staged events serve as its staged rows. */
export function isStreamItself(table: Table): boolean {
  return (
    table.mode === "append" &&
    table.key.length === 0 &&
    Object.keys(table.checks).length === 0 &&
    Object.keys(table.partitionBy).length === 0 &&
    table.driver === table.stream &&
    /^\s*select\s+\*\s+from\s+"?\w+"?\s*$/i.test(table.sql)
  );
}

/** A stream's events from bronze: parsed, without second arrivals and without what could not be parsed. */
export function parseBronze(stream: Stream, bronze: Relation): Statement {
  const meta = META_COLUMNS.map((column) => column.name).join(", ");
  const parsed = `select unnest(from_json(payload, ${quoteLiteral(jsonStructure(stream.columns))})), ${meta}
    from bronze where _duplicate_of is null`;
  return {
    sql: `select * from (${parsed}) where ${requiredPresent(stream, "_offset", "_partition")}`,
    inputs: new Map([["bronze", bronze]]),
  };
}

function union(stored: Relation, staged: readonly string[]): Relation {
  if (staged.length === 0) return stored;
  const inputs = new Map<string, Relation>([["stored", stored]]);
  const parts = ["select * from stored"];
  staged.forEach((sql, i) => {
    inputs.set(`staged_${i}`, { kind: "native", sql });
    parts.push(`select * from staged_${i}`);
  });
  return { kind: "view", statement: { sql: parts.join(" union all by name "), inputs } };
}
