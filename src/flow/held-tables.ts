/**
 * Tables that stand still: those whose log is damaged beyond what mends itself, those the log of events no longer reaches, and the
 * tables that take events through one of them. Their streams go on, and so do all other tables.
 */
import type { AppendTable, Project } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import type { Unavailable } from "./mend-table.ts";
import { committedTo } from "./progress.ts";
import { sourceTable } from "./relations.ts";

/** By name: the damaged tables and everything that waits for them. */
export function heldTables(
  project: Project,
  lake: LakeTables,
  log: EventLog,
  damaged: ReadonlyMap<string, Unavailable>,
): Map<string, Unavailable> {
  const held = new Map(damaged);
  const tables = [...project.tables.values()].filter((table): table is AppendTable => table.mode === "append");
  for (const table of tables) {
    if (held.has(table.name)) continue;
    const missing = missingEvents(lake, log, table);
    if (missing !== undefined) held.set(table.name, missing);
  }
  // Inputs come before what reads them, but a look-up of another stream may come later.
  for (let before = -1; before < held.size; ) {
    before = held.size;
    for (const table of tables) {
      const cause = held.has(table.name) ? undefined : causeOf(project, table, held);
      if (cause === undefined) continue;
      const { file, remedy } = held.get(cause) as Unavailable;
      held.set(table.name, { file, reason: `needs ${cause}, which is unavailable`, remedy, waitsFor: cause });
    }
  }
  return held;
}

export function tableUnavailable(table: string, { file, reason, remedy }: Unavailable): MillraceError {
  const what = file === undefined ? reason : `${file} ${reason}`;
  return new MillraceError("TABLE_UNAVAILABLE", { table, what, remedy }, { details: { table, file, reason } });
}

/** Tables that waited for a table which is back, and for nothing else. */
export function waitingFor(project: Project, lake: LakeTables, name: string): AppendTable[] {
  return [...project.tables.values()].filter(
    (table): table is AppendTable =>
      table.mode === "append" &&
      lake.held(table.name)?.waitsFor === name &&
      causeOf(project, table, lake.unavailable()) === undefined,
  );
}

function causeOf(project: Project, table: AppendTable, held: ReadonlyMap<string, Unavailable>): string | undefined {
  const lookups = table.inputs.filter((input) => input !== table.driver).map((input) => sourceTable(project, input));
  return [`bronze.${table.stream}`, table.driver, ...lookups].find((input) => held.has(input));
}

/** A table that is newer than the oldest event still in the log is built from bronze first. */
function missingEvents(lake: LakeTables, log: EventLog, table: AppendTable): Unavailable | undefined {
  const { snapshot } = lake.get(table.name);
  for (let partition = 0; partition < log.partitions(table.stream); partition++) {
    const { start } = log.ends(table.stream, partition);
    if (committedTo(snapshot, table.stream, partition) + 1 >= start) continue;
    return {
      file: undefined,
      reason: `lacks events before offset ${start} of ${table.stream}/${partition}, which the log no longer has`,
      remedy: `\`millrace replay ${table.name}\` takes them from bronze.`,
    };
  }
  return undefined;
}
