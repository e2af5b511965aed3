/**
 * Values that must not be shown. A definition names the environment variable that holds one, `env("PAGERDUTY_KEY")`, or holds it itself; either
 * way what is made of it is a `Secret`, which says its value to who asks for it by name and to no printer, log or JSON.
 */
import { inspect } from "node:util";

/** Names an environment variable that is read when the platform starts. */
export interface EnvReference {
  readonly [REFERENCE]: string;
}

/** Of the global symbol registry, so that references made by another copy of this package are known as what they are. */
const REFERENCE = Symbol.for("millrace.env");
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const HIDDEN = "********";

/** The value of an environment variable of the platform, for options that hold secrets: `routingKey: env("PAGERDUTY_KEY")`. */
export function env(variable: string): EnvReference {
  return Object.freeze({ [REFERENCE]: variable });
}

export class Secret {
  readonly #text: string | undefined;
  /** The environment variable it comes from; undefined for one that a definition holds itself. */
  readonly variable: string | undefined;

  constructor(text: string | undefined, variable?: string) {
    this.#text = text;
    this.variable = variable;
  }

  /** Undefined for what is neither text nor a reference that names a variable. */
  static read(value: unknown): Secret | undefined {
    if (typeof value === "string") return value === "" ? undefined : new Secret(value);
    if (typeof value !== "object" || value === null || !(REFERENCE in value)) return undefined;
    const variable = (value as EnvReference)[REFERENCE];
    return typeof variable === "string" && VARIABLE.test(variable) ? new Secret(undefined, variable) : undefined;
  }

  /** The value, or undefined when its variable is not set or empty. */
  reveal(environment: Readonly<Record<string, string | undefined>>): string | undefined {
    return this.variable === undefined ? this.#text : environment[this.variable] || undefined;
  }

  /** What the definition itself holds; undefined for a reference, whose value is not known before the start. */
  get literal(): string | undefined {
    return this.#text;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
