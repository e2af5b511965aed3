/**
 * Avro values as the JSON that people expect, not as Avro's own encoding of JSON: unions without the name of their branch, longs with all their digits,
 * decimals as text, times as ISO 8601 in UTC, bytes as base64.
 *
 * Source: Apache Avro 1.12, "Logical Types".
 */
import avro from "avsc";

export type AvroType = avro.Type;

/**
 * The type that a schema says; `references`: schemas that it names, each behind those it names itself.
 * @throws what is wrong with the schema
 */
export function avroType(schema: unknown, references: readonly unknown[] = []): AvroType {
  const options = { registry: { long: LONG }, logicalTypes: LOGICAL_TYPES, typeHook: wideLong, wrapUnions: "always" };
  const shared = options as unknown as Partial<avro.ForSchemaOptions>;
  for (const reference of references) avro.Type.forSchema(reference as avro.Schema, shared);
  return avro.Type.forSchema(schema as avro.Schema, shared);
}

/** @throws when the bytes are no value of the type, or one that JSON cannot say */
export function avroToJson(type: AvroType, bytes: Buffer): string {
  return encoded(type, type.fromBuffer(bytes));
}

function encoded(type: AvroType, value: unknown): string {
  if (value === null || value === undefined) return "null";
  const { typeName } = type;
  if (typeName === "union:wrapped") {
    const [[name, inner]] = Object.entries(value as object) as [[string, unknown]];
    const branch = (type as avro.types.WrappedUnionType).types.find((one) => one.branchName === name);
    return encoded(branch as AvroType, inner);
  }
  if (typeName === "record") {
    const fields = (type as avro.types.RecordType).fields.map(
      (field) => `${JSON.stringify(field.name)}:${encoded(field.type, (value as Record<string, unknown>)[field.name])}`,
    );
    return `{${fields.join(",")}}`;
  }
  if (typeName === "array") {
    const { itemsType } = type as avro.types.ArrayType;
    return `[${(value as unknown[]).map((item) => encoded(itemsType, item)).join(",")}]`;
  }
  if (typeName === "map") {
    const { valuesType } = type as avro.types.MapType;
    const entries = Object.entries(value as object).map(
      ([name, one]) => `${JSON.stringify(name)}:${encoded(valuesType, one)}`,
    );
    return `{${entries.join(",")}}`;
  }
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString("base64")}"`;
  if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError(`${value} is no number of JSON`);
  return JSON.stringify(value);
}

/** Of 64 bits: what a double cannot hold exactly is for the door to judge by its digits. */
const LONG = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
});

/** Longs that a schema writes out with further attributes. */
function wideLong(schema: unknown): avro.Type | undefined {
  const { type, logicalType } = (schema ?? {}) as { type?: unknown; logicalType?: unknown };
  return type === "long" && !(typeof logicalType === "string" && logicalType in LOGICAL_TYPES) ? LONG : undefined;
}

/** A logical type that is only read. */
function readAs(
  text: (value: never) => unknown,
): new (
  schema: avro.Schema,
  options: unknown,
) => avro.types.LogicalType {
  return class extends (avro.types.LogicalType as unknown as new (...args: unknown[]) => object) {
    protected _fromValue(value: never): unknown {
      return text(value);
    }
    protected _toValue(): undefined {
      return undefined;
    }
  } as unknown as new (
    schema: avro.Schema,
    options: unknown,
  ) => avro.types.LogicalType;
}

/** The scale stands in the schema. */
class Decimal extends (avro.types.LogicalType as unknown as new (...args: unknown[]) => object) {
  readonly #scale: number;

  constructor(schema: { scale?: unknown }, options: unknown) {
    super(schema, options);
    this.#scale = typeof schema.scale === "number" ? schema.scale : 0;
  }

  protected _fromValue(bytes: Uint8Array): string {
    const hex = Buffer.from(bytes).toString("hex");
    const unscaled = hex === "" ? 0n : BigInt.asIntN(bytes.length * 8, BigInt(`0x${hex}`));
    const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(this.#scale + 1, "0");
    const whole = digits.slice(0, digits.length - this.#scale);
    const rest = this.#scale === 0 ? "" : `.${digits.slice(-this.#scale)}`;
    return `${unscaled < 0n ? "-" : ""}${whole}${rest}`;
  }

  protected _toValue(): undefined {
    return undefined;
  }
}

const DAY_MS = 86_400_000;
const MICROSECONDS = 1000n;

function instant(ms: number): string {
  return new Date(ms).toISOString();
}

/** With six digits behind the point. */
function instantOfMicros(micros: bigint): string {
  const rest = ((micros % MICROSECONDS) + MICROSECONDS) % MICROSECONDS;
  const text = instant(Number((micros - rest) / MICROSECONDS));
  return `${text.slice(0, -1)}${String(rest).padStart(3, "0")}Z`;
}

// Below these there are doubles, which hold every time of the next two centuries; others are refused by the library.
const millis = readAs((value: number) => instant(value));
const micros = readAs((value: number) => instantOfMicros(BigInt(value)));
const LOGICAL_TYPES = {
  decimal: Decimal,
  date: readAs((days: number) => instant(days * DAY_MS).slice(0, 10)),
  "timestamp-millis": millis,
  "timestamp-micros": micros,
  // Without a zone: read as UTC, as everything without one is here.
  "local-timestamp-millis": millis,
  "local-timestamp-micros": micros,
  "time-millis": readAs((ms: number) => instant(ms).slice(11, -1)),
  "time-micros": readAs((value: number) => instantOfMicros(BigInt(value)).slice(11, -1)),
};
