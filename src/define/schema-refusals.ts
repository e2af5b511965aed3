import { type AnyZod, checksOf, type Def, definitionOf } from "./zod-definition.ts";

/** Why a schema has no place in a contract: what it uses, the reason, and what to write instead. */
export interface Refusal {
  readonly feature: string;
  readonly reason: string;
  readonly instead: string;
}

/** What a contract cannot say about a schema by its kind or its checks; undefined when there is nothing. */
export function schemaRefusal(def: Def): Refusal | undefined {
  if (def.coerce === true) return { feature: `z.coerce.${def.type}`, reason: CHANGES, instead: CAST };
  for (const check of checksOf(def)) {
    const refusal = refusedCheck(check);
    if (refusal !== undefined) return refusal;
  }
  if (def.type === "pipe") return { feature: pipeName(def), reason: CHANGES, instead: IN_SQL };
  return REFUSED[def.type];
}

/** What a contract cannot say about a string: flags of patterns, parts of URLs, moments that are none. */
export function stringRefusal(def: Def): Refusal | undefined {
  for (const pattern of patternsOf(def)) {
    const fault = patternFault(pattern);
    const instead = "write a pattern without flags that is valid with flag u";
    if (fault !== undefined) return { feature: `the pattern ${pattern}`, reason: fault, instead };
  }
  const formats = [def, ...checksOf(def)];
  if (formats.some((d) => d.hostname !== undefined || d.protocol !== undefined)) {
    const reason = "JSON Schema cannot say it";
    return { feature: "z.url with a hostname or protocol", reason, instead: "use z.string().regex(…)" };
  }
  const moment = formats.find((d) => d.format === "datetime");
  if (moment?.local === true) {
    const reason = "it is no instant until its zone is known";
    return { feature: "a time without zone (local)", reason, instead: WITH_ZONE };
  }
  if (typeof moment?.precision === "number" && moment.precision < 0) {
    const reason = "JSON Schema's date-time has seconds";
    return { feature: "a time without seconds (precision)", reason, instead: WITH_ZONE };
  }
  return undefined;
}

const CHANGES = "it changes the value, and events are kept as they were sent";
export const NOT_JSON = "JSON has no such value";
const NO_CHECK = "a function cannot be part of a contract that others check";
export const ONE_TYPE = "a column has one type";
export const RECURSION = "a column's type has an end";
export const AS_JSON = "take the value as free JSON with z.json(), or give it one type";
export const AS_JSON_OR_OBJECT = "use z.object({…}), or take the value as free JSON with z.json()";
export const STRING_KEYS = "use z.record(z.string(), …)";
const CAST = "take the value as it is sent, and cast it in a table's SQL";
const IN_SQL = "take the value as it is sent, and change it in a table's SQL";
const WITH_ZONE = "use z.iso.datetime() or z.iso.datetime({ offset: true }), or z.string() and a cast in a table's SQL";
const AS_CHECK = "say it with `checks` of a table, or with what z offers (min, max, regex, enum…)";

/** Zod's types with no place in a contract, by the type of their definition. */
const REFUSED: Readonly<Record<string, Refusal | undefined>> = {
  bigint: { feature: "z.bigint", reason: NOT_JSON, instead: "use z.int() up to 2^53, or decimal(38, 0)" },
  date: { feature: "z.date", reason: NOT_JSON, instead: "use z.iso.datetime() or z.iso.date()" },
  map: { feature: "z.map", reason: NOT_JSON, instead: STRING_KEYS },
  set: { feature: "z.set", reason: NOT_JSON, instead: "use z.array(…)" },
  symbol: { feature: "z.symbol", reason: NOT_JSON, instead: "use z.string()" },
  function: { feature: "z.function", reason: NOT_JSON, instead: AS_JSON },
  promise: { feature: "z.promise", reason: NOT_JSON, instead: "use the schema within the promise" },
  file: { feature: "z.file", reason: NOT_JSON, instead: "use z.base64()" },
  nan: { feature: "z.nan", reason: NOT_JSON, instead: "use z.number().nullable()" },
  undefined: { feature: "z.undefined", reason: NOT_JSON, instead: "use .optional()" },
  void: { feature: "z.void", reason: NOT_JSON, instead: "use .optional()" },
  never: { feature: "z.never", reason: "no value is valid", instead: "leave the field out; z.strictObject refuses it" },
  null: { feature: "z.null", reason: "a column that is always null has no type", instead: "use .nullable() on a type" },
  custom: { feature: "z.custom", reason: NO_CHECK, instead: AS_CHECK },
  transform: { feature: "transform", reason: CHANGES, instead: IN_SQL },
  default: { feature: "default", reason: CHANGES, instead: "use .optional(), and coalesce(field, …) in a table's SQL" },
  prefault: {
    feature: "prefault",
    reason: CHANGES,
    instead: "use .optional(), and coalesce(field, …) in a table's SQL",
  },
  catch: { feature: "catch", reason: CHANGES, instead: "use z.json() and try_cast(…) in a table's SQL" },
  success: { feature: "z.success", reason: CHANGES, instead: IN_SQL },
  intersection: {
    feature: "an intersection",
    reason: "it has no fields of its own",
    instead: "put all fields into one object, with .extend(…)",
  },
};

/** What the user called a pipe by: the part of it that changes the value. */
function pipeName(def: Def): string {
  if (def.reverseTransform !== undefined) return "a codec (z.codec, z.stringbool)";
  if (definitionOf(def.in as AnyZod).type === "transform") return "z.preprocess";
  return definitionOf(def.out as AnyZod).type === "transform" ? "transform" : "pipe";
}

const CHECKS = new Set([
  "less_than",
  "greater_than",
  "multiple_of",
  "number_format",
  "min_length",
  "max_length",
  "length_equals",
  "string_format",
]);

function refusedCheck(check: Def): Refusal | undefined {
  if (CHECKS.has(String(check.check))) return undefined;
  if (check.check === "custom")
    return { feature: "refine (or superRefine, check)", reason: NO_CHECK, instead: AS_CHECK };
  if (check.check === "overwrite") {
    return { feature: "overwrite (trim, toLowerCase, toUpperCase, normalize)", reason: CHANGES, instead: IN_SQL };
  }
  return { feature: `the check ${String(check.check)}`, reason: "JSON Schema cannot say it", instead: AS_CHECK };
}

function patternsOf(def: Def): RegExp[] {
  return [def, ...checksOf(def)].map((d) => d.pattern).filter((pattern) => pattern instanceof RegExp);
}

/** JSON Schema knows patterns without flags, and validators read them with flag u. */
function patternFault(pattern: RegExp): string | undefined {
  const lost = [...pattern.flags].filter((flag) => flag !== "u" && flag !== "g").join("");
  if (lost !== "") return `JSON Schema cannot say its flag ${lost}`;
  try {
    new RegExp(pattern.source, "u");
    return undefined;
  } catch (error) {
    return `JSON Schema reads patterns with flag u, and ${(error as Error).message}`;
  }
}
