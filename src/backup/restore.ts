/**
 * Brings a backup back as a data folder of its own. Every file is compared with the manifest while it is copied; until all are there
 * the folder carries a mark with which no platform starts.
 */
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { MillraceError } from "../errors.ts";
import { FORMAT_VERSION, UNFINISHED } from "../log/data-folder.ts";
import { MIGRATIONS } from "../state/migrations/index.ts";
import { openState, type StateOptions } from "../state/state.ts";
import { loadState, readStateHeader } from "../state/state-copy.ts";
import { type CreateFile, copyFile, createFile, readBack, syncFolder } from "./copy-file.ts";
import {
  DATA,
  INCOMPLETE,
  isBackupName,
  type Manifest,
  type ManifestFile,
  RECORDS,
  readManifest,
  unusable,
} from "./manifest.ts";

export interface RestoreOptions {
  /** A folder of backups, of which the newest finished one is taken, or the folder of one backup. */
  readonly from: string;
  /** The new data folder: empty, or not there yet. */
  readonly dataDir: string;
  /** PostgreSQL server that gets the records; the embedded one of the new data folder unless given. */
  readonly postgresUrl?: string | undefined;
  /** The disk written to; the real one unless given. */
  readonly create?: CreateFile;
}

export interface RestoreReport {
  /** The folder of the backup that was taken. */
  readonly backup: string;
  readonly startedAt: string;
  readonly dataDir: string;
  readonly files: number;
  readonly bytes: number;
  readonly records: number;
  readonly elapsedMs: number;
}

/**
 * Restores a backup. What fails leaves nothing behind but the folder itself, emptied.
 * @throws BACKUP_UNUSABLE, BACKUP_DAMAGED naming the file, RESTORE_TARGET_REFUSED, RESTORE_FAILED, DATA_FOLDER_NEWER,
 * STATE_NOT_EMPTY, and what opening the records throws
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const started = performance.now();
  const { dir: backup, manifest } = await findBackup(resolve(options.from));
  if (manifest.dataFormat > FORMAT_VERSION) {
    const facts = { dir: backup, version: manifest.dataFormat, allowed: FORMAT_VERSION };
    throw new MillraceError("DATA_FOLDER_NEWER", facts);
  }
  const dataDir = resolve(options.dataDir);
  const create = options.create ?? createFile;
  const made = await claim(dataDir, create);
  try {
    const data = manifest.files.filter(({ path }) => path.startsWith(`${DATA}/`));
    const folders = new Set([dataDir]);
    for (const file of data) await bringBack(backup, dataDir, file, folders, create);
    for (const folder of folders) await syncFolder(folder);
    const { postgresUrl } = options;
    const place = postgresUrl === undefined ? { folder: join(dataDir, "postgres") } : { url: postgresUrl };
    const records = await bringBackRecords(backup, manifest, place);
    await rm(join(dataDir, UNFINISHED));
    await syncFolder(dataDir);
    return {
      ...{ backup, startedAt: manifest.startedAt, dataDir, files: data.length, records },
      bytes: data.reduce((sum, { bytes }) => sum + bytes, 0),
      elapsedMs: Math.round(performance.now() - started),
    };
  } catch (cause) {
    await empty(dataDir, made);
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError("RESTORE_FAILED", { dir: dataDir, reason: (cause as Error).message }, { cause });
  }
}

/**
 * Reads every file of a backup and compares it with the manifest.
 * @throws BACKUP_UNUSABLE, BACKUP_DAMAGED
 */
export async function checkBackup(from: string): Promise<{ backup: string; startedAt: string; files: number }> {
  const { dir: backup, manifest } = await findBackup(resolve(from));
  for (const file of manifest.files) await compare(backup, file, () => readBack(join(backup, file.path)));
  return { backup, startedAt: manifest.startedAt, files: manifest.files.length };
}

async function findBackup(dir: string): Promise<{ dir: string; manifest: Manifest }> {
  if (basename(dir).endsWith(INCOMPLETE)) throw unusable(dir, "it was interrupted while it was being made");
  const own = await readManifest(dir);
  if (own) return { dir, manifest: own };
  const names = await readdir(dir).catch((cause: NodeJS.ErrnoException) => {
    throw unusable(dir, cause.code === "ENOENT" ? "there is no such folder" : cause.message, cause);
  });
  const newest = names.filter(isBackupName).sort().at(-1);
  if (newest === undefined) {
    const interrupted = names.some((name) => name.endsWith(INCOMPLETE));
    throw unusable(dir, interrupted ? "it holds only an interrupted one" : "it holds none");
  }
  const manifest = await readManifest(join(dir, newest));
  if (manifest === undefined) throw unusable(join(dir, newest), "its manifest is missing");
  return { dir: join(dir, newest), manifest };
}

/** Takes an empty folder, making it if need be, and marks it; whether it was made. */
async function claim(dataDir: string, create: CreateFile): Promise<boolean> {
  const refused = (reason: string, cause?: unknown) =>
    new MillraceError("RESTORE_TARGET_REFUSED", { dir: dataDir, reason }, { cause });
  let made: boolean;
  try {
    made = (await mkdir(dataDir, { recursive: true, mode: 0o700 })) !== undefined;
    if (!(await stat(dataDir)).isDirectory()) throw refused("it is no folder");
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw refused((cause as Error).message, cause);
  }
  const found = (await readdir(dataDir)).filter((name) => name !== "lost+found");
  if (found.includes(UNFINISHED)) throw refused("another restore is filling it, or one was interrupted there");
  if (found[0] !== undefined) throw refused(`it is not empty (it holds "${found[0]}")`);
  try {
    const mark = await create(join(dataDir, UNFINISHED));
    await mark.close();
    await syncFolder(dataDir);
  } catch (cause) {
    throw refused((cause as Error).message, cause);
  }
  return made;
}

async function bringBack(
  backup: string,
  dataDir: string,
  file: ManifestFile,
  folders: Set<string>,
  create: CreateFile,
): Promise<void> {
  const to = join(dataDir, file.path.slice(DATA.length + 1));
  const missing: string[] = [];
  for (let folder = dirname(to); !folders.has(folder); folder = dirname(folder)) missing.push(folder);
  for (const folder of missing) folders.add(folder);
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await compare(backup, file, () =>
    copyFile(join(backup, file.path), to, Number.POSITIVE_INFINITY, { create, signal: undefined }),
  );
}

async function compare(
  backup: string,
  file: ManifestFile,
  read: () => Promise<{ bytes: number; sha256: string }>,
): Promise<void> {
  const damaged = (reason: string, cause?: unknown) =>
    new MillraceError("BACKUP_DAMAGED", { dir: backup, file: file.path, reason }, { cause });
  let found: { bytes: number; sha256: string };
  try {
    found = await read();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EIO")
      throw damaged(code === "ENOENT" ? "it is gone" : "it cannot be read", cause);
    throw cause;
  }
  if (found.bytes !== file.bytes) throw damaged(`it has ${found.bytes} bytes instead of ${file.bytes}`);
  if (found.sha256 !== file.sha256) throw damaged("its SHA-256 is another one");
}

async function bringBackRecords(
  backup: string,
  manifest: Manifest,
  place: { folder: string } | { url: string },
): Promise<number> {
  const file = manifest.files.find(({ path }) => path === RECORDS);
  const path = join(backup, RECORDS);
  if (file === undefined) throw unusable(backup, `its manifest does not name ${RECORDS}`);
  await compare(backup, file, () => readBack(path));
  const lines = linesOf(path);
  const first = await lines.next();
  const header = first.done ? undefined : readStateHeader(first.value);
  if (header === undefined) throw unusable(backup, `${RECORDS} does not begin as it should`);
  // The steps that the records were written with; the first start takes them further.
  const migrations = MIGRATIONS.filter(({ version }) => version <= header.version);
  if ((migrations.at(-1)?.version ?? 0) < header.version) {
    throw new MillraceError("STATE_NEWER", { got: header.version, known: MIGRATIONS.at(-1)?.version ?? 0 });
  }
  const state = await openState({ ...place, migrations } satisfies StateOptions);
  try {
    return await loadState(state, header, lines);
  } finally {
    await state.close();
  }
}

/** Lines as they were written: only `\n` ends one, which some readers see differently. */
async function* linesOf(path: string): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const piece of createReadStream(path, "utf8")) {
    const lines = (rest + (piece as string)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
  return undefined;
}

/** Removes what a failed restore has written, the mark last, so that what cannot be removed is not taken for a data folder. */
async function empty(dataDir: string, made: boolean): Promise<void> {
  try {
    for (const name of await readdir(dataDir)) {
      if (name !== UNFINISHED && name !== "lost+found") await rm(join(dataDir, name), { recursive: true, force: true });
    }
    await rm(join(dataDir, UNFINISHED), { force: true });
    if (made) await rm(dataDir, { recursive: true });
  } catch {
    // The failure that led here is the one to tell. The mark is still there, and says what the folder is.
  }
}
