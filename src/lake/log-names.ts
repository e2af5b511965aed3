/**
 * The names in a table's `_delta_log/`, where V is the version in twenty digits:
 *
 *     V.json                                   the commit that made version V
 *     V.checkpoint.parquet                     the whole state at V
 *     V.checkpoint.0000000001.0000000003.parquet   …in parts, number and total in ten digits
 *     V.checkpoint.<uuid>.json|parquet         …as a V2 checkpoint, whose files may be listed in `_sidecars/`
 *     _last_checkpoint                         JSON; a hint, which may be missing or stale
 *
 * Everything else (checksums, compacted logs, temporary files of other writers) is no part of the table's state.
 */
export const LAST_CHECKPOINT = "_last_checkpoint";

export type LogEntry =
  | { readonly kind: "commit"; readonly version: number }
  | { readonly kind: "checkpoint"; readonly version: number; readonly part: number; readonly parts: number }
  | { readonly kind: "v2checkpoint"; readonly version: number };

export function logPrefix(location: string): string {
  return `${location}/_delta_log/`;
}

export function versionText(version: number): string {
  return String(version).padStart(20, "0");
}

export function commitKey(location: string, version: number): string {
  return `${logPrefix(location)}${versionText(version)}.json`;
}

export function checkpointKey(location: string, version: number): string {
  return `${logPrefix(location)}${versionText(version)}.checkpoint.parquet`;
}

/** Undefined for every name that does not carry state. */
export function parseLogName(name: string): LogEntry | undefined {
  const match =
    /^(\d{20})\.(?:(json)|checkpoint\.parquet|checkpoint\.(\d{10})\.(\d{10})\.parquet|checkpoint\.[\w-]{36}\.(json|parquet))$/.exec(
      name,
    );
  if (!match) return undefined;
  const version = Number(match[1]);
  if (match[2]) return { kind: "commit", version };
  if (match[5]) return { kind: "v2checkpoint", version };
  return { kind: "checkpoint", version, part: Number(match[3] ?? 1), parts: Number(match[4] ?? 1) };
}
