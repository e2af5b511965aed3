import type { SqlAst } from "./sql-inspector.ts";
import { quoteIdentifier } from "./sql-text.ts";

/**
 * Where a statement names tables, and the statement with other tables in their places. The text is edited at the places
 * the parse tree gives, and every other byte stays as the user wrote it.
 */

/** One mention of a table that is not a CTE of the statement itself. */
export interface TableReference {
  /** As written, without quotes: `orders`, `silver.orders`. */
  readonly name: string;
  /** Empty when it has none. */
  readonly alias: string;
  /** `at (version => …)` or `at (timestamp => …)`: the expression's tree. */
  readonly at: { readonly unit: "VERSION" | "TIMESTAMP"; readonly expression: SqlAst } | undefined;
  /** Character offset of the name in the text. */
  readonly start: number;
}

/** In the order of the text. A CTE is known to the CTEs behind it and to the body, and to itself when it is recursive. */
export function tableReferences(sql: string, ast: SqlAst): TableReference[] {
  const offsets = new CharacterOffsets(sql);
  const found: TableReference[] = [];
  walk(ast, new Set(), (node) => {
    const parts = [node.catalog_name, node.schema_name, node.table_name].filter((part) => part !== "");
    const at = node.at_clause as { unit: "VERSION" | "TIMESTAMP"; expr: SqlAst } | null;
    found.push({
      name: parts.join("."),
      alias: String(node.alias),
      at: at === null ? undefined : { unit: at.unit, expression: at.expr },
      start: offsets.of(node.query_location as number),
    });
  });
  return found.sort((a, b) => a.start - b.start);
}

/**
 * The statement with each table replaced by the identifier that `replacement` gives (undefined: left as it is). Tables keep
 * the name under which the rest of the statement knows them; `at (…)` and a closing semicolon are left out.
 */
export function replaceTables(
  sql: string,
  ast: SqlAst,
  replacement: (reference: TableReference) => string | undefined,
): string {
  const edits: Edit[] = [];
  const replaced = new Set<string>();
  for (const reference of tableReferences(sql, ast)) {
    const identifier = replacement(reference);
    if (identifier === undefined) continue;
    const end = endOfName(sql, reference.start);
    const last = reference.name.slice(reference.name.lastIndexOf(".") + 1);
    const alias = reference.alias !== "" || isAlone(sql, reference.start) ? "" : ` AS ${quoteIdentifier(last)}`;
    edits.push({ start: reference.start, end, text: quoteIdentifier(identifier) + alias });
    if (reference.at !== undefined) edits.push({ ...atClause(sql, end), text: "" });
    if (reference.alias === "") replaced.add(reference.name.toLowerCase());
  }
  edits.push(...shortenedColumns(sql, ast, replaced), { start: endOfStatement(sql), end: sql.length, text: "" });
  return apply(sql, edits);
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

type Node = Record<string, unknown>;

function walk(value: unknown, ctes: ReadonlySet<string>, visit: (table: Node) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, ctes, visit);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  const node = value as Node;
  if (node.type === "BASE_TABLE") {
    const isCte =
      node.schema_name === "" && node.catalog_name === "" && ctes.has(String(node.table_name).toLowerCase());
    if (!isCte) visit(node);
    walk(node.at_clause, ctes, visit);
    return;
  }
  const inner = new Set(ctes);
  const own = (node.cte_map as { map?: { key: string; value: Node }[] } | undefined)?.map ?? [];
  for (const { key, value: cte } of own) {
    walk(cte, inner, visit);
    inner.add(key.toLowerCase());
  }
  for (const [name, child] of Object.entries(node)) {
    if (name === "cte_map") continue;
    if (node.type === "RECURSIVE_CTE_NODE" && name === "right") {
      walk(child, new Set(inner).add(String(node.cte_name).toLowerCase()), visit);
    } else walk(child, inner, visit);
  }
}

/** `silver.orders.amount` becomes `orders.amount`: what stands in a table's place has no schema. */
function shortenedColumns(sql: string, ast: SqlAst, replaced: ReadonlySet<string>): Edit[] {
  const offsets = new CharacterOffsets(sql);
  const edits: Edit[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    const node = value as Node;
    const names = node.class === "COLUMN_REF" ? (node.column_names as string[]) : [];
    if (names.length > 2 && replaced.has(`${names[0]}.${names[1]}`.toLowerCase())) {
      const start = offsets.of(node.query_location as number);
      const dot = skipBlank(sql, endOfIdentifier(sql, start));
      edits.push({ start, end: skipBlank(sql, dot + 1), text: "" });
    }
    for (const child of Object.values(node)) visit(child);
  };
  if (replaced.size > 0) visit(ast);
  return edits;
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

  of(byteOffset: number): number {
    return this.#bytes === undefined ? byteOffset : this.#bytes.subarray(0, byteOffset).toString().length;
  }
}
