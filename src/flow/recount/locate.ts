/**
 * Where a difference lies: the offsets of the events whose rows are missing, doubled or too many. It is looked for only once a
 * difference is known, so it may cost more than a recount, but no more than a set time: what was not looked at by then is part of the
 * answer.
 *
 * In bronze every offset must be there once, so halving by counts leads to the place. In an append table it is what its SQL gives for
 * the events of bronze, slice by slice, against the rows that are there. By then a look-up may give other rows than it did when they
 * were stored; that is why it is never used to say whether something is wrong.
 */
import type { AppendTable, Project } from "../../define/project.ts";
import type { Relation, SqlEngine, Statement } from "../../engine/sql-engine.ts";
import { MillraceError } from "../../errors.ts";
import type { DataFile } from "../../lake/delta-table.ts";
import type { LakeTable, LakeTables } from "../lake-tables.ts";
import { isStreamItself, type Relations } from "../relations.ts";
import { rowsOfEvents } from "../rows-of-events.ts";
import { selectRows } from "../select-rows.ts";
import { freshFiles } from "./file-counts.ts";
import type { Range } from "./imbalance.ts";

export interface LocateParts {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly relations: Relations;
  readonly engine: SqlEngine;
  readonly signal: AbortSignal;
  readonly pass: number;
}

/** The files of a table that hold rows of one partition, with the bounds of their offsets as they were counted. */
export interface Part {
  readonly table: LakeTable;
  readonly partition: number;
  readonly files: readonly { readonly file: DataFile; readonly min: number; readonly max: number }[];
}

/** Runs of offsets that are told apart. */
const MOST_RANGES = 100;
/** Offsets that one statement lists one by one. */
const EXACT = 1 << 20;
/** Events that one statement computes anew. */
const SLICE = 1 << 16;
const LONGEST_MS = 60_000;

/** The offsets of `0..to` that bronze does not hold, or holds more than once. */
export async function locateInBronze(o: LocateParts, bronze: Part, to: number): Promise<Range[]> {
  const found: Range[] = [];
  const look = async (from: number, to: number): Promise<void> => {
    if (found.length >= MOST_RANGES) return;
    const within = `_partition = ${bronze.partition} and _offset between ${from} and ${to}`;
    const inputs = new Map<string, Relation>([["bronze", rowsOf(o, bronze, from, to)]]);
    const [totals] = await rows(o, {
      sql: `select count(*) as n, count(distinct _offset) as events from bronze where ${within}`,
      inputs,
    });
    const wanted = to - from + 1;
    if (Number(totals?.["n"]) === wanted && Number(totals?.["events"]) === wanted) return;
    if (wanted > EXACT) {
      const middle = Math.floor((from + to) / 2);
      await look(from, middle);
      return look(middle + 1, to);
    }
    inputs.set("wanted", { kind: "native", sql: `select o from range(${from}, ${to + 1}) as r(o)` });
    const wrong = await rows(o, {
      sql: `select w.o as o from wanted w left join (select _offset from bronze where ${within}) b on b._offset = w.o
        group by w.o having count(b._offset) <> 1 order by 1`,
      inputs,
    });
    found.push(...runs(wrong.map((row) => Number(row["o"]))));
  };
  if (to >= 0) await look(0, to);
  return found.slice(0, MOST_RANGES);
}

/**
 * The offsets of `0..to` whose events should have rows in a table and have none (`missing`), or have too many or should have none
 * (`surplus`). Ranges that could not be looked at are among them.
 */
export async function locateInTable(
  o: LocateParts,
  definition: AppendTable,
  table: Part,
  bronze: Part,
  to: number,
  looksFor: "missing" | "surplus",
): Promise<Range[]> {
  if (looksFor === "surplus") {
    const twice = [...(await inSeveralFiles(o, table)), ...(await inSeveralRows(o, definition, table))];
    if (twice.length > 0) return twice.sort((a, b) => a.from - b.from).slice(0, MOST_RANGES);
  }
  const deadline = performance.now() + LONGEST_MS;
  const offsets: number[] = [];
  const unknown: Range[] = [];
  const look = async (from: number, to: number): Promise<void> => {
    if (performance.now() > deadline || offsets.length > EXACT) {
      unknown.push({ from, to });
      return;
    }
    try {
      offsets.push(...(await differing(o, definition, table, bronze, from, to, looksFor)));
    } catch (error) {
      // An event that its SQL fails on gives no rows: the others are looked at without it.
      if (!(error instanceof MillraceError) || error.code !== "SQL_FAILED") throw error;
      if (from === to) return;
      const middle = Math.floor((from + to) / 2);
      await look(from, middle);
      await look(middle + 1, to);
    }
  };
  for (let from = 0; from <= to; from += SLICE) await look(from, Math.min(to, from + SLICE - 1));
  const all = [...runs(offsets.sort((a, b) => a - b)), ...unknown].sort((a, b) => a.from - b.from);
  return all.slice(0, MOST_RANGES);
}

/** Events with several rows where the table is the stream itself, and so has one of each. */
async function inSeveralRows(o: LocateParts, definition: AppendTable, table: Part): Promise<Range[]> {
  if (!isStreamItself(definition)) return [];
  const inputs = new Map([["stored", rowsOf(o, table, 0, Number.MAX_SAFE_INTEGER)]]);
  const sql = `select _offset as o from stored where _partition = ${table.partition}
    group by _offset having count(*) > 1 order by o limit ${EXACT}`;
  return runs((await rows(o, { sql, inputs })).map((row) => Number(row["o"]))).slice(0, MOST_RANGES);
}

/** Events with rows in several files of the same partition values: one flush or retry writes an event's rows together. */
async function inSeveralFiles(o: LocateParts, table: Part): Promise<Range[]> {
  const shared = table.files.filter((one) =>
    table.files.some((other) => other !== one && other.min <= one.max && one.min <= other.max),
  );
  if (shared.length === 0 || shared.length > 1000) return [];
  const inputs = new Map<string, Relation>();
  const values = new Map<string, number>();
  const parts = shared.map(({ file }, i) => {
    const key = JSON.stringify(file.partition);
    const value = values.get(key) ?? values.size;
    values.set(key, value);
    inputs.set(`file_${i}`, freshFiles(o.lake, table.table, [file], eventColumns(table.table), o.pass));
    return `select distinct ${i} as i, ${value} as v, _offset as o from file_${i} where _partition = ${table.partition}`;
  });
  const sql = `select o from (${parts.join(" union all ")}) group by v, o having count(*) > 1 order by o limit ${EXACT}`;
  return runs([...new Set((await rows(o, { sql, inputs })).map((row) => Number(row["o"])))]).slice(0, MOST_RANGES);
}

async function differing(
  o: LocateParts,
  definition: AppendTable,
  table: Part,
  bronze: Part,
  from: number,
  to: number,
  looksFor: "missing" | "surplus",
): Promise<number[]> {
  const within = `_partition = ${bronze.partition} and _offset between ${from} and ${to}`;
  const events: Relation = {
    kind: "view",
    statement: {
      sql: `select * from bronze where ${within}`,
      inputs: new Map([["bronze", rowsOf(o, bronze, from, to, true)]]),
    },
  };
  const computed = await rowsOfEvents(o, definition, events);
  try {
    const failing = Object.values(definition.checks).map((check) => `not (${check})`);
    const passes = failing.length === 0 ? "" : `having not bool_or(coalesce(${failing.join(" or ")}, false))`;
    const inputs = new Map<string, Relation>([
      ["computed", { kind: "view", statement: computed.statement }],
      ["stored", rowsOf(o, table, from, to)],
    ]);
    const expected = `select _offset as o from computed group by _offset ${passes}`;
    const present = `select distinct _offset as o from stored where ${within}`;
    const sql =
      looksFor === "missing"
        ? `select o from (${expected}) where o not in (${present})`
        : `select o from (${present}) where o not in (${expected})`;
    return (await rows(o, { sql, inputs })).map((row) => Number(row["o"]));
  } finally {
    computed.release();
  }
}

function rowsOf(o: LocateParts, part: Part, from: number, to: number, whole = false): Relation {
  const files = part.files.filter(({ min, max }) => min <= to && max >= from).map(({ file }) => file);
  return freshFiles(o.lake, part.table, files, whole ? part.table.columns : eventColumns(part.table), o.pass);
}

function eventColumns(table: LakeTable) {
  return table.columns.filter(({ name }) => name === "_partition" || name === "_offset");
}

function rows(o: LocateParts, statement: Statement): Promise<Record<string, unknown>[]> {
  return selectRows(o.engine, statement, { signal: o.signal });
}

/** Sorted offsets as runs without a gap. */
function runs(offsets: readonly number[]): Range[] {
  const found: { from: number; to: number }[] = [];
  for (const offset of offsets) {
    const last = found.at(-1);
    if (last && offset <= last.to + 1) last.to = offset;
    else found.push({ from: offset, to: offset });
  }
  return found;
}
