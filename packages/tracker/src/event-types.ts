/**
 * The types of events, read from the project's own stream definitions. Only types cross, so nothing of the platform or of Zod is in
 * the bundle: `import type * as streams from "../platform/streams.ts"; createTracker<typeof streams>()`.
 */
import type { FieldName } from "./fields.ts";

/** Stream name -> fields of an event. Takes a module of definitions, or the shape itself: `{ clicks: { button: string } }`. */
export type EventsOf<Streams> = {
  [Key in keyof Streams as StreamName<Key, Streams[Key]>]: Fields<Streams[Key]>;
};

type StreamName<Key, Value> = Value extends { readonly name: infer Name; readonly options: infer Options }
  ? Options extends { readonly schema: unknown }
    ? string extends Name
      ? Key
      : Name
    : never
  : Value extends object
    ? Value extends (...args: never[]) => unknown
      ? never
      : Key
    : never;

type Fields<Value> = Value extends {
  readonly options: { readonly schema: { readonly _zod: { readonly input: infer Input } } };
}
  ? Input
  : Value;

/** Of a tracker without types. */
export type Events = Record<string, Record<string, unknown>>;

/** Per stream, the fields that the tracker fills in. */
export type FieldsByStream<E> = { readonly [Name in keyof E]?: readonly (FieldName & keyof E[Name])[] };

/** What is left to be given for an event: fields that the tracker fills in may be left out. */
export type Given<Event, Filled> = {
  [Key in keyof Event as Key extends Filled ? never : Key]: Event[Key];
} & { [Key in keyof Event as Key extends Filled ? Key : never]?: Event[Key] };

export type FilledFields<F, Name> = Name extends keyof F ? (F[Name] extends readonly (infer N)[] ? N : never) : never;

/** The argument may be left out where no field of it is required. */
export type Arguments<T> = Record<never, never> extends T ? [fields?: T] : [fields: T];

/** The stream that each of the calls sends to. */
export interface Calls<E> {
  readonly page?: keyof E & string;
  readonly screen?: keyof E & string;
  readonly identify?: keyof E & string;
  readonly alias?: keyof E & string;
  readonly group?: keyof E & string;
}

/** The fields that a call takes: those of its stream, but for what is filled in and what the call itself sets. */
export type CallArguments<E, F, C, Call extends string, Own extends string = never> = C extends {
  readonly [K in Call]: infer Name extends keyof E;
}
  ? Arguments<Given<E[Name], FilledFields<F, Name> | Own>>
  : [];
