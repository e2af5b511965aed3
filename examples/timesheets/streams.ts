import { readFileSync } from "node:fs";
import { segment, stream, trackingPlan, z } from "millrace";

const plan: unknown = JSON.parse(readFileSync(new URL("tracking-plan.json", import.meta.url), "utf8"));

/**
 * All that the apps say, on web, iOS, Android, desktop and in chats, through Segment's SDKs. What may be tracked is in the tracking plan. A message
 * that breaks it is kept and marked, for an app that is out there cannot be mended at once.
 */
export const app = segment("app", { plan: trackingPlan(plan, { violations: "flag", unplanned: "flag" }) });

/** What the back end says about itself with each record. */
const sender = { app_version: z.string().nullish(), library: z.string().nullish() };

/** A time entry as it was booked, changed or deleted by then. Each change is one event; the newest is how it stands. */
export const timeEntries = stream("time_entries", {
  schema: z.object({
    entry_id: z.string().min(1),
    user_id: z.string().min(1),
    project_id: z.string().min(1),
    started_at: z.iso.datetime(),
    ended_at: z.iso.datetime(),
    billable: z.boolean(),
    deleted: z.boolean(),
    updated_at: z.iso.datetime(),
    ...sender,
  }),
  id: ["entry_id", "updated_at"],
  key: "entry_id",
  time: "updated_at",
});

/** A project as it is called by then, and for which client it is. */
export const projects = stream("projects", {
  schema: z.object({
    project_id: z.string().min(1),
    project: z.string().min(1),
    client: z.string().min(1),
    updated_at: z.iso.datetime(),
    ...sender,
  }),
  id: ["project_id", "updated_at"],
  key: "project_id",
  time: "updated_at",
});
