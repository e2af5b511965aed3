import { table } from "millrace";

/** Who used the product, day by day. To use it is to do something in it; a visitor has at least looked at a page. Days are in UTC. */
export const activeUsersDaily = table("gold.active_users_daily", {
  sql: `
    select
      day,
      count(distinct person) filter (type = 'track') as active_users,
      count(distinct person) as visitors,
      count(distinct person) filter (event = 'Signed Up') as new_users,
      count(*) as events
    from silver.visits_events
    where person is not null
    group by day`,
  refresh: { by: { day: "day" } },
  serve: {
    postgres: {
      key: ["day"],
      comment: "People per day (UTC)",
      comments: {
        active_users: "People who did something in the product",
        visitors: "People who looked at a page at least",
      },
    },
  },
});

/** The same by week, which begins on Monday. Somebody who comes every day counts once. */
export const activeUsersWeekly = table("gold.active_users_weekly", {
  sql: `
    select
      cast(date_trunc('week', day) as date) as week,
      count(distinct person) filter (type = 'track') as active_users,
      count(distinct person) as visitors,
      count(distinct person) filter (event = 'Signed Up') as new_users
    from silver.visits_events
    where person is not null
    group by week`,
  refresh: { by: { week: "cast(date_trunc('week', day) as date)" } },
  serve: { postgres: { key: ["week"], comment: "People per week (Monday to Sunday, UTC)" } },
});

/** Of those who signed up in a week, how many were active that many weeks later. */
export const retentionWeekly = table("gold.retention_weekly", {
  sql: `
    with people as (
      select person, cast(date_trunc('week', min(day)) as date) as cohort_week
      from silver.visits_events
      where person is not null and event = 'Signed Up'
      group by person
    ),
    cohorts as (select cohort_week, count(*) as cohort_size from people group by cohort_week),
    active as (
      select distinct person, cast(date_trunc('week', day) as date) as week
      from silver.visits_events
      where person is not null and type = 'track'
    )
    select
      cohort_week,
      (week - cohort_week) // 7 as weeks_since,
      any_value(cohort_size) as cohort_size,
      count(*) as active_users,
      cast(count(*) / any_value(cohort_size) as decimal(6, 4)) as retention
    from active
    join people using (person)
    join cohorts using (cohort_week)
    group by cohort_week, weeks_since`,
  serve: { postgres: { key: ["cohort_week", "weeks_since"], comment: "Weekly retention by week of sign-up" } },
});

/** How far those who signed up in a week have come, and how long the first report took them. */
export const funnelWeekly = table("gold.funnel_weekly", {
  sql: `
    with people as (
      select
        person,
        min(happened_at) filter (event = 'Signed Up') as signed_up,
        min(happened_at) filter (event = 'Project Created') as created_project,
        min(happened_at) filter (event = 'Timer Started') as started_timer,
        min(happened_at) filter (event = 'Report Viewed') as viewed_report
      from silver.visits_events
      where person is not null
      group by person
    )
    select
      cast(date_trunc('week', date(signed_up)) as date) as cohort_week,
      count(*) as signed_up,
      count(created_project) as created_project,
      count(started_timer) as started_timer,
      count(viewed_report) as viewed_report,
      cast(median(epoch_ms(viewed_report) - epoch_ms(signed_up)) / 3600000 as decimal(9, 2)) as median_hours_to_report
    from people
    where signed_up is not null
    group by cohort_week`,
  serve: { postgres: { key: ["cohort_week"], comment: "From sign-up to the first report, by week of sign-up" } },
});

/** What is used, where, and in which version. */
export const featureUsage = table("gold.feature_usage", {
  sql: `
    select day, event, platform, app_version, count(*) as uses, count(distinct person) as users
    from silver.visits_events
    where person is not null and type = 'track'
    group by day, event, platform, app_version`,
  refresh: { by: { day: "day" } },
  serve: {
    postgres: {
      key: ["day", "event", "platform", "app_version"],
      indexes: ["event"],
      comment: "Features used per day, by platform and version of the app",
    },
  },
});

/** Hours worked, by the day on which an entry began. */
export const hours = table("gold.hours", {
  sql: `
    select
      day,
      coalesce(client, 'unknown') as client,
      coalesce(project, 'unknown') as project,
      count(*) as entries,
      count(distinct user_id) as people,
      cast(sum(duration_ms) / 3600000 as decimal(12, 2)) as hours,
      cast(coalesce(sum(duration_ms) filter (billable), 0) / 3600000 as decimal(12, 2)) as billable_hours
    from silver.time_entries
    left join silver.projects using (project_id)
    group by all`,
  refresh: { by: { day: "day" } },
  serve: {
    postgres: { key: ["day", "client", "project"], indexes: ["client"], comment: "Hours by client and project" },
  },
});

/** What visits are like, by the day on which they began and the platform they began on. */
export const sessionQuality = table("gold.session_quality", {
  sql: `
    select
      date(started_at) as day,
      platform,
      count(*) as sessions,
      cast(sum(events) as bigint) as events,
      count(*) filter (events = 1) as bounces,
      count(*) filter (timers > 0) as with_timer,
      cast(sum(length_ms) / 1000 as decimal(14, 1)) as seconds,
      cast(median(length_ms) / 1000 as decimal(12, 1)) as median_seconds
    from silver.visits
    group by all`,
  refresh: { by: { day: "date(started_at)" } },
  serve: { postgres: { key: ["day", "platform"], comment: "Sessions per day and platform" } },
});
