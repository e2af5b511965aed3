import { count, hopping, mean, session, sliding, stream, tumbling, window, z } from "millrace";

export const telemetry = stream("telemetry", {
  schema: z.object({ vehicle_id: z.string(), region: z.string(), at: z.iso.datetime(), speed: z.number() }),
  key: "vehicle_id",
  time: "at",
  partitions: 4,
});
export const timeless = stream("timeless", { schema: z.object({ id: z.string() }), id: ["id"] });
export const other = stream("other", { schema: z.object({ vehicle_id: z.int(), note: z.string() }) });

const good = { on: telemetry, key: "vehicle_id", size: tumbling("5m"), aggregate: { n: count() } } as const;

export const noOptions = window("no_options", undefined as never);
export const badName = window("Bad Name", good);
export const unknownOption = window("unknown_option", { ...good, latenes: "5m" } as never);
export const noStream = window("no_stream", { ...good, on: { a: 1 } } as never);
export const unknownStream = window("unknown_stream", { ...good, on: "telemetri" } as never);
export const noSize = window("no_size", { ...good, size: "5m" } as never);
export const zeroSize = window("zero_size", { ...good, size: tumbling("0s") });
export const oddHop = window("odd_hop", { ...good, size: hopping("1h", { every: "7m" }) });
export const longGap = window("long_gap", { ...good, size: session("400d") });
export const most = window("most", { ...good, size: sliding("1m", { most: 0 }) });
export const durations = window("durations", { ...good, lateness: "soon", ahead: "-1s", early: "5ms" });
export const earlySliding = window("early_sliding", { ...good, size: sliding("1m"), early: "1s" });
export const functions = window("functions", { ...good, where: "speed > 0", late: "late" } as never);
export const unknownKey = window("unknown_key", { ...good, key: "vehicle" } as never);
export const unfitKey = window("unfit_key", { ...good, key: ["vehicle_id", "speed"] });
export const wrongKey = window("wrong_key", { ...good, key: "region" });
export const noKey = window("no_key", { on: telemetry, size: tumbling("5m"), aggregate: { n: count() } });
export const noTime = window("no_time", { on: timeless, size: tumbling("5m"), aggregate: { n: count() } });
export const aggregates = window("aggregates", {
  ...good,
  aggregate: { a: mean("at"), vehicle_id: count(), b: mean("sped") },
} as never);
export const unfitLate = window("unfit_late", { ...good, late: other });
export const taken = window("timeless", good);
export const circle = window("circle", { ...good, on: "circle_too" } as never);
export const circleToo = window("circle_too", { ...good, on: "circle" } as never);
/** Over one that does not load: told there. */
export const over = window("over", { ...good, on: noTime } as never);
