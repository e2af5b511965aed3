/**
 * The platform as it is started by `millrace start`, on disks and a clock that do what a plan says. The oracle gives the plan in
 * CHAOS_PLAN (and settings in CHAOS_SETTINGS), the data folder and the port as arguments, and moves the clock by messages `{"clockJumpMs": N}`.
 */
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { startPlatform } from "../src/platform.ts";
import { jump, now } from "./clock.ts";
import { lakeDisk } from "./lake-disk.ts";
import { logDisk } from "./log-disk.ts";

const [, , dataDir, port] = process.argv;
process.on("message", ({ clockJumpMs }: { clockJumpMs: number }) => jump(clockJumpMs));
process.on("disconnect", () => process.kill(process.pid, "SIGKILL")); // never outlives the oracle
process.on("SIGINT", () => undefined); // Ctrl-C reaches the whole group; the oracle says when

/** Small and often, so that a short life comes by every kind of step many times. */
const SHORT_LIVED = {
  flushIntervalMs: 150,
  refreshDebounceMs: 100,
  segmentBytes: 32 * 1024,
  retentionMs: 3_600_000,
  historyMs: 3_600_000,
  partitions: 2,
  engineMemoryBytes: 256 * 1024 * 1024,
};
const given = process.env["CHAOS_SETTINGS"];
const settings = given === undefined ? SHORT_LIVED : (JSON.parse(given) as Record<string, unknown>);

const platform = await startPlatform({
  projectDir: join(import.meta.dirname, "project"),
  flags: { dataDir, port: Number(port), logLevel: "info", ...settings },
  ports: {
    clock: now,
    logFs: logDisk,
    lakeFs: lakeDisk,
    indexFiles: new URL("./index-disk.ts", import.meta.url).href,
  },
});
let closing = false;
process.on("SIGTERM", () => {
  if (closing) return;
  closing = true;
  platform.close().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
flushCompileCache(); // most lives end too suddenly to do it at their end
process.stdout.write(`ready ${platform.url}\n`);
