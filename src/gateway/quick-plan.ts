/**
 * What the quick scanner needs to know of a contract, read from its JSON Schema when the stream is opened.
 *
 * A schema that restricts values by a keyword this file does not handle has no plan, and its events go the exact way.
 */
import { z } from "zod";
import type { Column, ColumnType, Stream } from "../define/project.ts";
import { FORMATS } from "./formats.ts";

export const STRING = 1;
export const NUMBER = 2;
export const BOOLEAN = 3;
export const OBJECT = 4;
export const ARRAY = 5;
export const DECIMAL = 6;
export const DATE_TIME = 7;
/** An object whose keys the contract does not name. */
export const MAP = 8;
export const ANY = 9;

/** One shape for all kinds, so that the scanner's property reads stay monomorphic. */
export interface ValuePlan {
  readonly kind: number;
  readonly nullable: boolean;
  /** Numbers: no fraction. */
  readonly integer: boolean;
  readonly minimum: number;
  readonly maximum: number;
  readonly exclusiveMinimum: number;
  readonly exclusiveMaximum: number;
  /** Characters of a string, elements of an array. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly choices: readonly Uint8Array[] | undefined;
  readonly tests: readonly ((text: string) => boolean)[] | undefined;
  /** Strings: the format among the tests. */
  readonly format: string | undefined;
  readonly precision: number;
  readonly scale: number;
  readonly object: ObjectPlan | undefined;
  /** Elements of an array, values of a map. */
  readonly element: ValuePlan | undefined;
  /** Any value: how many objects and arrays may be open within it. */
  readonly nesting: number;
}

export interface ObjectPlan {
  readonly names: readonly string[];
  /** Each key as it is usually written: `"name":`. */
  readonly keys: readonly Uint8Array[];
  /** The keys again as little-endian words, one key after the other; the last word of a key ends with it and may overlap. */
  readonly words: Int32Array;
  /** How many words come before each key; one more entry for the end. */
  readonly wordsBefore: Int32Array;
  readonly values: readonly ValuePlan[];
  /** Bit per key. */
  readonly required: number;
  /** What keys hold that the contract does not name; undefined when there may be none. */
  readonly others: ValuePlan | undefined;
  /** Which key came after each key (the last entry: which came first) the last time. Learned. */
  readonly follower: Int32Array;
}

/** Keys are remembered in the bits of one integer. */
const MAX_KEYS = 30;

const PLAIN: ValuePlan = {
  kind: 0,
  nullable: false,
  integer: false,
  minimum: -Infinity,
  maximum: Infinity,
  exclusiveMinimum: -Infinity,
  exclusiveMaximum: Infinity,
  minLength: 0,
  maxLength: Infinity,
  choices: undefined,
  tests: undefined,
  format: undefined,
  precision: 0,
  scale: 0,
  object: undefined,
  element: undefined,
  nesting: 0,
};

type Schema = Readonly<Record<string, unknown>>;

/** The plan of a stream's contract, or undefined when it says something that only the exact way can judge. */
export function quickPlan(stream: Pick<Stream, "jsonSchema" | "columns">, maxNesting: number): ValuePlan | undefined {
  const plan = planOf(stream.jsonSchema, maxNesting);
  if (plan?.object === undefined || plan.nullable) return undefined;
  return fitsColumns(plan.object, stream.columns) ? plan : undefined;
}

/** True when everything the plan lets through converts to the stream's columns without loss. */
function fitsColumns(plan: ObjectPlan, columns: readonly Column[]): boolean {
  return columns.every((column) => {
    const index = plan.names.indexOf(column.name);
    return index >= 0 && fitsType(plan.values[index] as ValuePlan, column.type);
  });
}

function fitsType(plan: ValuePlan, type: ColumnType): boolean {
  const within = (limit: number) => plan.minimum >= -limit && plan.maximum < limit;
  switch (type.kind) {
    case "string":
      return plan.kind === STRING || plan.kind === DATE_TIME;
    case "boolean":
      return plan.kind === BOOLEAN;
    case "double":
      return plan.kind === NUMBER;
    case "float":
      // A number of 15 digits without an exponent is far from the largest float.
      return plan.kind === NUMBER;
    case "long":
      return plan.kind === NUMBER && plan.integer;
    case "integer":
      return plan.kind === NUMBER && plan.integer && within(2 ** 31);
    case "decimal":
      return plan.kind === DECIMAL && plan.precision === type.precision && plan.scale === type.scale;
    case "timestamp":
      return plan.kind === DATE_TIME || (plan.kind === STRING && plan.format === "date-time");
    case "date":
      return plan.kind === STRING && plan.format === "date";
    case "struct":
      return plan.object !== undefined && fitsColumns(plan.object, type.fields);
    case "array":
      return plan.kind === ARRAY && plan.element !== undefined && fitsType(plan.element, type.element);
    case "map":
      return plan.kind === MAP && plan.element !== undefined && fitsType(plan.element, type.value);
    case "json":
      return true;
    default:
      return false;
  }
}

/** Every keyword of JSON Schema that can make a value invalid. By its rules no other keyword does. */
const RESTRICTING = new Set(
  (
    "type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern format " +
    "maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired " +
    "allOf anyOf oneOf not if then else dependentSchemas prefixItems items contains properties patternProperties " +
    "additionalProperties propertyNames unevaluatedItems unevaluatedProperties $ref $dynamicRef x-millrace-decimal"
  ).split(" "),
);

function planOf(schema: Schema, nesting: number): ValuePlan | undefined {
  const { nullable, rest } = withoutNull(schema);
  if (rest === undefined) return undefined;
  const knows = (...keywords: string[]) =>
    Object.keys(rest).every((keyword) => keyword === "type" || keywords.includes(keyword) || !RESTRICTING.has(keyword));
  const plan = (more: Partial<ValuePlan>): ValuePlan => ({ ...PLAIN, nullable, ...more });
  if (rest["x-millrace-decimal"] !== undefined)
    return knows("x-millrace-decimal", "anyOf") ? decimalPlan(rest, plan) : undefined;
  switch (rest.type) {
    case "boolean":
      return knows() ? plan({ kind: BOOLEAN }) : undefined;
    case "integer":
    case "number":
      if (!knows("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")) return undefined;
      return plan({
        kind: NUMBER,
        integer: rest.type === "integer",
        minimum: (rest.minimum as number | undefined) ?? -Infinity,
        maximum: (rest.maximum as number | undefined) ?? Infinity,
        exclusiveMinimum: (rest.exclusiveMinimum as number | undefined) ?? -Infinity,
        exclusiveMaximum: (rest.exclusiveMaximum as number | undefined) ?? Infinity,
      });
    case "string":
      if (!knows("minLength", "maxLength", "enum", "const", "pattern", "format")) return undefined;
      return stringPlan(rest, plan);
    case "array": {
      if (!knows("items", "minItems", "maxItems") || nesting <= 0) return undefined;
      const element = isSchema(rest.items) ? planOf(rest.items, nesting - 1) : undefined;
      if (element === undefined) return undefined;
      const minLength = (rest.minItems as number | undefined) ?? 0;
      return plan({ kind: ARRAY, element, minLength, maxLength: (rest.maxItems as number | undefined) ?? Infinity });
    }
    case "object": {
      if (!knows("properties", "required", "additionalProperties") || nesting <= 0) return undefined;
      if (rest.properties === undefined && rest.required === undefined) {
        const element = othersPlan(rest, nesting - 1);
        return element === undefined ? undefined : plan({ kind: MAP, element });
      }
      const object = objectPlan(rest, nesting);
      return object === undefined ? undefined : plan({ kind: OBJECT, object });
    }
    case undefined:
      return knows() && !nullable ? anyPlan(nesting) : undefined;
    default:
      return undefined;
  }
}

/** What stands in fields that the contract does not name; undefined when there may be none, or only the exact way can tell. */
function othersPlan({ additionalProperties: others }: Schema, nesting: number): ValuePlan | undefined {
  if (others === undefined || others === true) return anyPlan(nesting);
  return isSchema(others) ? planOf(others, nesting) : undefined;
}

/** A plan for any value in which so many objects and arrays may be open; one per depth. */
export function anyPlan(nesting: number): ValuePlan {
  let plan = anyPlans[nesting];
  if (plan === undefined) {
    plan = { ...PLAIN, kind: ANY, nesting };
    anyPlans[nesting] = plan;
  }
  return plan;
}

const anyPlans: ValuePlan[] = [];

export const ANY_NUMBER: ValuePlan = { ...PLAIN, kind: NUMBER };

type Plan = (more: Partial<ValuePlan>) => ValuePlan;

function decimalPlan(schema: Schema, plan: Plan): ValuePlan {
  const [precision, scale] = schema["x-millrace-decimal"] as [number, number];
  return plan({ kind: DECIMAL, precision, scale });
}

function stringPlan(schema: Schema, plan: Plan): ValuePlan | undefined {
  const bounds = {
    minLength: (schema.minLength as number | undefined) ?? 0,
    maxLength: (schema.maxLength as number | undefined) ?? Infinity,
  };
  const utc =
    schema.format === "date-time" && (schema.pattern === undefined || UTC_PATTERNS.has(String(schema.pattern)));
  const others = Object.keys(schema).filter((keyword) => RESTRICTING.has(keyword));
  if (utc && others.every((keyword) => ["type", "format", "pattern"].includes(keyword))) {
    return plan({ kind: DATE_TIME });
  }
  const tests: ((text: string) => boolean)[] = [];
  if (schema.pattern !== undefined) {
    const pattern = new RegExp(String(schema.pattern), "u");
    tests.push((text) => pattern.test(text));
  }
  if (schema.format !== undefined) {
    const format = FORMATS.get(String(schema.format));
    if (format === undefined) return undefined;
    tests.push(format);
  }
  const allowed = schema.const !== undefined ? [schema.const] : (schema.enum as unknown[] | undefined);
  if (allowed?.some((choice) => typeof choice !== "string")) return undefined;
  const choices = allowed?.map((choice) => Buffer.from(choice as string, "utf8"));
  const format = schema.format as string | undefined;
  return plan({ kind: STRING, ...bounds, choices, format, tests: tests.length === 0 ? undefined : tests });
}

function objectPlan(schema: Schema, nesting: number): ObjectPlan | undefined {
  const properties = schema.properties;
  if (!isSchema(properties)) return undefined;
  const names = Object.keys(properties);
  if (names.length === 0 || names.length > MAX_KEYS) return undefined;
  const values: ValuePlan[] = [];
  for (const name of names) {
    const property = properties[name];
    const value = isSchema(property) ? planOf(property, nesting - 1) : undefined;
    if (value === undefined) return undefined;
    values.push(value);
  }
  let required = 0;
  for (const name of (schema.required as string[] | undefined) ?? []) {
    const index = names.indexOf(name);
    if (index < 0) return undefined;
    required |= 1 << index;
  }
  const follower = Int32Array.from(
    { length: names.length + 1 },
    (_, index) => ((index + 1) % (names.length + 1)) % names.length,
  );
  follower[names.length] = 0;
  if (names.includes("")) return undefined;
  const keys = names.map((name) => Buffer.from(`${JSON.stringify(name)}:`, "utf8"));
  const words: number[] = [];
  const wordsBefore = [0];
  for (const key of keys) {
    for (let at = 0; at + 4 < key.length; at += 4) words.push(key.readInt32LE(at));
    words.push(key.readInt32LE(key.length - 4));
    wordsBefore.push(words.length);
  }
  return {
    names,
    others: othersPlan(schema, nesting - 1),
    keys,
    words: Int32Array.from(words),
    wordsBefore: Int32Array.from(wordsBefore),
    values,
    required,
    follower,
  };
}

/** Takes null out of the types a schema allows. */
function withoutNull(schema: Schema): { nullable: boolean; rest: Schema | undefined } {
  const { anyOf, type } = schema;
  if (Array.isArray(type)) {
    const others = type.filter((name) => name !== "null");
    if (others.length !== 1 || others.length === type.length) return { nullable: false, rest: undefined };
    if (schema.enum !== undefined || schema.const !== undefined) return { nullable: false, rest: undefined };
    return { nullable: true, rest: { ...schema, type: others[0] } };
  }
  if (Array.isArray(anyOf) && schema["x-millrace-decimal"] === undefined) {
    const others = anyOf.filter(
      (branch) => !(isSchema(branch) && branch.type === "null" && Object.keys(branch).length === 1),
    );
    const alone = Object.keys(schema).every((keyword) => keyword === "anyOf" || !RESTRICTING.has(keyword));
    if (!alone || others.length !== 1 || others.length === anyOf.length) return { nullable: false, rest: undefined };
    const decides = (schema: Schema) => schema.anyOf === undefined || schema["x-millrace-decimal"] !== undefined;
    return isSchema(others[0]) && decides(others[0]) && !Array.isArray(others[0].type)
      ? { nullable: true, rest: others[0] }
      : { nullable: false, rest: undefined };
  }
  return { nullable: false, rest: schema };
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Patterns that Zod writes beside `format: date-time` and that every real moment in UTC with any fraction matches. */
const UTC_PATTERNS: ReadonlySet<string> = new Set(
  [z.iso.datetime(), z.iso.datetime({ offset: true })].map((type) => String(z.toJSONSchema(type).pattern)),
);
