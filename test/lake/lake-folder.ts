import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Column } from "../../src/define/project.ts";
import { type FileSystem, nodeFileSystem } from "../../src/lake/file-system.ts";

/** An empty folder that goes when the test ends. */
export async function lakeFolder(t: Pick<TestContext, "after">): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-lake-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The disk without its slowest part, for tests in which nobody pulls the plug. */
export const unsyncedFileSystem: FileSystem = {
  ...nodeFileSystem,
  writeNew: (path, bytes) => writeFile(path, bytes, { flag: "wx" }),
  syncFile: async () => undefined,
  syncDirectory: async () => undefined,
};

export function column(
  name: string,
  kind: Exclude<Column["type"]["kind"], "decimal" | "struct" | "array" | "map">,
): Column {
  return { name, type: { kind }, nullable: true };
}
