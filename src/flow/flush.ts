/**
 * From staged events to the lake, exactly once: the rows of a chunk are written as Parquet files, and each table takes its
 * files together with its new progress in one atomic commit. A crash in between leaves files no table knows of, which vacuum
 * removes; tables that had committed are skipped when the chunk is staged and flushed again.
 */
import type { AppendTable, Project, Stream } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import type { LocalSql, Relation, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile, Snapshot } from "../lake/delta-table.ts";
import { pruneFiles } from "../lake/prune.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { latestPerKey } from "./merge.ts";
import { advance, type Counts, committedTo } from "./progress.ts";
import { isStreamItself } from "./relations.ts";
import type { Chunk } from "./staged-events.ts";
import type { Staging } from "./staging.ts";

export interface FlushOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly local: LocalSql;
}

/** Stores a sealed chunk in bronze and in every append table of its stream. Resolves when all have committed. */
export async function flushChunk(o: FlushOptions, stream: Stream, staging: Staging, chunk: Chunk): Promise<string[]> {
  const tables = [...o.project.tables.values()].filter(
    (table): table is AppendTable =>
      table.mode === "append" && table.stream === stream.name && !o.lake.held(table.name),
  );
  await Promise.all([
    flushBronze(o, stream, staging, chunk),
    ...tables.map((table) => flushTable(o, table, staging, chunk)),
  ]);
  return [`bronze.${stream.name}`, ...tables.map((table) => table.name)];
}

async function flushBronze(o: FlushOptions, stream: Stream, staging: Staging, chunk: Chunk): Promise<void> {
  const table = o.lake.get(`bronze.${stream.name}`);
  await commitRange(o, table, [stream.name, staging.partition, chunk, new Map()], async (from, to) => ({
    statement: native(chunk.bronzeSql(from, to)),
    counts: { stored: to - from + 1, duplicate: 0, filtered: 0, dead: 0 },
    remove: [],
  }));
}

/** What a commit of events is made of. */
interface Made {
  readonly statement: Statement;
  readonly counts: Counts;
  readonly remove: readonly DataFile[];
  /** True for files that would have been rewritten as well, had they been there. */
  readonly dependsOn?: (added: DataFile) => boolean;
}

/** Stores what an append table lacks of a sealed chunk; `settled` goes into the same commit. */
export async function flushTable(
  o: FlushOptions,
  definition: AppendTable,
  staging: Pick<Staging, "partition">,
  chunk: Chunk,
  settled: ReadonlyMap<string, number> = new Map(),
): Promise<void> {
  const table = o.lake.get(definition.name);
  const itself = isStreamItself(definition);
  const place = [definition.stream, staging.partition, chunk, settled] as const;
  await commitRange(o, table, place, async (from, to, snapshot) => {
    const range = `_offset between ${from} and ${to}`;
    const rows = itself ? chunk.eventsSql(from, to) : `select * from ${chunk.table(definition.name)} where ${range}`;
    const counts = await countFates(o, definition, chunk, from, to, itself);
    if (definition.key.length === 0) return { statement: native(rows), counts, remove: [] };
    const changes = `select * from ${chunk.table(definition.name)} where ${range}`;
    const withKeys = await keysOf(o.local, definition, changes);
    const touched = withKeys(snapshot.files);
    const stored = o.lake.relation(table, snapshot, touched);
    return {
      statement: latestPerKey(definition, stored, { kind: "native", sql: changes }),
      ...{ counts, remove: touched },
      dependsOn: (file) => withKeys([file]).length > 0,
    };
  });
}

/** Writes and commits what a table lacks of a chunk. */
async function commitRange(
  o: FlushOptions,
  table: LakeTable,
  [stream, partition, chunk, settled]: readonly [string, number, Chunk, ReadonlyMap<string, number>],
  make: (from: number, to: number, snapshot: Snapshot) => Promise<Made>,
): Promise<void> {
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    await giveWay(attempt);
    const { snapshot } = table;
    const from = committedTo(snapshot, stream, partition) + 1;
    // It lacks events before these, since somebody put it back: it stands still until they are built.
    if (from < chunk.from) return;
    if (from > chunk.to) return;
    const { statement, counts, remove, dependsOn } = await make(from, chunk.to, snapshot);
    const add = counts.stored === 0 && remove.length === 0 ? [] : await o.lake.write(table, statement);
    const result = await o.lake.commit(table, {
      operation: table.definition?.mode === "append" && table.definition.key.length > 0 ? "MERGE" : "FLUSH",
      readVersion: snapshot.version,
      add,
      remove: remove.map((file) => file.path),
      txn: new Map([...advance(snapshot, stream, partition, chunk.to, counts), ...settled]),
      info: { millrace: { stream, partition, from, to: chunk.to, ...counts } },
      ...(dependsOn && { dependsOn }),
    });
    if (result.kind === "committed") return;
  }
  throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
}

/** What became of the events `from..to` on their way to a table; the four add up to their number. */
export async function countFates(
  o: Pick<FlushOptions, "local">,
  table: AppendTable,
  chunk: Chunk,
  from: number,
  to: number,
  itself: boolean,
): Promise<Counts> {
  const within = (offset: number) => offset >= from && offset <= to;
  const range = `_offset between ${from} and ${to}`;
  const [{ duplicate } = { duplicate: 0 }] =
    chunk.duplicates === 0
      ? []
      : await o.local.rows(
          `select count(*)::double as duplicate from ${chunk.duplicateTable}
           where r between ${from - chunk.from} and ${to - chunk.from}`,
        );
  const dead = [...chunk.faults, ...(chunk.deadLettered.get(table.name) ?? [])].filter(within).length;
  const accepted = to - from + 1;
  if (itself) return { stored: accepted - Number(duplicate) - dead, duplicate: Number(duplicate), filtered: 0, dead };
  const [{ stored } = { stored: 0 }] = await o.local.rows(
    `select count(distinct _offset)::double as stored from ${chunk.table(table.name)} where ${range}`,
  );
  const filtered = accepted - Number(duplicate) - dead - Number(stored);
  return { stored: Number(stored), duplicate: Number(duplicate), filtered, dead };
}

/** Picks the files whose statistics leave room for a key among the changes. */
export async function keysOf(
  local: LocalSql,
  table: AppendTable,
  changes: string,
): Promise<(files: readonly DataFile[]) => readonly DataFile[]> {
  const all = (files: readonly DataFile[]) => files;
  const [key] = table.key;
  const type = table.columns.find((column) => column.name === key)?.type.kind;
  if (key === undefined || (type !== "string" && type !== "long" && type !== "integer")) return all;
  const name = quoteIdentifier(key);
  const cast = type === "string" ? name : `${name}::double`;
  const [bounds] = await local.rows(
    `select min(${cast}) as lowest, max(${cast}) as highest, count(*) filter (${name} is null)::double as nulls from (${changes})`,
  );
  if (!bounds || bounds["lowest"] === null || Number(bounds["nulls"]) > 0) return all;
  const within = [
    { column: key, op: ">=", value: bounds["lowest"] },
    { column: key, op: "<=", value: bounds["highest"] },
  ] as const;
  return (files) => pruneFiles(files, within);
}

function native(sql: string): Statement {
  return { sql: "select * from staged", inputs: new Map<string, Relation>([["staged", { kind: "native", sql }]]) };
}
