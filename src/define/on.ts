import type * as z from "zod";
import { type Definition, define } from "./definition.ts";
import type { FeatureDefinition } from "./feature.ts";
import type { Lookup, LookupRows } from "./lookup.ts";
import type { FieldOf, StreamDefinition } from "./stream.ts";
import type { WindowDefinition } from "./window.ts";
import type { Retry } from "./workflow.ts";

/**
 * What a function does with an event. It gives nothing, or a promise of nothing; what it has to say it emits, keeps in its state or sends elsewhere. It
 * must be a function of the event and its state for what it emits to be exactly once: after a crash it may be called again for an event, and the clock, a random
 * number or a variable outside would make it answer otherwise.
 */
export type EventHandler<Event, State = undefined, Targets extends Streams = Streams, Tables = Lookups> = (
  event: Readonly<Event>,
  ctx: EventContext<State, Targets, Tables>,
) => void | Promise<void>;

/** What a function does with several events at once. Each brings its own context, so that what is emitted for it is known to be of it. */
export type BatchHandler<Event, State = undefined, Targets extends Streams = Streams, Tables = Lookups> = (
  batch: readonly BatchEvent<Event, State, Targets, Tables>[],
  ctx: BatchContext,
) => void | Promise<void>;

/** Streams that may be emitted to. */
export type Streams = readonly StreamDefinition[];

/** Tables that rows are looked up in, by the names the function has for them. */
export type Lookups = Readonly<Record<string, Lookup>>;

export interface FunctionOptions<
  Schema extends z.ZodObject = z.ZodObject,
  State extends z.ZodType = z.ZodNever,
  Targets extends Streams = Streams,
  Tables extends Lookups = Lookups,
> {
  /** Default: the name under which the module exports it. Letters, digits, `-` and `_`. */
  readonly name?: string;
  /** Field whose values are taken one after the other, in order, and have a state each. Default: the key of the stream, or its id. */
  readonly key?: FieldOf<Schema>;
  /** What is remembered of each key, as JSON can hold it: `z.object({ last_speed: z.number() })`. */
  readonly state?: State;
  /** State of a key that got no event for so long, by the events' arrival, is dropped: `"30d"`. Default: never. */
  readonly ttl?: string;
  /** Raised when key or state change in a way that stored state does not fit: the function then begins with empty state. Default 1. */
  readonly version?: number;
  /** Where it begins when it is new: behind the newest event (the default), or at the first that the log still has. */
  readonly from?: "now" | "beginning";
  /** Events of a partition that are under way at once, of different keys. Only handlers that wait have any. Default 64. */
  readonly concurrency?: number;
  /** Longest time of one attempt. Default `"10s"`. */
  readonly timeout?: string;
  /** How an event is tried again before it becomes a dead letter. Default `{ attempts: 3, delay: "100ms" }`. */
  readonly retry?: Retry;
  /** The streams it emits to. Default: it may emit to every stream; named ones are held to, and shown. */
  readonly emits?: Targets;
  /** Features of the same stream that it reads with `ctx.feature`. */
  readonly features?: readonly FeatureDefinition[];
  /** Tables that it looks rows up in: `{ service: lookup("silver.last_service", { key: "vehicle_id" }) }`. */
  readonly lookups?: Tables;
}

export interface BatchOptions {
  /** Most events of one call, 1 to 10,000. */
  readonly size: number;
  /** How long an event waits for others. Default `"5ms"`. */
  readonly wait?: string;
}

/** Where an event comes from. */
export interface EventMeta {
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
  /** When it was accepted. */
  readonly receivedAt: Date;
  /** Who sent it. */
  readonly source: string;
}

/** What a function gets beside the event. Once its call has ended, nothing of it works any more. */
export interface EventContext<State = undefined, Targets extends Streams = Streams, Tables = Lookups> {
  readonly meta: EventMeta;
  /** The value of the key's field, as text; undefined where the event has none. */
  readonly key: string | undefined;
  /**
   * An id for what is emitted next, made of what causes it: `<function>/<stream>/<partition>-<offset>/<n>`, with `n` counting from 0. The same
   * again whenever the event is. A stream with one text field as its id gets it where the emitted event lacks that field.
   */
  readonly id: string;
  /** 1 for the first. */
  readonly attempt: number;
  /** Aborted when the attempt has run out of time. Pass it on to whatever takes one. */
  readonly signal: AbortSignal;
  /** State of the event's key; changes count when the call has ended well. */
  readonly state: State extends undefined ? undefined : KeyState<State>;
  /** Appends an event to a stream once the call has ended well, exactly once. One that the stream's contract refuses becomes a dead letter of its door. */
  emit<Target extends Targets[number]>(target: Target, event: EmittedTo<Target>): void;
  /** By name, for streams that are chosen at run time. */
  emit(target: string, event: Readonly<Record<string, unknown>>): void;
  /**
   * The value of one of its `features` at this event, the event included: of the event's own key, or of another one of the same partition. Read before the
   * function first waits; later, later events have changed it.
   */
  feature(feature: FeatureDefinition | string, key?: string | number | boolean): number | string | boolean | null;
  /** Its `lookups`, by name. */
  readonly lookups: {
    readonly [Name in keyof Tables]: Tables[Name] extends Lookup<infer Row> ? LookupRows<Row> : never;
  };
  /** Writes a line to the platform's log. */
  log(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** An event of a batch. */
export type BatchEvent<Event, State = undefined, Targets extends Streams = Streams, Tables = Lookups> = Omit<
  EventContext<State, Targets, Tables>,
  "signal" | "attempt" | "log"
> & { readonly event: Readonly<Event> };

export type BatchContext = Pick<EventContext, "signal" | "attempt" | "log">;

/** What a stream takes. */
export type EmittedTo<Target> = Target extends StreamDefinition<infer Schema> ? z.input<Schema> : never;

/** State of one key. What `get` gives is frozen: `set` a new value. */
export interface KeyState<Value> {
  get(): Value | undefined;
  /** @throws FUNCTION_STATE when the value does not fit the schema, FUNCTION_NO_KEY when the event has no key */
  set(value: Value): void;
  delete(): void;
}

export type FunctionHandler = EventHandler<never, never> | BatchHandler<never, never>;

export type FunctionDefinition = Definition<
  "function",
  Omit<FunctionOptions, "state"> & {
    readonly on: StreamDefinition | WindowDefinition | string;
    readonly state?: z.ZodType;
    readonly batch?: BatchOptions;
    readonly handler: FunctionHandler;
  }
>;

type StateOf<State extends z.ZodType> = [State] extends [z.ZodNever] ? undefined : z.output<State>;

/**
 * Defines a function that is called for each event of a stream, milliseconds after it was accepted: `export const braking = on(telemetry, { emits:
 * [alerts] }, (event, ctx) => { if (event.g > 0.5) ctx.emit(alerts, { alert_id: ctx.id, vehicle_id: event.vehicle_id }) })`.
 *
 * Its name is that of the export. Events of one key are taken in order, one after the other. An attempt that throws, gives something or runs out of
 * time leaves nothing behind; after the last, the event is a dead letter of the stage `react` and the next go on. With `batch`, the
 * function gets several events at a time; when such a call throws, its events are tried one by one. A stream may be given by its name; its events then
 * have no types. Of a window, it gets the results as they are given, previews among them.
 *
 * Mistakes (a field that does not exist, a state that JSON cannot hold) are reported when the project loads.
 */
export function on<Schema extends z.ZodObject>(
  stream: StreamDefinition<Schema> | string,
  handler: EventHandler<z.output<Schema>>,
): FunctionDefinition;
export function on<
  Schema extends z.ZodObject,
  State extends z.ZodType = z.ZodNever,
  const Targets extends Streams = Streams,
  const Tables extends Lookups = Lookups,
>(
  stream: StreamDefinition<Schema> | string,
  options: FunctionOptions<Schema, State, Targets, Tables> & { readonly batch: BatchOptions },
  handler: BatchHandler<z.output<Schema>, StateOf<State>, Targets, Tables>,
): FunctionDefinition;
export function on<
  Schema extends z.ZodObject,
  State extends z.ZodType = z.ZodNever,
  const Targets extends Streams = Streams,
  const Tables extends Lookups = Lookups,
>(
  stream: StreamDefinition<Schema> | string,
  options: FunctionOptions<Schema, State, Targets, Tables> & { readonly batch?: undefined },
  handler: EventHandler<z.output<Schema>, StateOf<State>, Targets, Tables>,
): FunctionDefinition;
export function on<Row>(window: WindowDefinition<Row>, handler: EventHandler<Row>): FunctionDefinition;
export function on<
  Row,
  State extends z.ZodType = z.ZodNever,
  const Targets extends Streams = Streams,
  const Tables extends Lookups = Lookups,
>(
  window: WindowDefinition<Row>,
  options: FunctionOptions<z.ZodObject, State, Targets, Tables> & { readonly batch: BatchOptions },
  handler: BatchHandler<Row, StateOf<State>, Targets, Tables>,
): FunctionDefinition;
export function on<
  Row,
  State extends z.ZodType = z.ZodNever,
  const Targets extends Streams = Streams,
  const Tables extends Lookups = Lookups,
>(
  window: WindowDefinition<Row>,
  options: FunctionOptions<z.ZodObject, State, Targets, Tables> & { readonly batch?: undefined },
  handler: EventHandler<Row, StateOf<State>, Targets, Tables>,
): FunctionDefinition;
export function on(stream: unknown, ...rest: readonly unknown[]): FunctionDefinition {
  const [options, handler] = typeof rest[0] === "function" ? [{}, rest[0]] : rest;
  const { name = "" } = (options ?? {}) as { name?: string };
  const written = typeof options === "object" && options !== null ? options : { options };
  return define("function", name, { ...written, on: stream, handler } as FunctionDefinition["options"], on as never);
}
