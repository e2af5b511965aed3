import type * as z from "zod";
import type { Aggregate, AggregateFunction } from "./aggregates.ts";
import { type Definition, define } from "./definition.ts";
import type { FieldOf, StreamDefinition } from "./stream.ts";

/** How event time is cut into windows, as `tumbling` and the others make it. */
export type WindowSize =
  | { readonly kind: "tumbling"; readonly size: string }
  | { readonly kind: "hopping"; readonly size: string; readonly every: string }
  | { readonly kind: "session"; readonly gap: string }
  | { readonly kind: "sliding"; readonly size: string; readonly most?: number };

/** Windows of one length that follow each other: `tumbling("5m")`. They begin at whole multiples of the length since 1970 in UTC, through every change of local time. */
export function tumbling(size: string): WindowSize {
  return Object.freeze({ kind: "tumbling", size });
}

/** Windows of one length that begin at every multiple of `every`, so that an event is in several: `hopping("1h", { every: "5m" })`. `every` divides the length into at most 1,000. */
export function hopping(size: string, { every }: { readonly every: string }): WindowSize {
  return Object.freeze({ kind: "hopping", size, every });
}

/** Windows that last as long as the key's events are at most `gap` apart: `session("30m")`. From the first event's time to the last one's and the gap. */
export function session(gap: string): WindowSize {
  return Object.freeze({ kind: "session", gap });
}

/**
 * A window for each event, from `size` before it to it, both included, as `range between interval '10 minutes' preceding and current row` in SQL. Events of one key and
 * time share one. At most `most` events of a key (default 10,000) are held; more become dead letters (WINDOW_FULL).
 */
export function sliding(size: string, options: { readonly most?: number } = {}): WindowSize {
  return Object.freeze({ kind: "sliding", size, ...options });
}

export interface WindowOptions<
  Schema extends z.ZodObject = z.ZodObject,
  Key extends FieldOf<Schema> = FieldOf<Schema>,
  Results extends Readonly<Record<string, Aggregate<FieldOf<Schema>>>> = Readonly<
    Record<string, Aggregate<FieldOf<Schema>>>
  >,
> {
  /** The stream whose events are put into windows; it has an event time. */
  readonly on: StreamDefinition<Schema> | WindowDefinition | string;
  /**
   * Field, or fields, with windows of their own for each value: text, a whole number, a boolean or a date. An event in which one is null is in no window. With the
   * stream in several partitions its key is among them. Default: all events together.
   */
  readonly key?: Key | readonly Key[];
  readonly size: WindowSize;
  /** What is computed, by the name of its column: `{ n: count(), speed: mean("speed") }`. */
  readonly aggregate: Results;
  /** Which events count. It must depend on nothing but the event. One that is left out still moves the time. */
  readonly where?: (event: Readonly<z.output<Schema>>) => boolean;
  /** How much older than the newest event of its partition an event may be and still count. A window's result comes so much later. Default `"1m"`. */
  readonly lateness?: string;
  /** How far an event's time may be ahead of its arrival. Default `"1h"`. */
  readonly ahead?: string;
  /**
   * The stream that gets events which come too late, are too far ahead or have no time: as they are, and with `late_reason` where it has that field. Default:
   * they are dead letters (EVENT_LATE, EVENT_AHEAD, EVENT_TIMELESS).
   */
  readonly late?: StreamDefinition;
  /** Gives results of windows that are still open, at most this often by the clock, for windows that changed. Default: none. Not for sliding windows. */
  readonly early?: string;
}

type ValueOf<Schema extends z.ZodObject, Field> = Field extends keyof z.output<Schema>
  ? NonNullable<z.output<Schema>[Field]>
  : unknown;

/** What an aggregate gives, as the events of the window's stream hold it. Sums of decimals are text. */
type ResultOf<Schema extends z.ZodObject, Given> =
  Given extends Aggregate<infer Field, infer Name>
    ? Name extends "count" | "distinct"
      ? number
      : Name extends "mean" | "stddev" | "quantile"
        ? number | null
        : Name extends "sum"
          ? (ValueOf<Schema, Field> extends number ? number : string) | null
          : ValueOf<Schema, Field> | null
    : never;

/** An event of a window's stream. */
export type WindowRow<
  Schema extends z.ZodObject = z.ZodObject,
  Key extends FieldOf<Schema> = FieldOf<Schema>,
  Results = Readonly<Record<string, Aggregate<FieldOf<Schema>, AggregateFunction>>>,
> = { readonly [Field in Key]: ValueOf<Schema, Field> } & {
  readonly window_start: string;
  readonly window_end: string;
} & { readonly [Name in keyof Results]: ResultOf<Schema, Results[Name]> } & {
  readonly revision: number;
  readonly final: boolean;
};

/** `Row` is what events of its stream look like. */
export type WindowDefinition<Row = unknown, Name extends string = string> = Definition<"window", WindowOptions> & {
  readonly name: Name;
  readonly [ROW]?: Row;
};

declare const ROW: unique symbol;

/**
 * Defines windows over the event time of a stream, and the stream of their results: `export const fleet5m = window("fleet_5m", { on: telemetry, key: "vehicle_id", size:
 * tumbling("5m"), aggregate: { n: count(), speed: mean("speed") } })`.
 *
 * The stream has the window's name and the columns of the key, `window_start`, `window_end`, the aggregates, `revision` and `final`. Functions, alerts, other windows and SQL
 * read it as any stream; `silver.<name>` keeps the newest result of each window. A window without events has no result. Mistakes are reported when the project loads.
 */
export function window<
  Schema extends z.ZodObject,
  const Results extends Readonly<Record<string, Aggregate<FieldOf<Schema>>>>,
  const Name extends string,
  const Key extends FieldOf<Schema> = never,
>(
  name: Name,
  options: WindowOptions<Schema, Key, Results> & { readonly on: StreamDefinition<Schema> },
): WindowDefinition<WindowRow<Schema, Key, Results>, Name>;
/** Over the results of other windows, or over a stream given by its name. */
export function window<const Name extends string>(
  name: Name,
  options: Omit<WindowOptions, "on"> & { readonly on: WindowDefinition | string },
): WindowDefinition<Readonly<Record<string, unknown>>, Name>;
export function window(name: string, options: unknown): WindowDefinition {
  return define("window", name, options as WindowOptions, window as never) as WindowDefinition;
}
