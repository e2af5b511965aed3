import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** A folder that is gone when the test ends. */
export async function scratchFolder(test: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-log-"));
  test.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
