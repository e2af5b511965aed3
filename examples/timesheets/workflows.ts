import { cron, succeeded, workflow } from "millrace";

/** Puts what came in into sessions and sums it up by day. */
export const preprocess = workflow(
  "preprocess",
  {
    on: [cron("*/15 * * * * *", { missed: "skip" })],
    concurrency: 1,
    timeout: "10m",
    retry: { attempts: 3, delay: "2s" },
  },
  async (run) => {
    // Each takes what the one before has made.
    for (const name of ["visits_people", "visits_events", "visits"]) await run.refresh(`silver.${name}`);
    await run.parallel({
      users: () => run.refresh("gold.active_users_daily"),
      features: () => run.refresh("gold.feature_usage"),
      hours: () => run.refresh("gold.hours"),
      sessions: () => run.refresh("gold.session_quality"),
    });
    const [counts] = await run.sql<{ sessions: number; people: number; events: number }>(
      "select count(*) as sessions, count(distinct person) as people, cast(sum(events) as bigint) as events from silver.visits",
    );
    return counts;
  },
);

/** Once the days are there: what is shown by week. */
export const report = workflow(
  "report",
  { on: [succeeded("preprocess")], concurrency: 1, timeout: "10m", retry: { attempts: 3, delay: "2s" } },
  async (run) => {
    for (const name of ["active_users_weekly", "retention_weekly", "funnel_weekly"]) await run.refresh(`gold.${name}`);
    const [week] = await run.sql<{ week: string; active_users: number; visitors: number }>(
      "select cast(week as varchar) as week, active_users, visitors from gold.active_users_weekly order by week desc limit 1",
    );
    return week;
  },
);
