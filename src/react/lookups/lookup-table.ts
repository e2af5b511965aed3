/**
 * The copy of a table that functions look rows up in, in the thread of reactions. It is told of rows in blocks, as they were committed:
 *
 *     begin      the whole table follows                       removed    rows that a commit took out
 *     rows       rows that are there, or that a commit brought  settled   the copy is that of a version
 *
 * Readers see the copy before or the one after: what is told is applied at `settled`.
 */
import type { LookupPlan } from "../../define/read-lookup.ts";
import { MillraceError } from "../../errors.ts";

/** Rows as the engine gives them: the key, the time it holds from (where there is one), then the columns of the plan. */
export type LookupBlock =
  | { readonly kind: "begin" }
  | { readonly kind: "rows" | "removed"; readonly rows: readonly (readonly unknown[])[] }
  | { readonly kind: "settled"; readonly version: number }
  | { readonly kind: "failed"; readonly reason: string };

export type LookupRow = Readonly<Record<string, unknown>>;

interface Dated {
  /** 0 without `asOf`. */
  readonly fromMs: number;
  readonly row: LookupRow;
}

export class LookupTable {
  readonly #plan: LookupPlan;
  /** Rows by key, by the time from which they hold. */
  #rows = new Map<string, Dated[]>();
  #told: LookupBlock[] = [];
  #size = 0;
  #version: number | undefined;
  #failure: string | undefined;

  constructor(plan: LookupPlan) {
    this.#plan = plan;
  }

  get size(): number {
    return this.#size;
  }

  /** Of the table; undefined before the first copy is whole. */
  get version(): number | undefined {
    return this.#version;
  }

  tell(block: LookupBlock): void {
    if (block.kind === "failed") {
      this.#failure = block.reason;
      this.#told = [];
      return;
    }
    this.#told.push(block);
    if (block.kind !== "settled") return;
    for (const told of this.#told.splice(0)) this.#apply(told);
    this.#version = block.version;
    this.#failure = undefined;
  }

  /** @throws LOOKUP_UNAVAILABLE while there is no copy, or the last one could not be brought up to date */
  get(key: string | number | undefined | null, at?: string | number | Date): LookupRow | undefined {
    if (this.#version === undefined || this.#failure !== undefined) {
      const reason = this.#failure ?? "it has not been read yet";
      throw new MillraceError("LOOKUP_UNAVAILABLE", { table: this.#plan.table, reason });
    }
    if (key === undefined || key === null) return undefined;
    const dated = this.#rows.get(String(key));
    if (dated === undefined) return undefined;
    if (this.#plan.asOf === undefined || at === undefined) return dated.at(-1)?.row;
    const ms = typeof at === "number" ? at : at instanceof Date ? at.getTime() : Date.parse(at);
    return dated[behind(dated, ms) - 1]?.row;
  }

  #apply(block: LookupBlock): void {
    if (block.kind === "begin") {
      this.#rows = new Map();
      this.#size = 0;
    } else if (block.kind === "rows") for (const row of block.rows) this.#add(row);
    else if (block.kind === "removed") for (const row of block.rows) this.#remove(row);
  }

  #add(values: readonly unknown[]): void {
    const found = this.#read(values);
    if (found === undefined) return;
    const { key, entry } = found;
    const dated = this.#rows.get(key) ?? [];
    this.#rows.set(key, dated);
    dated.splice(behind(dated, entry.fromMs), 0, entry);
    this.#size++;
  }

  #remove(values: readonly unknown[]): void {
    const found = this.#read(values);
    const dated = found && this.#rows.get(found.key);
    if (!found || !dated) return;
    const { fromMs, row } = found.entry;
    const text = JSON.stringify(row);
    // Rows of one key and time may differ in the rest.
    let at = behind(dated, fromMs) - 1;
    while (at >= 0 && dated[at]?.fromMs === fromMs && JSON.stringify(dated[at]?.row) !== text) at--;
    if (at < 0 || dated[at]?.fromMs !== fromMs) return;
    dated.splice(at, 1);
    if (dated.length === 0) this.#rows.delete(found.key);
    this.#size--;
  }

  /** Undefined for a row that nobody finds: without a key, or without the time from which it holds. */
  #read([key, from, ...values]: readonly unknown[]): { key: string; entry: Dated } | undefined {
    const { asOf, columns } = this.#plan;
    const fromMs = asOf === undefined ? 0 : typeof from === "string" ? Date.parse(from) : Number.NaN;
    if (key === null || key === undefined || Number.isNaN(fromMs)) return undefined;
    const row = Object.freeze(Object.fromEntries(columns.map((name, i) => [name, values[i]])));
    return { key: String(key), entry: { fromMs, row } };
  }
}

/** The place behind the last entry that holds from `ms` or before. */
function behind(dated: readonly Dated[], ms: number): number {
  let low = 0;
  let high = dated.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((dated[middle] as Dated).fromMs <= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}
