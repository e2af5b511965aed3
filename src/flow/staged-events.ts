/**
 * The unflushed tail of one partition, typed and deduplicated, in the embedded engine's memory. Queries and flushes both
 * read it, so what a query saw is what gets stored and each event is transformed once.
 *
 * A tail is a list of chunks of consecutive events, oldest first. Each chunk has a table of events, and one more for every append
 * table that is not simply the stream itself. Only the last chunk grows; a flush seals it and, once all tables have committed,
 * drops it, unless a query still reads it.
 */
import { META_COLUMNS } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";

/** Select list that gives bronze's columns from a chunk's events; there the payload has a name no field of a stream can have. */
export const BRONZE_FROM_STAGE = [
  "_payload as payload",
  ...META_COLUMNS.map((column) => quoteIdentifier(column.name)),
  "_duplicate_of",
].join(", ");

export class Chunk {
  readonly name: string;
  readonly from: number;
  /** Last offset whose rows are complete; readers never look past it. `from - 1` while empty. */
  to: number;
  payloadBytes = 0;
  sealed = false;
  duplicates = 0;
  /** Events that could not be parsed, by offset. They are in bronze and nowhere else. */
  readonly faults: number[] = [];
  /** Table -> offsets of events that were dead-lettered on the way to it. */
  readonly deadLettered = new Map<string, number[]>();
  #readers = 0;
  #drop: (() => void) | undefined;

  constructor(name: string, from: number) {
    this.name = name;
    this.from = from;
    this.to = from - 1;
  }

  /** The engine's table that holds the chunk's events, or its rows for an append table. */
  table(appendTable?: string): string {
    return `stage.${quoteIdentifier(appendTable === undefined ? this.name : `${this.name} ${appendTable}`)}`;
  }

  /** Holds the chunk's tables until the returned function is called. */
  pin(): () => void {
    this.#readers++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#readers--;
      if (this.#readers === 0) this.#drop?.();
    };
  }

  /** Calls `drop` once nobody reads the chunk any more. */
  whenUnread(drop: () => void): void {
    if (this.#readers === 0) drop();
    else this.#drop = drop;
  }
}
