import { type AstNode, isNode, visitNodes } from "../define/sql-ast.ts";
import type { SqlAst } from "../define/sql-inspector.ts";
import { MillraceError } from "../errors.ts";
import { ALLOWED_FUNCTIONS, ALLOWED_PREFIXES, ALLOWED_TABLE_FUNCTIONS, REFUSALS, UNLISTED } from "./sql-functions.ts";

/**
 * Lets a statement through only if all it can do is compute from the tables it names and the values it holds. Whatever is
 * not known here is refused: kinds of nodes, functions, schemas of functions. Which tables it names is for the catalogue
 * to judge: a name that is not there never reaches the engine.
 *
 * The tree must come from `SqlInspector.parse`, which lets exactly one SELECT pass. `own`: functions that the project defines.
 * @throws SQL_FORBIDDEN naming what, and why
 */
export function checkQuery(ast: SqlAst, own: { has(name: string): boolean } = new Set()): void {
  const tableFunctions = new Set<unknown>();
  visitNodes(ast, (node) => {
    if (node.type === "TABLE_FUNCTION") {
      checkTableFunction(node.function);
      tableFunctions.add(node.function);
    } else if (node.type === "SHOW_REF") checkShow(node);
    else if (typeof node.class === "string") {
      if (!EXPRESSIONS.has(node.class)) refuse(`an expression of the kind ${node.class}`, UNKNOWN_KIND);
      if ("function_name" in node && !tableFunctions.has(node)) checkFunction(node, own);
    } else if (typeof node.type === "string" && !PARTS.has(node.type)) {
      refuse(`a part of the kind ${node.type}`, UNKNOWN_KIND);
    }
  });
}

const UNKNOWN_KIND = "it is not among the parts of SQL that queries may use";

const EXPRESSIONS = new Set([
  "BETWEEN",
  "CASE",
  "CAST",
  "COLLATE",
  "COLUMN_REF",
  "COMPARISON",
  "CONJUNCTION",
  "CONSTANT",
  "FUNCTION",
  "LAMBDA",
  "OPERATOR",
  "PARAMETER",
  "POSITIONAL_REFERENCE",
  "STAR",
  "SUBQUERY",
  "WINDOW",
]);

const PARTS = new Set([
  // queries
  "SELECT_NODE",
  "SET_OPERATION_NODE",
  "RECURSIVE_CTE_NODE",
  // what rows come from
  "BASE_TABLE",
  "EMPTY",
  "EXPRESSION_LIST",
  "JOIN",
  "PIVOT",
  "SUBQUERY",
  // what is done to the result, and in which order
  "DISTINCT_MODIFIER",
  "LIMIT_MODIFIER",
  "LIMIT_PERCENT_MODIFIER",
  "ORDER_MODIFIER",
  "ASCENDING",
  "DESCENDING",
  "ORDER_DEFAULT",
  // details of the types that casts name
  "ARRAY_TYPE_INFO",
  "DECIMAL_TYPE_INFO",
  "ENUM_TYPE_INFO",
  "LIST_TYPE_INFO",
  "STRING_TYPE_INFO",
  "STRUCT_TYPE_INFO",
  "UNBOUND_TYPE_INFO",
]);

function checkFunction(node: AstNode, own: { has(name: string): boolean }): void {
  const name = String(node.function_name).toLowerCase();
  checkHome(node, name);
  if (name === "format" || name === "printf") checkFormat(node, name);
  if (ALLOWED_FUNCTIONS.has(name) || own.has(name) || ALLOWED_PREFIXES.some((prefix) => name.startsWith(prefix)))
    return;
  refuse(`the function ${name}`, REFUSALS[name] ?? UNLISTED);
}

/** A width makes a text of that length, whatever the engine's limits, so widths must be seen here and be small. */
function checkFormat(node: AstNode, name: string): void {
  const [format] = node.children as AstNode[];
  const value = format?.class === "CONSTANT" && isNode(format.value) ? format.value.value : undefined;
  if (typeof value === "string" && !/\d{4}|\*|\{[^}]*\{/.test(value)) return;
  refuse(`${name} with this format`, "it must be a text in the query itself, with widths below 1000");
}

function checkTableFunction(node: unknown): void {
  if (!isNode(node) || node.class !== "FUNCTION") refuse("a table function without a name", UNKNOWN_KIND);
  const name = String(node.function_name).toLowerCase();
  checkHome(node, name);
  if (!ALLOWED_TABLE_FUNCTIONS.has(name)) refuse(`the table function ${name}`, REFUSALS[name] ?? UNLISTED);
}

/** A name in another schema or database is another function. */
function checkHome(node: AstNode, name: string): void {
  const home = [node.catalog, node.schema].map((part) => String(part ?? "").toLowerCase());
  if (home[0] === "" && (home[1] === "" || home[1] === "main")) return;
  refuse(
    `the function ${[...home, name].filter((part) => part !== "").join(".")}`,
    "functions are named without a schema",
  );
}

/** `describe select …` and `summarize orders` compute from a query; `show tables` and the like read the engine's catalogue. */
function checkShow(node: AstNode): void {
  if (isNode(node.query)) return;
  refuse(`SHOW ${String(node.table_name).replaceAll('"', "")}`.trim(), "GET /v1/tables lists what there is");
}

function refuse(what: string, why: string): never {
  throw new MillraceError("SQL_FORBIDDEN", { what, why }, { details: { what, why } });
}
