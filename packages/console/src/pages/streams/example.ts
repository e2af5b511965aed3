/** A made-up event that keeps a contract, to begin with. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly minItems?: number;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly description?: string;
}

export function exampleOf(schema: JsonSchema, field = "value"): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum !== undefined) return schema.enum[0];
  const choice = schema.anyOf ?? schema.oneOf;
  if (choice !== undefined) return exampleOf(choice.find(({ type }) => type !== "null") ?? choice[0] ?? {}, field);
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (type === "object" || schema.properties !== undefined) {
    const wanted = new Set(schema.required ?? Object.keys(schema.properties ?? {}));
    const entries = Object.entries(schema.properties ?? {}).filter(([name]) => wanted.has(name));
    return Object.fromEntries(entries.map(([name, inner]) => [name, exampleOf(inner, name)]));
  }
  if (type === "array")
    return Array.from({ length: Math.max(1, schema.minItems ?? 1) }, () => exampleOf(schema.items ?? {}, field));
  if (type === "boolean") return true;
  if (type === "integer") return Math.round(numberOf(schema));
  if (type === "number") return numberOf(schema);
  if (type === "null") return null;
  return textOf(schema, field);
}

function numberOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): number {
  const low = minimum ?? (exclusiveMinimum === undefined ? 1 : exclusiveMinimum + 1);
  const high = maximum ?? (exclusiveMaximum === undefined ? Number.POSITIVE_INFINITY : exclusiveMaximum - 1);
  return Math.min(Math.max(low, Math.min(12.5, high)), high);
}

function textOf({ format, minLength = 0, maxLength = 200 }: JsonSchema, field: string): string {
  const formats: Readonly<Record<string, () => string>> = {
    "date-time": () => new Date().toISOString(),
    date: () => new Date().toISOString().slice(0, 10),
    uuid: () => crypto.randomUUID(),
    email: () => "somebody@example.com",
    uri: () => "https://example.com/",
    ipv4: () => "192.0.2.1",
  };
  const made = formats[format ?? ""]?.() ?? `${field}-1`;
  return made.slice(0, maxLength).padEnd(minLength, "x");
}

/** A type in a few words. */
export function typeText(schema: JsonSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return `one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`;
  const choice = schema.anyOf ?? schema.oneOf;
  if (choice !== undefined) return choice.map(typeText).join(" or ");
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : (schema.type ?? "anything");
  if (type === "array") return `list of ${typeText(schema.items ?? {})}`;
  const limits = [
    schema.format,
    schema.minLength === undefined ? undefined : `at least ${schema.minLength} characters`,
    schema.maxLength === undefined ? undefined : `at most ${schema.maxLength} characters`,
    schema.minimum === undefined ? undefined : `≥ ${schema.minimum}`,
    schema.exclusiveMinimum === undefined ? undefined : `> ${schema.exclusiveMinimum}`,
    schema.maximum === undefined ? undefined : `≤ ${schema.maximum}`,
    schema.exclusiveMaximum === undefined ? undefined : `< ${schema.exclusiveMaximum}`,
  ].filter((limit) => limit !== undefined);
  return limits.length === 0 ? String(type) : `${String(type)}, ${limits.join(", ")}`;
}
