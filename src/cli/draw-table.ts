import { stripVTControlCharacters } from "node:util";

export interface DrawColumn {
  readonly name: string;
  /** Numbers stand at the right, everything else at the left. Guessed from the values when not given. */
  readonly align?: "left" | "right";
}

/** Stands for null, so that it cannot be taken for an empty text. */
export const NULL_MARK = "–";
const CUT_MARK = "…";
const GAP = "  ";
/** Below this a text column says nothing any more, and the table may rather be wider than the terminal. */
const NARROWEST = 8;

/**
 * Draws rows as a table for people, one line per row, ended by a line break. Control characters are shown as escapes. With
 * `width`, the widest text columns are cut (marked with …) until the table fits; numbers are never cut.
 */
export function drawTable(
  columns: readonly DrawColumn[],
  rows: readonly (readonly unknown[])[],
  width?: number,
): string {
  const cells = rows.map((row) => columns.map((_, i) => cellText(row[i])));
  const right = columns.map(({ align }, i) => (align ? align === "right" : isNumeric(rows.map((row) => row[i]))));
  const names = columns.map(({ name }) => cellText(name));
  const widths = names.map((name, i) => Math.max(textWidth(name), ...cells.map((row) => textWidth(row[i]!))));
  if (width !== undefined) fit(widths, right, width);
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => pad(cut(cell, widths[i]!), widths[i]!, right[i]!))
      .join(GAP)
      .trimEnd();
  const rule = widths.map((columnWidth) => "─".repeat(columnWidth)).join(GAP);
  return `${[line(names), rule, ...cells.map(line)].join("\n")}\n`;
}

/** Columns a terminal needs for the text. Combining marks need none, East Asian wide characters and emoji two. */
export function textWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of SEGMENTER.segment(stripVTControlCharacters(text))) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

const SEGMENTER = new Intl.Segmenter();
/** Unicode TR11 "wide" in the ranges that matter, and emoji. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}|\ufe0f/u;

function cellText(value: unknown): string {
  if (value === null || value === undefined) return NULL_MARK;
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // A value must not be able to move the cursor, colour the terminal or turn the line around.
  return text.replaceAll(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (char) =>
    JSON.stringify(char)
      .slice(1, -1)
      .replace(/^[^\\]$/, escapeCode),
  );
}

function escapeCode(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function isNumeric(values: readonly unknown[]): boolean {
  const present = values.filter((value) => value !== null && value !== undefined);
  return present.length > 0 && present.every((value) => typeof value === "number" || typeof value === "bigint");
}

function fit(widths: number[], right: readonly boolean[], width: number): void {
  const total = () => widths.reduce((sum, columnWidth) => sum + columnWidth, GAP.length * (widths.length - 1));
  while (total() > width) {
    const texts = widths.flatMap((columnWidth, i) => (right[i] || columnWidth <= NARROWEST ? [] : [i]));
    const widest = texts.reduce((a, b) => (widths[b]! > widths[a]! ? b : a), texts[0] ?? -1);
    if (widest === -1) return;
    widths[widest] = widths[widest]! - 1;
  }
}

function cut(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let kept = "";
  for (const { segment } of SEGMENTER.segment(text)) {
    if (textWidth(kept + segment) > width - 1) break;
    kept += segment;
  }
  return kept + CUT_MARK;
}

function pad(text: string, width: number, right: boolean): string {
  const space = " ".repeat(Math.max(0, width - textWidth(text)));
  return right ? space + text : text + space;
}
