/**
 * The rows of a result, however many. Arrow keys go from cell to cell, Home, End, Page Up and Page Down as in every grid (WAI-ARIA, grid pattern);
 * what a cell holds is always text to the page, never markup.
 */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type MouseEvent, memo, useCallback, useId, useMemo, useRef, useState } from "react";
import type { ResultColumn, SqlResult } from "../api.ts";
import { cell } from "../format.ts";
import "./grid.css";

const LINE = 30;
const MOST_SHOWN = 20;
const OVERSCAN = 8;
/** Lines take turns on so many elements: one that comes into sight is another's with other words in it, which costs far less than new elements. */
const ELEMENTS = MOST_SHOWN + 2 * OVERSCAN + 4;
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
  const places = useMemo(() => widths.map((width) => `${width}px`).join(" "), [widths]);
  const pick = useCallback((row: number, column: number) => setAt({ row, column }), []);
  const lines = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE,
    overscan: OVERSCAN,
    // Lines are drawn with the next frame, not within the event.
    useFlushSync: false,
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
      aria-activedescendant={`${id}-at`}
      onKeyDown={onKey}
      style={{ height: Math.min(rows.length + 1, MOST_SHOWN) * LINE + 14 }}
    >
      <div
        className="line head"
        role="row"
        tabIndex={-1}
        aria-rowindex={1}
        style={{ width: total, gridTemplateColumns: places }}
      >
        {columns.map(({ name, type }) => (
          <span
            key={name}
            className={`cell ${NUMBERS.test(type) ? "number" : ""}`}
            role="columnheader"
            tabIndex={-1}
            title={`${name} ${type}`}
          >
            {name}
          </span>
        ))}
      </div>
      <div className="sizer" role="rowgroup" style={{ height: lines.getTotalSize(), width: total }}>
        {lines.getVirtualItems().map(({ index, start }) => (
          <Line
            key={index % ELEMENTS}
            {...{ index, start, columns, places, total, pick }}
            row={rows[index] as readonly unknown[]}
            at={at.row === index ? at.column : -1}
            atId={`${id}-at`}
          />
        ))}
      </div>
    </div>
  );
}

interface LineProps {
  readonly index: number;
  readonly start: number;
  readonly row: readonly unknown[];
  readonly columns: readonly ResultColumn[];
  readonly places: string;
  readonly total: number;
  /** The cell of it that is chosen; -1: none. */
  readonly at: number;
  readonly atId: string;
  readonly pick: (row: number, column: number) => void;
}

/** Drawn again when it is another row, or another cell of it is chosen; not when the grid is scrolled past it. */
const Line = memo(function Line({ index, start, row, columns, places, total, at, atId, pick }: LineProps) {
  const onClick = ({ target, currentTarget }: MouseEvent<HTMLElement>) => {
    const column = [...currentTarget.children].indexOf(target as HTMLElement);
    if (column >= 0) pick(index, column);
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid has the keyboard
    <div
      className="line"
      role="row"
      tabIndex={-1}
      aria-rowindex={index + 2}
      style={{ transform: `translateY(${start}px)`, width: total, gridTemplateColumns: places }}
      onClick={onClick}
    >
      {columns.map(({ type }, i) => {
        const value = row[i];
        const text = cell(value);
        const kind = value === null ? "null" : NUMBERS.test(type) ? "number" : "";
        return (
          <span
            // biome-ignore lint/suspicious/noArrayIndexKey: a column is its place, and names may come twice
            key={i}
            {...(i === at && { id: atId })}
            className={`cell ${kind}`}
            role="gridcell"
            tabIndex={-1}
            aria-selected={i === at}
            title={text.length > 40 ? text.slice(0, 2000) : undefined}
          >
            {text.slice(0, 500)}
          </span>
        );
      })}
    </div>
  );
});

function clamp(value: number, length: number): number {
  return Math.max(0, Math.min(length - 1, value));
}

function widthOf(name: string, rows: SqlResult["rows"], column: number): number {
  let longest = name.length;
  for (const row of rows.slice(0, LOOKED_AT)) longest = Math.max(longest, cell(row[column]).length);
  return Math.max(NARROWEST, Math.min(WIDEST, Math.round(longest * 7.6) + 28));
}
