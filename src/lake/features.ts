import { MillraceError } from "../errors.ts";
import type { Metadata, Protocol } from "./actions.ts";

/**
 * Which tables can be read, and which of them written. A protocol names what a table may use; a table that names a feature and
 * does not use it is read like any other.
 */

/** Reader features that need nothing more than is done anyway. */
const READABLE = new Set([
  "timestampNtz",
  "v2Checkpoint",
  // Concerns vacuum, which is refused for every table with writer features.
  "vacuumProtocolCheck",
]);

/** Reader features that need nothing as long as the table does not make use of them. */
const UNUSED: Readonly<Record<string, (table: TableFacts) => boolean>> = {
  columnMapping: (table) => columnMappingMode(table.metadata) === "none",
  deletionVectors: (table) => !table.hasDeletionVectors,
};

export interface TableFacts {
  readonly protocol: Protocol;
  readonly metadata: Metadata;
  /** True when a file of this version has rows hidden by a deletion vector. */
  readonly hasDeletionVectors: boolean;
}

/** @throws DELTA_FEATURE_UNSUPPORTED naming all features that stand in the way */
export function checkReadable(table: string, facts: TableFacts): void {
  const { protocol, metadata } = facts;
  const named = protocol.minReaderVersion >= 3 ? (protocol.readerFeatures ?? []) : [];
  const used = named.filter((feature) => !READABLE.has(feature) && !(UNUSED[feature]?.(facts) ?? false));
  if (protocol.minReaderVersion > 3) used.unshift(`reader version ${protocol.minReaderVersion}`);
  // Reader version 2 means column mapping without naming it.
  if (columnMappingMode(metadata) !== "none") used.push("columnMapping");
  if (facts.hasDeletionVectors) used.push("deletionVectors");
  if (metadata.format.provider !== "parquet") used.push(`data files in ${metadata.format.provider}`);
  refuse(table, "read", used);
}

/** @throws DELTA_FEATURE_UNSUPPORTED naming all features that stand in the way */
export function checkWritable(table: string, facts: TableFacts): void {
  const { protocol, metadata } = facts;
  const used: string[] = [];
  if (protocol.minWriterVersion > 2) {
    used.push(`writer version ${protocol.minWriterVersion}`, ...(protocol.writerFeatures ?? []));
  }
  if (metadata.schemaString?.includes('"delta.invariants"')) used.push("invariants");
  if (metadata.configuration["delta.appendOnly"] === "true") used.push("appendOnly");
  refuse(table, "written", used);
}

function columnMappingMode(metadata: Metadata): string {
  return metadata.configuration["delta.columnMapping.mode"] ?? "none";
}

function refuse(table: string, access: "read" | "written", used: readonly string[]): void {
  if (used.length === 0) return;
  const features = [...new Set(used)].sort();
  throw new MillraceError(
    "DELTA_FEATURE_UNSUPPORTED",
    { table, access, features: features.join(", ") },
    { details: { features } },
  );
}
