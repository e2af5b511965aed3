import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bareRead } from "../bare-disk.ts";
import { FLUSHES_AWAY, load, loadUntilDeath, startPlatform, withFolder } from "../processes.ts";
import { rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const UNFLUSHED_BYTES = 2 ** 30;
const FILL_TIMEOUT_MS = 60_000;

/** Fills the log without a flush, kills the platform once that is acknowledged, and starts it again. */
export async function measure(_seconds: number): Promise<Measurement> {
  return withFolder(async (dir) => {
    const before = await startPlatform(dir, FLUSHES_AWAY);
    const log = join(dir, "log/telemetry/0");
    let acknowledged = 0;
    try {
      const startedMs = performance.now();
      for (let sender = 1; logBytes(log) < UNFLUSHED_BYTES; sender = (sender + 8) % 256) {
        if (performance.now() - startedMs > FILL_TIMEOUT_MS) throw new Error("filling the log took too long");
        const durationMs = 2_000;
        const options = { connections: 8, eventsPerRequest: 1_000, durationMs, warmupMs: 0, sender };
        acknowledged += (await load(before, options)).events;
      }
      // The crash comes while events are being written, so that there is a torn end to recover.
      const dying = loadUntilDeath(before, { eventsPerRequest: 1_000, durationMs: 10_000, sender: 200 });
      await sleep(1_000);
      process.kill(before.pid, "SIGKILL");
      await dying;
    } catch (error) {
      await before.kill();
      throw error;
    }
    const bytes = logBytes(log);
    const after = await startPlatform(dir, FLUSHES_AWAY);
    try {
      const requests = new Requests(after);
      const { streams } = JSON.parse(await requests.get("/v1/status")) as {
        streams: { name: string; accepted: number }[];
      };
      requests.close();
      const found = streams.find((stream) => stream.name === "telemetry")?.accepted ?? 0;
      const readMs = await bareRead(log);
      const peer = "reading the log's files and doing nothing with them";
      return {
        figures: {
          ready: { value: rounded(after.readyMs / 1000), peers: { [peer]: rounded(readMs / 1000) } },
          lost: { value: Math.max(0, acknowledged - found) },
        },
        conditions: {
          events: `${rounded(found)} of ${EVENT_BYTES} bytes, ${rounded(bytes / 2 ** 30)} GiB of log, none of it flushed`,
          batch: "1,000 events a request",
          fsync: "fdatasync before every answer",
          state: "killed with SIGKILL while events came in; the files are still in the system's cache",
        },
      };
    } finally {
      await after.kill();
    }
  });
}

function logBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
