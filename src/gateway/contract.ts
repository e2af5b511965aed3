/**
 * A stream's contract, compiled: its JSON Schema (draft 2020-12, strict) and what its columns can hold.
 *
 * `x-millrace-decimal: [p, s]` is a keyword of ours: a number or a string with at most `s` decimals and `p` digits that
 * arrives in the table exactly as it was written.
 */
import type { ErrorObject, ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import type { Stream } from "../define/project.ts";
import { MillraceError } from "../errors.ts";
import type { Violation } from "./column-fit.ts";
import { misfit } from "./column-fit.ts";
import { decimalFault, isExactDouble } from "./decimal-text.ts";
import { FORMATS } from "./formats.ts";
import { keptViolation } from "./violation.ts";

export interface Contract {
  /** What does not keep the contract; undefined when the event may be stored. */
  violation(event: unknown): Violation | undefined;
  /** The same for an event in which numbers have more digits than a double keeps: `text` is the event as written. */
  violationIn(event: unknown, text: string): Violation | undefined;
}

/** @throws CONTRACT_NOT_COMPILABLE when the schema uses something that cannot be checked. */
export function compileContract(stream: Stream): Contract {
  const validate = compile(stream);
  const { columns } = stream;
  const decimals = JSON.stringify(stream.jsonSchema).includes(`"${DECIMAL}"`);
  const violation = (event: unknown): Violation | undefined => {
    if (!validate(event)) return keptViolation(validate.errors as ErrorObject[], event);
    return misfit(columns, event as object);
  };
  return {
    violation,
    violationIn(event, text) {
      if (!decimals) return violation(event);
      return withInexactNumbers(text, violation);
    },
  };
}

const DECIMAL = "x-millrace-decimal";

function compile(stream: Stream): ValidateFunction {
  const schema = stream.jsonSchema;
  try {
    const ajv = new Ajv2020({
      strict: true,
      allowUnionTypes: true,
      strictRequired: false,
      verbose: true,
      allErrors: false,
      ownProperties: true,
    });
    for (const [name, test] of FORMATS) ajv.addFormat(name, { type: "string", validate: test });
    for (const [name, least, most] of NUMBER_FORMATS) {
      ajv.addFormat(name, { type: "number", validate: (value: number) => value >= least && value <= most });
    }
    ajv.addKeyword({ keyword: DECIMAL, errors: true, compile: decimalKeyword });
    // Whatever else a schema carries (a unit, an owner) informs its readers and restricts nothing.
    visitSchemas(schema, (node) => {
      for (const keyword of Object.keys(node)) if (!(keyword in ajv.RULES.keywords)) ajv.addKeyword(keyword);
    });
    return ajv.compile({ type: "object", ...withQuickPatterns(schema) });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError("CONTRACT_NOT_COMPILABLE", { stream: stream.name, file: stream.file, reason }, { cause });
  }
}

const NUMBER_FORMATS: readonly (readonly [string, number, number])[] = [
  ["int32", -(2 ** 31), 2 ** 31 - 1],
  ["int64", -(2 ** 63), 2 ** 63 - 1024],
  ["float", -Infinity, Infinity],
  ["double", -Infinity, Infinity],
];

interface DecimalValidate {
  (value: unknown, context?: { parentData: object; parentDataProperty: string | number }): boolean;
  errors?: Partial<ErrorObject>[];
}

function decimalKeyword([precision, scale]: [number, number]): DecimalValidate {
  const validate: DecimalValidate = (value, context) => {
    let fault = decimalFault(value, precision, scale);
    if (
      fault === undefined &&
      context !== undefined &&
      inexact?.get(context.parentData)?.has(String(context.parentDataProperty))
    ) {
      fault = "must be sent as a string to keep its digits";
    }
    if (fault === undefined) return true;
    validate.errors = [{ keyword: DECIMAL, message: fault, params: {} }];
    return false;
  };
  return validate;
}

/** Which members of which objects were written with more digits than their doubles keep; only during one validation. */
let inexact: Map<object, Set<string>> | undefined;

function withInexactNumbers(text: string, check: (event: unknown) => Violation | undefined): Violation | undefined {
  const found = new Map<object, Set<string>>();
  const event = parseWithSource(text, (holder, key, source) => {
    if (isExactDouble(source)) return;
    const keys = found.get(holder) ?? new Set();
    found.set(holder, keys.add(key));
  });
  inexact = found;
  try {
    return check(event);
  } finally {
    inexact = undefined;
  }
}

/** JSON.parse that shows each number as it is written. */
function parseWithSource(text: string, number: (holder: object, key: string, source: string) => void): unknown {
  // The third argument is in the language; the type definitions do not have it yet.
  const reviver = function (this: object, key: string, value: unknown, context?: { source?: string }): unknown {
    if (typeof value === "number" && context?.source !== undefined) number(this, key, context.source);
    return value;
  };
  return JSON.parse(text, reviver as (this: unknown, key: string, value: unknown) => unknown);
}

/** Calls back with a schema and every schema within it. */
function visitSchemas(schema: unknown, visit: (schema: Schema) => void): void {
  if (typeof schema !== "object" || schema === null) return;
  visit(schema as Schema);
  for (const [keyword, value] of Object.entries(schema)) {
    if (NAMED_SCHEMAS.has(keyword)) for (const named of Object.values(value as object)) visitSchemas(named, visit);
    else if (LISTED_SCHEMAS.has(keyword)) for (const listed of value as unknown[]) visitSchemas(listed, visit);
    else if (INNER_SCHEMA.has(keyword)) visitSchemas(value, visit);
  }
}

type Schema = Readonly<Record<string, unknown>>;

/** Keywords that hold schemas: by name, in a list, or one. */
const NAMED_SCHEMAS = new Set(["properties", "patternProperties", "$defs", "dependentSchemas"]);
const LISTED_SCHEMAS = new Set(["allOf", "anyOf", "oneOf", "prefixItems"]);
const INNER_SCHEMA = new Set(
  "items contains additionalProperties propertyNames not if then else unevaluatedItems unevaluatedProperties".split(
    " ",
  ),
);

/**
 * Zod writes the whole calendar as a pattern beside `format: date-time` and `date`, and matching it takes longer than all
 * the rest. The format says the same, but for the offset.
 */
function withQuickPatterns(schema: unknown): Schema {
  return JSON.parse(JSON.stringify(schema), (_key, node: unknown) => {
    if (typeof node !== "object" || node === null) return node;
    const { format, pattern } = node as Schema;
    const quick = QUICK_PATTERNS.find(([type, slow]) => type === format && slow === pattern);
    return quick === undefined ? node : { ...node, pattern: quick[2] };
  }) as Schema;
}

/** Format, the pattern that Zod writes beside it, and what is left for a pattern to say. */
const QUICK_PATTERNS: readonly (readonly [string, unknown, string])[] = [
  ["date-time", z.toJSONSchema(z.iso.datetime()).pattern, "Z$"],
  ["date-time", z.toJSONSchema(z.iso.datetime({ offset: true })).pattern, ""],
  ["date", z.toJSONSchema(z.iso.date()).pattern, ""],
];
