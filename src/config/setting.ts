import { formatDuration, formatSize, readDuration, readSize } from "./quantity.ts";

/** What is said about a setting, once. */
export interface Setting<Value> {
  readonly kind: "text" | "integer" | "duration" | "bytes" | "path" | "choice" | "choices" | "url";
  readonly default: Value | ((machine: Machine) => Value);
  /** Says the default where it depends on the machine. */
  readonly defaultText?: string;
  readonly min?: number;
  readonly max?: number;
  readonly of?: readonly string[];
  /** One line. */
  readonly doc: string;
  /** Never shown, nowhere. */
  readonly secret?: boolean;
}

export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** What a setting takes, in words. */
export function allowed(setting: Setting<unknown>): string {
  const { min, max } = setting;
  const from = (format: (value: number) => string) =>
    `${min === undefined ? "" : ` of at least ${format(min)}`}${max === undefined ? "" : ` and at most ${format(max)}`}`;
  switch (setting.kind) {
    case "integer":
      return `a whole number from ${min} to ${max}`;
    case "duration":
      return `a duration (5s, 10m, 7d)${from(formatDuration)}`;
    case "bytes":
      return `a size (512KiB, 64MiB)${from(formatSize)}`;
    case "choice":
      return `one of ${setting.of?.join(", ")}`;
    case "choices":
      return `one or more of ${setting.of?.join(", ")}, separated by commas`;
    case "path":
      return "a path";
    case "url":
      return `a URL that begins with ${setting.of?.map((scheme) => `${scheme}://`).join(" or ")}`;
    case "text":
      return "text that is not empty";
  }
}

/** As people write it. */
export function formatValue(setting: Setting<unknown>, value: unknown): string {
  if (setting.kind === "duration") return formatDuration(value as number);
  if (setting.kind === "bytes") return formatSize(value as number);
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** The value that was meant, or undefined when it is none of the setting's kind. Its range is not looked at. */
export function readValue(setting: Setting<unknown>, raw: unknown): unknown {
  const isText = typeof raw === "string" && raw.trim() !== "";
  const whole = (value: number | undefined) => (Number.isSafeInteger(value) ? value : undefined);
  switch (setting.kind) {
    case "integer":
      return typeof raw === "number" ? whole(raw) : isText && /^\d+$/.test(raw.trim()) ? whole(Number(raw)) : undefined;
    case "duration":
      return whole(typeof raw === "number" ? raw : isText ? readDuration(raw) : undefined);
    case "bytes":
      return whole(typeof raw === "number" ? raw : isText ? readSize(raw) : undefined);
    case "choice":
      return setting.of?.find((option) => option === raw);
    case "choices": {
      const words = Array.isArray(raw) ? raw : isText ? raw.split(",").map((word) => word.trim()) : [];
      const known = setting.of?.filter((option) => words.includes(option)) ?? [];
      return known.length > 0 && words.every((word) => setting.of?.includes(word)) ? Object.freeze(known) : undefined;
    }
    case "url":
      return isText && setting.of?.some((scheme) => raw.startsWith(`${scheme}://`)) && URL.canParse(withHost(raw))
        ? raw
        : undefined;
    case "text":
    case "path":
      return isText ? raw : undefined;
  }
}

/** `postgres://user:password@/database?host=/run/postgresql`: a server on a socket of this machine has no host where URLs have theirs. */
function withHost(url: string): string {
  return /[?&]host=/.test(url) ? url.replace("@/", "@localhost/") : url;
}

/** `flushIntervalMs` -> `MILLRACE_FLUSH_INTERVAL_MS` */
export function environmentName(name: string): string {
  return `MILLRACE_${words(name).join("_").toUpperCase()}`;
}

/** `flushIntervalMs` -> `flush-interval`: the unit is part of the value there. */
export function flagName(name: string): string {
  return words(name.replace(/(Ms|Bytes|Dir)$/, "")).join("-");
}

function words(name: string): string[] {
  return name.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}

type Declared<Value> = Omit<Setting<Value>, "kind">;

export function text(declared: Declared<string>): Setting<string> {
  return { kind: "text", ...declared };
}

export function path(declared: Declared<string>): Setting<string> {
  return { kind: "path", ...declared };
}

/** A path that has no default. */
export function program(declared: Omit<Declared<string>, "default">): Setting<string | undefined> {
  return { kind: "path", default: undefined, ...declared };
}

/** A file that is only needed by who uses what it is for. */
export function file(declared: Omit<Declared<string>, "default">): Setting<string | undefined> {
  return { kind: "path", default: undefined, ...declared };
}

export function integer(declared: Declared<number>): Setting<number> {
  return { kind: "integer", ...declared };
}

export function bytes(declared: Declared<number>): Setting<number> {
  return { kind: "bytes", ...declared };
}

export function duration(declared: Declared<number>): Setting<number> {
  return { kind: "duration", ...declared };
}

export function choice<const Of extends string>(declared: Declared<Of> & { of: readonly Of[] }): Setting<Of> {
  return { kind: "choice", ...declared };
}

/** Some of a few words, in the order of the declaration. */
export function choices<const Of extends string>(
  declared: Declared<readonly Of[]> & { of: readonly Of[] },
): Setting<readonly Of[]> {
  return { kind: "choices", ...declared };
}

/** Text that is only needed by who uses what it is for. */
export function optionalText(declared: Omit<Declared<string>, "default">): Setting<string | undefined> {
  return { kind: "text", default: undefined, ...declared };
}

export function url(
  declared: Omit<Declared<string>, "default"> & { readonly of: readonly string[] },
): Setting<string | undefined> {
  return { kind: "url", default: undefined, ...declared };
}
