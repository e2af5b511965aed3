import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { loadProject } from "../../src/define/load-project.ts";
import type { Project, Stream, Table } from "../../src/define/project.ts";
import { quoteIdentifier, quoteLiteral, quoteName } from "../../src/define/sql-text.ts";
import { duckdbType } from "../../src/define/types.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { eventId } from "../../src/flow/event-id.ts";

/** Loads the project in a folder as the platform does. */
export async function load(dir: string): Promise<Project> {
  const inspector = await openDuckdbInspector();
  try {
    return await loadProject(dir, inspector);
  } finally {
    inspector.close();
  }
}

/**
 * Computes a project's tables in the plainest way: events from CSV files, the first of each id, every table as a whole, in one DuckDB. What the
 * definitions say, without the platform: the yardstick that the platform's own tables are held to.
 */
export class ProjectTables {
  readonly project: Project;
  /** Stream -> events that repeat the id of an earlier one. */
  readonly duplicates = new Map<string, number>();
  /** `table.check` -> rows that failed it. */
  readonly failed = new Map<string, number>();
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  private constructor(project: Project, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.project = project;
    this.#instance = instance;
    this.#connection = connection;
  }

  /** `files`: stream -> CSV file. Streams without one are empty. */
  static async compute(project: Project, files: Readonly<Record<string, string>>): Promise<ProjectTables> {
    const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
    const connection = await instance.connect();
    await connection.run("set TimeZone = 'UTC'");
    const tables = new ProjectTables(project, instance, connection);
    for (const stream of project.streams.values()) await tables.#fill(stream, files[stream.name]);
    for (const table of project.tables.values()) await tables.#create(table);
    return tables;
  }

  async row(sql: string): Promise<unknown[]> {
    const reader = await this.#connection.runAndReadAll(sql);
    return reader.getRowsJson()[0] as unknown[];
  }

  /** The events of a stream as the importer would send them, one JSON text each. */
  async events(stream: string): Promise<string[]> {
    const { columns } = this.project.streams.get(stream) as Stream;
    const fields = columns.map(({ name, type }) => {
      const value = `e.${quoteIdentifier(name)}`;
      const text = type.kind === "timestamp" ? `strftime(${value}, '%Y-%m-%dT%H:%M:%SZ')` : value;
      return `${quoteIdentifier(name)} := ${text}`;
    });
    const reader = await this.#connection.runAndReadAll(
      `select to_json(struct_pack(${fields.join(", ")}))::varchar from ${quoteIdentifier(`all ${stream}`)} e`,
    );
    return reader.getRows().map(([json]) => json as string);
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  async #fill(stream: Stream, csv: string | undefined): Promise<void> {
    const all = quoteIdentifier(`all ${stream.name}`);
    const columns = stream.columns.map((c) => `${quoteIdentifier(c.name)} ${duckdbType(c.type)}`);
    await this.#connection.run(`create table ${all} (${columns.join(", ")})`);
    if (csv !== undefined) await this.#insert(stream, csv);
    const id = eventId(stream, "e", "'#' || _offset");
    await this.#connection.run(`
      create table ${quoteIdentifier(stream.name)} as
      with events as materialized (select *, ${id} as _id from (select *, rowid as _offset from ${all}) e),
      firsts as (select min(_offset) as _offset from events group by _id)
      select * exclude (_id, _offset), _id, 0 as _partition, _offset, now() as _received_at, 'test' as _source
      from events semi join firsts using (_offset)
      order by _offset`);
    const [total, kept] = await this.row(
      `select (select count(*) from ${all}), (select count(*) from ${quoteIdentifier(stream.name)})`,
    );
    this.duplicates.set(stream.name, Number(total) - Number(kept));
  }

  /** Columns match fields by name, whatever their case: `InvoiceNo` is `invoice_no`. Times without a zone are UTC. */
  async #insert(stream: Stream, csv: string): Promise<void> {
    const source = `read_csv(${quoteLiteral(csv)}, all_varchar = true)`;
    const described = await this.#connection.runAndReadAll(`describe select * from ${source}`);
    const byField = new Map(described.getRows().map(([name]) => [plain(name as string), name as string]));
    const list = stream.columns.map((column) => {
      const name = byField.get(plain(column.name));
      if (name === undefined) return "null";
      const text = quoteIdentifier(name);
      const value = column.type.kind === "timestamp" ? `rtrim(${text}, 'Z') || 'Z'` : text;
      return `cast(${value} as ${duckdbType(column.type)})`;
    });
    await this.#connection.run(
      `insert into ${quoteIdentifier(`all ${stream.name}`)} select ${list.join(", ")} from ${source}`,
    );
  }

  async #create(table: Table): Promise<void> {
    await this.#connection.run(`create schema if not exists ${quoteIdentifier(table.name.split(".")[0] as string)}`);
    let sql = table.sql;
    if (table.mode === "append") {
      const passes = Object.values(table.checks).map((check) => `(${check}) is not false`);
      sql = `select * from (${table.storedSql}) where ${["true", ...passes].join(" and ")}`;
      if (table.key.length > 0) {
        const key = table.key.map(quoteIdentifier).join(", ");
        const latest = quoteIdentifier(table.latest ?? "_offset");
        sql += ` qualify row_number() over (partition by ${key} order by ${latest} desc, _offset desc) = 1`;
      }
      if (table.tombstone) sql = `select * from (${sql}) where ${quoteIdentifier(table.tombstone)} is not true`;
      for (const [check, condition] of Object.entries(table.checks)) {
        const [failed] = await this.row(`select count(*) from (${table.storedSql}) where not (${condition})`);
        this.failed.set(`${table.name}.${check}`, Number(failed));
      }
    }
    await this.#connection.run(`create table ${quoteName(table.name)} as ${sql}`);
  }
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll("_", "");
}
