/**
 * Patterns. DuckDB's are RE2's and Spark's are Java's: the part of the language that both read alike is translated (`$` is the end of the
 * text, not also before a last line break), and the rest is refused.
 */
import { quoteSparkLiteral } from "../../../define/sql-text.ts";
import { VARIANT } from "./casts.ts";
import { Refused } from "./value.ts";

/** A pattern of LIKE as a literal, with an escape that does not occur in it: DuckDB's has none, Spark's is a backslash. */
export function likePattern(pattern: string): string {
  const unused = ["!", "~", "^", "|", "\u0001"].find((one) => !pattern.includes(one));
  if (!pattern.includes("\\")) return quoteSparkLiteral(pattern);
  if (unused === undefined) throw new Refused("this pattern of LIKE", VARIANT);
  return `${quoteSparkLiteral(pattern)} ESCAPE '${unused}'`;
}

/** What finds the first occurrence only: all before it is kept as `$1`. */
export function firstOf(pattern: string): string {
  return `\\A([\\s\\S]*?)(?:${pattern})`;
}

/** The pattern as a literal for Java, where the two read it alike. */
export function sparkRegex(pattern: string, around: (pattern: string) => string = (same) => same): string {
  let text = "";
  let at = 0;
  while (at < pattern.length) {
    PIECE.lastIndex = at;
    const [piece] = PIECE.exec(pattern) ?? [];
    if (piece === undefined || piece === "") throw new Refused(`the pattern ${JSON.stringify(pattern)}`, ALLOWED);
    text += piece === "$" ? "\\z" : piece === "." ? "[^\\n]" : piece;
    at += piece.length;
  }
  return quoteSparkLiteral(around(text));
}

const ALLOWED =
  "letters, digits, ., ^, $, |, classes such as [a-z0-9] and \\d, groups (?:…), and the counts *, +, ?, {2,3}";

/** A literal, an escaped mark, `\d`, an anchor, a plain class, a bracket of a group without a number, or a count. */
const PIECE =
  /[^\\^$.[\](){}*+?|]|\\[.^$*+?()[\]{}|\\/-]|\\d|\^|\$|\.|\||\(\?:|\)|\[\^?(?:[\w .,:;/@#%=-]|\\d|\\[.-])+\]|[*+?]\??|\{\d{1,3}(?:,\d{0,3})?\}/y;
