/** What the compiler makes of functions; `tsc` reads this file with everything else, and a line that should not compile must not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { on, stream, z } from "../../src/index.ts";

const telemetry = stream("telemetry", {
  schema: z.object({
    vehicle_id: z.string(),
    g: z.number(),
    note: z.string().optional(),
    place: z.object({ lat: z.number() }),
  }),
  key: "vehicle_id",
});
const alerts = stream("alerts", {
  schema: z.object({ alert_id: z.string(), vehicle_id: z.string(), g: z.number() }),
  id: ["alert_id"],
});
const scores = stream("scores", { schema: z.object({ vehicle_id: z.string(), score: z.number() }) });

on(telemetry, (event, ctx) => {
  const g: number = event.g;
  const note: string | undefined = event.note;
  const none: undefined = ctx.state;
  ctx.emit(alerts, { alert_id: ctx.id, vehicle_id: event.vehicle_id, g });
  ctx.emit("anything", { g, note, none });
  // @ts-expect-error: the contract has no such field
  event.speed;
  // @ts-expect-error: events are not changed
  event.g = 1;
  // @ts-expect-error: the target wants a number
  ctx.emit(alerts, { alert_id: ctx.id, vehicle_id: "v", g: "fast" });
  // @ts-expect-error: the target wants more
  ctx.emit(alerts, { alert_id: ctx.id });
});

on(
  telemetry,
  { key: "vehicle_id", state: z.object({ worst: z.number() }), emits: [alerts], ttl: "7d", retry: { attempts: 2 } },
  async (event, ctx) => {
    const before: number | undefined = ctx.state.get()?.worst;
    ctx.state.set({ worst: Math.max(before ?? 0, event.g, event.place.lat) });
    ctx.emit(alerts, { alert_id: ctx.id, vehicle_id: event.vehicle_id, g: event.g });
    // @ts-expect-error: the state is of another type
    ctx.state.set({ worst: "no" });
    // @ts-expect-error: not among what it emits to
    ctx.emit(scores, { vehicle_id: event.vehicle_id, score: 1 });
  },
);

on(telemetry, { batch: { size: 10 }, state: z.number(), emits: [alerts, scores] }, async (batch, ctx) => {
  for (const { event, state, emit, id, meta, key } of batch) {
    const sum: number = (state.get() ?? 0) + event.g;
    state.set(sum);
    emit(scores, { vehicle_id: key ?? id, score: sum + meta.offset });
    // @ts-expect-error: of another type
    state.set("many");
  }
  await fetch("http://127.0.0.1", { signal: ctx.signal });
});

on("messages", { key: "type" }, (message) => {
  const type: unknown = message["type"];
  void type;
});

// @ts-expect-error: no field of the stream
on(telemetry, { key: "vehicle" }, () => undefined);
// @ts-expect-error: a function gives nothing
on(telemetry, () => 5);
// @ts-expect-error: nor a promise of something
on(telemetry, async () => "done");
// @ts-expect-error: there is no such option
on(telemetry, { emit: [alerts] }, () => undefined);

test("a function is typed by the contracts of its stream, of its targets and of its state", () => {
  const made = on(telemetry, { name: "braking" }, () => undefined);
  assert.equal(made.name, "braking");
  assert.equal(made.place?.file.endsWith("function-types.test.ts"), true);
});
