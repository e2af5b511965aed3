/**
 * Loaded into the process of every test file (`--import`): ends one that still runs when its time is over, and says what it waits for. A file that hangs is a
 * failure of its own name, and not of the whole run.
 */
import { isMainThread } from "node:worker_threads";

/** Many times what the longest file takes on a busy machine. */
const WITHIN_MS = 15 * 60_000;

// The runner itself, which has no file, lives as long as all of them; threads end with their process.
if (isMainThread && process.env["NODE_TEST_CONTEXT"] !== undefined) {
  setTimeout(() => {
    const held = [...Map.groupBy(process.getActiveResourcesInfo(), (kind) => kind)];
    const open = held.map(([kind, { length }]) => `${length} ${kind}`).join(", ");
    console.error(`${process.argv[1]} still runs after ${WITHIN_MS / 1_000} s: ended; open: ${open}`);
    process.exit(1);
  }, WITHIN_MS).unref();
}
