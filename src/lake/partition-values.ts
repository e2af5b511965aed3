/**
 * Partition values as the protocol's "Partition Value Serialization" has them: text, whatever the column's type, and null.
 *
 *     numbers     1, -2.5, 12.30 (decimals with all digits of their scale)
 *     boolean     true, false
 *     date        2026-01-31
 *     timestamp   2026-01-31 12:00:00.123456 or 2026-01-31T12:00:00.123456Z, both UTC
 *     string      itself; but the empty string means null, in every engine that reads Delta
 *     binary      one character per byte
 */
export type PartitionValues = Readonly<Record<string, string | null>>;

/** Checks that an action's values are texts or nulls, and gives the empty text its meaning. */
export function readPartitionValues(json: unknown): PartitionValues | undefined {
  if (json === null || json === undefined) return NO_PARTITION;
  if (typeof json !== "object" || Array.isArray(json)) return undefined;
  const entries = Object.entries(json);
  if (entries.length === 0) return NO_PARTITION;
  for (const [, value] of entries) if (value !== null && typeof value !== "string") return undefined;
  if (!entries.some(([, value]) => value === "")) return json as PartitionValues;
  return Object.fromEntries(entries.map(([column, value]) => [column, value === "" ? null : value]));
}

/** Shared by all files of tables without partitions. */
export const NO_PARTITION: PartitionValues = Object.freeze({});
