/**
 * One publication: brings a table in PostgreSQL to the newest version of its table in the lake, in one transaction that also records
 * the version. Readers see the version before or the one after, never a mixture, and wait for nothing:
 *
 *     changes    rows that came and went since the recorded version: keys deleted, lines copied
 *     whole      all rows deleted, all lines copied; who reads keeps the rows of its snapshot
 *     anew       a table of the new shape is filled beside the old one, which it then takes the place of
 *
 * Only the last needs the old table for itself, for a moment: it is asked for briefly and often, so that nobody queues behind the
 * question for longer than `LOCK_MS`. Its rows are written frozen: a transaction older than the table sees all of them, not none.
 *
 * Records are in PostgreSQL itself, `millrace_serving.publications`, so that they cannot disagree with the rows.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Column } from "../define/project.ts";
import type { Serving } from "../define/serving.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import type { Relation, SqlEngine, Statement } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import { BI_ROLE } from "./bi-users.ts";
import { copyLine, refusal } from "./copy-text.ts";
import { type PublishedShape, publishedShape, quoted } from "./published-shape.ts";
import { findRefused, refusesRow } from "./refused-rows.ts";

/** A table of the lake, as far as its publication is concerned. */
export interface ServedTable {
  /** `gold.sales_daily` */
  readonly name: string;
  readonly serving: Serving;
  /** The newest committed version. @throws TABLE_UNAVAILABLE, DATA_FILE_DAMAGED */
  newest(): TableVersion;
  /** The rows that came and went between two versions; undefined where the lake no longer tells. */
  changes(after: number, to: number): Promise<{ added: Relation; removed: Relation } | undefined>;
}

export interface TableVersion {
  readonly version: number;
  /** Differs when the table was made anew: its versions count from the beginning then. */
  readonly tableId: string;
  readonly committedAtMs: number;
  readonly columns: readonly Column[];
  /** Undefined when a file does not say. */
  readonly rows: number | undefined;
  readonly relation: Relation;
}

/** What PostgreSQL has of a table. */
export interface PublicationRecord {
  readonly version: number;
  readonly rows: number;
  readonly refused: number;
}

/** A row that PostgreSQL does not take. The same row has the same id for ever. */
export interface RefusedRow {
  readonly id: string;
  readonly message: string;
  /** JSON of the row. */
  readonly payload: string;
}

export interface PublicationParts {
  readonly client: pg.Client;
  readonly engine: SqlEngine;
  /** Makes rows that are left out known, before the version without them is seen. */
  readonly refuse: (rows: readonly RefusedRow[]) => Promise<void>;
  readonly signal: AbortSignal;
  /** All rows, also where only some changed or none. */
  readonly whole?: boolean;
  /** Other processes publish as well: what is newer there than here is theirs, and stays. */
  readonly shared?: boolean;
  /** Part of the transaction: fails when another process has taken the work over. */
  readonly fence?: (client: pg.Client) => Promise<void>;
}

export interface PublicationOutcome {
  readonly kind: "none" | "changes" | "whole" | "anew";
  readonly record: PublicationRecord;
  /** Ids of the rows that are left out, and of those that are gone: all others, or the ones named. */
  readonly refused: ReadonlySet<string>;
  readonly gone: "others" | ReadonlySet<string>;
  readonly written: number;
}

export const SERVING_SCHEMA = "millrace_serving";
const RECORDS = `${SERVING_SCHEMA}.publications`;

/** Makes the place of the records. */
export async function prepareServing(client: pg.Client): Promise<void> {
  const { rows } = await client.query("select to_regclass($1) is not null as there", [RECORDS]);
  if (rows[0].there) return;
  await client.query(`create schema if not exists ${SERVING_SCHEMA}`);
  await client.query(`create table if not exists ${RECORDS} (
    source text primary key,
    schema_name text not null,
    table_name text not null,
    relation oid not null,
    shape text not null,
    table_id text not null,
    version bigint not null,
    committed_at timestamptz not null,
    published_at timestamptz not null default clock_timestamp(),
    row_count bigint not null,
    refused bigint not null,
    -- Whether rows are left out that only PostgreSQL itself could tell.
    probed boolean not null
  )`);
}

/** What PostgreSQL has, by the table's name. */
export async function publishedRecords(client: {
  query(sql: string): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
}): Promise<ReadonlyMap<string, PublicationRecord>> {
  const there = await client.query(`select to_regclass('${RECORDS}') is not null as there`);
  if (there.rows[0]?.["there"] !== true) return new Map();
  const { rows } = await client.query(`select source, version, row_count, refused from ${RECORDS}`);
  return new Map(
    rows.map((row) => [
      String(row["source"]),
      { version: Number(row["version"]), rows: Number(row["row_count"]), refused: Number(row["refused"]) },
    ]),
  );
}

interface StoredRecord extends PublicationRecord {
  readonly qualified: string;
  readonly relation: number;
  /** Whether the name still stands for the table that was published. */
  readonly ours: boolean;
  readonly shape: string;
  readonly tableId: string;
  readonly probed: boolean;
}

/**
 * Publishes the newest version.
 * @throws PUBLISH_NAME_TAKEN, PUBLISH_BLOCKED, what the engine and the lake throw, and PostgreSQL's own errors
 */
export async function publish(table: ServedTable, parts: PublicationParts): Promise<PublicationOutcome> {
  let skipped: ReadonlyMap<string, string> = new Map();
  for (;;) {
    const newest = table.newest();
    const publication = new Publication(table, newest, skipped, parts);
    try {
      return await publication.run();
    } catch (error) {
      // Where even this fails the connection is gone, and the server rolls back by itself.
      await parts.client.query("rollback").catch(() => undefined);
      if (skipped.size > 0 || !refusesRow(error)) throw error;
      const shape = publishedShape(table.name, table.serving, newest.columns);
      skipped = await findRefused(parts.client, shape, publication.batches(publication.lines()));
      if (skipped.size === 0) throw error;
    }
  }
}

/** How long readers may have to wait for the question for a table, how long it is left alone between two, and how often it is asked. */
const LOCK_MS = 100;
const LOCK_PAUSE_MS = 300;
const LOCK_TRIES = 20;
/** Beyond this, changes are not told one by one: what PostgreSQL spends on finding rows by key is more than writing all. */
const MOST_CHANGES = 250_000;

class Publication {
  readonly #table: ServedTable;
  readonly #newest: TableVersion;
  readonly #shape: PublishedShape;
  /** Lines that PostgreSQL refused when it was given them, with its reason. */
  readonly #skipped: ReadonlyMap<string, string>;
  readonly #o: PublicationParts;
  readonly #refused = new Set<string>();
  #left = 0;

  constructor(table: ServedTable, newest: TableVersion, skipped: ReadonlyMap<string, string>, parts: PublicationParts) {
    this.#table = table;
    this.#newest = newest;
    this.#shape = publishedShape(table.name, table.serving, newest.columns);
    this.#skipped = skipped;
    this.#o = parts;
  }

  async run(): Promise<PublicationOutcome> {
    const { name } = this.#table;
    await this.#query("begin");
    await this.#query("set local statement_timeout = 0");
    await this.#query("set local idle_in_transaction_session_timeout = 0");
    await this.#query("select pg_advisory_xact_lock(hashtextextended($1, 7241863))", [`${SERVING_SCHEMA}/${name}`]);
    await this.#o.fence?.(this.#o.client);
    const record = await this.#record();
    const there = await this.#there();
    if (there && !(record?.ours && record.qualified === this.#shape.qualified)) {
      throw new MillraceError("PUBLISH_NAME_TAKEN", { table: name, name: this.#shape.qualified });
    }
    const outcome = await this.#bring(record, there);
    for (const statement of this.#shape.comment()) await this.#query(statement);
    await this.#query("commit");
    return outcome;
  }

  async #bring(record: StoredRecord | undefined, there: boolean): Promise<PublicationOutcome> {
    const newest = this.#newest;
    if (record === undefined || !there || record.shape !== this.#shape.hash) return this.#anew(record);
    const same = record.tableId === newest.tableId;
    if (same && record.version > newest.version && this.#o.shared === true)
      return { kind: "none", record, refused: this.#refused, gone: new Set(), written: 0 };
    const follows = same && record.version <= newest.version;
    if (follows && record.version === newest.version && this.#mayKeep()) {
      return { kind: "none", record, refused: this.#refused, gone: new Set(), written: 0 };
    }
    const changed = follows && !record.probed && this.#mayKeep() ? await this.#changes(record) : undefined;
    return changed ?? (await this.#whole());
  }

  /** Whether what is there need not be written again. */
  #mayKeep(): boolean {
    return this.#skipped.size === 0 && this.#o.whole !== true;
  }

  async #record(): Promise<StoredRecord | undefined> {
    const { rows } = await this.#query(
      `select *, relation::bigint as relation, relation = to_regclass(format('%I.%I', schema_name, table_name)) as ours
       from ${RECORDS} where source = $1 for update`,
      [this.#table.name],
    );
    const row = rows[0];
    if (row === undefined) return undefined;
    return {
      qualified: `${quoted(row.schema_name)}.${quoted(row.table_name)}`,
      relation: Number(row.relation),
      ours: row.ours === true,
      shape: row.shape,
      tableId: row.table_id,
      version: Number(row.version),
      rows: Number(row.row_count),
      refused: Number(row.refused),
      probed: row.probed,
    };
  }

  async #there(): Promise<boolean> {
    const { rows } = await this.#query("select to_regclass($1) is not null as there", [this.#shape.qualified]);
    return rows[0].there;
  }

  /** A table of the new shape in the place of the old one, or of none. */
  async #anew(record: StoredRecord | undefined): Promise<PublicationOutcome> {
    const { schema, name, qualified } = this.#shape;
    const old = record?.ours ? record : undefined;
    // Before the work, for it would be in vain.
    if (old) await this.#takeFromReaders(old.qualified, 1);
    const making = `${SERVING_SCHEMA}.${quoted(name)}`;
    await this.#query(this.#shape.create(making));
    const written = await this.#copyAll(making, "with (freeze)");
    for (const statement of this.#shape.index(making)) await this.#query(statement);
    await this.#query(`analyze ${making}`);
    await this.#query(`create schema if not exists ${quoted(schema)}`);
    if (old) {
      await this.#takeFromReaders(old.qualified, LOCK_TRIES);
      await this.#giveRights(old.relation, making);
      await this.#query(`drop table ${old.qualified}`);
    }
    await this.#query(`alter table ${making} set schema ${quoted(schema)}`);
    const { rows } = await this.#query("select 1 from pg_roles where rolname = $1", [BI_ROLE]);
    if (rows.length > 0) {
      await this.#query(`grant usage on schema ${quoted(schema)} to ${BI_ROLE}`);
      await this.#query(`grant select on ${qualified} to ${BI_ROLE}`);
    }
    return this.#done("anew", written);
  }

  /** Has the table to itself until the end of the transaction. @throws PUBLISH_BLOCKED naming a reader that does not end */
  async #takeFromReaders(qualified: string, tries: number): Promise<void> {
    await this.#query(`set local lock_timeout = ${LOCK_MS}`);
    for (let attempt = 1; ; attempt++) {
      await this.#query("savepoint taking");
      try {
        await this.#query(`lock table ${qualified} in access exclusive mode`);
        // Asked for to see whether it can be had: held only at the end.
        await this.#query(tries === 1 ? "rollback to savepoint taking" : "release savepoint taking");
        break;
      } catch (error) {
        if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error;
        await this.#query("rollback to savepoint taking");
        if (attempt >= tries) throw await this.#blocked(qualified);
        await sleep(LOCK_PAUSE_MS, undefined, { signal: this.#o.signal });
      }
    }
    await this.#query("set local lock_timeout = 0");
  }

  async #blocked(qualified: string): Promise<MillraceError> {
    const { rows } = await this.#query(
      `select format('process %s of user %s since %s', a.pid, a.usename, to_char(a.xact_start at time zone 'UTC', 'HH24:MI:SS')) as reader
       from pg_locks l join pg_stat_activity a using (pid)
       where l.relation = $1::regclass and l.granted and a.pid <> pg_backend_pid() order by a.xact_start limit 3`,
      [qualified],
    );
    const readers = rows.map((row) => row.reader).join(", ") || "another process";
    return new MillraceError("PUBLISH_BLOCKED", { table: this.#table.name, readers });
  }

  /** What others were allowed to do with the old table they may do with the new one. */
  async #giveRights(from: number, to: string): Promise<void> {
    const { rows } = await this.#query(
      `select privilege_type, case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as grantee
       from pg_class, aclexplode(relacl) where pg_class.oid = $1 and grantee <> relowner`,
      [from],
    );
    for (const { privilege_type, grantee } of rows) await this.#query(`grant ${privilege_type} on ${to} to ${grantee}`);
  }

  async #whole(): Promise<PublicationOutcome> {
    await this.#query(`delete from ${this.#shape.qualified}`);
    return this.#done("whole", await this.#copyAll(this.#shape.qualified, ""));
  }

  /** Writes only what changed; undefined where that cannot be told, is too much, or does not fit what is there. */
  async #changes(record: StoredRecord): Promise<PublicationOutcome | undefined> {
    const found = await this.#table.changes(record.version, this.#newest.version);
    if (found === undefined) return undefined;
    const { key, columns } = this.#shape;
    const onlyAdded = found.removed.kind === "files" && found.removed.files.length === 0;
    if (key.length === 0 && !onlyAdded) return undefined;
    const net = await this.#net(found);
    if (net === undefined) return undefined;
    const { removedKeys, added, refused, gone } = net;
    const refusedRows = record.refused + net.refusedRows;
    await this.#query("savepoint changing");
    if (removedKeys.length > 0) {
      const same = key.map((name) => `t.${quoted(name)} = c.${quoted(name)}`).join(" and ");
      const list = key.map(quoted).join(", ");
      await this.#query(
        `create temporary table changed_keys on commit drop as select ${list} from ${this.#shape.qualified} limit 0`,
      );
      await this.#copy(`changed_keys (${list})`, "", lineChunks(removedKeys));
      await this.#query("analyze changed_keys");
      const { rowCount } = await this.#query(
        `delete from ${this.#shape.qualified} t using changed_keys c where ${same}`,
      );
      // Somebody else has written to the table.
      if (rowCount !== removedKeys.length) return this.#notAsRecorded();
    }
    if (added.length > 0) await this.#copy(`${this.#shape.qualified} (${list(columns)})`, "", lineChunks(added));
    const rows = record.rows - removedKeys.length + added.length;
    if (this.#newest.rows !== undefined && rows + refusedRows !== this.#newest.rows) return this.#notAsRecorded();
    await this.#o.refuse(refused);
    this.#left = refusedRows;
    return { ...(await this.#done("changes", rows)), gone, written: added.length + removedKeys.length };
  }

  /** Every row that came or went for good; undefined where they are too many, or where files of the past are gone. */
  async #net(found: { added: Relation; removed: Relation }): Promise<NetChanges | undefined> {
    const removedKeys: string[] = [];
    const added: string[] = [];
    const refused: RefusedRow[] = [];
    const gone = new Set<string>();
    let refusedRows = 0;
    try {
      await this.#checkKeys(found.added);
      for await (const batch of this.batches(this.#netChanges(found))) {
        for (const [times, why, line, keyLine, payload] of batch as [string, string | null, string, string, string][]) {
          const n = Number(times);
          if (why !== null) {
            refusedRows += n;
            if (n > 0) refused.push(this.#refusedRow(line, why, payload));
            else gone.add(rowId(this.#table.name, line));
          } else if (n < 0) removedKeys.push(keyLine);
          else for (let i = 0; i < n; i++) added.push(line);
        }
        if (added.length + removedKeys.length > MOST_CHANGES) return undefined;
      }
    } catch (error) {
      // Should the newest version be unreadable too, writing all of it says so.
      if (error instanceof MillraceError && FILES_GONE.has(error.code)) return undefined;
      throw error;
    }
    return { removedKeys, added, refused, gone, refusedRows };
  }

  async #notAsRecorded(): Promise<undefined> {
    await this.#query("rollback to savepoint changing");
  }

  /** @throws PUBLISH_KEY_NOT_UNIQUE when a row that came has the key of another one */
  async #checkKeys(added: Relation): Promise<void> {
    const { key, columns } = this.#shape;
    if (key.length === 0) return;
    const names = key.map(quoteIdentifier).join(", ");
    const rows = this.batches({
      sql: `select to_json(${structOf(key)}) from (select ${names} from newest where (${refusal(columns, key)}) is null)
        semi join (select ${names} from added) using (${names}) group by ${names} having count(*) > 1 limit 1`,
      inputs: new Map([
        ["newest", this.#newest.relation],
        ["added", added],
      ]),
    });
    for await (const [row] of rows)
      throw new MillraceError("PUBLISH_KEY_NOT_UNIQUE", { table: this.#table.name, key: String(row?.[0]) });
  }

  /** Rows with how often they came (positive) or went (negative): `[times, refusal, line, line of the key, JSON if refused]`. */
  #netChanges({ added, removed }: { added: Relation; removed: Relation }): Statement {
    const { columns, key } = this.#shape;
    const names = columns.map((c) => quoteIdentifier(c.name)).join(", ");
    const keyColumns = columns.filter((c) => key.includes(c.name));
    const keyOrder = key.flatMap((name) => keyColumns.find((c) => c.name === name) ?? []);
    const keyLine = key.length > 0 ? copyLine(keyOrder) : "''";
    return {
      sql: `select _times, _why, ${copyLine(columns)}, ${keyLine}, case when _why is not null then ${jsonOf(columns)} end
        from (select *, ${refusal(columns, key)} as _why from (
          select ${names}, sum(_one)::bigint as _times
          from (select ${names}, 1 as _one from added union all select ${names}, -1 as _one from removed)
          group by all having sum(_one) <> 0))`,
      inputs: new Map([
        ["added", added],
        ["removed", removed],
      ]),
    };
  }

  /** Copies every row that PostgreSQL takes, and makes known the others. Resolves to the number of the former. */
  async #copyAll(target: string, how: string): Promise<number> {
    const { columns } = this.#shape;
    let written = 0;
    const skipped = this.#skipped;
    const chunks = async function* (batches: AsyncIterable<unknown[][]>, leave: () => void): AsyncGenerator<Buffer> {
      for await (const batch of batches) {
        let text = "";
        for (const [line] of batch as [string | null][]) {
          if (line === null || (skipped.size > 0 && skipped.has(line))) leave();
          else {
            text += `${line}\n`;
            written++;
          }
        }
        yield Buffer.from(text);
      }
    };
    const lines = chunks(this.batches(this.lines()), () => {
      this.#left++;
    });
    await this.#copy(`${target} (${list(columns)})`, how, lines);
    if (this.#left > 0) await this.#tellRefused();
    return written;
  }

  /** Every row: its line, or null where it is known that PostgreSQL refuses it. */
  lines(): Statement {
    const { columns, key } = this.#shape;
    const why = refusal(columns, key);
    const line = copyLine(columns);
    return {
      sql: `select ${why.startsWith("null") ? line : `case when (${why}) is null then ${line} end`} from newest`,
      inputs: new Map([["newest", this.#newest.relation]]),
    };
  }

  async *batches(statement: Statement): AsyncGenerator<unknown[][]> {
    const { batches } = await this.#o.engine.query(statement, { signal: this.#o.signal });
    yield* batches;
  }

  async #tellRefused(): Promise<void> {
    const { columns, key } = this.#shape;
    const hashes = [...this.#skipped.keys()].map((line) => quoteLiteral(md5(line)));
    const also = hashes.length > 0 ? `or md5(_line) in (${hashes.join(", ")})` : "";
    const rows = this.batches({
      sql: `select _line, _why, ${jsonOf(columns)} from (
          select *, ${refusal(columns, key)} as _why, ${copyLine(columns)} as _line from newest)
        where _why is not null ${also}`,
      inputs: new Map([["newest", this.#newest.relation]]),
    });
    for await (const batch of rows as AsyncIterable<[string, string | null, string][]>) {
      const refused = batch.map(([line, why, payload]) => {
        return this.#refusedRow(line, why ?? this.#skipped.get(line) ?? "it is refused", payload);
      });
      await this.#o.refuse(refused);
    }
  }

  #refusedRow(line: string, reason: string, payload: string): RefusedRow {
    const id = rowId(this.#table.name, line);
    this.#refused.add(id);
    const { message } = new MillraceError("PUBLISH_ROW_REFUSED", { table: this.#table.name, reason });
    return { id, message, payload };
  }

  async #copy(target: string, how: string, chunks: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
    const copy = this.#o.client.query(copyFrom(`copy ${target} from stdin ${how}`));
    await pipeline(Readable.from(chunks), copy, { signal: this.#o.signal });
  }

  async #done(kind: "changes" | "whole" | "anew", rows: number): Promise<PublicationOutcome> {
    const { schema, name, hash, qualified } = this.#shape;
    const { version, tableId, committedAtMs } = this.#newest;
    const refused = this.#left;
    const total = this.#newest.rows;
    if (total !== undefined && rows + refused !== total) {
      const reason = `the files of version ${version} hold ${rows + refused} rows, and their commits say ${total}`;
      throw new MillraceError("PUBLISH_FAILED", { table: this.#table.name, reason });
    }
    await this.#query(
      `insert into ${RECORDS} as r
         (source, schema_name, table_name, relation, shape, table_id, version, committed_at, row_count, refused, probed)
       values ($1, $2, $3, to_regclass($4)::oid, $5, $6, $7, $8, $9, $10, $11)
       on conflict (source) do update set schema_name = excluded.schema_name, table_name = excluded.table_name,
         relation = excluded.relation, shape = excluded.shape, table_id = excluded.table_id, version = excluded.version,
         committed_at = excluded.committed_at, published_at = clock_timestamp(), row_count = excluded.row_count,
         refused = excluded.refused, probed = excluded.probed`,
      [
        ...[this.#table.name, schema, name, qualified, hash, tableId, version, new Date(committedAtMs)],
        ...[rows, refused, this.#skipped.size > 0],
      ],
    );
    const record = { version, rows, refused };
    return { kind, record, refused: this.#refused, gone: "others", written: rows };
  }

  #query(sql: string, params: readonly unknown[] = []): Promise<pg.QueryResult> {
    this.#o.signal.throwIfAborted();
    return params.length > 0 ? this.#o.client.query(sql, [...params]) : this.#o.client.query(sql);
  }
}

const LOCK_NOT_AVAILABLE = "55P03";
const FILES_GONE: ReadonlySet<string> = new Set(["ENGINE_IO", "DATA_FILE_DAMAGED", "SQL_FAILED"]);

interface NetChanges {
  readonly removedKeys: readonly string[];
  readonly added: readonly string[];
  readonly refused: readonly RefusedRow[];
  /** Ids of refused rows that went. */
  readonly gone: ReadonlySet<string>;
  /** How many more rows are refused now; negative when they are fewer. */
  readonly refusedRows: number;
}

function list(columns: readonly Column[]): string {
  return columns.map((c) => quoted(c.name)).join(", ");
}

function structOf(names: readonly string[]): string {
  return `{${names.map((name) => `${quoteLiteral(name)}: ${quoteIdentifier(name)}`).join(", ")}}`;
}

function jsonOf(columns: readonly Column[]): string {
  return `cast(to_json(${structOf(columns.map((c) => c.name))}) as varchar)`;
}

/** Lines as pieces of some hundred kilobytes. */
function* lineChunks(lines: readonly string[]): Generator<Buffer> {
  for (let i = 0; i < lines.length; i += LINES_AT_ONCE)
    yield Buffer.from(`${lines.slice(i, i + LINES_AT_ONCE).join("\n")}\n`);
}

const LINES_AT_ONCE = 2_048;

function rowId(table: string, line: string): string {
  return `publish/${table}/${md5(line).slice(0, 16)}`;
}

function md5(text: string): string {
  return createHash("md5").update(text).digest("hex");
}
