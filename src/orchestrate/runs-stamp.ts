/** A short text that is another one whenever something of the runs is: for whoever must know that, and not what. */
import type { Session } from "../state/migrate.ts";

/**
 * Looks at the runs that are not over, and at the newest of all. Its cost grows with the former alone.
 * @throws STATE_UNAVAILABLE
 */
export async function runsStamp(state: Pick<Session, "query">): Promise<string> {
  const [row] = await state.query<Record<string, unknown>>(STAMP);
  return Object.values(row ?? {}).join(" ");
}

const STAMP = `
  with open as (select id, status, starts, steps_seen, interruptions, ending is not null as ending from millrace.runs where finished_at is null)
  select
    (select id::text from millrace.runs order by id desc limit 1) as newest,
    (select extract(epoch from max(finished_at))::text from millrace.runs where finished_at is not null) as finished,
    (select count(*) || '.' || coalesce(sum(starts + steps_seen + interruptions), 0) || '.' || count(*) filter (where ending)
       || '.' || count(*) filter (where status = 'queued') || '.' || count(*) filter (where status = 'running') from open) as open,
    (select count(*) || '.' || coalesce(sum(attempts), 0) || '.' || count(finished_at) || '.' || count(wake_at)
       from millrace.run_steps where run in (select id from open)) as steps,
    (select count(*)::text from millrace.run_logs where run in (select id from open)) as logs,
    (select count(*) || '.' || count(*) filter (where cancelled) from millrace.backfills) as backfills`;
