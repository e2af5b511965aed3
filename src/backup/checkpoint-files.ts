/** Files in which what reacts to events, or reads topics of others, remembers how far it is. They are appended to, or replaced whole by newer ones. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

const FOLDERS = ["react", "alerts", "sources"];
/** Ends of names of files that are not finished, and count for nothing. */
const UNFINISHED = [".building", ".unfinished"];

export interface CheckpointCopy {
  /** Below the data folder, `/`-separated. */
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
}

export async function checkpointFiles(dataDir: string): Promise<CheckpointCopy[]> {
  const found: CheckpointCopy[] = [];
  for (const folder of FOLDERS) await collect(dataDir, folder, found);
  return found;
}

async function collect(dataDir: string, name: string, found: CheckpointCopy[]): Promise<void> {
  const entries = await orNothing(readdir(join(dataDir, name), { withFileTypes: true }));
  for (const entry of entries ?? []) {
    const below = `${name}/${entry.name}`;
    // A store's place for files it is writing.
    if (entry.name === ".tmp") continue;
    if (entry.isDirectory()) await collect(dataDir, below, found);
    else if (!UNFINISHED.some((end) => entry.name.endsWith(end))) {
      const path = join(dataDir, below);
      const facts = await orNothing(stat(path));
      if (facts) found.push({ name: below, path, bytes: facts.size });
    }
  }
}

/** What is gone by now has been replaced. */
async function orNothing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
