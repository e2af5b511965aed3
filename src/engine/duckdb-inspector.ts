import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Column } from "../define/project.ts";
import type { SqlFunction } from "../define/read-sql-function.ts";
import type { SqlAst, SqlInspector } from "../define/sql-inspector.ts";
import { quoteIdentifier, quoteName } from "../define/sql-text.ts";
import { duckdbType } from "../define/types.ts";
import { MillraceError } from "../errors.ts";
import { registerDefined } from "./defined-functions.ts";
import { type DuckdbFault, definitionError, readFault, sqlError } from "./duckdb-errors.ts";
import { columnType } from "./duckdb-types.ts";
import type { GeoDatabase } from "./geo-database.ts";
import { readTree, writeTree } from "./parse-tree-text.ts";
import { registerFunctions, registerLocateIp } from "./project-functions.ts";

/**
 * Reads SQL with an empty DuckDB in memory, so that what loads is what will run. It can reach no file and no setting.
 * In the trees it gives, integers beyond 2^53 are `bigint`s.
 */
export async function openDuckdbInspector(): Promise<DuckdbInspector> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
  const connection = await instance.connect();
  // As in the engine, of which this is the image.
  await connection.run("SET max_expression_depth = 250");
  registerFunctions(connection);
  for (const setting of SETTINGS) await connection.run(`SET GLOBAL ${setting}`);
  return new DuckdbInspector(instance, connection);
}

const SETTINGS = [
  "errors_as_json = true",
  "TimeZone = 'UTC'",
  "autoinstall_known_extensions = false",
  "autoload_known_extensions = false",
  "memory_limit = '256MB'",
  "enable_external_access = false",
  "lock_configuration = true",
];

/** An inspector that can be told later what `locate_ip` reads: which file it is, only the project itself says. */
export class DuckdbInspector implements SqlInspector {
  geoDatabase: string | undefined;
  readonly functions = new Map<string, SqlFunction>();
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  /** A connection takes one statement at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.#connection = connection;
  }

  /** From now on statements may call `locate_ip`. */
  locateBy(geo: GeoDatabase): void {
    registerLocateIp(this.#connection, geo);
    this.geoDatabase = geo.name;
  }

  define(functions: readonly SqlFunction[]): Promise<void> {
    return this.#next(async () => {
      for (const defined of functions) {
        const { name } = defined;
        const taken = await this.#connection.runAndReadAll(
          "SELECT 1 FROM duckdb_functions() WHERE lower(function_name) = $1 LIMIT 1",
          [name],
        );
        if (taken.currentRowCount > 0) throw new MillraceError("FUNCTION_NAME_TAKEN", { name });
        registerDefined(this.#connection, [defined]);
        this.functions.set(name, defined);
      }
    });
  }

  parse(sql: string): Promise<SqlAst> {
    return this.#next(() => this.#parse(sql));
  }

  format(ast: SqlAst): Promise<string> {
    return this.#next(() => this.#format(ast));
  }

  declare(name: string, columns: readonly Column[]): Promise<void> {
    return this.#next(async () => {
      const dot = name.indexOf(".");
      if (dot >= 0) await this.#connection.run(`CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(name.slice(0, dot))}`);
      const list = columns.map((column) => `${quoteIdentifier(column.name)} ${duckdbType(column.type)}`);
      await this.#connection.run(`CREATE OR REPLACE TABLE ${quoteName(name)} (${list.join(", ")})`);
    });
  }

  describe(sql: string): Promise<Column[]> {
    return this.#next(async () => {
      await this.#parse(sql);
      try {
        const prepared = await this.#connection.prepare(sql);
        const columns = Array.from({ length: prepared.columnCount }, (_, index) => ({
          name: prepared.columnName(index),
          type: columnType(prepared.columnType(index)),
          nullable: true,
        }));
        prepared.destroySync();
        return columns;
      } catch (error) {
        throw definitionError(error, sql);
      }
    });
  }

  aggregateFunctions(): Promise<ReadonlySet<string>> {
    return this.#next(async () => {
      const rows = await this.#connection.runAndReadAll(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'aggregate'",
      );
      return new Set(rows.getRows().map(([name]) => String(name)));
    });
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #parse(sql: string): Promise<SqlAst> {
    const ast = readTree(await this.#text("SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", sql));
    if (ast["error"] === true) throw parseError(ast, sql);
    const statements = ast["statements"] as unknown[];
    if (statements.length !== 1) {
      const got = statements.length === 0 ? "an empty text" : `${statements.length} statements`;
      throw new MillraceError("SQL_NOT_A_QUERY", { got });
    }
    return ast;
  }

  async #format(ast: SqlAst): Promise<string> {
    return await this.#text("SELECT json_deserialize_sql($1::JSON)", writeTree(ast));
  }

  async #text(sql: string, value: string): Promise<string> {
    const result = await this.#connection.runAndReadAll(sql, [value]);
    return String(result.getRows()[0]?.[0]);
  }
}

function parseError(answer: SqlAst, sql: string): MillraceError {
  const message = String(answer["error_message"]);
  if (answer["error_type"] === "not implemented") return new MillraceError("SQL_NOT_A_QUERY", { got: gotInstead(sql) });
  const position = answer.position;
  const fault: DuckdbFault = readFault(new Error(message)) ?? {
    type: "Parser",
    message,
    ...(position === undefined ? {} : { position: Number(position) }),
  };
  return sqlError("SQL_SYNTAX", fault, sql);
}

/** Of the statements that are no SELECT, one begins like a SELECT: a PIVOT that must first look up its columns. */
function gotInstead(sql: string): string {
  const word = /[A-Za-z_]+/.exec(sql.replaceAll(/--.*|\/\*[\s\S]*?\*\//g, ""))?.[0] ?? "";
  if (/^(select|with|from|pivot)$/i.test(word)) return "a PIVOT without its values (write PIVOT … ON column IN (…))";
  return `a statement that begins with "${word}"`;
}
