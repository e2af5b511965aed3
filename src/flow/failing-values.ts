/**
 * Values of `by` for which a refreshed table's SQL fails on the data. They keep the rows of their last good refresh; which they are
 * is committed with the table, in `millrace.failing` of its configuration, together with the rows of all the others:
 *
 *     [{"tuple": ["'2026-01-02'::DATE"], "reason": "the SQL failed: …"}]
 */
import type { RefreshTable } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import type { Snapshot } from "../lake/delta-table.ts";
import { isAboutData } from "./insert-events.ts";

export const FAILING = "millrace.failing";

export interface FailingValue {
  /** SQL literals in the order of the table's `by`. */
  readonly tuple: readonly string[];
  readonly reason: string;
}

export function failingValues(snapshot: Snapshot): FailingValue[] {
  return JSON.parse(snapshot.configuration[FAILING] ?? "[]") as FailingValue[];
}

/** The tuples without those of another list. */
export function without<T extends { readonly tuple: readonly string[] }>(
  values: readonly T[],
  tuples: readonly (readonly string[])[],
): T[] {
  const others = new Set(tuples.map((tuple) => tuple.join()));
  return values.filter(({ tuple }) => !others.has(tuple.join()));
}

/** `day = 2026-01-02, country = DE` */
export function valueText(table: RefreshTable, tuple: readonly string[]): string {
  const names = Object.keys(table.by);
  return tuple.map((literal, i) => `${names[i]} = ${plain(literal) ?? "null"}`).join(", ");
}

/** Column -> value as text, null for null. */
export function valueObject(table: RefreshTable, tuple: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(Object.keys(table.by).map((name, i) => [name, plain(tuple[i] ?? "NULL")]));
}

function plain(literal: string): string | null {
  return /^'(.*)'::/s.exec(literal)?.[1]?.replaceAll("''", "'") ?? null;
}

/**
 * SQL of rows that end a query which needs them: it must not take old rows for current ones, and must not do without them. A query
 * whose conditions leave them out never meets them.
 */
export function refusedRows(table: RefreshTable, values: readonly FailingValue[]): string {
  const names = Object.keys(table.by).map(quoteIdentifier);
  return values
    .map(({ tuple, reason }) => {
      const message = `${table.name} cannot be computed for ${valueText(table, tuple)}: ${reason}`;
      const list = names.map((name, i) => `${tuple[i]} as ${name}`).join(", ");
      return `select ${list} where case when error(${quoteLiteral(message)}) is null then true end`;
    })
    .join(" union all by name ");
}

/** Beyond this many tries, what is still unclear counts as failing: a table of which most values fail must not take hours. */
const MOST_TRIES = 100;

/** Splits values into those for which `attempt` succeeds and those for which it fails, by halving. */
export async function separate(
  groups: readonly (readonly (readonly string[])[])[],
  attempt: (tuples: readonly (readonly string[])[]) => Promise<void>,
): Promise<{ good: (readonly string[])[]; failing: FailingValue[] }> {
  const good: (readonly string[])[] = [];
  const failing: FailingValue[] = [];
  const waiting = [...groups].reverse();
  for (let tries = 0; waiting.length > 0; tries++) {
    const tuples = waiting.pop() ?? [];
    if (tuples.length === 0) continue;
    try {
      await attempt(tuples);
      good.push(...tuples);
    } catch (error) {
      if (!isAboutData(error)) throw error;
      const middle = tuples.length >> 1;
      if (tuples.length === 1 || tries >= MOST_TRIES) {
        failing.push(...tuples.map((tuple) => ({ tuple, reason: error.message })));
      } else waiting.push(tuples.slice(middle), tuples.slice(0, middle));
    }
  }
  return { good, failing };
}
