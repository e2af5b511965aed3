/**
 * A process that tracks until it is killed: `node tracking-process.ts DIR URL KEY FROM COUNT`. Prints the number of each event once it is
 * stored. COUNT events, one every few milliseconds; then it stays until its input ends, flushes and closes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createTracker } from "../../packages/tracker/src/node.ts";
import type * as streams from "./project/streams.ts";

const [dir, url, key, from, count] = process.argv.slice(2) as [string, string, string, string, string];
const tracker = createTracker<typeof streams>()({
  dir,
  key,
  endpoints: url,
  flushIntervalMs: 20,
  onError: () => {},
  onDrop: (drop) => console.error(JSON.stringify(drop)),
  streams: {
    clicks: ["event_id", "occurred_at", "anonymous_id", "session_id", "session_number", "session_sequence"],
  },
});
for (let n = Number(from); n < Number(from) + Number(count); n++) {
  void tracker.track("clicks", { n }).then((stored) => process.stdout.write(stored ? `${n}\n` : `lost ${n}\n`));
  if (n % 3 === 0) await sleep(1);
}
process.stdin.resume();
await new Promise((resolve) => process.stdin.once("end", resolve));
for (let i = 0; i < 100 && !(await tracker.flush()); i++) await sleep(100);
await tracker.close();
process.stdout.write("closed\n");
