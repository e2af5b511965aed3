/**
 * Statements that somebody has written for Spark. They are taken as they are, but for the names of streams and tables behind FROM and JOIN, in whose
 * place the plan's own names stand. Nothing else of Spark's SQL is understood here.
 */
import { quoteSparkName } from "../../../define/sql-text.ts";

/** The text with each input's name behind FROM or JOIN replaced; the rest of the statement goes on knowing it by its own. */
export function renameInputs(sql: string, identifier: (name: string) => string | undefined): string {
  let text = "";
  let at = 0;
  for (const { name, start, end, aliased } of inputsNamed(sql)) {
    const replacement = identifier(name);
    if (replacement === undefined) continue;
    const alias = aliased ? "" : ` AS ${quoteSparkName(name.slice(name.indexOf(".") + 1))}`;
    text += `${sql.slice(at, start)}${quoteSparkName(replacement)}${alias}`;
    at = end;
  }
  return text + sql.slice(at);
}

/** Names of relations that the statement reads, in lower case: those behind FROM and JOIN that no CTE of its own has. */
export function variantInputs(sql: string): string[] {
  return [...new Set(inputsNamed(sql).map(({ name }) => name))];
}

interface Named {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  /** True where an alias follows. */
  readonly aliased: boolean;
}

function inputsNamed(sql: string): Named[] {
  const tokens = [...sql.matchAll(TOKEN)].filter(
    ({ groups }) => groups?.["word"] !== undefined || groups?.["mark"] !== undefined,
  );
  const word = (i: number) => tokens[i]?.groups?.["word"];
  const plain = (i: number) => word(i)?.toLowerCase() ?? "";
  const ctes = new Set<string>();
  for (let i = 0; i < tokens.length; i++) {
    // `name AS (` of a WITH; a cast has a type there, and a window its partition.
    if (word(i) !== undefined && plain(i + 1) === "as" && tokens[i + 2]?.[0] === "(")
      ctes.add(unquoted(word(i) as string));
  }
  const found: Named[] = [];
  for (let i = 1; i < tokens.length; i++) {
    if (plain(i - 1) !== "from" && plain(i - 1) !== "join") continue;
    const first = word(i);
    if (first === undefined || NOT_NAMES.has(plain(i))) continue;
    const second = tokens[i + 1]?.[0] === "." ? word(i + 2) : undefined;
    const last = second === undefined ? i : i + 2;
    // A function of a table, or extract(year FROM x).
    if (
      tokens[last + 1]?.[0] === "(" ||
      (second === undefined && tokens[last + 1]?.[0] === ")" && isExtract(tokens, i))
    )
      continue;
    const name = second === undefined ? unquoted(first) : `${unquoted(first)}.${unquoted(second)}`;
    if (second === undefined && ctes.has(name)) continue;
    const next = word(last + 1);
    const aliased = next !== undefined && (next.startsWith("`") || !CLAUSES.has(next.toLowerCase()));
    const end = tokens[last]!;
    found.push({ name, start: tokens[i]!.index, end: end.index + end[0].length, aliased });
    i = last;
  }
  return found;
}

/** `extract(year FROM`, `trim(BOTH ' ' FROM`, `substring(x FROM`: the bracket before belongs to a call, and no SELECT stands within. */
function isExtract(tokens: readonly RegExpExecArray[], at: number): boolean {
  let depth = 0;
  for (let i = at - 1; i >= 0; i--) {
    const text = tokens[i]?.[0].toLowerCase();
    if (text === ")") depth++;
    if (text === "(" && depth-- === 0) return tokens[i - 1]?.groups?.["word"] !== undefined;
    if (text === "select" && depth === 0) return false;
  }
  return false;
}

/** Texts ('…' and "…" with backslashes) and comments are skipped; words, quoted names and single marks are tokens. */
const TOKEN =
  /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"|--[^\n]*|\/\*[\s\S]*?\*\/|(?<word>`(?:[^`]|``)*`|[A-Za-z_][\w]*)|(?<mark>[^\s\w])|\w+/g;

const NOT_NAMES = new Set(["lateral", "values", "select"]);

/** Words behind a table that are no alias of it. */
const CLAUSES = new Set(
  "on using where group having qualify order sort cluster distribute limit offset window union except intersect minus join inner left right full outer cross semi anti natural lateral pivot unpivot tablesample version timestamp for".split(
    " ",
  ),
);

function unquoted(word: string): string {
  return (word.startsWith("`") ? word.slice(1, -1).replaceAll("``", "`") : word).toLowerCase();
}
