/**
 * The receipt: what became of an event, hop by hop. It is read from the same places that the ledger counts, so that the two
 * cannot tell different stories: bronze, the progress and rows of each table, and the dead letters.
 */
import type { AppendTable, Project, Stream } from "../define/project.ts";
import { quoteLiteral } from "../define/sql-text.ts";
import type { Relation } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { DataFile, Snapshot } from "../lake/delta-table.ts";
import { pruneFiles } from "../lake/prune.ts";
import { DEAD_LETTER_TABLE, isInternal } from "./dead-letters.ts";
import { type Arrival, type FindOptions, findArrivals } from "./find-arrivals.ts";
import type { LakeTable, LakeTables } from "./lake-tables.ts";
import { committedTo } from "./progress.ts";
import { type FunctionFate, functionFates, type Reactions } from "./reactions.ts";
import { rowsOfEvents } from "./rows-of-events.ts";
import { selectRows } from "./select-rows.ts";

export interface Receipt {
  readonly stream: string;
  readonly id: string;
  /** False when only arrivals within the horizon were looked for, because there were some. */
  readonly searchedOlder: boolean;
  /** Every arrival of the id, newest first. */
  readonly arrivals: readonly ArrivalReceipt[];
}

export interface ArrivalReceipt extends Arrival {
  /** True for an arrival that counts; the others repeat it. */
  readonly original: boolean;
  readonly bronze: Fate;
  readonly tables: readonly (Fate & { readonly table: string })[];
  readonly functions: readonly (FunctionFate & { readonly function: string })[];
}

export type Fate =
  /** `version` is the commit that added the file, where the table's log still tells; a compaction counts as one. */
  | { readonly fate: "stored"; readonly version: number | undefined; readonly file: string }
  /** Stored in a table that keeps one row per key, and since replaced by a newer row of its key, or removed with it. */
  | { readonly fate: "superseded" }
  | { readonly fate: "duplicate"; readonly duplicateOf: number }
  /** The table's SQL gave no row for it. */
  | { readonly fate: "filtered" }
  | ({ readonly fate: "dead-lettered" } & LetterFacts)
  /** In the log, durable and visible to queries, and not yet flushed to the table. */
  | { readonly fate: "pending" };

interface LetterFacts {
  readonly deadLetterId: string;
  readonly stage: string;
  readonly code: string;
  readonly message: string;
  /** `open`, or `discarded`; a letter that was retried is another fate. */
  readonly status: string;
}

export interface ReceiptOptions extends FindOptions {
  readonly project: Project;
  readonly lake: LakeTables;
  readonly reactions: Reactions;
}

/** @throws STREAM_UNKNOWN, EVENT_UNKNOWN */
export async function receipt(
  o: ReceiptOptions,
  name: string,
  id: string,
  options: { older?: boolean } = {},
): Promise<Receipt> {
  const stream = o.project.streams.get(name);
  if (!stream || isInternal(name)) {
    const streams = [...o.project.streams.keys()].filter((other) => !isInternal(other));
    throw new MillraceError("STREAM_UNKNOWN", { stream: name, suggestion: `The streams are ${streams.join(", ")}.` });
  }
  const { arrivals, older } = await findArrivals(o, stream, id, options);
  if (arrivals.length === 0) throw unknown(o, stream, id);
  const receipts: ArrivalReceipt[] = [];
  for (const arrival of arrivals) receipts.push(await arrivalReceipt(o, stream, arrival));
  return { stream: name, id, searchedOlder: older, arrivals: receipts };
}

function unknown(o: ReceiptOptions, stream: Stream, id: string): MillraceError {
  let accepted = 0;
  for (let p = 0; p < o.log.partitions(stream.name); p++) accepted += o.log.ends(stream.name, p).end;
  const searched =
    stream.id.length > 0
      ? `all ${accepted} events ever accepted, by ${stream.id.join(", ")}`
      : `all ${accepted} events ever accepted, by partition-offset, since the stream has no id`;
  return new MillraceError("EVENT_UNKNOWN", { stream: stream.name, id, searched });
}

async function arrivalReceipt(o: ReceiptOptions, stream: Stream, arrival: Arrival): Promise<ArrivalReceipt> {
  const bronze = o.lake.get(`bronze.${stream.name}`);
  const letters = await lettersOf(o, stream.name, arrival);
  const tables: (Fate & { table: string })[] = [];
  for (const table of o.project.tables.values()) {
    if (table.mode !== "append" || table.stream !== stream.name) continue;
    tables.push({ table: table.name, ...(await tableFate(o, table, arrival, letters)) });
  }
  return {
    ...arrival,
    original: arrival.duplicateOf === undefined,
    bronze: (await stored(o, bronze, stream.name, arrival)) ?? { fate: "pending" },
    tables,
    functions: functionFates(o.reactions, stream.name, arrival, letters),
  };
}

async function tableFate(
  o: ReceiptOptions,
  table: AppendTable,
  arrival: Arrival,
  letters: ReadonlyMap<string, LetterFacts>,
): Promise<Fate> {
  if (arrival.duplicateOf !== undefined) return { fate: "duplicate", duplicateOf: arrival.duplicateOf };
  const lakeTable = o.lake.get(table.name);
  const found = await stored(o, lakeTable, table.stream, arrival);
  if (found) return found;
  // One that was retried is past this: its rows are stored, superseded or filtered. What could not be parsed concerns all tables.
  const letter = [letters.get(table.name), letters.get("")].find((one) => one && one.status !== "retried");
  if (letter) return { fate: "dead-lettered", ...letter };
  if (committedTo(lakeTable.snapshot, table.stream, arrival.partition) < arrival.offset) return { fate: "pending" };
  if (table.key.length > 0 && (await givesRows(o, table, arrival))) return { fate: "superseded" };
  return { fate: "filtered" };
}

/** The commit and file of a table that hold rows of the event; undefined when none do. */
async function stored(o: ReceiptOptions, table: LakeTable, stream: string, at: Arrival): Promise<Fate | undefined> {
  const { snapshot } = table;
  if (committedTo(snapshot, stream, at.partition) < at.offset) return undefined;
  const file = await fileWith(o, table, snapshot, at);
  return file && { fate: "stored", version: await table.delta.addedIn(file), file: file.path };
}

/** Files asked in one statement. Bounds leave one per partition column value and partition, so more are rare. */
const FILES_AT_ONCE = 64;

async function fileWith(
  o: ReceiptOptions,
  table: LakeTable,
  snapshot: Snapshot,
  { partition, offset }: Arrival,
): Promise<DataFile | undefined> {
  const candidates = pruneFiles(snapshot.files, [
    { column: "_offset", op: "=", value: offset },
    { column: "_partition", op: "=", value: partition },
  ]);
  for (let first = 0; first < candidates.length; first += FILES_AT_ONCE) {
    const files = candidates.slice(first, first + FILES_AT_ONCE);
    const inputs = new Map<string, Relation>(
      files.map((file, i) => [`file_${i}`, o.lake.relation(table, snapshot, [file])]),
    );
    const parts = files.map(
      (_, i) => `select ${i} as i from file_${i} where _offset = ${offset} and _partition = ${partition}`,
    );
    const [row] = await selectRows(o.engine, {
      sql: `select min(i) as i from (${parts.join(" union all ")})`,
      inputs,
    });
    if (row && row["i"] !== null) return files[Number(row["i"])];
  }
  return undefined;
}

/** The event's dead letters by table or function; what could not be parsed is under the empty name and concerns every table. */
async function lettersOf(
  o: ReceiptOptions,
  stream: string,
  { partition, offset }: Arrival,
): Promise<Map<string, LetterFacts>> {
  const { inputs, release } = await o.relations.resolve([{ name: DEAD_LETTER_TABLE }], "acknowledged");
  try {
    const rows = await selectRows(o.engine, {
      sql: `select table_name, dead_letter_id, stage, last_code, last_message, status from ${DEAD_LETTER_TABLE}
        where stream = ${quoteLiteral(stream)} and event_partition = ${partition} and event_offset = ${offset}`,
      inputs,
    });
    return new Map(
      rows.map((row) => [
        String(row["table_name"] ?? ""),
        {
          deadLetterId: String(row["dead_letter_id"]),
          stage: String(row["stage"]),
          code: String(row["last_code"]),
          message: String(row["last_message"]),
          status: String(row["status"]),
        },
      ]),
    );
  } finally {
    release();
  }
}

/** Whether a table's SQL gives rows for an event; false where it fails, since then it stored none. */
async function givesRows(o: ReceiptOptions, table: AppendTable, { partition, offset }: Arrival): Promise<boolean> {
  const predicates = [{ column: "_offset", op: "=", value: offset }] as const;
  const bronze = await o.relations.resolve([{ name: `bronze.${table.stream}`, predicates }], "committed");
  const statement = {
    sql: `select * from bronze where _partition = ${partition} and _offset = ${offset}`,
    inputs: new Map([["bronze", bronze.relations[0] as Relation]]),
  };
  const rows = await rowsOfEvents(o, table, { kind: "view", statement });
  try {
    const inputs = new Map<string, Relation>([["computed", { kind: "view", statement: rows.statement }]]);
    const [count] = await selectRows(o.engine, { sql: "select count(*) as n from computed", inputs });
    return Number(count?.["n"]) > 0;
  } catch (error) {
    if (error instanceof MillraceError && error.code === "SQL_FAILED") return false;
    throw error;
  } finally {
    rows.release();
    bronze.release();
  }
}
