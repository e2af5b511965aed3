/**
 * What a backup is on the disk. A folder of backups holds one folder for each, named by when it began:
 *
 *     DIR/2026-01-31T08-15-00.000Z/
 *       backup.json         this manifest, written last
 *       records.ndjson      the platform's records (state-copy.ts)
 *       data/format.json    the data folder as it was, without what is rebuilt from the rest:
 *       data/admin.key
 *       data/aws.secret     where there are access keys for AWS's clients
 *       data/log/…          segments up to the last durable event
 *       data/react/…        checkpoints of functions, windows, features and alerts
 *       data/alerts/…       what alerts over tables remember
 *       data/lake/…         the newest version of every table: its files, and a log that begins with it
 *     DIR/2026-01-31T09-15-00.000Z.incomplete/    one that is being made, or was interrupted
 *
 * Each is whole by itself; files that two have in common are one file with two names (hard links), so any may be removed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "../errors.ts";

export const MANIFEST = "backup.json";
export const RECORDS = "records.ndjson";
export const DATA = "data";
export const INCOMPLETE = ".incomplete";

/** Raised when an older version would misread what is written. */
export const MANIFEST_VERSION = 1;

export interface Manifest {
  readonly version: number;
  /** Of the data folder, as in its `format.json`. */
  readonly dataFormat: number;
  /** Tells the backups of one platform from those of another. */
  readonly platform: string;
  readonly project: string;
  readonly millrace: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly streams: readonly {
    readonly stream: string;
    readonly partition: number;
    readonly start: number;
    readonly end: number;
  }[];
  readonly tables: readonly { readonly name: string; readonly version: number }[];
  readonly files: readonly ManifestFile[];
}

export interface ManifestFile {
  /** `/`-separated, relative to the backup's folder. */
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

const NAME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/;

/** Names in the order of time; nothing in them needs quoting anywhere. */
export function backupName(startedAtMs: number): string {
  return new Date(startedAtMs).toISOString().replaceAll(":", "-");
}

/** When a backup of that name began, in milliseconds since the epoch. */
export function backupTime(name: string): number {
  const [day = "", time = ""] = name.split("T");
  return Date.parse(`${day}T${time.replaceAll("-", ":")}`);
}

export function isBackupName(name: string): boolean {
  return NAME.test(name);
}

/** The manifest of a finished backup; undefined when there is none. @throws BACKUP_UNUSABLE */
export async function readManifest(dir: string): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(dir, MANIFEST), "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch (cause) {
    throw unusable(dir, `${MANIFEST} is damaged (${(cause as Error).message})`, cause);
  }
  if (manifest?.version !== MANIFEST_VERSION) {
    const reason = `it has format ${JSON.stringify(manifest?.version)}; this version of millrace knows format ${MANIFEST_VERSION}`;
    throw unusable(dir, reason);
  }
  if (!Array.isArray(manifest.files) || !manifest.files.every(isFile)) throw unusable(dir, `${MANIFEST} is damaged`);
  return manifest;
}

export function unusable(dir: string, reason: string, cause?: unknown): MillraceError {
  return new MillraceError("BACKUP_UNUSABLE", { dir, reason }, { cause });
}

function isFile(file: unknown): boolean {
  const { path, bytes, sha256 } = (file ?? {}) as Partial<ManifestFile>;
  const inside = typeof path === "string" && !path.split("/").some((part) => ["", ".", ".."].includes(part));
  return inside && Number.isSafeInteger(bytes) && /^[0-9a-f]{64}$/.test(sha256 ?? "");
}
