import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, createGunzip, createZstdDecompress } from "node:zlib";
import { didYouMean } from "../define/nearest.ts";
import { MillraceError } from "../errors.ts";

export const FORMATS = ["csv", "tsv", "json", "ndjson", "parquet"] as const;
export type Format = (typeof FORMATS)[number];
export type Compression = "none" | "gz" | "zst" | "br";

export interface ImportFile {
  /** Absolute. */
  readonly path: string;
  /** As the caller would name it. */
  readonly shown: string;
  readonly format: Format;
  readonly compression: Compression;
  readonly sizeBytes: number;
}

/**
 * The files meant by the paths: each file itself, and of a folder every file below it that has a known ending, by name. `others` are
 * files of folders that have none.
 * @throws IMPORT_FILE_UNKNOWN
 */
export async function findFiles(
  paths: readonly string[],
  cwd: string,
  format?: Format,
): Promise<{ files: ImportFile[]; others: string[] }> {
  const files: ImportFile[] = [];
  const others: string[] = [];
  for (const given of paths) {
    const path = resolve(cwd, given);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) {
      const siblings = await readdir(join(path, "..")).catch(() => []);
      const reason = `there is no such file or folder${didYouMean(basename(path), siblings)}`;
      throw new MillraceError("IMPORT_FILE_UNKNOWN", { path: given, reason });
    }
    if (!found.isDirectory()) {
      const file = recognise(path, cwd, found.size, format);
      if (file === undefined)
        throw new MillraceError("IMPORT_FILE_UNKNOWN", { path: given, reason: "its ending says nothing" });
      files.push(file);
      continue;
    }
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    const inside = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const before = files.length;
    for (const name of inside.sort()) {
      const file = recognise(name, cwd, (await stat(name)).size);
      if (file === undefined) others.push(relative(cwd, name));
      else files.push(file);
    }
    if (files.length === before) {
      throw new MillraceError("IMPORT_FILE_UNKNOWN", {
        path: given,
        reason: "no file in the folder has a known ending",
      });
    }
  }
  return { files, others };
}

/**
 * Sixteen hex digits that stand for the file's content and for how it is read: the same file read in the same way is the same
 * import, wherever it lies and whatever it is called. A compressed file is unpacked on the way, since readers of rows take one
 * that was cut off for the end of the rows.
 * @throws IMPORT_FILE_BROKEN when the file's compression ends before its time or is damaged
 */
export async function digest(file: ImportFile, reading: unknown): Promise<string> {
  const hash = createHash("sha256");
  const content = createReadStream(file.path, { highWaterMark: 1_048_576 });
  content.on("data", (chunk) => hash.update(chunk));
  const unpack = { none: undefined, gz: createGunzip, zst: createZstdDecompress, br: createBrotliDecompress };
  const unpacked = unpack[file.compression]?.();
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    await (unpacked === undefined ? pipeline(content, nowhere) : pipeline(content, unpacked, nowhere));
  } catch (error) {
    const reason = `its ${file.compression} compression is not whole (${(error as Error).message})`;
    throw new MillraceError("IMPORT_FILE_BROKEN", { path: file.shown, place: "", reason }, { cause: error });
  }
  hash.update(JSON.stringify(reading));
  return hash.digest("hex").slice(0, 16);
}

const ENDINGS: Record<string, Format> = {
  csv: "csv",
  tsv: "tsv",
  tab: "tsv",
  json: "json",
  ndjson: "ndjson",
  jsonl: "ndjson",
  parquet: "parquet",
};

function recognise(path: string, cwd: string, sizeBytes: number, format?: Format): ImportFile | undefined {
  const endings = basename(path).toLowerCase().split(".").slice(1);
  const last = endings.at(-1) ?? "";
  const compression = last === "gz" || last === "zst" || last === "br" ? last : "none";
  const known = format ?? ENDINGS[(compression === "none" ? last : endings.at(-2)) ?? ""];
  if (known === undefined) return undefined;
  const near = relative(cwd, path);
  return { path, shown: near.startsWith("..") ? path : near, format: known, compression, sizeBytes };
}
