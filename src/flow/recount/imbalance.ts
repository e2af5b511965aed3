/**
 * What the recount finds: a place where what the platform says of events and what is there are not the same.
 *
 *     rows       bronze does not hold each event once
 *     stored     an append table has rows of other events than its counter says, or an event twice
 *     duplicate  the counter of second arrivals is not what bronze marks
 *     dead       the counter of dead-lettered events is not what the dead letters say
 *     counters   the four counters do not add up to the events the table has taken
 *     progress   a table has rows of events it has not taken yet
 *     log        the table has taken what the log does not have, or the log no longer has what the table has not taken
 *     file       a data file cannot be read, or does not hold the rows its commit says
 */
import type { Project } from "../../define/project.ts";
import type { Alert } from "../alerts.ts";

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Imbalance {
  readonly what: "rows" | "stored" | "duplicate" | "dead" | "counters" | "progress" | "log" | "file";
  /** Undefined for a table that combines rows. */
  readonly stream: string | undefined;
  readonly hop: string;
  readonly partition: number | undefined;
  /** Offsets the damage lies between, both inclusive; as tight as could be found. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  /** The runs of offsets within, where they could be told; the first hundred. */
  readonly ranges: readonly Range[];
  readonly expected: number | undefined;
  readonly found: number | undefined;
  /** Path of the data file within the table, where it is one. */
  readonly file: string | undefined;
  /** One sentence that names all of it. */
  readonly message: string;
  readonly sinceMs: number;
}

/** The same place and kind of damage is the same imbalance, whatever its extent. */
export function imbalanceKey({ hop, partition, what, file }: Imbalance): string {
  return [hop, partition ?? "", what, ...(file === undefined ? [] : [file])].join("/");
}

export function imbalanceAlert(imbalance: Imbalance): Alert {
  const { message, sinceMs, ...details } = imbalance;
  return {
    kind: "ledger",
    name: "imbalance",
    severity: "critical",
    key: imbalanceKey(imbalance),
    summary: message,
    details: { ...details, since: new Date(sinceMs).toISOString() },
  };
}

/** `3`, `5 to 9`, `3, 5 to 9 and 12 further runs`. */
export function rangesText(ranges: readonly Range[]): string {
  const shown = ranges.slice(0, 5).map(({ from, to }) => (from === to ? `${from}` : `${from} to ${to}`));
  const more = ranges.length - shown.length;
  return shown.join(", ") + (more > 0 ? ` and ${more} further runs` : "");
}

/** The stream whose events a table holds; undefined for one that combines rows. */
export function streamOf(project: Project, table: string): string | undefined {
  const definition = project.tables.get(table);
  if (definition) return definition.mode === "append" ? definition.stream : undefined;
  return table.replace(/^bronze\./, "");
}
