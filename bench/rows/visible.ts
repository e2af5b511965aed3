import { withBareDoor, withPlatform } from "../processes.ts";
import { median, percentile, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const QUERY = "select count(*) from silver.telemetry where event_id = $1";

/** Posts an event and asks for it as soon as it is acknowledged, over and over, across the default flushes. */
export async function measure(seconds: number): Promise<Measurement> {
  const measured = await withPlatform([], async (platform) => {
    const requests = new Requests(platform);
    const both: number[] = [];
    const query: number[] = [];
    let missed = 0;
    for await (const { event, id, warm } of events(seconds)) {
      const postedMs = performance.now();
      await requests.event(event);
      const acknowledgedMs = performance.now();
      const [row] = await requests.sql(QUERY, [id]);
      if (Number(row?.[0]) !== 1) missed++;
      if (!warm) continue;
      both.push(performance.now() - postedMs);
      query.push(performance.now() - acknowledgedMs);
    }
    requests.close();
    return { both, query, missed };
  });
  const bare = await withBareDoor(async (server) => {
    const requests = new Requests(server);
    const both: number[] = [];
    for await (const { event, warm } of events(seconds / 4)) {
      const postedMs = performance.now();
      await requests.event(event);
      await requests.post("/v1/sql", QUERY);
      if (warm) both.push(performance.now() - postedMs);
    }
    requests.close();
    return both;
  });
  const peer = "two requests to a node:http server that only reads the body";
  return {
    figures: {
      missed: { value: measured.missed },
      p50: { value: rounded(median(measured.both)), peers: { [peer]: rounded(median(bare)) } },
      p99: { value: rounded(percentile(measured.both, 0.99)), peers: { [peer]: rounded(percentile(bare, 0.99)) } },
      queryP50: { value: rounded(median(measured.query)) },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes`,
      batch: "one event a request, its query right after the answer",
      fsync: "fdatasync before every answer",
      load: `one connection; ${measured.both.length} events, asked for by id in silver, default flushes meanwhile`,
    },
  };
}

/** Events for some seconds; `warm` from the twentieth on. */
async function* events(seconds: number) {
  const maker = new TelemetryEvents();
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    const event = maker.one();
    yield { event, id: (JSON.parse(event.toString()) as { event_id: string }).event_id, warm: maker.made > 20 };
  }
}
