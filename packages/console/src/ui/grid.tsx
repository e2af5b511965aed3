/**
 * The rows of a result, however many. Arrow keys go from cell to cell, Home, End, Page Up and Page Down as in every grid (WAI-ARIA, grid pattern);
 * what a cell holds is always text to the page, never markup.
 */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useId, useMemo, useRef, useState } from "react";
import type { SqlResult } from "../api.ts";
import { cell } from "../format.ts";
import "./grid.css";

const LINE = 30;
const LOOKED_AT = 200;
const NARROWEST = 64;
const WIDEST = 380;
const NUMBERS = /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|DOUBLE|FLOAT|DECIMAL)/i;

export function Grid({ result, label }: { result: SqlResult; label: string }) {
  const { columns, rows } = result;
  const scroller = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState({ row: 0, column: 0 });
  const id = useId();
  const widths = useMemo(() => columns.map(({ name }, i) => widthOf(name, rows, i)), [columns, rows]);
  const total = widths.reduce((sum, width) => sum + width, 0);
  const lines = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE,
    overscan: 12,
  });

  const move = (row: number, column: number) => {
    const next = { row: clamp(row, rows.length), column: clamp(column, columns.length) };
    setAt(next);
    lines.scrollToIndex(next.row);
    const left = widths.slice(0, next.column).reduce((sum, width) => sum + width, 0);
    const box = scroller.current;
    const width = widths[next.column] ?? 0;
    if (box !== null && left < box.scrollLeft) box.scrollLeft = left;
    if (box !== null && left + width > box.scrollLeft + box.clientWidth)
      box.scrollLeft = left + width - box.clientWidth;
  };
  const onKey = (event: KeyboardEvent) => {
    const page = Math.floor((scroller.current?.clientHeight ?? 300) / LINE) - 1;
    const { row, column } = at;
    const moves: Readonly<Record<string, readonly [number, number]>> = {
      ArrowDown: [row + 1, column],
      ArrowUp: [row - 1, column],
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      PageDown: [row + page, column],
      PageUp: [row - page, column],
      Home: [event.ctrlKey ? 0 : row, 0],
      End: [event.ctrlKey ? rows.length - 1 : row, columns.length - 1],
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      move(...to);
    }
    if (event.key === "c" && (event.ctrlKey || event.metaKey) && String(getSelection()) === "")
      void navigator.clipboard.writeText(cell(rows[at.row]?.[at.column]));
  };
  return (
    <div
      ref={scroller}
      className="grid"
      role="grid"
      tabIndex={0}
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      aria-activedescendant={`${id}-${at.row}-${at.column}`}
      onKeyDown={onKey}
      style={{ height: Math.min(rows.length + 1, 20) * LINE + 14 }}
    >
      <div className="line head" role="row" tabIndex={-1} aria-rowindex={1} style={{ width: total }}>
        {columns.map(({ name, type }, i) => (
          <span
            key={name}
            className={`cell ${NUMBERS.test(type) ? "number" : ""}`}
            role="columnheader"
            tabIndex={-1}
            style={{ width: widths[i] }}
            title={`${name} ${type}`}
          >
            {name}
          </span>
        ))}
      </div>
      <div className="sizer" role="rowgroup" style={{ height: lines.getTotalSize(), width: total }}>
        {lines.getVirtualItems().map(({ index, start }) => (
          <div
            key={index}
            className="line"
            role="row"
            tabIndex={-1}
            aria-rowindex={index + 2}
            style={{ transform: `translateY(${start}px)`, width: total }}
          >
            {columns.map(({ name, type }, i) => {
              const value = rows[index]?.[i];
              const kind = value === null ? "null" : NUMBERS.test(type) ? "number" : "";
              const text = cell(value);
              return (
                // biome-ignore lint/a11y/useKeyWithClickEvents: the grid has the keyboard
                <span
                  key={name}
                  id={`${id}-${index}-${i}`}
                  className={`cell ${kind}`}
                  role="gridcell"
                  tabIndex={-1}
                  aria-selected={at.row === index && at.column === i}
                  style={{ width: widths[i] }}
                  title={text.length > 40 ? text.slice(0, 2000) : undefined}
                  onClick={() => setAt({ row: index, column: i })}
                >
                  {text.slice(0, 500)}
                </span>
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}

function clamp(value: number, length: number): number {
  return Math.max(0, Math.min(length - 1, value));
}

function widthOf(name: string, rows: SqlResult["rows"], column: number): number {
  let longest = name.length;
  for (const row of rows.slice(0, LOOKED_AT)) longest = Math.max(longest, cell(row[column]).length);
  return Math.max(NARROWEST, Math.min(WIDEST, Math.round(longest * 7.6) + 28));
}
