import { join } from "node:path";
import type { FileSystem } from "./file-system.ts";
import type { ObjectInfo } from "./object-store.ts";

/** Files whose facts are asked for at once: enough to keep the four threads of libuv busy. */
const STAT_BATCH = 32;

/**
 * The files below `root` whose `/`-separated relative path begins with `prefix` and is greater than `after`, ordered by path.
 * Only directories that can hold such a file are read, and only files that are returned are looked at.
 * `hidden` names an entry of the root that is left out.
 */
export async function listFiles(
  fs: FileSystem,
  root: string,
  prefix: string,
  after: string | undefined,
  hidden: string,
): Promise<ObjectInfo[]> {
  const keys: string[] = [];
  await collect(prefix.slice(0, prefix.lastIndexOf("/") + 1));

  const found: ObjectInfo[] = [];
  for (let i = 0; i < keys.length; i += STAT_BATCH) {
    const batch = await Promise.all(keys.slice(i, i + STAT_BATCH).map((key) => info(fs, root, key)));
    for (const item of batch) if (item) found.push(item);
  }
  return found;

  async function collect(folder: string): Promise<void> {
    const entries = await ignoring(["ENOENT", "ENOTDIR"], fs.readDirectory(join(root, folder)));
    if (!entries) return;
    const names: string[] = [];
    for (const entry of entries) {
      if (folder === "" && entry.name === hidden) continue;
      // With its slash a directory sorts where its files do: `a.txt` comes before `a/b`.
      const key = `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}`;
      if (canHold(key)) names.push(key);
    }
    for (const key of names.sort()) {
      if (key.endsWith("/")) await collect(key);
      else keys.push(key);
    }
  }

  function canHold(key: string): boolean {
    if (!key.endsWith("/")) return key.startsWith(prefix) && (after === undefined || key > after);
    const inPrefix = key.startsWith(prefix) || prefix.startsWith(key);
    return inPrefix && (after === undefined || key > after || after.startsWith(key));
  }
}

async function info(fs: FileSystem, root: string, key: string): Promise<ObjectInfo | undefined> {
  // A file can go between the reading of its directory and this look at it.
  const facts = await ignoring(["ENOENT"], fs.stat(join(root, key)));
  return facts?.isFile ? { key, sizeBytes: facts.sizeBytes, modifiedAtMs: facts.modifiedAtMs } : undefined;
}

async function ignoring<T>(codes: readonly string[], work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && "code" in error && codes.includes(String(error.code))) return undefined;
    throw error;
  }
}
