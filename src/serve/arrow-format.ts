import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  Field,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  Map_,
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  TimestampMicrosecond,
  Utf8,
} from "apache-arrow";
import type { ColumnType } from "../define/project.ts";
import type { ResultFormat } from "./result-formats.ts";

/**
 * The Arrow IPC stream: a schema, record batches, an end mark. Types as the platform has them: instants are
 * `timestamp[us, UTC]`, decimals `decimal128`; free JSON and what Arrow has no type for is text. Instants and dates
 * that Arrow's numbers do not reach (`infinity`) are null.
 */
export const arrowFormat: ResultFormat = {
  mediaType: "application/vnd.apache.arrow.stream",
  contentType: "application/vnd.apache.arrow.stream",
  tellsTruncation: false,
  writer(columns) {
    const fields = columns.map(({ name, type }) => new Field(name, arrowType(type), true));
    const schema = new Schema(fields);
    const stream = new CollectingWriter();
    return {
      head() {
        stream.reset(undefined, schema);
        return stream.take();
      },
      rows(batch) {
        if (batch.length === 0) return new Uint8Array(0);
        const children = columns.map(({ type }, index) =>
          columnData(
            type,
            batch.map((row) => row[index]),
          ),
        );
        const data = makeData({ type: new Struct(fields), length: batch.length, nullCount: 0, children });
        stream.write(new RecordBatch(schema, data));
        return stream.take();
      },
      tail() {
        stream.close();
        return stream.take();
      },
    };
  },
};

/** Gives the bytes written since the last time it was asked. */
class CollectingWriter extends RecordBatchStreamWriter {
  readonly #chunks: Uint8Array[] = [];

  protected override _write(chunk: ArrayBufferView): this {
    this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    this._position += chunk.byteLength;
    return this;
  }

  take(): Uint8Array {
    return Buffer.concat(this.#chunks.splice(0));
  }
}

function arrowType(type: ColumnType): DataType {
  switch (type.kind) {
    case "string":
    case "json":
      return new Utf8();
    case "byte":
      return new Int8();
    case "short":
      return new Int16();
    case "integer":
      return new Int32();
    case "long":
      return new Int64();
    case "float":
      return new Float32();
    case "double":
      return new Float64();
    case "boolean":
      return new Bool();
    case "timestamp":
      return new TimestampMicrosecond("UTC");
    case "timestamp_ntz":
      return new TimestampMicrosecond(null);
    case "date":
      return new DateDay();
    case "binary":
      return new Binary();
    case "decimal":
      return new Decimal(type.scale, type.precision, 128);
    case "struct":
      return new Struct(type.fields.map((field) => new Field(field.name, arrowType(field.type), true)));
    case "array":
      return new List(new Field("item", arrowType(type.element), true));
    case "map":
      return new Map_(
        new Field(
          "entries",
          new Struct<{ key: Utf8; value: DataType }>([
            new Field("key", new Utf8(), false),
            new Field("value", arrowType(type.value), true),
          ]),
          false,
        ),
      );
  }
}

/*
 * A column is a bit per row that is 1 where there is a value, and buffers by type: numbers at fixed width, booleans as
 * bits, texts, lists and maps as offsets into what they hold, structs as child columns of the same length.
 */
function columnData(type: ColumnType, values: readonly unknown[]): Data {
  const items = type.kind === "timestamp" || type.kind === "date" ? values.map(withinReach) : values;
  const validity = bits(items, (value) => value !== null && value !== undefined);
  const common = {
    type: arrowType(type),
    length: items.length,
    nullCount: items.reduce((count: number, value) => count + (value === null || value === undefined ? 1 : 0), 0),
    nullBitmap: validity,
  };
  const make = (parts: object): Data => makeData({ ...common, ...parts } as Parameters<typeof makeData>[0]);
  switch (type.kind) {
    case "string":
    case "json":
      return make(
        bytesWithOffsets(items, (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value))),
      );
    case "binary":
      return make(bytesWithOffsets(items, (value) => Buffer.from(String(value), "base64")));
    case "boolean":
      return make({ data: bits(items, (value) => value === true) });
    case "byte":
      return make({ data: Int8Array.from(items, Number) });
    case "short":
      return make({ data: Int16Array.from(items, Number) });
    case "integer":
      return make({ data: Int32Array.from(items, Number) });
    case "float":
      return make({ data: Float32Array.from(items, Number) });
    case "double":
      return make({ data: Float64Array.from(items, Number) });
    case "long":
      return make({ data: BigInt64Array.from(items, (value) => BigInt((value ?? 0) as string)) });
    case "date":
      return make({ data: Int32Array.from(items, (value) => (value === null ? 0 : Number(dayOf(String(value))))) });
    case "timestamp":
    case "timestamp_ntz":
      return make({ data: BigInt64Array.from(items, (value) => (value === null ? 0n : microsOf(String(value)))) });
    case "decimal":
      return make({ data: decimals(items, type.scale) });
    case "struct": {
      const children = type.fields.map((field) =>
        columnData(
          field.type,
          items.map((value) => (value as Record<string, unknown> | null)?.[field.name] ?? null),
        ),
      );
      return make({ children });
    }
    case "array": {
      const lists = items as readonly (readonly unknown[] | null)[];
      return make({
        valueOffsets: offsets(lists.map((list) => list?.length ?? 0)),
        child: columnData(
          type.element,
          lists.flatMap((list) => list ?? []),
        ),
      });
    }
    case "map": {
      const lists = items.map((value) => Object.entries((value ?? {}) as Record<string, unknown>));
      const entries = lists.flat();
      const entryType = arrowType(type).children[0]?.type as DataType;
      const child = makeData({
        type: entryType as Struct,
        length: entries.length,
        nullCount: 0,
        children: [
          columnData(
            { kind: "string" },
            entries.map(([key]) => key),
          ),
          columnData(
            type.value,
            entries.map(([, value]) => value),
          ),
        ],
      });
      return make({ valueOffsets: offsets(lists.map((list) => list.length)), child });
    }
  }
}

function bits(values: readonly unknown[], isSet: (value: unknown) => boolean): Uint8Array {
  // Arrow's buffers are padded to eight bytes.
  const bytes = new Uint8Array(Math.ceil(values.length / 64) * 8);
  values.forEach((value, i) => {
    if (isSet(value)) bytes[i >> 3] = (bytes[i >> 3] as number) | (1 << (i & 7));
  });
  return bytes;
}

function offsets(lengths: readonly number[]): Int32Array {
  const result = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => {
    result[i + 1] = (result[i] as number) + length;
  });
  return result;
}

function bytesWithOffsets(values: readonly unknown[], bytesOf: (value: unknown) => Buffer) {
  const parts = values.map((value) => (value === null || value === undefined ? EMPTY : bytesOf(value)));
  return { data: Buffer.concat(parts), valueOffsets: offsets(parts.map((part) => part.length)) };
}

const EMPTY = Buffer.alloc(0);

/** 128-bit two's complement, little-endian. */
function decimals(values: readonly unknown[], scale: number): Uint32Array {
  const view = new DataView(new ArrayBuffer(values.length * 16));
  values.forEach((value, i) => {
    const [whole = "0", fraction = ""] = String(value ?? 0).split(".");
    const unscaled = BigInt(whole + fraction.padEnd(scale, "0"));
    view.setBigUint64(i * 16, BigInt.asUintN(64, unscaled), true);
    view.setBigInt64(i * 16 + 8, BigInt.asIntN(64, unscaled >> 64n), true);
  });
  return new Uint32Array(view.buffer);
}

/** `[+-]YYYY…-MM-DD`, then perhaps a time: everything but the infinities. */
const MOMENT = /^([+-]?\d+)-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?Z?)?$/;

function withinReach(value: unknown): unknown {
  return typeof value === "string" && MOMENT.test(value) ? value : null;
}

function dayOf(text: string): bigint {
  const [, year = "", month = "", day = ""] = MOMENT.exec(text) ?? [];
  // Days from civil (H. Hinnant): Date ends at the year 275760.
  const m = BigInt(month);
  const y = BigInt(year.replace("+", "")) - (m <= 2n ? 1n : 0n);
  const era = (y >= 0n ? y : y - 399n) / 400n;
  const yearOfEra = y - era * 400n;
  const dayOfYear = (153n * (m > 2n ? m - 3n : m + 9n) + 2n) / 5n + BigInt(day) - 1n;
  return era * 146_097n + yearOfEra * 365n + yearOfEra / 4n - yearOfEra / 100n + dayOfYear - 719_468n;
}

function microsOf(text: string): bigint {
  const quick = text.length === 24 ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(quick)) return BigInt(quick) * 1000n;
  const [, , , , hours = "0", minutes = "0", seconds = "0", fraction = ""] = MOMENT.exec(text) ?? [];
  const clock = (BigInt(hours) * 60n + BigInt(minutes)) * 60n + BigInt(seconds);
  return (dayOf(text) * 86_400n + clock) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, "0"));
}
