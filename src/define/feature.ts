import type * as z from "zod";
import type { Aggregate } from "./aggregates.ts";
import { type Definition, define } from "./definition.ts";
import type { FieldOf, StreamDefinition } from "./stream.ts";

export interface FeatureOptions<Schema extends z.ZodObject = z.ZodObject> {
  /** The stream whose events the feature is computed from. */
  readonly on: StreamDefinition<Schema>;
  /** The field whose values have a feature value each: text, a whole number or a boolean. The stream's key where the stream has several partitions. */
  readonly key: FieldOf<Schema>;
  /** How far back from an event its value looks, by event time: `10m`, `24h`, `30d`. */
  readonly window: string;
  /** What is computed: `sum("amount")`, `count()`, `distinct("merchant")`… All but `quantile`. */
  readonly aggregate: Aggregate<FieldOf<Schema>>;
  /**
   * A condition in SQL on the event's own fields, such as `status = 'captured' and amount > 10`: only events that meet it are aggregated. Comparisons of a
   * field with a constant, `in`, `between`, `is null`, boolean fields, `and`, `or` and `not`.
   */
  readonly where?: string;
  /** What stands where the window holds nothing to aggregate, instead of null. */
  readonly default?: number | string | boolean;
  /** Events at most this much older than the newest one of their key are computed exactly; older ones are left out and have no value. Default: the window. */
  readonly lateness?: string;
  /** A key from which nothing arrives for longer is forgotten. Default: window and lateness together, and at least `1d`. */
  readonly idle?: string;
}

export type FeatureDefinition<Schema extends z.ZodObject = z.ZodObject> = Definition<"feature", FeatureOptions<Schema>>;

/**
 * Defines a value per key that is the same online and offline: `export const cardSpend = feature("card_spend_10m", { on: payments, key: "card_id", window: "10m",
 * aggregate: sum("amount") })`.
 *
 * The value at an event is the aggregate over the events of its key that came no later than it (by offset) and happened within the window that ends with it
 * (by event time, the event itself included). Online it is read by functions (`ctx.feature`) and over HTTP; offline SQL reads `features.card_spend_10m`,
 * which has a row per event. Mistakes are reported when the project loads.
 */
export function feature<Schema extends z.ZodObject>(
  name: string,
  options: FeatureOptions<Schema>,
): FeatureDefinition<Schema> {
  return define("feature", name, options, feature);
}
