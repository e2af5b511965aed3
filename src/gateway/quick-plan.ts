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
  readonly keys: readonly KeyPlan[];
  readonly requiredCount: number;
  /** What keys hold that the contract does not name; undefined when there may be none. */
  readonly others: ValuePlan | undefined;
  /** Stands before the first key. */
  readonly start: KeyPlan;
}

/** A key the contract names, and what the scanner learns of it. */
export interface KeyPlan {
  readonly name: string;
  /** As it is usually written: `"name":`. */
  readonly bytes: Uint8Array;
  /** The first three words of these bytes, little-endian, and the word that ends with them. */
  readonly word0: number;
  readonly word1: number;
  readonly word2: number;
  readonly lastWord: number;
  readonly value: ValuePlan;
  readonly required: boolean;
  /** Which key came after this one the last time. */
  follower: KeyPlan;
  /** The last object in which the key was seen. */
  seenIn: number;
  /** Where its value stood there. */
  valueStart: number;
  valueEnd: number;
}

/** Keys out of their usual order are looked for one by one. */
const MAX_KEYS = 200;

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
    const key = plan.keys.find(({ name }) => name === column.name);
    return key !== undefined && fitsType(key.value, column.type);
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
  const required = new Set((schema.required as string[] | undefined) ?? []);
  if (names.includes("") || ![...required].every((name) => names.includes(name))) return undefined;
  const keys = names.map((name, index) => keyPlan(name, values[index] as ValuePlan, required.has(name)));
  const start = keyPlan("", PLAIN, false);
  for (const [index, key] of [start, ...keys].entries()) key.follower = keys[index] ?? (keys[0] as KeyPlan);
  return { keys, start, requiredCount: required.size, others: othersPlan(schema, nesting - 1) };
}

function keyPlan(name: string, value: ValuePlan, required: boolean): KeyPlan {
  const bytes = Buffer.from(`${JSON.stringify(name)}:`, "utf8");
  const word = (at: number) => (at >= 0 && at + 4 <= bytes.length ? bytes.readInt32LE(at) : 0);
  const plan = {
    name,
    bytes,
    word0: word(0),
    word1: word(4),
    word2: word(8),
    lastWord: word(bytes.length - 4),
    value,
    required,
    seenIn: 0,
    valueStart: 0,
    valueEnd: 0,
  };
  const key: KeyPlan = Object.assign(plan, { follower: undefined as unknown as KeyPlan });
  return key;
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
