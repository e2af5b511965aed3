/**
 * A feature as SQL over its stream, point-in-time correct: for every event exactly what the feature was when the event was applied.
 *
 * The rules, which `react/features/feature-operator.ts` keeps event by event:
 *
 * - An event counts if it has a key and a time, and its time is not more than a day ahead of its arrival (a wrong clock).
 * - The *clock* of a key is the newest time among its events so far, where a time ahead of its arrival counts as the arrival.
 * - An event older than the clock by more than `lateness` is too late: it is left out, and has no value.
 * - A key from which nothing arrives for longer than `idle` begins anew.
 * - The value at an event is the aggregate over what counts of its key and partition with an offset up to its own and a time in (time - window, time].
 *
 * All times are microseconds since 1970. Times further from 1970 than 2^53 microseconds (285 years) are none.
 */
import { conditionSql } from "./feature-condition.ts";
import type { Column } from "./project.ts";
import { aggregateSql } from "./read-aggregates.ts";
import type { Feature } from "./read-feature.ts";
import { quoteIdentifier, quoteLiteral, quoteName } from "./sql-text.ts";
import { duckdbType } from "./types.ts";

/** A time further ahead of its arrival than this is a wrong clock, and not a day's difference of time zones. */
export const MOST_AHEAD_MS = 86_400_000;
/** Doubles tell microseconds apart as far as this. */
export const MOST_US = Number.MAX_SAFE_INTEGER;

/** The columns of `features.<name>`: the event, its key, its time where it has one, and the value. */
export function featureColumns(feature: Feature): readonly Column[] {
  const { key, time, aggregate } = feature;
  return [
    { name: "_partition", type: { kind: "integer" }, nullable: false },
    { name: "_offset", type: { kind: "long" }, nullable: false },
    { name: "_id", type: { kind: "string" }, nullable: false },
    { name: "_received_at", type: { kind: "timestamp" }, nullable: false },
    { ...key, nullable: true },
    ...(time === undefined ? [] : [{ ...time, nullable: true }]),
    { ...aggregate.column, nullable: true },
  ];
}

/** A row per event of the stream, with its value. The stream is read by its name. */
export function featureSql(feature: Feature): string {
  const { key, time } = feature;
  const own = [key, ...(time === undefined ? [] : [time])].map(({ name }) => `e.${quoteIdentifier(name)}`);
  return `with ${countedSql(feature)},
  at_event as (
    select e._partition, e._offset, ${aggregate(feature)} as v
    from counted e left join aggregated x on x._partition = e._partition and x.k = e.k and x.life = e.life
      and x.slot = ${slot(feature, "e.t")} and x.t > e.t - ${us(feature.windowMs)} and x.t <= e.t and x._offset <= e._offset
    group by e._partition, e._offset)
  select e._partition, e._offset, e._id, e._received_at, ${own.join(", ")}, v.v as ${quoteIdentifier(feature.name)}
  from ${quoteName(feature.stream)} e left join at_event v on v._partition = e._partition and v._offset = e._offset`;
}

/** What labels are joined to a feature by. */
export interface LabelQuery {
  /** A stream or table with a row per label. */
  readonly table: string;
  /** Its column with the key. */
  readonly key: string;
  /** Its column with the time as of which the feature is wanted. */
  readonly time: string;
  /** `event`: what had happened by then. `arrival`: of that only what had arrived by then, as a read at that time would have given. */
  readonly known: "event" | "arrival";
}

/** Each row of a table of labels, with the feature as of the label's time in a column of the feature's name. */
export function labelsSql(feature: Feature, { table, key, time, known }: LabelQuery): string {
  const [k, t] = [quoteIdentifier(key), quoteIdentifier(time)];
  const asOf = known === "arrival";
  // What had arrived belongs to the life that the key was in.
  const lives = asOf ? ` asof left join lives y on y.k = p.k and y.a <= p.t` : "";
  const knownThen = asOf
    ? ` and x.a <= l.t and x._partition = l._partition and x.life = l.life and l.t - l.since <= ${us(feature.idleMs)}`
    : "";
  return `with ${countedSql(feature)},
  labels as (select row_number() over () as label, * from ${quoteName(table)}),
  points as (select label, cast(${k} as ${duckdbType(feature.key.type)}) as k, epoch_us(cast(${t} as timestamptz)) as t from labels),
  alive as (select p.*${asOf ? ", y._partition, y.life, y.a as since" : ""} from points p${lives}),
  at_label as (
    select l.label, ${aggregate(feature)} as v
    from alive l left join aggregated x on x.k = l.k and x.slot = ${slot(feature, "l.t")}
      and x.t > l.t - ${us(feature.windowMs)} and x.t <= l.t${knownThen}
    group by l.label)
  select labels.* exclude (label), v.v as ${quoteIdentifier(feature.name)} from labels join at_label v using (label)`;
}

/** `counted`: the events that are not left out; `aggregated`: of them those that are aggregated, twice, for the slots whose windows may reach them. */
function countedSql(feature: Feature): string {
  const { key, time, aggregate: plan, where, latenessMs, idleMs } = feature;
  const at = time === undefined ? "_received_at" : quoteIdentifier(time.name);
  const t = time?.type.kind === "date" ? `cast(${at} as timestamptz)` : at;
  const field = plan.field === undefined ? "1" : quoteIdentifier(plan.field.name);
  const conditions = [
    ...(plan.field === undefined ? [] : ["x is not null"]),
    ...(where === undefined ? [] : ["wanted"]),
  ];
  const wanted = where === undefined ? "" : `, ${conditionSql(where.condition)} as wanted`;
  return `timed as (
    select _partition, _offset, ${quoteIdentifier(key.name)} as k, epoch_us(${t}) as t, epoch_us(_received_at) as a, ${field} as x${wanted}
    from ${quoteName(feature.stream)}),
  sane as (
    select *, a - lag(a) over (partition by _partition, k order by _offset) > ${us(idleMs)} as begins
    from timed where k is not null and t between ${-MOST_US} and ${MOST_US} and t <= a + ${us(MOST_AHEAD_MS)}),
  lives as (
    select *, count(*) filter (begins) over (partition by _partition, k order by _offset) as life from sane),
  clocked as (
    select *, max(least(t, a)) over (partition by _partition, k, life order by _offset) as clock from lives),
  counted as (select * from clocked where t >= clock - ${us(latenessMs)}),
  aggregated as (
    select *, unnest([${slot(feature, "t")}, ${slot(feature, "t")} + 1]) as slot
    from counted${conditions.length === 0 ? "" : ` where ${conditions.join(" and ")}`})`;
}

/** Windows of a length reach no further than the slot of that length before their own. */
function slot({ windowMs }: Feature, t: string): string {
  return `((${t} + ${MOST_US}) // ${us(windowMs)})`;
}

function aggregate({ aggregate: plan, default: fallback }: Feature): string {
  const type = duckdbType(plan.column.type);
  const field = { name: "x", type: plan.field?.type ?? ({ kind: "integer" } as const), nullable: true };
  // Rows of events in whose windows nothing is have a null in every column of the join.
  const sql = `cast(${inJoin(aggregateSql({ ...plan, field }, "(x.t, x._offset)"))} as ${type})`;
  if (fallback === undefined) return sql;
  const value = typeof fallback === "string" ? quoteLiteral(fallback) : String(fallback);
  return `coalesce(${sql}, cast(${value} as ${type}))`;
}

function inJoin(sql: string): string {
  return sql.replace('"x"', "x.x");
}

function us(ms: number): string {
  return String(ms * 1000);
}
