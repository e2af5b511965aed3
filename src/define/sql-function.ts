import type * as z from "zod";
import { type Definition, define } from "./definition.ts";

export interface SqlFunctionOptions<Takes extends z.ZodObject = z.ZodObject, Gives extends z.ZodType = z.ZodType> {
  /** Its parameters, in the order in which SQL gives them. One that is null where the schema does not allow it makes the result null. */
  readonly takes: Takes;
  /** Text, a number, a boolean or a timestamp; nullable where the function may give null. */
  readonly gives: Gives;
}

export type SqlFunctionDefinition = Definition<
  "sqlFunction",
  SqlFunctionOptions & { readonly compute: (values: never) => unknown }
>;

/**
 * Defines a function that SQL can call for each row: `export const risk = sqlFunction("risk", { takes: z.object({ speed: z.number(), limit:
 * z.number() }), gives: z.number() }, ({ speed, limit }) => Math.max(0, speed - limit))`, and in SQL `risk(speed_kmh, 50)`.
 *
 * Values come as they stand in events: timestamps and dates as ISO 8601 text, decimals and integers beyond 2^53 as text. The
 * function answers at once and by its arguments alone, so that a table computed again is the same. One that throws makes its row fail,
 * as a cast does: the event is a dead letter with the message. It runs on the platform's own thread, about three million calls a second.
 *
 * The name is lower-case letters, digits and `_`, and none that SQL already has.
 */
export function sqlFunction<Takes extends z.ZodObject, Gives extends z.ZodType>(
  name: string,
  options: SqlFunctionOptions<Takes, Gives>,
  compute: (values: z.output<Takes>) => z.input<Gives>,
): SqlFunctionDefinition {
  return define(
    "sqlFunction",
    name,
    { ...options, compute } as unknown as SqlFunctionDefinition["options"],
    sqlFunction,
  );
}
