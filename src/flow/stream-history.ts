/**
 * What a stream's definition said about the events that are stored, kept as a property of its bronze table (`millrace.stream`, JSON):
 *
 *     {"id": ["order_id"], "reidentified": false, "required": ["order_id", "currency"], "since": {"currency": [610]}}
 *
 * Events are kept for good and a contract changes: one that requires a field says so of the events to come. `since` names, by
 * partition, the first offset that was accepted under it; what came before may lack the field and is whole all the same. With
 * another `id` the events that are stored are known by the new one from then on, so that their repetitions are recognised and no
 * event is taken for a repetition of one that has the same value in another field.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Project, Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import { giveWay, MOST_ATTEMPTS } from "./give-way.ts";
import type { LakeTables } from "./lake-tables.ts";

export const STREAM_HISTORY = "millrace.stream";

interface StreamHistory {
  readonly id: readonly string[];
  readonly reidentified: boolean;
  readonly required: readonly string[];
  readonly since: Readonly<Record<string, readonly number[]>>;
}

/** The property of a stream that begins. */
export function newHistoryText(stream: Stream): string {
  return JSON.stringify({ id: stream.id, reidentified: false, required: required(stream), since: {} });
}

/** The streams with what is known of their past; changes of their definitions are noted, and ids that no longer hold forgotten. */
export async function withHistory(
  project: Project,
  lake: LakeTables,
  log: EventLog,
  dataDir: string,
): Promise<Project> {
  const streams = new Map<string, Stream>();
  for (const stream of project.streams.values()) {
    const bronze = `bronze.${stream.name}`;
    const noted = lake.held(bronze) ? undefined : await note(stream, lake, log, dataDir);
    const { since = {}, reidentified = false } = noted ?? {};
    streams.set(stream.name, { ...stream, requiredSince: since, reidentified });
  }
  return { ...project, streams };
}

/** Brings what bronze says of a stream's past up to its definition. Another process may do the same: whoever comes second goes by what is there. */
async function note(stream: Stream, lake: LakeTables, log: EventLog, dataDir: string): Promise<StreamHistory> {
  const table = lake.get(`bronze.${stream.name}`);
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    await giveWay(attempt);
    const { history, changed, newId } = nextHistory(table.snapshot.configuration, stream, log);
    if (!changed) return history;
    // Before the note: a crash in between does it again.
    if (newId) await rm(join(dataDir, "dedupe", stream.name), { recursive: true, force: true });
    const configuration = { [STREAM_HISTORY]: JSON.stringify(history) };
    const { kind } = await lake.commit(table, {
      ...{ operation: "ALTER", readVersion: table.snapshot.version, configuration },
    });
    if (kind === "committed") return history;
  }
  throw new MillraceError("COMMIT_CONFLICT", { table: table.name });
}

/** True when events of the stream may lack a field that its contract requires now. */
export function mayLackFields(configuration: Readonly<Record<string, string>>, stream: Stream, log: EventLog): boolean {
  return Object.keys(nextHistory(configuration, stream, log).history.since).length > 0;
}

function nextHistory(configuration: Readonly<Record<string, string>>, stream: Stream, log: EventLog) {
  const text = configuration[STREAM_HISTORY] ?? newHistoryText(stream);
  const known = JSON.parse(text) as StreamHistory;
  const ends = Array.from({ length: log.partitions(stream.name) }, (_, p) => log.ends(stream.name, p).end);
  const now = required(stream);
  const since = Object.fromEntries(
    now.flatMap((field) => {
      if (!known.required.includes(field)) return ends.some((end) => end > 0) ? [[field, ends]] : [];
      const before = known.since[field];
      return before === undefined ? [] : [[field, before]];
    }),
  );
  const newId = known.id.join("\0") !== stream.id.join("\0");
  const history: StreamHistory = { id: stream.id, reidentified: known.reidentified || newId, required: now, since };
  return { history, newId, changed: JSON.stringify(history) !== text };
}

function required({ columns }: Stream): string[] {
  return columns.filter(({ nullable }) => !nullable).map(({ name }) => name);
}
