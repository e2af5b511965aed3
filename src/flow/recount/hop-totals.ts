/**
 * The comparison itself, without a look at any disk: what the counters of a table say, against the sum of its files' counts. The four
 * counters are committed with the rows, so at every version of a table both tell of the same events, and a difference is one.
 */
import type { Snapshot } from "../../lake/delta-table.ts";
import type { Ends } from "../../log/event-log.ts";
import { type Counts, committedTo, counts } from "../progress.ts";
import type { Count } from "./file-counts.ts";
import type { Imbalance } from "./imbalance.ts";

/** A difference before it is known where it lies. */
export interface Difference {
  readonly what: Exclude<Imbalance["what"], "file">;
  readonly expected: number;
  readonly found: number;
}

export interface HopTotals {
  /** What the files hold. */
  readonly count: Count;
  readonly counters: Counts;
  /** Last offset the table has taken; -1 when none. */
  readonly committed: number;
}

export function hopTotals(snapshot: Snapshot, stream: string, partition: number, count: Count): HopTotals {
  return {
    count,
    counters: counts(snapshot, stream, partition),
    committed: committedTo(snapshot, stream, partition),
  };
}

/** What any hop must be, whatever its table. */
export function compareProgress({ counters, committed, count }: HopTotals, log: Ends): Difference[] {
  const found: Difference[] = [];
  const taken = committed + 1;
  const sum = sumOf(counters);
  if (sum !== taken) found.push({ what: "counters", expected: taken, found: sum });
  if (taken > log.end) found.push({ what: "log", expected: taken, found: log.end });
  if (log.start > taken) found.push({ what: "log", expected: taken, found: log.start });
  if (count.max > committed) found.push({ what: "progress", expected: committed, found: count.max });
  return found;
}

/** Bronze holds every offset from 0 on, once. */
export function compareBronze({ counters, committed, count }: HopTotals): Difference[] {
  const taken = committed + 1;
  const whole = (BigInt(committed) * BigInt(taken)) / 2n;
  const complete = count.rows === taken && count.events === taken && count.sum === whole;
  if (!complete) return [{ what: "rows", expected: taken, found: count.rows }];
  // Counters that do not add up are named as that.
  return counters.stored === taken || sumOf(counters) !== taken
    ? []
    : [{ what: "stored", expected: counters.stored, found: taken }];
}

/**
 * `itself`: the table holds the stream as it is, one row per event. A table that keeps the newest row per key has not the rows of all
 * events it has taken, so only its files and its counters' sum are compared.
 */
export function compareTable(
  { counters, count, committed }: HopTotals,
  bronze: HopTotals,
  table: { readonly itself: boolean; readonly keyed: boolean },
): Difference[] {
  const found: Difference[] = [];
  if (!table.keyed && count.events !== counters.stored) {
    found.push({ what: "stored", expected: counters.stored, found: count.events });
  } else if (table.itself && count.rows !== counters.stored) {
    found.push({ what: "stored", expected: counters.stored, found: count.rows });
  }
  // Bronze counts second arrivals up to where it is; tables of one flush commit one after the other.
  if (bronze.committed === committed && counters.duplicate !== bronze.count.duplicates) {
    found.push({ what: "duplicate", expected: bronze.count.duplicates, found: counters.duplicate });
  }
  return found;
}

function sumOf({ stored, duplicate, filtered, dead }: Counts): number {
  return stored + duplicate + filtered + dead;
}
