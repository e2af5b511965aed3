import type * as z from "zod";
import type { Severity, To } from "./alert-routes.ts";
import type { Condition } from "./conditions.ts";
import { type Definition, define } from "./definition.ts";
import type { FieldOf, StreamDefinition } from "./stream.ts";
import type { Trigger } from "./triggers.ts";

/**
 * Whether something is as it should not be. A text that it gives is the reason, in words. It must not be asynchronous, and must be a function of what
 * it gets: the clock, a random number or a variable outside would make it answer otherwise after a crash.
 */
export type Predicate<Row> = (row: Row) => unknown;

/** What the summary of an alert can speak of beside the row. */
export interface Occasion {
  readonly key: string;
  /** What the condition says, in one sentence. */
  readonly reason: string;
  /** What was measured, and what was to be expected, where the condition knows. */
  readonly value?: number;
  readonly expected?: number;
}

/** What alerts over streams and over tables have in common. */
export interface CommonAlertOptions<Row> {
  /**
   * When it ends: a condition of its own, so that what sways about a bound does not raise one alert after another (`when: threshold("temp", { above:
   * 120 }), until: threshold("temp", { below: 110 })`). A function or a threshold. Default: as soon as `when` does not hold.
   */
  readonly until?: Predicate<Row> | Condition;
  /** How long `when` must hold before it is an alert: `"30s"`. Default: not at all. */
  readonly for?: string;
  /** How long after its end a key raises no new one: `"10m"`. Default: not at all. */
  readonly coolDown?: string;
  /** Ends it when nothing more was heard of the key for so long. Default: never. */
  readonly resolveAfter?: string;
  /** Default `"warning"`. */
  readonly severity?: Severity | ((row: Row) => Severity);
  /**
   * One sentence for a person: text in which `{engine_temp}` stands for a value of the row, `{key}`, `{reason}`, `{value}` and `{expected}` for what the
   * condition says; or a function. Default: the reason.
   */
  readonly summary?: string | ((row: Row, occasion: Occasion) => string);
  /** Destinations, by name or by definition. Default: what `alerts` of the configuration says. */
  readonly to?: To;
}

export interface StreamAlertOptions<Row = Record<string, unknown>, Field extends string = string>
  extends CommonAlertOptions<Row> {
  /** The stream whose events are judged, one after the other as they were accepted: by definition or by name. */
  readonly on: { readonly name: string } | string;
  /** Field or fields whose values say what an alert is about; each value has its own. Default: the key of the stream; without one all events are one key. */
  readonly key?: Field | readonly Field[];
  readonly when: Predicate<Row> | Condition;
}

export interface TableAlertOptions extends CommonAlertOptions<Record<string, unknown>> {
  /**
   * A SELECT over streams and tables, those of `system` among them. Each row is something to be alerted of (or, with `when`, to be judged); what it
   * no longer gives is over. Columns `severity` and `summary` speak for a row unless the options of those names do.
   */
  readonly sql: string;
  /** Column or columns whose values say what an alert is about. Default: the column `key` where there is one; without it all rows are one alert, that of the first. */
  readonly key?: string | readonly string[];
  /** Judges rows. Default: every row is an alert. */
  readonly when?: Predicate<Record<string, unknown>> | Condition;
  /**
   * Column with the time of a row's value, for conditions that remember values: a row enters the history once it is newer than the newest one there. Default:
   * each time the SQL is run, its rows are new values.
   */
  readonly time?: string;
  /** How often the SQL is run: `"1m"`, or `cron("0 * * * *")`. Default: after commits of what it reads; of the platform's own tables every 15 s. */
  readonly every?: string | Trigger;
  /** Longest time the SQL may take. Default `"30s"`. */
  readonly timeout?: string;
}

export type AlertOptions = StreamAlertOptions | TableAlertOptions;

export type AlertDefinition = Definition<"alert", AlertOptions>;

/**
 * Defines what somebody should know about: `export const overheat = alert("overheat", { on: telemetry, key: "vehicle_id", when: threshold("engine_temp",
 * { above: 120 }), until: threshold("engine_temp", { below: 110 }), severity: "critical" })`, or over tables: `alert("late", { sql: "select order_id as key, …" })`.
 *
 * Each alert that begins or ends is an event of `_alerts`, durable before anybody is told; `system.alerts` shows all of them. The name is lower-case
 * letters, digits, `-` and `_`. Mistakes (an unknown field, SQL that does not bind, a destination there is none of) are reported when the project
 * loads; SQL that fails later is an alert itself, `alert_failed`.
 */
export function alert<Schema extends z.ZodObject>(
  name: string,
  options: StreamAlertOptions<z.input<Schema>, FieldOf<Schema>> & { readonly on: StreamDefinition<Schema> },
): AlertDefinition;
export function alert(
  name: string,
  options: StreamAlertOptions & { readonly on: { readonly name: string } | string },
): AlertDefinition;
export function alert(name: string, options: TableAlertOptions): AlertDefinition;
export function alert(name: string, options: AlertOptions | StreamAlertOptions<never>): AlertDefinition {
  return define("alert", name, options as AlertOptions, alert);
}
