import { parseArgs } from "node:util";

/** One option of a simulator; `read` gives the value, or undefined when the text is not `allowed`. */
export interface Option<Value> {
  readonly default?: string;
  readonly allowed: string;
  readonly read: (text: string) => Value | undefined;
}

type Values<Options> = { readonly [Name in keyof Options]: Options[Name] extends Option<infer Value> ? Value : never };

/** What every simulator takes beside its own options. */
export interface CommonOptions {
  readonly seed: number;
  /** When the run starts: milliseconds since the epoch. */
  readonly nowMs: number;
  readonly forSeconds: number;
  readonly json: boolean;
  readonly url: string;
  readonly key: string;
}

/** The options of the command line and the environment, or what to tell the user instead: the usage, or everything that is wrong. */
export function readOptions<Options extends Record<string, Option<unknown>>>(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  usage: string,
  own: Options,
): (CommonOptions & Values<Options>) | string {
  const all: Record<string, Option<unknown>> = { ...own, ...COMMON };
  let values: Record<string, string | boolean | undefined>;
  try {
    const text = Object.entries(all).map(([name, { default: value }]) => [
      name,
      value === undefined ? { type: "string" as const } : { type: "string" as const, default: value },
    ]);
    const flags = { json: { type: "boolean", default: false }, help: { type: "boolean", short: "h" } } as const;
    const options = { ...Object.fromEntries(text), ...flags };
    values = parseArgs({ args: [...args], options }).values as typeof values;
  } catch (error) {
    return `${(error as Error).message}\n\n${usage}`;
  }
  if (values.help) return usage;
  const wrong: string[] = [];
  const read: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(all)) {
    const text = values[name];
    if (text === undefined) continue;
    read[name] = option.read(String(text));
    if (read[name] === undefined) wrong.push(`--${name} takes ${option.allowed}, got "${text}"`);
  }
  const key = env.MILLRACE_KEY ?? "";
  if (key === "")
    wrong.push("MILLRACE_KEY is not set; a fresh platform writes an admin key to admin.key in its data folder");
  if (wrong.length > 0) return `${wrong.join("\n")}\n\n${usage}`;
  const nowMs = (read.now as number | undefined) ?? Date.now();
  return {
    ...(read as Values<Options>),
    seed: (read.seed as number | undefined) ?? nowMs,
    nowMs,
    forSeconds: (read.for as number | undefined) ?? Number.POSITIVE_INFINITY,
    json: values.json === true,
    url: (env.MILLRACE_URL ?? "http://127.0.0.1:8080").replace(/\/$/, ""),
    key,
  };
}

export function wholeNumber(value: string, { least = 0, of = "a whole number" } = {}): Option<number> {
  const read = (text: string) =>
    Number.isSafeInteger(Number(text)) && Number(text) >= least ? Number(text) : undefined;
  return { default: value, allowed: least === 1 ? `${of} above 0` : of, read };
}

export function positiveNumber(value: string): Option<number> {
  const read = (text: string) => (Number(text) > 0 && Number.isFinite(Number(text)) ? Number(text) : undefined);
  return { default: value, allowed: "a number above 0", read };
}

export const anyText: Option<string | undefined> = { allowed: "a text", read: (text) => text };

const COMMON = {
  seed: { allowed: "a whole number", read: (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : undefined) },
  now: {
    allowed: "a time in ISO 8601",
    read: (text) => (Number.isNaN(Date.parse(text)) ? undefined : Date.parse(text)),
  },
  for: { allowed: "a time such as 30s, 5m or 2h", read: readSeconds },
} satisfies Record<string, Option<number>>;

function readSeconds(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * { ms: 0.001, s: 1, m: 60, h: 3_600 }[match[2] as "ms" | "s" | "m" | "h"];
}
