import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { IndexFiles } from "./index-files.ts";

/**
 * What an index consists of: `manifest.json`, one line of JSON,
 *
 *     {"crc32":N,"body":{"version":1,"coveredTo":…,"horizonMs":…,"newestMs":…,"completeFromMs":…,
 *      "nextRun":…,"runs":[{"file":"0000000012.run","coveredTo":…},…]}}
 *
 * with the CRC-32 of the body's text. Runs are in the order of their offsets; `coveredTo` of a run: with it and those before it,
 * every stored event up to that offset is in the index. Files in the folder that the manifest does not name do not exist.
 */
export interface Manifest {
  readonly version: 1;
  readonly coveredTo: number;
  readonly horizonMs: number;
  /** Latest arrival of a stored event. */
  readonly newestMs: number;
  /** Stored events that arrived before this may have been let go of. */
  readonly completeFromMs: number;
  readonly nextRun: number;
  readonly runs: readonly { readonly file: string; readonly coveredTo: number }[];
}

const NAME = "manifest.json";

export function writeManifest(files: IndexFiles, dir: string, manifest: Manifest): void {
  const body = JSON.stringify(manifest);
  files.replace(dir, NAME, `{"crc32":${crc32(body)},"body":${body}}\n`);
}

/** Undefined when there is none or it is not as it was written. */
export function readManifest(files: IndexFiles, dir: string): Manifest | undefined {
  let text: string;
  try {
    text = Buffer.from(files.readWhole(join(dir, NAME))).toString("utf8");
  } catch (error) {
    if (["ENOENT", "EIO"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
  const [, crc, body] = /^\{"crc32":(\d+),"body":(.*)\}\n$/s.exec(text) ?? [];
  if (body === undefined || crc32(body) !== Number(crc)) return undefined;
  const manifest = JSON.parse(body) as { version: number };
  return manifest.version === 1 ? (manifest as Manifest) : undefined;
}
