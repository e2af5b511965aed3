-- Reports over the published tables, in PostgreSQL's SQL: paste one as a custom query of a BI tool, or run all with psql -f reports.sql.
-- Days are in UTC; weeks begin on Monday.

-- Active users: each day, the mean of seven days, and how many of the week's users come on a day (stickiness).
select
  d.day,
  d.active_users,
  d.visitors,
  d.new_users,
  round(avg(d.active_users) over (order by d.day rows between 6 preceding and current row), 1) as active_users_7_days,
  round(100.0 * d.active_users / nullif(w.active_users, 0), 1) as stickiness_percent
from gold.active_users_daily d
left join gold.active_users_weekly w on w.week = date_trunc('week', d.day)::date
order by d.day;

-- Weekly active users, and their growth.
select
  week,
  active_users,
  new_users,
  round(100.0 * active_users / nullif(lag(active_users) over (order by week), 0) - 100, 1) as growth_percent
from gold.active_users_weekly
order by week;

-- Retention: a line per week of sign-up, a column per week since.
select
  cohort_week,
  max(cohort_size) as signed_up,
  round(100 * max(retention) filter (where weeks_since = 0), 1) as week_0,
  round(100 * max(retention) filter (where weeks_since = 1), 1) as week_1,
  round(100 * max(retention) filter (where weeks_since = 2), 1) as week_2,
  round(100 * max(retention) filter (where weeks_since = 3), 1) as week_3,
  round(100 * max(retention) filter (where weeks_since = 4), 1) as week_4
from gold.retention_weekly
group by cohort_week
order by cohort_week;

-- Funnel: from sign-up to the first report.
select
  cohort_week,
  signed_up,
  round(100.0 * created_project / signed_up, 1) as project_percent,
  round(100.0 * started_timer / signed_up, 1) as timer_percent,
  round(100.0 * viewed_report / signed_up, 1) as report_percent,
  median_hours_to_report
from gold.funnel_weekly
order by cohort_week;

-- Features: what is used on which platform.
select
  event,
  sum(uses) as uses,
  sum(uses) filter (where platform = 'web') as web,
  sum(uses) filter (where platform = 'ios') as ios,
  sum(uses) filter (where platform = 'android') as android,
  sum(uses) filter (where platform = 'desktop') as desktop,
  sum(uses) filter (where platform = 'chat') as chat
from gold.feature_usage
group by event
order by uses desc;

-- Versions: how fast each platform's users take up a new one.
select
  platform,
  app_version,
  min(day) as first_seen,
  max(day) as last_seen,
  sum(uses) as uses,
  round(100.0 * sum(uses) / sum(sum(uses)) over (partition by platform), 1) as percent_of_platform
from gold.feature_usage
group by platform, app_version
order by platform, first_seen, app_version;

-- Hours: by client and project, with what can be billed.
select
  client,
  project,
  sum(entries) as entries,
  sum(hours) as hours,
  sum(billable_hours) as billable_hours,
  round(100 * sum(billable_hours) / nullif(sum(hours), 0), 1) as billable_percent
from gold.hours
group by client, project
order by hours desc;

-- Sessions: how long they are, how many end at the first page, and in how many somebody tracks time.
select
  date_trunc('week', day)::date as week,
  platform,
  sum(sessions) as sessions,
  round(sum(seconds) / sum(sessions), 0) as mean_seconds,
  round(sum(events) / sum(sessions), 1) as events_per_session,
  round(100.0 * sum(bounces) / sum(sessions), 1) as bounce_percent,
  round(100.0 * sum(with_timer) / sum(sessions), 1) as tracking_percent
from gold.session_quality
group by 1, platform
order by 1, platform;
