/**
 * The platform as `millrace start` runs it, on a clock that goes SPEED times as fast: retention, horizon, history and vacuum come
 * round in minutes instead of days, while the work itself takes its real time. Arguments: data folder, port, speed. A message
 * `measure` is answered with the memory in use, after a collection of garbage, so that only what is held counts.
 */
import { join } from "node:path";
import { startPlatform } from "../src/platform.ts";

const [, , dataDir = "", port = "0", speedText = "1", startText = "0"] = process.argv;
const speed = Number(speedText);
/** The same for every life of a run, so that the clock goes on where it was after a restart. */
const startedMs = Number(startText);
const clock = () => startedMs + (Date.now() - startedMs) * speed;
const HOUR_MS = 3_600_000;

process.on("disconnect", () => process.kill(process.pid, "SIGKILL")); // never outlives the soak
process.on("SIGINT", () => undefined); // Ctrl-C reaches the whole group; the soak says when
process.on("message", (message) => {
  if (message !== "measure") return;
  global.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send?.({ rss, heapUsed, external });
});

const platform = await startPlatform({
  projectDir: join(import.meta.dirname, "../chaos/project"),
  flags: {
    dataDir,
    port: Number(port),
    logLevel: "warn",
    // Five seconds between two flushes and one of quiet before a refresh, as by default, in real time.
    flushIntervalMs: 5_000 * speed,
    segmentBytes: 256 * 1024,
    retentionMs: HOUR_MS,
    historyMs: HOUR_MS,
    horizonMs: 2 * HOUR_MS,
    partitions: 2,
    engineMemoryBytes: 512 * 1024 * 1024,
  },
  ports: { clock },
});
process.on("SIGTERM", () => {
  platform.close().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.stdout.write(`ready ${platform.url}\n`);
