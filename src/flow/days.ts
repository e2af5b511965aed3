import type { DataFile } from "../lake/delta-table.ts";

export const DAY_MS = 86_400_000;
/** Bounds in statistics are cut to milliseconds. */
const CUT_MS = 1000;

/** A set of days of UTC, however far apart, that answers which files may have rows of them. */
export class Days {
  /** First and last milliseconds of runs of days, in order and apart. */
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  /** @param spans first and last day of each, counted from 1970 */
  constructor(spans: Iterable<readonly [number, number]>) {
    for (const [first, last] of [...spans].sort((a, b) => a[0] - b[0])) {
      const from = first * DAY_MS;
      const to = (last + 1) * DAY_MS;
      const end = this.#to.length - 1;
      if (end >= 0 && from <= (this.#to[end] as number)) this.#to[end] = Math.max(this.#to[end] as number, to);
      else {
        this.#from.push(from);
        this.#to.push(to);
      }
    }
  }

  /**
   * The files that may hold a row whose time in `column` is on one of the days, or within `marginMs` of one. A file without
   * statistics may.
   */
  filesNear(files: readonly DataFile[], column: string, marginMs: number): DataFile[] {
    return files.filter(({ stats }) => {
      if (this.#from.length === 0) return false;
      if (stats === undefined) return true;
      if (stats.nullCount[column] === stats.rowCount) return false;
      const min = Date.parse(String(stats.min[column]));
      const max = Date.parse(String(stats.max[column]));
      if (Number.isNaN(min) || Number.isNaN(max)) return true;
      return this.#meets(min - marginMs - CUT_MS, max + marginMs + CUT_MS);
    });
  }

  #meets(min: number, max: number): boolean {
    let low = 0;
    let high = this.#to.length;
    // The first run that ends at `min` or later.
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#to[middle] as number) < min) low = middle + 1;
      else high = middle;
    }
    return low < this.#from.length && (this.#from[low] as number) <= max;
  }
}
