import { sessions, table } from "millrace";

/** What people do: one row per page, screen and event, by the names that analysts use. Calls that only say who somebody is are not among them. */
export const activity = table("silver.activity", {
  sql: `
    select
      id,
      type,
      event,
      name as page,
      anonymous_id,
      user_id,
      context_app_name as platform,
      context_app_version as app_version,
      context_user_agent as user_agent,
      context_page_referrer as referrer,
      "timestamp" as happened_at,
      date("timestamp") as day
    from silver.app
    where type in ('track', 'page', 'screen')`,
});

/**
 * Who it was and in which session: `silver.visits_events` has every row of the activity with its person, `silver.visits` the sessions. A person is
 * all devices and ids that sign-ins and new logins say are one, for what was done before the sign-up as well. Crawlers have no person and no session.
 */
export const visits = sessions("silver.visits", {
  from: "silver.activity",
  user: "user_id",
  anonymous: "anonymous_id",
  time: "happened_at",
  gap: "30m",
  links: [
    { from: "app.identifies", user: "user_id", anonymous: "anonymous_id" },
    { from: "app.aliases", user: "user_id", previous: "previous_id" },
  ],
  page: "page",
  referrer: "referrer",
  userAgent: "user_agent",
  columns: {
    platform: "arg_min(platform, happened_at)",
    app_version: "arg_min(app_version, happened_at)",
    timers: "count(*) filter (event in ('Timer Started', 'Timer Stopped'))",
  },
});

/** Every project by its newest name. */
export const projects = table("silver.projects", {
  sql: "select project_id, project, client, updated_at from projects",
  key: ["project_id"],
  latest: "updated_at",
});

/** Every time entry as it stands now; what was deleted is gone. */
export const timeEntries = table("silver.time_entries", {
  sql: `
    select
      entry_id,
      user_id,
      project_id,
      started_at,
      ended_at,
      epoch_ms(ended_at) - epoch_ms(started_at) as duration_ms,
      billable,
      date(started_at) as day,
      deleted,
      updated_at
    from time_entries`,
  key: ["entry_id"],
  latest: "updated_at",
  tombstone: "deleted",
  checks: { ends_after_its_start: "ended_at >= started_at", within_a_day: "duration_ms <= 86400000" },
});
