import { MillraceError } from "../errors.ts";

type Query = Readonly<Record<string, unknown>>;

/**
 * A whole number from `least` to `most` in the query, or undefined when it is not there.
 * @throws PARAMETER_INVALID
 */
export function integerParameter(query: Query, name: string, least: number, most: number): number | undefined {
  const given = query[name];
  if (given === undefined) return undefined;
  const value = typeof given === "string" && /^\d{1,16}$/.test(given) ? Number(given) : Number.NaN;
  if (value >= least && value <= most) return value;
  const got = typeof given === "string" ? JSON.stringify(given.slice(0, 100)) : "given more than once";
  throw new MillraceError("PARAMETER_INVALID", { name, got, allowed: `a whole number from ${least} to ${most}` });
}

/** Refuses parameters that nobody reads: a misspelt one would do nothing. @throws PARAMETER_INVALID */
export function onlyParameters(query: Query, names: readonly string[]): void {
  for (const name of Object.keys(query)) {
    if (names.includes(name)) continue;
    throw new MillraceError("PARAMETER_INVALID", {
      name: name.slice(0, 100),
      got: "not known here",
      allowed: names.map((known) => `"${known}"`).join(", "),
    });
  }
}
