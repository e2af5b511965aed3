import { stream, table, z } from "millrace";

/** Every field is declared and every other refused: what the tracker sends beside them would be seen at once. */
export const clicks = stream("clicks", {
  schema: z.strictObject({
    event_id: z.uuid(),
    occurred_at: z.iso.datetime(),
    anonymous_id: z.uuid(),
    user_id: z.string().nullish(),
    session_id: z.uuid(),
    session_number: z.int(),
    session_sequence: z.int(),
    n: z.int().min(0),
    note: z.string().nullish(),
  }),
  id: ["event_id"],
  key: "anonymous_id",
  time: "occurred_at",
});

export const pageViews = stream("page_views", {
  schema: z.object({
    event_id: z.uuid(),
    occurred_at: z.iso.datetime(),
    anonymous_id: z.uuid().nullish(),
    session_id: z.uuid().nullish(),
    session_started_at: z.iso.datetime().nullish(),
    app_version: z.string().nullish(),
    library: z.string().nullish(),
    language: z.string().nullish(),
    time_zone: z.string().nullish(),
    os: z.string().nullish(),
    device_type: z.string().nullish(),
    user_agent: z.string().nullish(),
    screen_width: z.int().nullish(),
    screen_height: z.int().nullish(),
    page_url: z.string().nullish(),
    page_path: z.string().nullish(),
    page_title: z.string().nullish(),
    referrer: z.string().nullish(),
    utm_source: z.string().nullish(),
    utm_campaign: z.string().nullish(),
    section: z.string().nullish(),
  }),
  id: ["event_id"],
  time: "occurred_at",
});

export const people = stream("people", {
  schema: z.object({
    event_id: z.uuid(),
    anonymous_id: z.uuid(),
    user_id: z.string(),
    previous_id: z.string().nullish(),
    plan: z.enum(["free", "paid"]).nullish(),
  }),
  id: ["event_id"],
});

export const teams = stream("teams", {
  schema: z.object({
    event_id: z.uuid(),
    group_id: z.string(),
    user_id: z.string().nullish(),
    seats: z.int().nullish(),
  }),
  id: ["event_id"],
});

/** No stream: its name must not be one of the tracker's. */
export const busy = table("gold.busy", { sql: "select session_id, count(*) as events from clicks group by all" });
