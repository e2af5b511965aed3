/**
 * Where Spark leaves the files it writes, until the platform takes them: a folder of their own for each statement, on a disk that both see.
 */
import { randomUUID } from "node:crypto";
import { constants, copyFile, mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { MillraceError } from "../../errors.ts";

/** A folder for what one statement writes. It does not exist yet: Spark makes it. */
export interface SparkPlace {
  /** As Spark names it. */
  readonly uri: string;
  readonly path: string;
}

/** A Parquet file that Spark has written, and the folders named for partition values above it: `__p0=…/__p1=…`. */
export interface SparkFile {
  readonly path: string;
  readonly folders: readonly string[];
}

export class SparkFiles {
  readonly #root: string;

  /** `root`: a folder that Spark sees under the same path, on the disk of the lake. */
  constructor(root: string) {
    this.#root = root;
  }

  async place(): Promise<SparkPlace> {
    await mkdir(this.#root, { recursive: true });
    const path = join(this.#root, randomUUID());
    return { path, uri: fileUri(path) };
  }

  /** @throws SPARK_STAGING where Spark said that it has written and nothing is there */
  async written({ path }: SparkPlace): Promise<SparkFile[]> {
    let entries: { name: string; parentPath: string; isFile(): boolean }[];
    try {
      entries = await readdir(path, { recursive: true, withFileTypes: true });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new MillraceError("SPARK_STAGING", { place: this.#root, reason }, { cause: error });
    }
    if (!entries.some(({ name }) => name === "_SUCCESS"))
      throw new MillraceError("SPARK_STAGING", { place: this.#root, reason: "its mark _SUCCESS is not there" });
    return entries
      .filter((entry) => entry.isFile() && entry.name.endsWith(".parquet"))
      .map(({ name, parentPath }) => ({
        path: join(parentPath, name),
        folders: relative(path, parentPath)
          .split("/")
          .filter((folder) => folder !== ""),
      }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async remove({ path }: SparkPlace): Promise<void> {
    await rm(path, { recursive: true, force: true });
  }
}

/** Hadoop reads what stands behind the scheme as it is: nothing in it is encoded. */
export function fileUri(path: string): string {
  return `file:${path}`;
}

export async function moveFile(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  try {
    await rename(from, to);
  } catch (error) {
    // The data folder can be on another disk than the lake.
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL);
  }
}
