/**
 * From a stream's Zod schema to its contract: the JSON Schema that is published and held at the door, and the columns that the fields
 * become. What is accepted is exactly what both can say; everything else is refused by name and field.
 *
 * | Zod | column |
 * |---|---|
 * | `z.string()`, `z.enum`, `z.uuid()`, `z.email()`, `z.url()`, `z.iso.time()`, `z.templateLiteral`… | string |
 * | `z.int()`, `z.number().int()`, `z.uint32()` | long |
 * | `z.int32()` | integer |
 * | `z.number()`, `z.float64()` / `z.float32()` | double / float |
 * | `decimal(p, s)` | decimal |
 * | `z.boolean()` | boolean |
 * | `z.iso.datetime()` / `z.iso.date()` | timestamp (UTC) / date |
 * | `z.object({…})` | struct |
 * | `z.array(x)`, `z.tuple([x, x])` of one type | array |
 * | `z.record(z.string(), x)` | map |
 * | `z.json()`, `z.any()`, `z.unknown()` | json |
 * | `z.literal`, `z.union` of one column type | that type |
 * | `.optional()`, `.nullable()`, `.nullish()` | the same, nullable |
 *
 * **Fields the schema does not name** are accepted from `z.object` and `z.looseObject`: they stay in bronze's payload and are not
 * columns. `z.strictObject` refuses events that have them. The same holds for nested objects.
 *
 * **Events are kept as they were sent**, so nothing that changes a value has a place here: `transform`, `default`, `trim` and the
 * like are refused, and so is what JSON Schema cannot check (`refine`, `custom`, `map`, `set`, `date`, `bigint`…). Field names must
 * not be empty, differ only in case, or (at the top) begin with `_`.
 */
import * as z from "zod";
import { DECIMAL_KEYWORD } from "./decimal.ts";
import { type Problem, problem } from "./problem.ts";
import type { Column, ColumnType } from "./project.ts";
import {
  AS_JSON,
  AS_JSON_OR_OBJECT,
  NOT_JSON,
  ONE_TYPE,
  RECURSION,
  type Refusal,
  STRING_KEYS,
  schemaRefusal,
  stringRefusal,
} from "./schema-refusals.ts";
import { duckdbType } from "./types.ts";
import { type AnyZod, annotationsOf, checksOf, type Def, definitionOf, isZod } from "./zod-definition.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Contract {
  readonly columns: readonly Column[];
  readonly jsonSchema: JsonSchema;
}

/** The contract of a stream's schema, or all that stands in its way. `subject` names the stream in messages. */
export function readContract(schema: unknown, subject: string): Contract | readonly Problem[] {
  const reader = new SchemaReader(subject);
  if (!isZod(schema) || schema._zod.def.type !== "object") {
    const got = isZod(schema) ? `z.${schema._zod.def.type}` : schema === undefined ? "missing" : "no Zod schema";
    return [problem("OPTION_INVALID", { option: "schema", subject, got, allowed: "a z.object({…})" })];
  }
  const value = reader.read(schema, []);
  if (reader.problems.length > 0 || value === undefined || value.type.kind !== "struct") return reader.problems;
  const jsonSchema = { $schema: "https://json-schema.org/draft/2020-12/schema", ...value.json };
  return { columns: value.type.fields, jsonSchema };
}

/** What one schema says about a value. */
interface Value {
  readonly type: ColumnType;
  /** JSON `null` is valid. */
  readonly nullable: boolean;
  /** In an object: the field may be missing. */
  readonly optional: boolean;
  readonly json: JsonSchema;
}

type Path = readonly string[];

class SchemaReader {
  readonly problems: Problem[] = [];
  private readonly subject: string;
  /** Schemas on the way to the one being read: meeting one again is a recursion. */
  private readonly open = new Set<AnyZod>();

  constructor(subject: string) {
    this.subject = subject;
  }

  /** Undefined when the schema was refused; the reason is among the problems. */
  read(schema: AnyZod, path: Path): Value | undefined {
    if (this.open.has(schema))
      return this.refuse(path, { feature: "a schema within itself", reason: RECURSION, instead: AS_JSON });
    this.open.add(schema);
    const value = this.readChecked(schema, path);
    this.open.delete(schema);
    if (value === undefined) return undefined;
    const annotations = keptAnnotations(schema);
    return Object.keys(annotations).length === 0 ? value : { ...value, json: { ...annotations, ...value.json } };
  }

  private readChecked(schema: AnyZod, path: Path): Value | undefined {
    const def = definitionOf(schema);
    const refusal = schemaRefusal(def);
    if (refusal !== undefined) return this.refuse(path, refusal);
    if (annotationsOf(schema)[DECIMAL_KEYWORD] !== undefined) return decimalValue(schema);
    const read = READERS[def.type];
    if (read !== undefined) return read.call(this, schema, def, path);
    return this.refuse(path, { feature: def.type, reason: NOT_JSON, instead: AS_JSON });
  }

  object(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const fields: Column[] = [];
    const properties: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    const required: string[] = [];
    const seen = new Map<string, string>();
    const shape = def.shape as Readonly<Record<string, AnyZod>>;
    let whole = true;
    for (const name of Object.keys(shape)) {
      const at = [...path, name];
      const reason = this.fieldNameFault(name, path, seen);
      if (reason !== undefined) {
        this.problems.push(problem("FIELD_NAME_INVALID", { subject: this.subject, path: show(at), reason }));
        whole = false;
      }
      seen.set(name.toLowerCase(), name);
      const value = this.read(shape[name]!, at);
      if (value === undefined) {
        whole = false;
        continue;
      }
      fields.push({ name, type: value.type, nullable: value.nullable || value.optional || value.type.kind === "json" });
      properties[name] = value.json;
      if (!value.optional) required.push(name);
    }
    const extra = this.additional(def.catchall as AnyZod | undefined, path);
    if (fields.length === 0 && whole) {
      return this.refuse(path, {
        feature: "an object without fields",
        reason: "there is no column to make of it",
        instead: AS_JSON,
      });
    }
    if (!whole || extra === "refused") return undefined;
    return {
      ...PLAIN,
      type: { kind: "struct", fields },
      json: {
        type: "object",
        properties: { ...properties },
        ...(required.length > 0 ? { required } : {}),
        ...extra,
      },
    };
  }

  private fieldNameFault(name: string, path: Path, seen: ReadonlyMap<string, string>): string | undefined {
    if (name === "") return "its name is empty";
    if (path.length === 0 && name.startsWith("_")) return "names that begin with _ are the platform's own";
    if (name === "__proto__") return "it cannot be told from the object's own prototype";
    if (name.includes("\0") || !name.isWellFormed()) return "its name is no text that a table can hold";
    const twin = seen.get(name.toLowerCase());
    return twin === undefined ? undefined : `"${twin}" differs from it only in case, and SQL does not tell them apart`;
  }

  private additional(catchall: AnyZod | undefined, path: Path): JsonSchema | "refused" {
    if (catchall === undefined) return {};
    const type = catchall._zod.def.type;
    if (type === "never") return { additionalProperties: false };
    if (type === "unknown" || type === "any") return {};
    const value = this.read(catchall, [...path, "*"]);
    return value === undefined ? "refused" : { additionalProperties: value.json };
  }

  array(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const element = this.read(def.element as AnyZod, [...path, "[]"]);
    if (element === undefined) return undefined;
    return {
      ...PLAIN,
      type: { kind: "array", element: element.type, elementNullable: holdsNull(element) },
      json: { type: "array", items: element.json, ...lengthBounds(checksOf(def)) },
    };
  }

  tuple(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const items = (def.items as readonly AnyZod[]).map((item, i) => this.read(item, [...path, `[${i}]`]));
    const rest = def.rest ? this.read(def.rest as AnyZod, [...path, "[]"]) : null;
    const all = rest === null ? items : [...items, rest];
    if (!all.every((value) => value !== undefined)) return undefined;
    const [first] = all;
    if (first === undefined || all.some((value) => !sameType(value.type, first.type))) {
      return this.refuse(path, {
        feature: "a tuple of different types",
        reason: "a list column has elements of one type",
        instead: AS_JSON_OR_OBJECT,
      });
    }
    const required = items.filter((item) => item?.optional === false).length;
    return {
      ...PLAIN,
      type: { kind: "array", element: first.type, elementNullable: all.some(holdsNull) },
      json: {
        type: "array",
        prefixItems: items.map((item) => item?.json),
        items: rest === null ? false : rest?.json,
        minItems: required,
        ...(rest === null ? { maxItems: items.length } : {}),
      },
    };
  }

  record(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    if (def.mode === "loose") {
      return this.refuse(path, {
        feature: "z.looseRecord",
        reason: "keys that do not match would carry values of any type",
        instead: AS_JSON,
      });
    }
    const key = this.read(def.keyType as AnyZod, [...path, "{key}"]);
    const value = this.read(def.valueType as AnyZod, [...path, "{}"]);
    if (key === undefined || value === undefined) return undefined;
    if (key.type.kind !== "string" && key.type.kind !== "date" && key.type.kind !== "timestamp") {
      return this.refuse(path, {
        feature: "a record whose keys are not strings",
        reason: "the keys of a JSON object are strings",
        instead: STRING_KEYS,
      });
    }
    const type: ColumnType = { kind: "map", value: value.type, valueNullable: holdsNull(value) };
    const listed = key.json.enum ?? (key.json.const === undefined ? undefined : [key.json.const]);
    if (Array.isArray(listed)) {
      const required = def.partial === true || value.optional ? {} : { required: listed };
      const properties = Object.fromEntries(listed.map((name) => [name, value.json]));
      return { ...PLAIN, type, json: { type: "object", properties, ...required, additionalProperties: false } };
    }
    const plainKey = Object.keys(key.json).length === 1;
    const names = plainKey ? {} : { propertyNames: key.json };
    return { ...PLAIN, type, json: { type: "object", ...names, additionalProperties: value.json } };
  }

  union(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const options = (def.options as readonly AnyZod[]).filter((option) => option._zod.def.type !== "null");
    const withNull = options.length < (def.options as readonly AnyZod[]).length;
    const values = options.map((option) => this.read(option, path));
    if (!values.every((value) => value !== undefined)) return undefined;
    const [first] = values;
    if (first === undefined)
      return this.refuse(path, { feature: "a union without options", reason: NOT_JSON, instead: AS_JSON });
    if (values.some((value) => !sameType(value.type, first.type))) {
      const types = [...new Set(values.map((value) => value.type.kind))].join(", ");
      return this.refuse(path, {
        feature: `a union of different column types (${types})`,
        reason: ONE_TYPE,
        instead: AS_JSON,
      });
    }
    const json =
      values.length === 1 ? first.json : { [def.inclusive === false ? "oneOf" : "anyOf"]: values.map((v) => v.json) };
    const value = {
      ...first,
      json,
      nullable: values.some((v) => v.nullable),
      optional: values.some((v) => v.optional),
    };
    return withNull ? nullable(value) : value;
  }

  literal(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const all = def.values as readonly unknown[];
    const values = all.filter((value) => value !== null);
    if (values.some((value) => value === undefined || typeof value === "bigint")) {
      return this.refuse(path, { feature: "a literal that is not JSON", reason: NOT_JSON, instead: AS_JSON });
    }
    return this.choices(values, all.length > values.length, path);
  }

  enum(schema: AnyZod, _def: Def, path: Path): Value | undefined {
    const values = [...((schema._zod as unknown as { values?: Set<unknown> }).values ?? [])];
    return this.choices(values, false, path);
  }

  private choices(values: readonly unknown[], withNull: boolean, path: Path): Value | undefined {
    const kinds = new Set(values.map(choiceKind));
    // A list of whole numbers and fractions is a list of numbers.
    const kind =
      kinds.has("double") && kinds.has("long") && kinds.size === 2
        ? "double"
        : kinds.size === 1
          ? [...kinds][0]
          : undefined;
    if (kind === undefined)
      return this.refuse(path, { feature: "literals of different types", reason: ONE_TYPE, instead: AS_JSON });
    const type = kind === "string" ? "string" : kind === "boolean" ? "boolean" : kind === "long" ? "integer" : "number";
    const json = { type, ...(values.length === 1 ? { const: values[0] } : { enum: values }) };
    const value: Value = { ...PLAIN, type: { kind }, json };
    return withNull ? nullable(value) : value;
  }

  string(schema: AnyZod, def: Def, path: Path): Value | undefined {
    const refusal = stringRefusal(def);
    if (refusal !== undefined) return this.refuse(path, refusal);
    const json = this.leaf(schema);
    const format = stringFormat(def);
    const kind = format === "datetime" ? "timestamp" : format === "date" ? "date" : "string";
    const given = json.format;
    const known = typeof given === "string" && JSON_SCHEMA_FORMATS.has(given);
    if (given !== undefined && !known) {
      if (json.pattern === undefined && json.allOf === undefined) {
        return this.refuse(path, {
          feature: `z.${String(given)}`,
          reason: "JSON Schema has no such format",
          instead: "use z.string().regex(…)",
        });
      }
      const { format: _dropped, ...rest } = json;
      return { ...PLAIN, type: { kind }, json: rest };
    }
    return { ...PLAIN, type: { kind }, json };
  }

  number(schema: AnyZod, def: Def, _path: Path): Value {
    const formats = [def.format, ...checksOf(def).map((check) => check.format)];
    const kind = formats.includes("int32")
      ? "integer"
      : formats.includes("float32")
        ? "float"
        : formats.some((format) => format === "safeint" || format === "uint32")
          ? "long"
          : "double";
    return { ...PLAIN, type: { kind }, json: this.leaf(schema) };
  }

  boolean(): Value {
    return { ...PLAIN, type: { kind: "boolean" }, json: { type: "boolean" } };
  }

  templateLiteral(schema: AnyZod): Value {
    return { ...PLAIN, type: { kind: "string" }, json: this.leaf(schema) };
  }

  anything(): Value {
    return { ...PLAIN, type: { kind: "json" }, nullable: true, json: {} };
  }

  lazy(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const inner = (def.getter as () => AnyZod)();
    return isFreeJson(inner) ? this.anything() : this.read(inner, path);
  }

  optional(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const value = this.read(def.innerType as AnyZod, path);
    return value && { ...value, optional: true };
  }

  nonoptional(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const value = this.read(def.innerType as AnyZod, path);
    return value && { ...value, optional: false };
  }

  nullable(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    const value = this.read(def.innerType as AnyZod, path);
    return value && nullable(value);
  }

  readonly(_schema: AnyZod, def: Def, path: Path): Value | undefined {
    return this.read(def.innerType as AnyZod, path);
  }

  private leaf(schema: AnyZod): JsonSchema {
    const { $schema: _version, ...json } = z.toJSONSchema(schema, JSON_OPTIONS) as Record<string, unknown>;
    return withoutAnnotations(json, schema);
  }

  private refuse(path: Path, { feature, reason, instead }: Refusal): undefined {
    const subject = this.subject;
    const hint = instead.charAt(0).toUpperCase() + instead.slice(1);
    this.problems.push(problem("SCHEMA_UNSUPPORTED", { path: show(path), subject, feature, reason, instead: hint }));
    return undefined;
  }
}

const PLAIN = { nullable: false, optional: false } as const;
const JSON_OPTIONS = { io: "input", target: "draft-2020-12", unrepresentable: "throw" } as const;

const READERS: Readonly<
  Record<string, ((this: SchemaReader, schema: AnyZod, def: Def, path: Path) => Value | undefined) | undefined>
> = {
  object: SchemaReader.prototype.object,
  array: SchemaReader.prototype.array,
  tuple: SchemaReader.prototype.tuple,
  record: SchemaReader.prototype.record,
  union: SchemaReader.prototype.union,
  literal: SchemaReader.prototype.literal,
  enum: SchemaReader.prototype.enum,
  string: SchemaReader.prototype.string,
  number: SchemaReader.prototype.number,
  boolean: SchemaReader.prototype.boolean,
  template_literal: SchemaReader.prototype.templateLiteral,
  any: SchemaReader.prototype.anything,
  unknown: SchemaReader.prototype.anything,
  lazy: SchemaReader.prototype.lazy,
  optional: SchemaReader.prototype.optional,
  nonoptional: SchemaReader.prototype.nonoptional,
  nullable: SchemaReader.prototype.nullable,
  readonly: SchemaReader.prototype.readonly,
};

/** Formats that JSON Schema, or its common validators, know by name. Zod's other formats are said by their patterns. */
const JSON_SCHEMA_FORMATS = new Set([
  "date-time",
  "date",
  "time",
  "duration",
  "email",
  "uri",
  "hostname",
  "ipv4",
  "ipv6",
  "uuid",
]);

/** The format a string schema has by itself (`z.iso.date()`) or by a check (`z.string().date()`). */
function stringFormat(def: Def): unknown {
  return [def, ...checksOf(def)].map((d) => d.format).find((format) => format === "datetime" || format === "date");
}

function decimalValue(schema: AnyZod): Value {
  const [precision, scale] = annotationsOf(schema)[DECIMAL_KEYWORD] as [number, number];
  const { $schema: _version, ...json } = z.toJSONSchema(schema, JSON_OPTIONS) as Record<string, unknown>;
  return {
    ...PLAIN,
    type: { kind: "decimal", precision, scale },
    json: withoutAnnotations(json, schema, [DECIMAL_KEYWORD]),
  };
}

function nullable(value: Value): Value {
  const { type, enum: choices, const: only, ...rest } = value.json;
  const simple = typeof type === "string" && choices === undefined && only === undefined;
  const any = Object.keys(value.json).length === 0;
  const json = any ? {} : simple ? { ...rest, type: [type, "null"] } : { anyOf: [value.json, { type: "null" }] };
  return value.nullable ? value : { ...value, nullable: true, json };
}

/** Lists and maps have no missing members; free JSON may be null wherever it stands. */
function holdsNull(value: Value): boolean {
  return value.nullable || value.optional || value.type.kind === "json";
}

function choiceKind(value: unknown): "string" | "boolean" | "long" | "double" {
  if (typeof value === "number") return Number.isSafeInteger(value) ? "long" : "double";
  return typeof value === "boolean" ? "boolean" : "string";
}

/** `z.json()`: a union of all that JSON has, whose lists and objects hold the same again. */
function isFreeJson(schema: AnyZod): boolean {
  const def = definitionOf(schema);
  if (def.type !== "union") return false;
  const types = (def.options as readonly AnyZod[]).map((option) => option._zod.def.type);
  return types.join() === "string,number,boolean,null,array,record";
}

function lengthBounds(checks: readonly Def[]): JsonSchema {
  const bounds: Record<string, unknown> = {};
  for (const check of checks) {
    if (check.check === "min_length") bounds.minItems = check.minimum;
    else if (check.check === "max_length") bounds.maxItems = check.maximum;
    else if (check.check === "length_equals") bounds.minItems = bounds.maxItems = check.length;
  }
  return bounds;
}

/** Title, description, examples and the like. An `id` would turn the schema into a reference and is left out. */
function keptAnnotations(schema: AnyZod): Record<string, unknown> {
  const { id: _id, [DECIMAL_KEYWORD]: _decimal, ...rest } = annotationsOf(schema);
  return rest;
}

function withoutAnnotations(json: Record<string, unknown>, schema: AnyZod, keep: readonly string[] = []): JsonSchema {
  const { $ref, $defs, ...rest } = json;
  const target =
    typeof $ref === "string" ? ($defs as Record<string, Record<string, unknown>>)[$ref.slice("#/$defs/".length)] : rest;
  const drop = new Set(Object.keys(annotationsOf(schema)).filter((name) => !keep.includes(name)));
  return Object.fromEntries(Object.entries(target ?? {}).filter(([name]) => !drop.has(name)));
}

function sameType(a: ColumnType, b: ColumnType): boolean {
  return duckdbType(a) === duckdbType(b);
}

/** `address.lines[].city`; the event itself is `(event)`. */
function show(path: Path): string {
  if (path.length === 0) return "(event)";
  return path.reduce((text, step, i) => {
    const name = step === "" ? '""' : step;
    return i === 0 || /^[[{]/.test(step) ? text + name : `${text}.${name}`;
  }, "");
}
