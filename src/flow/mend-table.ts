/**
 * A table whose log is damaged, mended where that needs no guess: its state goes back to the newest one that can be read, and what
 * came after is done again from the log of events or from the table's inputs. Everything that is not sure to end in the same
 * rows is left to a person.
 */
import type { Stream, Table } from "../define/project.ts";
import type { MillraceError } from "../errors.ts";
import type { Snapshot } from "../lake/delta-table.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import { type ContinueOptions, continueLog, examineLog, filesAreThere, REPAIR } from "../lake/repair-log.ts";
import type { EventLog } from "../log/event-log.ts";
import { committedTo } from "./progress.ts";

/** Why a table can be neither read nor written. */
export interface Unavailable {
  /** The file below the data folder, where there is one to name. */
  readonly file: string | undefined;
  readonly reason: string;
  readonly remedy: string;
  /** The table whose damage is the reason, where that is another one. */
  readonly waitsFor?: string;
  /** How far the table is that the platform is building by itself; undefined where somebody has to do something. */
  readonly builds?: () => BuildProgress;
}

export interface BuildProgress {
  /** Events taken in, of `total` that bronze has. */
  readonly events: number;
  readonly total: number;
}

export interface MendOptions extends ContinueOptions {
  readonly store: ObjectStore;
  readonly location: string;
  readonly log: EventLog;
  /** The stream whose events the table takes; undefined for one that is computed from other tables. */
  readonly stream: string | undefined;
  /** Undefined for bronze. */
  readonly definition: Table | undefined;
}

/**
 * What can be done again: rows of events come from the log of events, and a compaction changes none. A retry of dead letters or
 * a replay was declared finished elsewhere, and nobody would do it again.
 */
const REPEATABLE = new Set(["CREATE", "ALTER", "FLUSH", "MERGE", "COMPACT", REPAIR]);

/** Mends the table, or says why it stays as it is. */
export async function mendTable(o: MendOptions, damage: MillraceError): Promise<Unavailable | undefined> {
  const { file, reason } = damage.details as { file?: string; reason?: string };
  const remains = await examineLog(o.store, o.location);
  const { snapshot, operations } = remains;
  const known = operations.every((operation) => operation !== undefined && REPEATABLE.has(operation));
  const usable = snapshot !== undefined && (await filesAreThere(o.store, o.location, snapshot));
  const mend = async (state: typeof remains.state) => {
    await continueLog(o.store, o.location, { ...remains, state }, o);
    return undefined;
  };
  if (o.stream === undefined) return mend(usable ? remains.state : undefined);
  const repeatable = known || o.definition === undefined;
  if (repeatable && usable && logKeeps(o.log, o.stream, snapshot)) return mend(remains.state);
  if (repeatable && logKeeps(o.log, o.stream, undefined)) return mend(undefined);
  return {
    file: file === undefined ? undefined : `lake/${o.location}/${file}`,
    reason: reason ?? damage.message,
    remedy: o.definition
      ? `\`millrace replay ${o.definition.name}\` builds it again from bronze; or put the file back from a backup and start again.`
      : `Put the file back from a backup and start again. Meanwhile stream "${o.stream}" takes events, and its log keeps them.`,
  };
}

/** True when the log still has every event that comes after a state. */
function logKeeps(log: EventLog, stream: string, snapshot: Snapshot | undefined): boolean {
  for (let partition = 0; partition < log.partitions(stream); partition++) {
    const next = snapshot === undefined ? 0 : committedTo(snapshot, stream, partition) + 1;
    if (log.ends(stream, partition).start > next) return false;
  }
  return true;
}

/** The stream whose events come into a table one by one. */
export function streamOf(definition: Table | undefined, stream: Stream | undefined): string | undefined {
  if (definition === undefined) return stream?.name;
  return definition.mode === "append" ? definition.stream : undefined;
}
