import {
  type AstNode,
  fromItems,
  referenceName,
  selectNodes,
  type TableReference,
  tableReferences,
  visitNodes,
} from "./sql-ast.ts";
import type { SqlAst } from "./sql-inspector.ts";
import { quoteIdentifier } from "./sql-text.ts";

/**
 * The statement with each table replaced by the identifier that `replacement` gives (undefined: left as it is). The text is
 * edited at the places the parse tree gives and every other byte stays as the user wrote it: the engine's own way from tree
 * to text changes names and types here and there. Tables keep the name under which the rest of the statement knows
 * them; `at (…)` and a closing semicolon are left out.
 */
export function replaceTables(
  sql: string,
  ast: SqlAst,
  replacement: (reference: TableReference) => string | undefined,
): string {
  const edits: Edit[] = [];
  const offsets = new CharacterOffsets(sql);
  const references = new Map(tableReferences(ast).map((reference) => [reference.node, reference]));
  const identifiers = new Map<AstNode, string>();
  for (const [node, reference] of references) {
    const identifier = replacement(reference);
    if (identifier !== undefined) identifiers.set(node, identifier);
  }
  const { aliases, columns } = namesInScope(ast, references, identifiers);
  for (const [node, identifier] of identifiers) {
    const reference = references.get(node)!;
    const start = offsets.of(reference.position);
    const end = endOfName(sql, start);
    const needsAlias = reference.alias === undefined && !isAlone(sql, start);
    const alias = needsAlias ? ` AS ${quoteIdentifier(aliases.get(node) ?? reference.table)}` : "";
    edits.push({ start, end, text: quoteIdentifier(identifier) + alias });
    if (reference.at !== undefined) edits.push({ ...atClause(sql, end), text: "" });
  }
  edits.push(...requalifiedColumns(columns, sql, offsets), {
    start: endOfStatement(sql),
    end: sql.length,
    text: "",
  });
  return apply(sql, edits);
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * What replaced tables are called, and for every column qualified by schema and table the name that takes their place.
 *
 * `silver.orders join gold.orders`: without schemas both would answer to `orders`, so there each answers to schema and name
 * together. Inner queries come first: what they qualify is a table of their own before it is one of the outer query.
 */
function namesInScope(
  ast: SqlAst,
  references: ReadonlyMap<AstNode, TableReference>,
  identifiers: ReadonlyMap<AstNode, string>,
): { aliases: Map<AstNode, string>; columns: Map<AstNode, string> } {
  const aliases = new Map<AstNode, string>();
  const columns = new Map<AstNode, string>();
  for (const select of selectNodes(ast).reverse()) {
    const own = fromItems(select.from_table).flatMap(({ node }) => references.get(node) ?? []);
    const bare = own.filter(({ alias }) => alias === undefined);
    const qualified = new Map<string, string>();
    for (const reference of bare) {
      if (!identifiers.has(reference.node)) continue;
      const name = referenceName(reference);
      const table = reference.table.toLowerCase();
      const clashes = bare.some((other) => other.table.toLowerCase() === table && referenceName(other) !== name);
      aliases.set(reference.node, clashes ? name : reference.table);
      if (reference.schema !== "") qualified.set(name, aliases.get(reference.node)!);
    }
    visitNodes(select, (node) => {
      const names = node.class === "COLUMN_REF" ? (node.column_names as string[]) : [];
      const alias = names.length < 3 ? undefined : qualified.get(`${names[0]}.${names[1]}`.toLowerCase());
      if (alias !== undefined && !columns.has(node)) columns.set(node, alias);
    });
  }
  return { aliases, columns };
}

/** `silver.orders.amount` becomes `"orders".amount`: what stands in a table's place has no schema. */
function requalifiedColumns(columns: ReadonlyMap<AstNode, string>, sql: string, offsets: CharacterOffsets): Edit[] {
  return [...columns].map(([node, alias]) => {
    const start = offsets.of(node.query_location);
    const table = skipBlank(sql, skipBlank(sql, endOfIdentifier(sql, start)) + 1);
    return { start, end: endOfIdentifier(sql, table), text: quoteIdentifier(alias) };
  });
}

/** True where the grammar takes a bare name only: `table x`, `describe x`. */
function isAlone(sql: string, start: number): boolean {
  let before = "";
  for (const token of sqlTokens(sql)) {
    if (token.start >= start) break;
    before = sql.slice(token.start, token.end).toLowerCase();
  }
  return ["table", "describe", "desc", "show", "summarize"].includes(before);
}

/** From the end of a name, over its alias, to the end of `AT (…)`. */
function atClause(sql: string, from: number): { start: number; end: number } {
  let start = -1;
  let depth = 0;
  for (const token of sqlTokens(sql, from)) {
    const text = sql.slice(token.start, token.end);
    if (start < 0) {
      if (depth === 0 && text.toLowerCase() === "at") start = token.start;
      else depth += text === "(" ? 1 : text === ")" ? -1 : 0;
      continue;
    }
    if (text === "(") depth++;
    else if (text === ")") depth--;
    if (text === ")" && depth === 0) return { start, end: token.end };
  }
  throw new Error(`no AT clause behind character ${from} of: ${sql}`);
}

/** Where the statement ends: before a closing semicolon and what follows it. */
function endOfStatement(sql: string): number {
  let end = sql.length;
  let semicolons = true;
  for (const token of [...sqlTokens(sql)].reverse()) {
    if (!semicolons) break;
    if (sql[token.start] === ";") end = token.start;
    else semicolons = false;
  }
  return end;
}

function endOfName(sql: string, start: number): number {
  let end = endOfIdentifier(sql, start);
  for (;;) {
    const dot = skipBlank(sql, end);
    if (sql[dot] !== ".") return end;
    end = endOfIdentifier(sql, skipBlank(sql, dot + 1));
  }
}

function endOfIdentifier(sql: string, start: number): number {
  for (const token of sqlTokens(sql, start)) return token.end;
  throw new Error(`no name at character ${start} of: ${sql}`);
}

function skipBlank(sql: string, from: number): number {
  for (const token of sqlTokens(sql, from)) return token.start;
  return sql.length;
}

/**
 * The words and marks of a text, from an offset on. Blanks and comments (`-- …`, nested slash-star) are none; quoted texts
 * ('…', "…", e'…' with backslashes, $tag$…$tag$) and words are one each, as is any other single character.
 */
export function* sqlTokens(sql: string, from = 0): Generator<{ start: number; end: number }> {
  let at = from;
  while (at < sql.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(sql);
    if (match === null) return;
    const start = at;
    at += match[0].length;
    if (match[1] !== undefined) continue;
    if (match[2] !== undefined) {
      at = endOfComment(sql, start);
      continue;
    }
    if (match[3] !== undefined) {
      const close = sql.indexOf(match[3], at);
      at = close < 0 ? sql.length : close + match[3].length;
    }
    yield { start, end: at };
  }
}

const TOKEN =
  /(\s+|--[^\n]*)|(\/\*)|(\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w\u0080-\uffff][\w$\u0080-\uffff]*|[\s\S]/y;

function endOfComment(sql: string, start: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = start;
  let depth = 0;
  for (let match = mark.exec(sql); match !== null; match = mark.exec(sql)) {
    depth += match[0] === "/*" ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return sql.length;
}

function apply(sql: string, edits: Edit[]): string {
  let text = "";
  let at = 0;
  for (const edit of edits.sort((a, b) => a.start - b.start)) {
    text += sql.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return text + sql.slice(at);
}

/** The parser counts bytes of UTF-8. */
class CharacterOffsets {
  readonly #bytes: Buffer | undefined;

  constructor(sql: string) {
    const bytes = Buffer.from(sql);
    this.#bytes = bytes.length === sql.length ? undefined : bytes;
  }

  of(byteOffset: unknown): number {
    if (typeof byteOffset !== "number") throw new Error("the parser gave no place for a name");
    return this.#bytes === undefined ? byteOffset : this.#bytes.subarray(0, byteOffset).toString().length;
  }
}
