/**
 * Tables that stand still: those whose log is damaged beyond what mends itself, those that lack more events than the log of events has
 * or than a flush would take, and the tables that take events through one of them. Their streams go on, and so do all other tables.
 */
import type { AppendTable, Project } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import { pruneFiles } from "../lake/prune.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LakeTables } from "./lake-tables.ts";
import type { BuildProgress, Unavailable } from "./mend-table.ts";
import { committedTo } from "./progress.ts";
import { sourceTable } from "./relations.ts";

/** By name: the damaged tables and everything that waits for them. */
export function heldTables(
  project: Project,
  lake: LakeTables,
  log: EventLog,
  damaged: ReadonlyMap<string, Unavailable>,
  mostFromLogBytes: number,
): Map<string, Unavailable> {
  const held = new Map(damaged);
  const tables = [...project.tables.values()].filter((table): table is AppendTable => table.mode === "append");
  for (const table of tables) {
    if (held.has(table.name)) continue;
    const missing = missingEvents(lake, log, table, mostFromLogBytes, held.has(`bronze.${table.stream}`));
    if (missing !== undefined) held.set(table.name, missing);
  }
  // Inputs come before what reads them, but a look-up of another stream may come later.
  for (let before = -1; before < held.size; ) {
    before = held.size;
    for (const table of tables) {
      const cause = held.has(table.name) ? undefined : causeOf(project, table, held);
      if (cause === undefined) continue;
      const { file, remedy, builds } = held.get(cause) as Unavailable;
      const reason = `needs ${cause}, which is ${builds ? "being built" : "unavailable"}`;
      held.set(table.name, { file, reason, remedy, waitsFor: cause, ...(builds ? { builds } : {}) });
    }
  }
  return held;
}

export function tableUnavailable(table: string, { file, reason, remedy, builds }: Unavailable): MillraceError {
  if (builds) {
    const progress = builds();
    return new MillraceError(
      "TABLE_BUILDING",
      { table, reason, ...progress },
      { details: { table, reason, ...progress } },
    );
  }
  const what = file === undefined ? reason : `${file} ${reason}`;
  return new MillraceError("TABLE_UNAVAILABLE", { table, what, remedy }, { details: { table, file, reason } });
}

/** Tables that waited for others of which the last is back; the one that is named as what they wait for may be another. */
export function waitingNoMore(project: Project, lake: LakeTables): AppendTable[] {
  return [...project.tables.values()].filter(
    (table): table is AppendTable =>
      table.mode === "append" &&
      lake.held(table.name)?.waitsFor !== undefined &&
      causeOf(project, table, lake.unavailable()) === undefined,
  );
}

/** The first of a table's inputs that stands still. */
export function causeOf(
  project: Project,
  table: AppendTable,
  held: { has(name: string): boolean },
): string | undefined {
  const lookups = table.inputs.filter((input) => input !== table.driver).map((input) => sourceTable(project, input));
  return [`bronze.${table.stream}`, table.driver, ...lookups].find((input) => held.has(input));
}

/** What is said of a table while it takes in the events it lacks. */
export function building(lake: LakeTables, log: EventLog, { name, stream }: AppendTable): Unavailable {
  const builds = (): BuildProgress => {
    const stored = (table: string) => {
      const { snapshot } = lake.get(table);
      let events = 0;
      for (let p = 0; p < log.partitions(stream); p++) events += committedTo(snapshot, stream, p) + 1;
      return events;
    };
    return { events: stored(name), total: stored(`bronze.${stream}`) };
  };
  return { file: undefined, reason: "it lacks earlier events", remedy: "It is being built from bronze.", builds };
}

/**
 * A table that is newer than the oldest event still in the log is built from bronze first. So is one that lacks more than a few flushes of
 * what is stored, as a new one does: taken in from the log, all that would come before the stream's newest events.
 */
function missingEvents(
  lake: LakeTables,
  log: EventLog,
  table: AppendTable,
  mostFromLogBytes: number,
  withoutBronze: boolean,
): Unavailable | undefined {
  const { snapshot } = lake.get(table.name);
  const bronze = withoutBronze ? undefined : lake.get(`bronze.${table.stream}`).snapshot;
  for (let partition = 0; partition < log.partitions(table.stream); partition++) {
    const { start } = log.ends(table.stream, partition);
    const next = committedTo(snapshot, table.stream, partition) + 1;
    const stored = bronze ? committedTo(bronze, table.stream, partition) : -1;
    if (bronze && stored >= next) {
      const lacking = pruneFiles(bronze.files, [
        { column: "_offset", op: ">=", value: next },
        { column: "_partition", op: "=", value: partition },
      ]);
      const bytes = lacking.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      if (start > next || bytes > mostFromLogBytes) return building(lake, log, table);
    }
    if (next >= start) continue;
    return {
      file: undefined,
      reason: `lacks events before offset ${start} of ${table.stream}/${partition}, which the log no longer has`,
      remedy: `\`millrace replay ${table.name}\` takes them from bronze.`,
    };
  }
  return undefined;
}
