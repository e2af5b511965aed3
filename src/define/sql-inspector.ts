import type { Column } from "./project.ts";
import type { SqlFunction } from "./read-sql-function.ts";

/** The parse tree that DuckDB's `json_serialize_sql` gives; `sql-ast.ts` knows its shape. */
export type SqlAst = Record<string, unknown>;

/**
 * Reads SQL without running it: what a project's statements depend on and which columns they give.
 * Implemented by the engine (`engine/duckdb-inspector.ts`), so that what loads is what will run.
 */
export interface SqlInspector {
  /** Which data `locate_ip` gives; undefined where there is none and statements that call it do not bind. */
  readonly geoDatabase?: string | undefined;
  /** Functions of the project that statements may call, by name. */
  readonly functions: ReadonlyMap<string, SqlFunction>;
  /** From now on statements may call the functions. @throws FUNCTION_NAME_TAKEN for the name of one that SQL has already */
  define(functions: readonly SqlFunction[]): Promise<void>;
  /**
   * Parses text that must hold exactly one SELECT statement.
   * @throws SQL_SYNTAX with the place; SQL_NOT_A_QUERY for anything but one SELECT.
   */
  parse(sql: string): Promise<SqlAst>;
  /** The text of a parse tree. Columns without an alias may come out with another name. */
  format(ast: SqlAst): Promise<string>;
  /** Declares an empty relation (`orders`, `silver.orders`) that later statements can be bound against. */
  declare(name: string, columns: readonly Column[]): Promise<void>;
  /**
   * The columns a statement gives, bound against what was declared.
   * @throws SQL_BIND with the engine's reason (unknown column, wrong types) and its nearest match where it has one.
   */
  describe(sql: string): Promise<Column[]>;
  /** Names of the functions that combine rows (`sum`, `count_star`, `string_agg`…), in lower case. */
  aggregateFunctions(): Promise<ReadonlySet<string>>;
  close(): void;
}
