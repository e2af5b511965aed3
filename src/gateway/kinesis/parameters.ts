/** Reads the parameters of an operation, and says what is wrong with one as AWS does. */
import { serialization, validation } from "./aws-error.ts";

export type Parameters = Readonly<Record<string, unknown>>;

/** @throws AwsError */
export function parametersOf(body: unknown): Parameters {
  if (typeof body === "object" && body !== null && !Array.isArray(body) && !(body instanceof Uint8Array)) {
    return body as Parameters;
  }
  throw serialization("The body is no object.");
}

/** A text, undefined when it is not given. @throws AwsError */
export function optionalText(of: Parameters, name: string, longest = 2048): string | undefined {
  const value = of[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw serialization(`${name} is no string.`);
  if (value.length < 1) throw validation(value, parameter(name), "Member must have length greater than or equal to 1");
  if (value.length > longest) {
    throw validation(value, parameter(name), `Member must have length less than or equal to ${longest}`);
  }
  return value;
}

/** @throws AwsError */
export function requiredText(of: Parameters, name: string, longest = 2048): string {
  const value = optionalText(of, name, longest);
  if (value === undefined) throw missing(name);
  return value;
}

/** A whole number within its bounds, undefined when it is not given. @throws AwsError */
export function optionalInteger(of: Parameters, name: string, least: number, most: number): number | undefined {
  const value = of[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value)) throw serialization(`${name} is no whole number.`);
  if (value < least)
    throw validation(value, parameter(name), `Member must have value greater than or equal to ${least}`);
  if (value > most) throw validation(value, parameter(name), `Member must have value less than or equal to ${most}`);
  return value;
}

/** Milliseconds since the epoch, from seconds (JSON) or a moment (CBOR). @throws AwsError */
export function optionalMoment(of: Parameters, name: string): number | undefined {
  const value = of[name];
  if (value === undefined || value === null) return undefined;
  const ms =
    value instanceof Date ? value.getTime() : typeof value === "number" ? Math.round(value * 1000) : Number.NaN;
  if (!Number.isFinite(ms)) throw serialization(`${name} is no moment.`);
  return ms;
}

/** A list of texts. @throws AwsError */
export function requiredTexts(of: Parameters, name: string, most: number, longest: number): string[] {
  const value = of[name];
  if (value === undefined || value === null) throw missing(name);
  if (!Array.isArray(value) || !value.every((text) => typeof text === "string")) {
    throw serialization(`${name} is no list of strings.`);
  }
  if (value.length < 1) throw validation(value, parameter(name), "Member must have length greater than or equal to 1");
  if (value.length > most) {
    throw validation(value, parameter(name), `Member must have length less than or equal to ${most}`);
  }
  const bad = value.find((text) => text.length < 1 || text.length > longest);
  if (bad !== undefined) {
    const constraint = `Member must satisfy constraint: [Member must have length less than or equal to ${longest}, Member must have length greater than or equal to 1]`;
    throw validation(bad, parameter(name), constraint);
  }
  return value;
}

export function missing(name: string): Error {
  return validation(undefined, parameter(name), "Member must not be null");
}

/** As AWS names parameters in its messages: the first letter small. */
function parameter(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
