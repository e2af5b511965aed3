import { MillraceError } from "../errors.ts";
import type { Actions, Metadata } from "./actions.ts";
import { AddedFile, CHECKSUM_TAG, type RemovedFile } from "./data-file.ts";
import type { CommitRequest, CommitResult, DataFile } from "./delta-table.ts";
import { writeStats } from "./file-stats.ts";
import { readPartitionValues } from "./partition-values.ts";
import type { LoggedCommit } from "./replay.ts";
import { writeSchema } from "./table-schema.ts";
import type { TableState } from "./table-state.ts";

/** What we write: reader 1 / writer 2, which every engine that knows Delta can read. */
const PROTOCOL = { minReaderVersion: 1, minWriterVersion: 2 } as const;

type ConflictReason = Extract<CommitResult, { kind: "conflict" }>["reason"];

/** Whether a commit that came after the request's `readVersion` stands in its way. */
export function conflictWith(request: CommitRequest, other: LoggedCommit): ConflictReason | undefined {
  const { txns, adds, removes, metadata, protocol } = other.actions;
  if (request.readVersion < 0) return "exists";
  if (txns.some(({ appId }) => request.txn?.has(appId))) return "txn";
  const removing = new Set(request.remove);
  if (removes.some(({ path }) => removing.has(path))) return "removed";
  const { dependsOn } = request;
  if (dependsOn && adds.some((file) => file.dataChange && dependsOn(file))) return "added";
  return metadata || protocol ? "metadata" : undefined;
}

/** Our commits always say what they are. */
export type PlannedCommit = Actions & Required<Pick<Actions, "commitInfo">>;

/**
 * The actions that carry out a request on top of `state`. A file to remove that is not in the table makes it a conflict.
 * @throws DELTA_COMMIT_INVALID
 */
export function planCommit(
  table: string,
  request: CommitRequest,
  state: TableState | undefined,
  timestampMs: number,
  newId: () => string,
): PlannedCommit | "removed" {
  const metadata = state === undefined ? undefined : state.facts.metadata;
  const changed = plannedMetadata(table, request, metadata, timestampMs, newId);
  const current = changed ?? metadata;
  if (!current) throw invalid(table, "a table is created with its schema");
  const dataChange = request.dataChange ?? true;

  const removes: RemovedFile[] = [];
  for (const path of new Set(request.remove)) {
    const file = state?.liveFile(path);
    if (!file) return "removed";
    const { sizeBytes, partition, statsText } = file;
    removes.push({
      path,
      deletionVector: undefined,
      removedAtMs: timestampMs,
      dataChange,
      sizeBytes,
      partition,
      statsText,
    });
  }
  const columns = request.schema?.columns ?? state?.snapshot().columns ?? [];
  const adds = (request.add ?? []).map((file) => {
    const partition = partitionOf(table, file, current.partitionColumns);
    const { path, sizeBytes, modifiedAtMs, checksum } = file;
    const statsText = file.stats && writeStats(file.stats, columns);
    const tags = checksum === undefined ? undefined : { [CHECKSUM_TAG]: checksum };
    return new AddedFile({ path, sizeBytes, modifiedAtMs, partition, statsText, dataChange, tags });
  });
  const txns = [...(request.txn ?? [])].map(([appId, version]) => ({ appId, version, lastUpdated: timestampMs }));
  return {
    commitInfo: {
      timestamp: timestampMs,
      operation: request.operation,
      operationParameters: {},
      ...(state && { readVersion: request.readVersion }),
      isBlindAppend: removes.length === 0 && !changed,
      engineInfo: "Millrace",
      // No two commits are the same bytes: a store whose answer was lost tells by them whose commit it holds.
      txnId: newId(),
      ...(request.info && { millrace: request.info }),
    },
    ...(!state && { protocol: PROTOCOL }),
    ...(changed && { metadata: changed }),
    txns,
    removes,
    adds,
    sidecars: [],
  };
}

/** The metaData action that the request needs, if any. */
function plannedMetadata(
  table: string,
  { schema, configuration }: CommitRequest,
  before: Metadata | undefined,
  timestampMs: number,
  newId: () => string,
): Metadata | undefined {
  if (!schema && !configuration) return undefined;
  if (!schema && !before) throw invalid(table, "a table is created with its schema");
  if (schema) {
    const names = new Set(schema.columns.map((column) => column.name));
    const stray = schema.partitionColumns.find((column) => !names.has(column));
    if (stray !== undefined) throw invalid(table, `the partition column "${stray}" is none of its columns`);
    if (before && before.partitionColumns.join("\0") !== schema.partitionColumns.join("\0")) {
      throw invalid(table, `it is partitioned by (${before.partitionColumns.join(", ")}), which cannot change`);
    }
    // Needs reader 3, with which older engines could read none of our tables.
    const ntz = schema.columns.find((column) => JSON.stringify(column.type).includes('"timestamp_ntz"'));
    if (ntz) throw invalid(table, `the column "${ntz.name}" holds timestamps without a zone`);
  }
  const schemaString = schema ? writeSchema(table, schema.columns, before?.schemaString) : before?.schemaString;
  return {
    id: before?.id ?? newId(),
    name: before?.name,
    description: before?.description,
    format: before?.format ?? { provider: "parquet", options: {} },
    schemaString,
    partitionColumns: schema?.partitionColumns ?? before?.partitionColumns ?? [],
    configuration: { ...before?.configuration, ...configuration },
    createdTime: before ? before.createdTime : timestampMs,
  };
}

function partitionOf(table: string, file: DataFile, columns: readonly string[]): AddedFile["partition"] {
  const values = readPartitionValues(file.partition);
  const given = Object.keys(file.partition);
  if (!values || given.length !== columns.length || !columns.every((column) => column in values)) {
    const got = JSON.stringify(file.partition);
    throw invalid(
      table,
      `file "${file.path}" has the partition values ${got}; the table is partitioned by (${columns.join(", ")})`,
    );
  }
  return values;
}

function invalid(table: string, reason: string): MillraceError {
  return new MillraceError("DELTA_COMMIT_INVALID", { table, reason });
}
