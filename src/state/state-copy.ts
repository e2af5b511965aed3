/**
 * The platform's records as text, the same for an embedded server and one by URL, and for any version of PostgreSQL: one
 * line of JSON each,
 *
 *     {"schema":"millrace","version":1,"tables":[{"name":"api_keys","columns":["id",…]},…]}    the first
 *     {"table":"api_keys","row":{"id":"k1",…}}                                                a row, tables in that order
 *     {"sequence":"runs_id_seq","value":"17"}                                                 the last value given out
 *     {"end":true,"rows":2}                                                                   the last: nothing is missing
 *
 * Values are PostgreSQL's own text of them or null, so that every type comes back as it was. What others keep in the same database (tables that
 * are published for reading, queues) is not part of it.
 */
import pg from "pg";
import { MillraceError } from "../errors.ts";
import type { Session } from "./migrate.ts";
import type { State } from "./state.ts";

const SCHEMA = "millrace";
/** Says which steps have been taken; the header carries its meaning. */
const VERSION_TABLE = "schema_version";
/** Who works, and at what, is of the moment. */
const NOT_COPIED = [VERSION_TABLE, "leases", "workers"];

export interface StateHeader {
  readonly version: number;
  readonly tables: readonly { readonly name: string; readonly columns: readonly string[] }[];
}

/** Writes every record as of one moment, in pieces of whole lines. @throws STATE_UNAVAILABLE */
export async function dumpState(state: State, write: (lines: string) => Promise<void>): Promise<void> {
  await state.transaction(async (session) => {
    await session.query("set transaction isolation level repeatable read, read only");
    await session.query("set local bytea_output = 'hex'");
    const [row] = await session.query<{ version: number }>(
      `select coalesce(max(version), 0) as version from ${SCHEMA}.${VERSION_TABLE}`,
    );
    const tables = await tablesInOrder(session);
    await write(line({ schema: SCHEMA, version: row!.version, tables }));
    let rows = 0;
    for (const { name, columns } of tables) rows += await dumpTable(session, name, columns, write);
    const sequences = await session.query<{ name: string; value: string }>(
      "select sequencename as name, last_value::text as value from pg_sequences where schemaname = $1 and last_value is not null",
      [SCHEMA],
    );
    for (const { name, value } of sequences) await write(line({ sequence: name, value }));
    await write(line({ end: true, rows }));
  });
}

/** The first line of a dump; undefined when it is none. */
export function readStateHeader(text: string): StateHeader | undefined {
  const header = parsed(text) as (StateHeader & { schema?: unknown }) | undefined;
  return header?.schema === SCHEMA && Number.isSafeInteger(header.version) && Array.isArray(header.tables)
    ? header
    : undefined;
}

/**
 * Puts the records of a dump into a database whose schema has the dump's version and no records yet: all or nothing.
 * `lines` are those after the header.
 * @throws STATE_NOT_EMPTY, STATE_COPY_CUT when the last line is not there, STATE_UNAVAILABLE
 */
export async function loadState(state: State, header: StateHeader, lines: AsyncIterable<string>): Promise<number> {
  return state.transaction(async (session) => {
    for (const { name } of header.tables) {
      const found = await session.query(`select 1 from ${SCHEMA}.${quoted(name)} limit 1`);
      if (found.length > 0) throw new MillraceError("STATE_NOT_EMPTY", { table: `${SCHEMA}.${name}` });
    }
    const columns = new Map(header.tables.map((table) => [table.name, table.columns]));
    let batch: { table: string; rows: string[]; length: number } | undefined;
    const insert = async () => {
      if (batch) await insertRows(session, batch.table, columns.get(batch.table) ?? [], batch.rows);
      batch = undefined;
    };
    let rows = 0;
    for await (const text of lines) {
      const entry = parsed(text) as Partial<Entry> | undefined;
      if (entry?.end) {
        await insert();
        if (entry.rows !== rows) throw new MillraceError("STATE_COPY_CUT", { rows, expected: String(entry.rows) });
        return rows;
      }
      if (entry?.sequence !== undefined) {
        await session.query("select setval($1::regclass, $2::bigint)", [
          `${SCHEMA}.${quoted(entry.sequence)}`,
          entry.value,
        ]);
        continue;
      }
      const { table } = entry ?? {};
      if (table === undefined || !columns.has(table)) break;
      if (batch && (batch.table !== table || batch.length > BATCH_CHARACTERS)) await insert();
      batch ??= { table, rows: [], length: 0 };
      // The row as PostgreSQL wrote it, for PostgreSQL to read.
      const row = text.slice(text.indexOf(ROW) + ROW.length, text.lastIndexOf("}"));
      batch.rows.push(row);
      batch.length += row.length;
      rows++;
    }
    throw new MillraceError("STATE_COPY_CUT", { rows, expected: "more" });
  });
}

interface Entry {
  readonly table: string;
  readonly sequence: string;
  readonly value: string;
  readonly end: boolean;
  readonly rows: number;
}

const ROW = ',"row":';
const FETCH_ROWS = 1_000;
const BATCH_CHARACTERS = 4_000_000;

/** Tables with their stored columns, each after those it refers to. */
async function tablesInOrder(session: Session): Promise<{ name: string; columns: string[] }[]> {
  const tables = await session.query<{ name: string; columns: string[]; refers: string[] }>(
    `select c.relname as name,
       array(select a.attname::text from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum) as columns,
       array(select f.relname::text from pg_constraint k join pg_class f on f.oid = k.confrelid
             where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> k.conrelid) as refers
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all($2)
     order by c.relname`,
    [SCHEMA, NOT_COPIED],
  );
  const ordered: { name: string; columns: string[] }[] = [];
  const placed = new Set<string>();
  while (ordered.length < tables.length) {
    const next = tables.find(({ name, refers }) => !placed.has(name) && refers.every((other) => placed.has(other)));
    // Tables that refer to each other in a circle have no order; their constraints must be deferrable then.
    const table = next ?? tables.find(({ name }) => !placed.has(name))!;
    placed.add(table.name);
    ordered.push({ name: table.name, columns: table.columns });
  }
  return ordered;
}

async function dumpTable(
  session: Session,
  name: string,
  columns: readonly string[],
  write: (lines: string) => Promise<void>,
): Promise<number> {
  const list = columns.map((column) => `${quoted(column)}::text`).join(", ");
  await session.query(
    `declare records no scroll cursor for
     select row_to_json(r)::text as row from (select ${list} from ${SCHEMA}.${quoted(name)}) r`,
  );
  let rows = 0;
  for (;;) {
    const fetched = await session.query<{ row: string }>(`fetch ${FETCH_ROWS} from records`);
    rows += fetched.length;
    if (fetched.length > 0) {
      await write(fetched.map(({ row }) => `{"table":${JSON.stringify(name)}${ROW}${row}}\n`).join(""));
    }
    if (fetched.length < FETCH_ROWS) break;
  }
  await session.query("close records");
  return rows;
}

async function insertRows(session: Session, table: string, columns: readonly string[], rows: readonly string[]) {
  const target = `${SCHEMA}.${quoted(table)}`;
  const types = await session.query<{ name: string; type: string }>(
    `select attname::text as name, format_type(atttypid, atttypmod) as type from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
    [target],
  );
  const typeOf = new Map(types.map(({ name, type }) => [name, type]));
  const values = columns.map((column) => `(r ->> ${pg.escapeLiteral(column)})::${typeOf.get(column)}`).join(", ");
  await session.query(
    `insert into ${target} (${columns.map(quoted).join(", ")}) overriding system value
     select ${values} from json_array_elements($1::json) r`,
    [`[${rows.join(",")}]`],
  );
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what is no JSON is no line of a dump, and both callers say so
  }
}

function quoted(name: string): string {
  return pg.escapeIdentifier(name);
}
