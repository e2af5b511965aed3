import { nearestMatch } from "../define/nearest.ts";
import { replaceTables, sqlTokens } from "../define/replace-tables.ts";
import { referenceName, type TableReference, tableReferences } from "../define/sql-ast.ts";
import type { SqlAst } from "../define/sql-inspector.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import { MillraceError } from "../errors.ts";
import { filesSql } from "./duckdb-files.ts";
import type { Relation, Statement } from "./sql-engine.ts";

/**
 * The text DuckDB runs for a statement. Every input becomes a CTE in front, once however often and however deep it is
 * used; the user's text names the CTE where it named the table and is otherwise untouched. `NOT MATERIALIZED` lets
 * filters and projections reach the files, which DuckDB would else read whole for a CTE that is used twice.
 *
 * @throws TABLE_UNKNOWN; SQL_SYNTAX; SQL_NOT_A_QUERY
 */
export async function compile(statement: Statement, parse: (sql: string) => Promise<SqlAst>): Promise<string> {
  const ctes: string[] = [];
  const names = new Map<Relation, string>();
  const prefix = freePrefix(statement);

  async function body(part: Statement): Promise<string> {
    const ast = await parse(part.sql);
    const inputs = new Map([...part.inputs].map(([name, relation]) => [name.toLowerCase(), relation]));
    const _used: { name: string; relation: Relation }[] = [];
    const identifiers = new Map<string, string>();
    for (const reference of tableReferences(ast)) {
      const name = referenceName(reference);
      const relation = inputs.get(name);
      if (relation === undefined) throw unknownTable(writtenName(reference), part.inputs.keys());
      identifiers.set(name, await define(relation));
    }
    return replaceTables(part.sql, ast, (reference) => identifiers.get(referenceName(reference)));
  }

  async function define(relation: Relation): Promise<string> {
    const known = names.get(relation);
    if (known !== undefined) return known;
    const sql = await relationSql(relation);
    const name = `${prefix}${names.size}`;
    names.set(relation, name);
    ctes.push(`${quoteIdentifier(name)} AS NOT MATERIALIZED (${sql}\n)`);
    return name;
  }

  async function relationSql(relation: Relation): Promise<string> {
    switch (relation.kind) {
      case "files":
        return filesSql(relation);
      case "native":
        return relation.sql;
      case "view":
        if (relation.statement.params !== undefined) throw new TypeError("a view takes no parameters");
        return await body(relation.statement);
    }
  }

  const sql = await body(statement);
  return ctes.length === 0 ? sql : withCtes(ctes, sql);
}

export function unknownTable(name: string, known: Iterable<string>): MillraceError {
  const candidate = nearestMatch(name, [...known]);
  return new MillraceError(
    "TABLE_UNKNOWN",
    { table: name, nearest: candidate === undefined ? "" : `; did you mean "${candidate}"?` },
    { details: { name, ...(candidate === undefined ? {} : { candidates: [candidate] }) } },
  );
}

function writtenName({ catalog, schema, table }: TableReference): string {
  return [catalog, schema, table].filter((part) => part !== "").join(".");
}

/** Joins our CTEs with those of the statement, whichever form it has. */
function withCtes(ctes: readonly string[], sql: string): string {
  const list = ctes.join(",\n");
  const tokens = sqlTokens(sql).take(2).toArray();
  const [first = "", second = ""] = tokens.map((token) => sql.slice(token.start, token.end).toLowerCase());
  if (first === "with") {
    const recursive = second === "recursive";
    return `WITH ${recursive ? "RECURSIVE " : ""}${list}, ${sql.slice(tokens[recursive ? 1 : 0]?.end)}`;
  }
  // DESCRIBE, SUMMARIZE and a WITH in parentheses can stand behind WITH only as a subquery.
  const direct = first === "(" ? second !== "(" && second !== "with" : DIRECT.has(first);
  return direct ? `WITH ${list}\n${sql}` : `WITH ${list}\nFROM (${sql}\n)`;
}

const DIRECT = new Set(["select", "from", "values", "table", "unpivot"]);

/** Names for our CTEs that occur nowhere in the statement's texts. */
function freePrefix(statement: Statement): string {
  const texts = new Map<Statement, string>();
  const collect = (part: Statement) => {
    if (texts.has(part)) return;
    texts.set(part, part.sql);
    for (const relation of part.inputs.values()) if (relation.kind === "view") collect(relation.statement);
  };
  collect(statement);
  let prefix = "__m";
  while ([...texts.values()].some((sql) => sql.includes(prefix))) prefix += "_";
  return prefix;
}
