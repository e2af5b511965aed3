import { count, feature, on, stream, tumbling, window, z } from "millrace";

export const clicks = stream("clicks", {
  schema: z.object({ click_id: z.string(), user: z.string(), at: z.iso.datetime(), n: z.int() }),
  id: ["click_id"],
  key: "user",
  time: "at",
});

/** The nth click of a user is its nth here, once. */
export const tallies = stream("tallies", {
  schema: z.object({ tally_id: z.string(), user: z.string(), n: z.int() }),
  id: ["tally_id"],
  key: "user",
});

/** Without an id: what is here twice was there twice. */
export const notes = stream("notes", { schema: z.object({ click: z.string(), user: z.string() }), key: "user" });

export const counting = on(
  clicks,
  { state: z.object({ n: z.int() }), emits: [tallies], from: "beginning" },
  ({ user }, ctx) => {
    const n = (ctx.state.get()?.n ?? 0) + 1;
    ctx.state.set({ n });
    ctx.emit(tallies, { tally_id: ctx.id, user, n });
  },
);

export const noting = on(clicks, { emits: [notes], from: "beginning" }, ({ click_id, user }, ctx) => {
  ctx.emit(notes, { click: click_id, user });
});

export const perMinute = window("clicks_1m", {
  on: clicks,
  key: "user",
  size: tumbling("1m"),
  aggregate: { n: count() },
  lateness: "10s",
});

export const clicksPerHour = feature("clicks_1h", { on: clicks, key: "user", window: "1h", aggregate: count() });
