/** Which adapter stands behind each port, by the settings. The store's is chosen in `lake-store.ts`. */
import { join } from "node:path";
import type { Logger } from "pino";
import type { Settings } from "../config/settings.ts";
import type { Project } from "../define/project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../engine/duckdb-engine.ts";
import type { GeoDatabase } from "../engine/geo-database.ts";
import type { InputFiles } from "../engine/sql-engine.ts";
import type { Assignment } from "../log/assignment.ts";
import { openEmbeddedLog } from "../log/embedded-log.ts";
import type { EventLog } from "../log/event-log.ts";
import type { LogFs } from "../log/file-system.ts";
import { soleAssignment } from "../log/sole-assignment.ts";
import { openState, type State } from "../state/state.ts";
import { openLogOnKafka } from "./kafka-log.ts";

/** The platform's records: embedded, or a server by URL. A server that is ours takes longest to come up of all parts. */
export function openRecords(settings: Settings, dir: string, project: Project): Promise<State> {
  const { postgresUrl, biHost: host, biPort: port } = settings;
  if (postgresUrl !== undefined) return openState({ url: postgresUrl });
  const serves = [...project.tables.values()].some(({ serve }) => serve !== undefined);
  return openState({ folder: join(dir, "postgres"), listen: serves ? { host, port } : undefined });
}

export interface OpenedLog {
  readonly log: EventLog;
  /** How processes divide its partitions. */
  readonly assignment: Assignment;
}

export interface LogParts {
  readonly settings: Settings;
  readonly dir: string;
  /** The project's name. */
  readonly project: string;
  /** Of this process, among those that share the log. */
  readonly workerId: string;
  readonly clock: () => number;
  readonly fs: LogFs;
  readonly logger: Logger;
}

/** @throws what `openEmbeddedLog` and `openLogOnKafka` throw */
export async function openLog({ settings, project, workerId, dir, clock, fs, logger }: LogParts): Promise<OpenedLog> {
  if (settings.kafkaBrokers !== undefined)
    return openLogOnKafka({ settings, project, workerId, clock, warn: (warning) => logger.warn(warning) });
  const log = await openEmbeddedLog({
    dir: join(dir, "log"),
    segmentBytes: settings.segmentBytes,
    retentionMs: settings.retentionMs,
    ...{ clock, fs, report: (finding) => logger.warn(finding, "log: recovery") },
  });
  return { log, assignment: soleAssignment(log) };
}

export function openEngine(
  settings: Settings,
  dir: string,
  project: Project,
  geo: GeoDatabase | undefined,
  inputs: InputFiles | undefined,
): Promise<DuckdbEngine> {
  return openDuckdbEngine({
    memoryBytes: settings.engineMemoryBytes,
    threads: settings.engineThreads,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
    inputs,
    geo,
    functions: [...project.sqlFunctions.values()],
  });
}
