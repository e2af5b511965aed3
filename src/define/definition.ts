/**
 * What `stream`, `table`, `workflow` and `defineConfig` give: the options as written and the place they were written at. Nothing is judged here,
 * so that loading the project can report every mistake at once.
 */
export interface Definition<Kind extends string = string, Options = unknown> {
  readonly [MARK]: Kind;
  readonly name: string;
  readonly options: Options;
  /** URL or path of the module that called, and the line; undefined when the call's place is not known. */
  readonly place: { readonly file: string; readonly line: number } | undefined;
}

/**
 * Of the global symbol registry, so that definitions made by another copy of this package (a project's own installation) are known
 * as what they are.
 */
const MARK = Symbol.for("millrace.definition");

export function define<Kind extends string, Options>(
  kind: Kind,
  name: string,
  options: Options,
  caller: (...args: never[]) => unknown,
): Definition<Kind, Options> {
  return Object.freeze({ [MARK]: kind, name, options, place: callPlace(caller) }) as Definition<Kind, Options>;
}

/** `stream`, `table`, `workflow` or `config`; undefined for any other value. */
export function definitionKind(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !(MARK in value)) return undefined;
  return String((value as Definition)[MARK]);
}

/** Where the function `caller` was called from, by the stack of this call. */
function callPlace(caller: (...args: never[]) => unknown): Definition["place"] {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, caller);
  const frame = /\n\s+at (?:.*\()?((?:file:\/\/|\/|[A-Za-z]:\\).*?):(\d+):\d+\)?/.exec(holder.stack ?? "");
  return frame === null ? undefined : { file: frame[1]!, line: Number(frame[2]) };
}
