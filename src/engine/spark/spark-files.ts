/**
 * Where Spark leaves the files it writes, until the platform takes them: a folder of their own for each statement, at a place that both see.
 */
import { randomUUID } from "node:crypto";
import { constants, copyFile, mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { MillraceError } from "../../errors.ts";
import type { ObjectStore } from "../../lake/object-store.ts";

/** A folder for what one statement writes. It does not exist yet: Spark makes it. */
export interface SparkPlace {
  /** As Spark names it. */
  readonly uri: string;
  readonly path: string;
}

/** A Parquet file that Spark has written. */
export interface SparkFile {
  /** Local path at which it can be read until the place is removed. */
  readonly path: string;
  /** The folders named for partition values above it: `__p0=…`, `__p1=…`. */
  readonly folders: readonly string[];
}

export interface SparkFiles {
  place(): Promise<SparkPlace>;
  /** What is there, when Spark says that it has written. @throws SPARK_STAGING where nothing is */
  written(place: SparkPlace): Promise<SparkFile[]>;
  /** Gives a file its final path. */
  take(file: SparkFile, path: string): Promise<void>;
  remove(place: SparkPlace): Promise<void>;
}

/** A folder of this machine that Spark sees under the same path, on the disk of the lake. What a crash left there is removed. */
export async function localSparkFiles(root: string): Promise<SparkFiles> {
  await rm(root, { recursive: true, force: true });
  await mkdir(root, { recursive: true });
  return {
    async place() {
      const path = join(root, randomUUID());
      return { path, uri: fileUri(path) };
    },
    async written({ path }) {
      const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch((error: Error) => {
        throw new MillraceError("SPARK_STAGING", { place: root, reason: error.message }, { cause: error });
      });
      if (!entries.some(({ name }) => name === MARK)) throw unfinished(root);
      return entries
        .filter((entry) => entry.isFile() && isData(entry.name))
        .map(({ name, parentPath }) => ({ path: join(parentPath, name), folders: folders(relative(path, parentPath)) }))
        .sort((a, b) => (a.path < b.path ? -1 : 1));
    },
    async take({ path: from }, path) {
      await mkdir(dirname(path), { recursive: true });
      try {
        await rename(from, path);
      } catch (error) {
        // The data folder can be on another disk than the lake.
        if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
        await copyFile(from, path, constants.COPYFILE_EXCL);
      }
    },
    remove: ({ path }) => rm(path, { recursive: true, force: true }),
  };
}

/**
 * A prefix of the bucket that holds the tables. The platform fetches what Spark writes there, for its checksums are of every byte, and stores it
 * where its table wants it. What a crash left there is removed a day later.
 */
export async function storedSparkFiles(
  store: Pick<ObjectStore, "uri" | "list" | "delete" | "hold" | "localPath">,
  clock: () => number,
): Promise<SparkFiles> {
  for (const { key, modifiedAtMs } of await store.list(`${PREFIX}/`))
    if (modifiedAtMs < clock() - ABANDONED_AFTER_MS) await store.delete(key);
  const held = new Map<string, () => void>();
  return {
    async place() {
      const path = `${PREFIX}/${randomUUID()}`;
      return { path, uri: sparkUri(store.uri(path)) };
    },
    async written({ path, uri }) {
      const keys = (await store.list(`${path}/`)).map(({ key }) => key);
      if (!keys.includes(`${path}/${MARK}`)) throw unfinished(uri);
      const data = keys.filter((key) => isData(key.slice(key.lastIndexOf("/") + 1)));
      held.set(path, await store.hold(data));
      return data.map((key) => ({
        path: store.localPath(key),
        folders: folders(dirname(key).slice(path.length)),
      }));
    },
    async take({ path: from }, path) {
      await mkdir(dirname(path), { recursive: true });
      await copyFile(from, path);
    },
    async remove({ path }) {
      held.get(path)?.();
      held.delete(path);
      for (const { key } of await store.list(`${path}/`)) await store.delete(key);
    },
  };
}

const PREFIX = "_spark";
/** What Spark writes last. */
const MARK = "_SUCCESS";
/** No statement runs for so long. */
const ABANDONED_AFTER_MS = 86_400_000;

function unfinished(place: string): MillraceError {
  return new MillraceError("SPARK_STAGING", { place, reason: `its mark ${MARK} is not there` });
}

function isData(name: string): boolean {
  return name.endsWith(".parquet") && !/^[._]/.test(name);
}

function folders(path: string): string[] {
  return path.split("/").filter((folder) => folder !== "");
}

/** Hadoop reads what stands behind the scheme as it is: nothing in it is encoded. */
export function fileUri(path: string): string {
  return `file:${path}`;
}

/** `s3://` is what others call it; Hadoop's file system for it is s3a. */
export function sparkUri(uri: string): string {
  return uri.replace(/^s3:\/\//, "s3a://").replace(/^file:\/\/(?=\/)/, "file:");
}
