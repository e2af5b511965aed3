/**
 * Rebuilds a table from bronze as its definition is now, and swaps the new rows in with one commit. The stream's flushes wait
 * meanwhile, its events do not: they are acknowledged and visible all along.
 */
import type { AppendTable, Project } from "../define/project.ts";
import type { Relation, RunOptions, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { LakeTables } from "./lake-tables.ts";
import { latestPerKey } from "./merge.ts";
import { committedTo } from "./progress.ts";
import { isStreamItself, parseBronze } from "./relations.ts";
import { type ReplayedParts, settleReplayed } from "./replayed-letters.ts";
import { shaped } from "./shaped.ts";

export interface ReplayOptions extends ReplayedParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly partitions: number;
}

/** Resolves to the table's new version. The caller keeps flushes of the stream away. */
export async function replayTable(o: ReplayOptions, table: AppendTable, run: RunOptions = {}): Promise<number> {
  const lakeTable = o.lake.get(table.name);
  const bronze = o.lake.get(`bronze.${table.stream}`).snapshot;
  const lookups = table.inputs.filter((name) => name !== table.driver).map((name) => ({ name }));
  const { inputs, release } = await o.relations.resolve(lookups, "committed");
  try {
    const rows = await rowsFromBronze(o, table, inputs);
    const passed = withoutFailed(table, rows);
    const txn = new Map<string, number>();
    for (let partition = 0; partition < o.partitions; partition++) {
      await addCounts(o, table, rows, passed, partition, txn, committedTo(bronze, table.stream, partition));
    }
    const to = Array.from({ length: o.partitions }, (_, p) => committedTo(bronze, table.stream, p));
    const events = o.lake.relation(o.lake.get(`bronze.${table.stream}`));
    const settlement = await settleReplayed(o, table, { computed: rows, passed, bronze: events, to });
    for (const [name, mark] of settlement.txn) txn.set(name, mark);
    const statement = table.key.length === 0 ? passed : newestOnly(table, passed);
    const add = await o.lake.write(lakeTable, statement, run);
    const result = await o.lake.commit(lakeTable, {
      operation: "REPLAY",
      readVersion: lakeTable.snapshot.version,
      add,
      remove: lakeTable.snapshot.files.map((file) => file.path),
      txn,
    });
    if (result.kind !== "committed") throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
    await settlement.finish();
    return result.version;
  } finally {
    release();
  }
}

async function rowsFromBronze(
  o: ReplayOptions,
  table: AppendTable,
  lookups: Map<string, Relation>,
): Promise<Statement> {
  const stream = o.project.streams.get(table.stream);
  if (!stream) throw new MillraceError("INTERNAL", { what: `replaying ${table.name}` });
  const events = parseBronze(stream, o.lake.relation(o.lake.get(`bronze.${table.stream}`)));
  const driver = o.project.tables.get(table.driver);
  let source: Statement = events;
  if (driver?.mode === "append" && !isStreamItself(driver)) {
    const further = driver.inputs.filter((name) => name !== driver.driver).map((name) => ({ name }));
    const { inputs } = await o.relations.resolve(further, "committed");
    source = withoutFailed(driver, await rowsFromBronze(o, driver, inputs));
  }
  const inputs = new Map(lookups);
  inputs.set(table.driver, { kind: "view", statement: source });
  return { sql: shaped(table, table.storedSql), inputs };
}

/** The rows of events of which no row fails a check. */
function withoutFailed(table: AppendTable, rows: Statement): Statement {
  const failing = Object.values(table.checks).map((check) => `not (${check})`);
  if (failing.length === 0) return rows;
  const sql = `select * from computed where (_partition, _offset) not in
    (select (_partition, _offset) from computed where ${failing.join(" or ")})`;
  return { sql, inputs: new Map([["computed", { kind: "view", statement: rows }]]) };
}

function newestOnly(table: AppendTable, rows: Statement): Statement {
  const computed: Relation = { kind: "view", statement: rows };
  const none: Statement = { sql: "select * from computed where false", inputs: new Map([["computed", computed]]) };
  return latestPerKey(table, { kind: "view", statement: none }, computed);
}

async function addCounts(
  o: ReplayOptions,
  table: AppendTable,
  rows: Statement,
  passed: Statement,
  partition: number,
  txn: Map<string, number>,
  to: number,
): Promise<void> {
  const name = `millrace:${table.stream}:${partition}`;
  const bronze = o.lake.relation(o.lake.get(`bronze.${table.stream}`));
  const sql = `select
    (select count(*) from bronze where _partition = ${partition} and _duplicate_of is not null) as duplicate,
    (select count(distinct _offset) from passed where _partition = ${partition}) as stored,
    (select count(distinct _offset) from computed where _partition = ${partition}) as computed`;
  const inputs = new Map<string, Relation>([
    ["bronze", bronze],
    ["passed", { kind: "view", statement: passed }],
    ["computed", { kind: "view", statement: rows }],
  ]);
  const result = await o.engine.query({ sql, inputs });
  for await (const [row] of result.batches) {
    const [duplicate = 0, stored = 0, computed = 0] = (row ?? []).map(Number);
    const dead = computed - stored;
    txn.set(name, to);
    txn.set(`${name}:stored`, stored);
    txn.set(`${name}:duplicate`, duplicate);
    txn.set(`${name}:dead`, dead);
    txn.set(`${name}:filtered`, to + 1 - stored - duplicate - dead);
  }
}
