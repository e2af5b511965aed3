import { startPlatform, withBareDoor, withFolder } from "../processes.ts";
import { median, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const STARTS = 3;

/** From the command on an empty data folder to the first event in the answer of a query. */
export async function measure(_seconds: number): Promise<Measurement> {
  const total: number[] = [];
  const ready: number[] = [];
  const bare: number[] = [];
  for (let start = 0; start < STARTS; start++) {
    await withFolder(async (dir) => {
      const startedMs = performance.now();
      const platform = await startPlatform(dir);
      try {
        const requests = new Requests(platform);
        await requests.event(new TelemetryEvents().one());
        const rows = await requests.sql("select vehicle_id, speed_kmh from telemetry");
        total.push(performance.now() - startedMs);
        ready.push(platform.readyMs);
        requests.close();
        if (rows.length !== 1) throw new Error(`the query gave ${rows.length} rows`);
      } finally {
        await platform.kill();
      }
    });
    const startedMs = performance.now();
    await withBareDoor(async (server) => {
      const requests = new Requests(server);
      await requests.event(new TelemetryEvents().one());
      bare.push(performance.now() - startedMs);
      requests.close();
    });
  }
  const seconds = (values: number[]) => rounded(median(values) / 1000);
  const peer = "a bare node:http server, from its command to its first answer";
  return {
    figures: {
      total: { value: seconds(total), peers: { [peer]: seconds(bare) } },
      ready: { value: seconds(ready), peers: { [peer]: seconds(bare) } },
    },
    conditions: {
      events: `one of ${EVENT_BYTES} bytes`,
      fsync: "fdatasync before the answer",
      state: "an empty data folder, a PostgreSQL cluster made in it; the program's files in the system's cache",
      time: `median of ${STARTS} starts`,
    },
  };
}
