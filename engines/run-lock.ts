import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { currentProcess, isRunning, type ProcessIdentity } from "../src/log/process-identity.ts";
import { cacheFolder } from "./cache.ts";
import { EngineError } from "./engine-error.ts";
import { absent } from "./server-process.ts";

/** The first start of all compiles and downloads. */
const WAIT_MS = 1_200_000;

/**
 * Waits until no other process starts or stops engines, and keeps others waiting until the returned function is called. The lock
 * of a process that is gone counts for nothing.
 */
export async function holdRunLock(): Promise<() => Promise<void>> {
  const path = join(cacheFolder(), "run.lock");
  const own = JSON.stringify(await currentProcess());
  for (const started = performance.now(); performance.now() - started < WAIT_MS; await sleep(500)) {
    try {
      await writeFile(path, own, { flag: "wx" });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const text = await readFile(path, "utf8").catch(absent);
    // Empty: it is being written at this moment.
    if (text && !(await isRunning(JSON.parse(text) as ProcessIdentity))) await rm(path, { force: true });
  }
  throw new EngineError("another process has been starting or stopping engines for 20 minutes", {
    next: `look at the process named in ${path}`,
  });
}
