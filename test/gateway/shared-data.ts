import { existsSync } from "node:fs";
import { join } from "node:path";

/** A folder of the corpora that lie beside the repository, or undefined (said once) where they are not. */
export function sharedData(name: string): string | undefined {
  const folder = join(import.meta.dirname, "../../../shared/data", name);
  if (existsSync(folder)) return folder;
  process.stdout.write(`# the corpus ${name} is not here; what needs it is checked by hand-written cases only\n`);
  return undefined;
}
