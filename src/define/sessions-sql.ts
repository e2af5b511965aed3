/**
 * The SQL of sessions: what its tables hold, computed from nothing but the events. Refreshes that compute less must give the same.
 *
 * An id is a user's id as it is, or `anonymous:` and an anonymous id. A person is named by the least of the user ids that links join,
 * or, where there is none, by the least anonymous id (`connected_ids` of the engine). A session is named `<person>@<start>`, the start in
 * microseconds since 1970. Events without an id or without a time, and those of crawlers, have no person and no session.
 */
import type { SessionsPlan } from "./read-sessions.ts";
import { quoteIdentifier, quoteName } from "./sql-text.ts";

/** `id`, `person`: every id that is linked with another, and the person it is. */
export function peopleSql(plan: SessionsPlan): string {
  return `with edges as (${edgesSql(linksSql(plan, quoteName))})
select distinct unnest(ids) as id, unnest(connected_ids(ids, others)) as person
from (select list(a) as ids, list(b) as others from edges)`;
}

/**
 * Links `a`, `b` of every source, or of some, each told once; `reading` gives what stands for a stream or table. Undefined sources: all.
 */
export function linksSql(plan: SessionsPlan, reading: (name: string) => string, sources?: ReadonlySet<string>): string {
  const links: { from: string; user: string; anonymous?: string | undefined; previous?: string | undefined }[] = [
    ...plan.links,
  ];
  if (plan.anonymous !== undefined) links.push({ from: plan.from, user: plan.user, anonymous: plan.anonymous });
  const read = links.filter(({ from }) => sources?.has(from) ?? true);
  const parts = read.flatMap(({ from, user, anonymous, previous }) =>
    [
      anonymous === undefined ? undefined : anonymousId(anonymous),
      previous === undefined ? undefined : userId(previous),
    ]
      .filter((id) => id !== undefined)
      .map((id) => `select ${id} as a, ${userId(user)} as b from ${reading(from)}`),
  );
  return `select distinct a, b from (${parts.join(" union all ")}) where a is not null and b is not null`;
}

/** Links as they are seen from either end. */
export function edgesSql(links: string): string {
  return `select a, b from (${links}) union select b, a from (${links})`;
}

/**
 * Every event with `person`, `session_start` and `session_id`.
 *
 * Events of one person within one span of the clock as long as the gap are in one session whatever else there is. So windows only pass
 * over spans, which are found by hashing and are far fewer than events, and no sort ever carries a whole event.
 */
export function eventsSql(plan: SessionsPlan): string {
  const { people } = plan.tables;
  const time = timeSql(plan);
  const told = toldSql(plan, quoteName(plan.from), people === undefined ? undefined : quoteName(people));
  const gapUs = Math.round(plan.gapMs * 1000);
  const span = `epoch_us(${time}) - (epoch_us(${time}) % ${gapUs} + ${gapUs}) % ${gapUs}`;
  return `with told as not materialized (${told}),
spans as (
  select person, ${span} as _span, min(${time}) as _from, max(${time}) as _to
  from told where person is not null group by 1, 2
),
broken as (
  select person, _span, case when lag(_to) over (partition by person order by _span) >= _from - ${gapSql(plan)} then null
    else _from end as _break
  from spans
),
started as (
  select person as _person, _span, max(_break) over (partition by person order by _span rows unbounded preceding) as session_start
  from broken
)
select told.*, started.session_start, ${sessionIdSql()} as session_id
from told left join started on started._person = told.person and started._span = ${span}`;
}

/** Events with their person. */
export function toldSql(plan: SessionsPlan, events: string, people: string | undefined): string {
  const id = idSql(plan, "e");
  const person = people === undefined ? id : `coalesce(p.person, ${id})`;
  const crawler = plan.userAgent === undefined ? "" : ` and not coalesce(c.crawler, false)`;
  const agent = plan.userAgent === undefined ? "" : `e.${quoteIdentifier(plan.userAgent)}`;
  const joins = [
    people === undefined ? "" : `left join ${people} p on p.id = ${id}`,
    plan.userAgent === undefined
      ? ""
      : `left join (select agent, is_bot(agent) as crawler
           from (select distinct ${agent} as agent from ${events} e)) c on c.agent = ${agent}`,
  ];
  return `select e.*, case when e.${quoteIdentifier(plan.time)} is not null${crawler} then ${person} end as person
  from ${events} e ${joins.join("\n  ")}`;
}

/** One row per session. */
export function sessionsSql(plan: SessionsPlan): string {
  const time = timeSql(plan);
  const order = orderSql(time);
  const column = (name: string) => quoteIdentifier(name);
  const list = [
    "session_id",
    "any_value(person) as person",
    `min(${time}) as started_at`,
    `max(${time}) as ended_at`,
    `(epoch_us(max(${time})) - epoch_us(min(${time}))) // 1000 as length_ms`,
    "count(*) as events",
  ];
  if (plan.page !== undefined)
    list.push(`arg_min(${column(plan.page)}, ${order}) as entry`, `arg_max(${column(plan.page)}, ${order}) as "exit"`);
  if (plan.referrer !== undefined) list.push(`arg_min(${column(plan.referrer)}, ${order}) as referrer`);
  for (const [name, expression] of Object.entries(plan.columns)) list.push(`${expression} as ${column(name)}`);
  const grouped = (more: readonly string[]) => `select ${[...list, ...more].join(",\n  ")}
from ${quoteName(plan.tables.events)}
where session_id is not null
group by session_id`;
  // What is read out of the first value of a column: once per session, not per event.
  const read: { first: string; column: string; struct: string; fields: string }[] = [];
  if (plan.userAgent !== undefined) {
    const fields = "_agent.device as device, _agent.os as os, _agent.browser as browser";
    read.push({
      first: "_first_agent",
      column: plan.userAgent,
      struct: "parse_user_agent(_first_agent) as _agent",
      fields,
    });
  }
  if (plan.ip !== undefined) {
    const fields = "_place.country_code as country, _place.region as region, _place.city as city";
    read.push({ first: "_first_ip", column: plan.ip, struct: "locate_ip(_first_ip) as _place", fields });
  }
  if (read.length === 0) return grouped([]);
  const listed = (of: (part: (typeof read)[number]) => string) => read.map(of).join(", ");
  return `select * exclude (${listed(({ struct }) => struct.split(" as ")[1] as string)}), ${listed(({ fields }) => fields)}
from (select * exclude (${listed(({ first }) => first)}), ${listed(({ struct }) => struct)}
  from (${grouped(read.map((part) => `arg_min(${column(part.column)}, ${order}) as ${part.first}`))}))`;
}

/**
 * By time, then partition, then offset, as one number: with a row of the three the sessions cost half as much again. Exact up to
 * 2^16 partitions of 2^47 events.
 */
function orderSql(time: string): string {
  return `epoch_us(${time})::hugeint * 9223372036854775808 + coalesce(_partition, 0)::hugeint * 140737488355328 + coalesce(_offset, 0)`;
}

export function sessionIdSql(): string {
  return "case when person is not null then person || '@' || epoch_us(session_start) end";
}

/** The event's time as an instant; a date is its midnight. */
export function timeSql(plan: SessionsPlan): string {
  return `cast(${quoteIdentifier(plan.time)} as timestamptz)`;
}

export function gapSql(plan: SessionsPlan): string {
  return `to_microseconds(${Math.round(plan.gapMs * 1000)})`;
}

function idSql(plan: SessionsPlan, alias: string): string {
  const user = userId(plan.user, alias);
  return plan.anonymous === undefined ? user : `coalesce(${user}, ${anonymousId(plan.anonymous, alias)})`;
}

/** An empty text is no id. */
function userId(column: string, alias?: string): string {
  return `nullif(cast(${alias === undefined ? "" : `${alias}.`}${quoteIdentifier(column)} as varchar), '')`;
}

function anonymousId(column: string, alias?: string): string {
  return `'anonymous:' || ${userId(column, alias)}`;
}
