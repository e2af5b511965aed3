import { sqlTokens } from "./replace-tables.ts";
import { quoteIdentifier } from "./sql-text.ts";

/**
 * The text of a SELECT with columns added at the end of its outermost select list, each a path such as `["o", "_offset"]`; all else
 * stays as the user wrote it. Undefined where the text alone does not show that list.
 */
export function appendColumns(sql: string, columns: readonly (readonly string[])[]): string | undefined {
  const end = endOfSelectList(sql);
  if (end === undefined) return undefined;
  const list = columns.map((path) => path.map(quoteIdentifier).join(".")).join(", ");
  return `${sql.slice(0, end.at)}${end.comma ? "" : ","} ${list}${sql.slice(end.at)}`;
}

/** Keywords that can follow the select list of a statement that combines no rows. */
const AFTER = new Set(["from", "where", "window", "using", ";", ")"]);

function endOfSelectList(sql: string): { at: number; comma: boolean } | undefined {
  let depth = 0;
  /** Depth of the statement itself, which may stand in parentheses. */
  let outer = 0;
  let begun = false;
  let inList = false;
  let last = { text: "", end: 0 };
  let beforeLast = "";
  for (const { start, end } of sqlTokens(sql)) {
    const text = sql.slice(start, end).toLowerCase();
    if (!begun && text === "(") outer++;
    else begun = true;
    if (inList && depth === outer && AFTER.has(text)) {
      // `a is distinct from b` goes on.
      const comparison = text === "from" && last.text === "distinct" && ["is", "not"].includes(beforeLast);
      if (!comparison) return { at: last.end, comma: last.text === "," };
    }
    if (text === "select" && depth === outer) inList = true;
    if (text === "(" || text === "[" || text === "{") depth++;
    else if (text === ")" || text === "]" || text === "}") depth--;
    beforeLast = last.text;
    last = { text, end };
  }
  return inList ? { at: last.end, comma: last.text === "," } : undefined;
}
