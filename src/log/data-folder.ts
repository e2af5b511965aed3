/**
 * The data folder: everything a platform keeps on local disks, owned by one process at a time.
 *
 *     DIR/format.json          {"version":1}
 *     DIR/lock/                see folder-lock.ts
 *     DIR/restore-unfinished   is there while a restore fills the folder
 *
 * The version is raised when what lies in the folder changes so that an older program would misread it. Whoever raises it adds
 * the step that brings a folder of the version before to the new one; until there is a second version there is no step.
 * A folder that version 1 wrote is kept with the tests, and every later version must open it.
 */
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MillraceError } from "../errors.ts";
import { acquireFolderLock } from "./folder-lock.ts";

export interface DataFolder {
  /** Absolute path. */
  readonly dir: string;
  /** Lets another process in. Everything in the folder must be closed before. */
  close(): Promise<void>;
}

/**
 * Opens a data folder for this process alone; creates it, readable by this user only, when it is missing.
 * @throws DATA_FOLDER_IN_USE when another process has it open; DATA_FOLDER_NEWER when a newer version wrote it;
 * DATA_FOLDER_UNFINISHED when a restore into it was interrupted; DATA_FOLDER_READ_ONLY when it cannot be written; DATA_FOLDER_UNKNOWN when its format cannot be told.
 */
export async function openDataFolder(path: string, options: { heartbeatMs?: number } = {}): Promise<DataFolder> {
  const dir = resolve(path);
  try {
    await makeFolders(dir);
    const lock = await acquireFolderLock(dir, options);
    if ("pid" in lock) {
      throw new MillraceError(
        "DATA_FOLDER_IN_USE",
        { dir, pid: lock.pid, host: lock.host },
        { details: { pid: lock.pid } },
      );
    }
    try {
      await checkFormat(dir);
    } catch (error) {
      await lock.release();
      throw error;
    }
    return { dir, close: () => lock.release() };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new MillraceError("DATA_FOLDER_READ_ONLY", { dir, reason: error.message }, { cause: error });
  }
}

/**
 * Makes a folder and those above it. Node's own `recursive` tries for ever where a file system refuses a new folder with ENOENT, as
 * /proc does.
 */
async function makeFolders(dir: string): Promise<void> {
  if (await makeFolder(dir)) return;
  if (dirname(dir) !== dir) await makeFolders(dirname(dir));
  if (!(await makeFolder(dir))) throw Object.assign(new Error(`no folder can be made at ${dir}`), { code: "EPERM" });
}

/** False when the folder above it is missing. */
async function makeFolder(dir: string): Promise<boolean> {
  try {
    await mkdir(dir, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return false;
    const there = code === "EEXIST" && (await stat(dir)).isDirectory();
    if (!there) throw error;
  }
  return true;
}

/** What this program writes and reads. */
export const FORMAT_VERSION = 1;

/** Its name in a folder that a restore is filling. */
export const UNFINISHED = "restore-unfinished";

async function checkFormat(dir: string): Promise<void> {
  if (existsSync(join(dir, UNFINISHED))) throw new MillraceError("DATA_FOLDER_UNFINISHED", { dir });
  const file = join(dir, "format.json");
  const version = await readVersion(file);
  if (version === undefined) {
    const part = ["log", "lake"].find((name) => existsSync(join(dir, name)));
    if (part !== undefined)
      throw new MillraceError("DATA_FOLDER_UNKNOWN", { file, reason: `it is gone, beside a ${part}` });
    await writeDurably(dir, file, `${JSON.stringify({ version: FORMAT_VERSION })}\n`);
  } else if (version > FORMAT_VERSION) {
    throw new MillraceError("DATA_FOLDER_NEWER", { dir, version, allowed: FORMAT_VERSION });
  }
}

/** Undefined when there is no file yet. */
async function readVersion(file: string): Promise<number | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let version: unknown;
  try {
    version = JSON.parse(text)?.version;
  } catch (cause) {
    throw new MillraceError("DATA_FOLDER_UNKNOWN", { file, reason: (cause as Error).message }, { cause });
  }
  if (!Number.isSafeInteger(version) || (version as number) < 1) {
    throw new MillraceError("DATA_FOLDER_UNKNOWN", { file, reason: `version is ${JSON.stringify(version)}` });
  }
  return version as number;
}

async function writeDurably(dir: string, file: string, text: string): Promise<void> {
  const temporary = `${file}.tmp`;
  await rm(temporary, { force: true });
  const handle = await open(temporary, "wx", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const folder = await open(dir, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isRefusal(error: unknown): error is NodeJS.ErrnoException {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  return ["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code);
}
