import type * as z from "zod";
import { type Definition, define } from "./definition.ts";
import type { KafkaTopic } from "./kafka-topic.ts";

/** Names of the fields of an event. */
export type FieldOf<Schema extends z.ZodObject> = Extract<keyof z.input<Schema>, string>;

export interface StreamOptions<Schema extends z.ZodObject = z.ZodObject> {
  /** The contract of one event. Its JSON Schema is published, and every event is held to it at the door. */
  readonly schema: Schema;
  /** Fields whose values together are the event's id: the same id again within the horizon is one event. */
  readonly id?: readonly FieldOf<Schema>[];
  /** Events with the same value in this field keep their order. Default: the id. */
  readonly key?: FieldOf<Schema>;
  /** Field that holds the time at which the event happened. */
  readonly time?: FieldOf<Schema>;
  /** How long an id is remembered: `7d` (the default), `36h`, `15m`, `30s`. */
  readonly horizon?: string;
  /** Number of partitions; events of one key are in one of them. Default: the setting `partitions`. */
  readonly partitions?: number;
  /** A topic of others whose records are events of the stream: `kafkaTopic("billing.payments", { brokers: env("BILLING_KAFKA") })`. */
  readonly from?: KafkaTopic;
}

/** The type keeps the name as well, so that programs can be typed by a project's streams. */
export type StreamDefinition<Schema extends z.ZodObject = z.ZodObject, Name extends string = string> = Definition<
  "stream",
  StreamOptions<Schema>
> & { readonly name: Name };

/**
 * Defines a stream of events: `export const orders = stream("orders", { schema: z.object({…}), id: ["order_id"] })`.
 *
 * The name is lower case, digits and `_`, and begins with a letter. SQL reads the stream by its name, with the fields of the schema
 * and `_id, _partition, _offset, _received_at, _source`. Mistakes are reported when the project loads.
 */
export function stream<Schema extends z.ZodObject, const Name extends string>(
  name: Name,
  options: StreamOptions<Schema>,
): StreamDefinition<Schema, Name> {
  return define("stream", name, options, stream) as StreamDefinition<Schema, Name>;
}
