import {
  type DuckDBArrayType,
  type DuckDBDataChunk,
  type DuckDBDecimalType,
  type DuckDBEnumType,
  type DuckDBListType,
  type DuckDBMapType,
  type DuckDBStructType,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBUnionType,
  DuckDBVector,
  JsonDuckDBValueConverter,
} from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import { dateText, decimalText, durationText, instantText, timeText, uuidText } from "./value-text.ts";

/**
 * Reads one column of a chunk as values, straight from the engine's memory: the client library makes an object per value,
 * and drops a byte order mark at the beginning of a text.
 *
 * `json`: what JSON can say (see `ResultStream.batches`). `plain`: the same, but 64-bit and wider integers are `bigint`s
 * and doubles are numbers whatever they are.
 */
export function readColumn(chunk: DuckDBDataChunk, index: number, type: DuckDBType, form: Form): unknown[] {
  return readVector(duckdb.data_chunk_get_vector(chunk.chunk, index), type, chunk.rowCount, form);
}

export type Form = "json" | "plain";

type Vector = ReturnType<typeof duckdb.data_chunk_get_vector>;

/*
 * A vector's data is an array of fixed-width items, beside it a bit per item that is 0 for null (no bits: no nulls).
 *   text, blob   u32 length, then the bytes when there are up to 12, else 4 bytes of prefix and a pointer
 *   list, map    u64 offset and u64 length into the child vector
 *   struct       nothing; a child vector per entry.  union: a struct whose first entry is the tag
 *   decimal      int16, 32, 64 or 128 by precision; enum: uint8, 16 or 32 by the number of its words
 */
function readVector(vector: Vector, type: DuckDBType, count: number, form: Form): unknown[] {
  const bits = duckdb.vector_get_validity(vector, Math.ceil(count / 64) * 8);
  const isNull = (i: number) => bits && (((bits[i >> 3] as number) >> (i & 7)) & 1) === 0;
  // What stands in the place of a null is arbitrary, a text's pointer included: it must not be read.
  const rows = (read: (i: number) => unknown) => {
    const values = new Array<unknown>(count);
    for (let i = 0; i < count; i++) values[i] = isNull(i) ? null : read(i);
    return values;
  };
  const array: ReadArray = (width, read) => {
    const bytes = duckdb.vector_get_data(vector, count * width);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return rows((i) => read(view, i * width));
  };
  const plain = form === "plain";
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return array(1, (view, at) => view.getUint8(at) !== 0);
    case DuckDBTypeId.TINYINT:
      return array(1, (view, at) => view.getInt8(at));
    case DuckDBTypeId.UTINYINT:
      return array(1, (view, at) => view.getUint8(at));
    case DuckDBTypeId.SMALLINT:
      return array(2, (view, at) => view.getInt16(at, true));
    case DuckDBTypeId.USMALLINT:
      return array(2, (view, at) => view.getUint16(at, true));
    case DuckDBTypeId.INTEGER:
      return array(4, (view, at) => view.getInt32(at, true));
    case DuckDBTypeId.UINTEGER:
      return array(4, (view, at) => view.getUint32(at, true));
    case DuckDBTypeId.BIGINT:
      return array(8, plain ? (view, at) => view.getBigInt64(at, true) : longOrText);
    case DuckDBTypeId.UBIGINT:
      return array(8, (view, at) => integer(view.getBigUint64(at, true), plain));
    case DuckDBTypeId.HUGEINT:
      return array(16, (view, at) => integer(int128(view, at), plain));
    case DuckDBTypeId.UHUGEINT:
      return array(16, (view, at) => integer(BigInt.asUintN(128, int128(view, at)), plain));
    case DuckDBTypeId.FLOAT:
      return array(4, plain ? floatAt : (view, at) => finiteOrText(floatAt(view, at)));
    case DuckDBTypeId.DOUBLE:
      return array(8, plain ? doubleAt : (view, at) => finiteOrText(doubleAt(view, at)));
    case DuckDBTypeId.DECIMAL:
      return decimals(type as DuckDBDecimalType, array);
    case DuckDBTypeId.DATE:
      return array(4, (view, at) => dateText(view.getInt32(at, true)));
    case DuckDBTypeId.TIMESTAMP:
    case DuckDBTypeId.TIMESTAMP_TZ:
      return array(8, (view, at) => instantText(longAt(view, at), 6));
    case DuckDBTypeId.TIMESTAMP_S:
      return array(8, (view, at) => instantText(view.getBigInt64(at, true), 0));
    case DuckDBTypeId.TIMESTAMP_MS:
      return array(8, (view, at) => instantText(view.getBigInt64(at, true), 3));
    case DuckDBTypeId.TIMESTAMP_NS:
      return array(8, (view, at) => instantText(view.getBigInt64(at, true), 9));
    case DuckDBTypeId.TIME:
      return array(8, (view, at) => timeText(view.getBigInt64(at, true)));
    case DuckDBTypeId.INTERVAL:
      return array(16, (view, at) =>
        durationText(view.getInt32(at, true), view.getInt32(at + 4, true), view.getBigInt64(at + 8, true)),
      );
    case DuckDBTypeId.UUID:
      return array(16, (view, at) => uuidText(view.getBigUint64(at, true), view.getBigUint64(at + 8, true)));
    case DuckDBTypeId.VARCHAR:
      return texts(vector, count, isNull);
    case DuckDBTypeId.BLOB:
      return array(16, (view, at) => bytesAt(view, at).toString("base64"));
    case DuckDBTypeId.ENUM:
      return enumValues(type as DuckDBEnumType, array);
    case DuckDBTypeId.LIST: {
      const child = listItems(vector, (type as DuckDBListType).valueType, form);
      return array(16, (view, at) => child.slice(...range(view, at)));
    }
    case DuckDBTypeId.ARRAY: {
      const { valueType, length } = type as DuckDBArrayType;
      const child = readVector(duckdb.array_vector_get_child(vector), valueType, count * length, form);
      return rows((i) => child.slice(i * length, (i + 1) * length));
    }
    case DuckDBTypeId.MAP: {
      const { keyType, valueType } = type as DuckDBMapType;
      const child = duckdb.list_vector_get_child(vector);
      const size = duckdb.list_vector_get_size(vector);
      const keys = readVector(duckdb.struct_vector_get_child(child, 0), keyType, size, form);
      const values = readVector(duckdb.struct_vector_get_child(child, 1), valueType, size, form);
      return array(16, (view, at) => {
        const [from, to] = range(view, at);
        const entries: [string, unknown][] = [];
        for (let i = from; i < to; i++) entries.push([keyText(keys[i]), values[i]]);
        return Object.fromEntries(entries);
      });
    }
    case DuckDBTypeId.STRUCT:
      return rows(structAt(vector, type as DuckDBStructType, count, form));
    case DuckDBTypeId.UNION: {
      const members = (type as DuckDBUnionType).memberTypes;
      const tags = duckdb.vector_get_data(duckdb.struct_vector_get_child(vector, 0), count);
      const columns = members.map((member, i) =>
        readVector(duckdb.struct_vector_get_child(vector, i + 1), member, count, form),
      );
      return rows((i) => columns[tags[i] as number]?.[i]);
    }
    default: {
      const items = DuckDBVector.create(vector, count, type);
      return rows((i) => JsonDuckDBValueConverter(items.getItem(i), type, JsonDuckDBValueConverter));
    }
  }
}

type ReadArray = (width: number, read: (view: DataView, at: number) => unknown) => unknown[];

function longOrText(view: DataView, at: number): number | string {
  const value = longAt(view, at);
  return typeof value === "number" ? value : String(value);
}

/** A number within ±2^53, read as two halves, since a bigint per cell costs several times as much; else a bigint. */
function longAt(view: DataView, at: number): number | bigint {
  const high = view.getInt32(at + 4, true);
  const value = high * 0x100000000 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : view.getBigInt64(at, true);
}

function integer(value: bigint, plain: boolean): bigint | number | string {
  if (plain) return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function int128(view: DataView, at: number): bigint {
  return (view.getBigInt64(at + 8, true) << 64n) | view.getBigUint64(at, true);
}

function doubleAt(view: DataView, at: number): number {
  return view.getFloat64(at, true);
}

/** The shortest number that is the same float: `0.1`, not `0.10000000149011612`. */
function floatAt(view: DataView, at: number): number {
  const value = view.getFloat32(at, true);
  if (Number.isInteger(value)) return value;
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function finiteOrText(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

function decimals(type: DuckDBDecimalType, array: ReadArray): unknown[] {
  const { width, scale } = type;
  if (width <= 4) return array(2, (view, at) => decimalText(view.getInt16(at, true), scale));
  if (width <= 9) return array(4, (view, at) => decimalText(view.getInt32(at, true), scale));
  if (width <= 18) return array(8, (view, at) => decimalText(longOrText(view, at), scale));
  return array(16, (view, at) => decimalText(String(int128(view, at)), scale));
}

function enumValues(type: DuckDBEnumType, array: ReadArray): unknown[] {
  const words = type.values;
  switch (type.internalTypeId) {
    case DuckDBTypeId.UTINYINT:
      return array(1, (view, at) => words[view.getUint8(at)]);
    case DuckDBTypeId.USMALLINT:
      return array(2, (view, at) => words[view.getUint16(at, true)]);
    default:
      return array(4, (view, at) => words[view.getUint32(at, true)]);
  }
}

function structAt(vector: Vector, type: DuckDBStructType, count: number, form: Form): (i: number) => unknown {
  const names = type.entryNames;
  const columns = type.entryTypes.map((entry, i) =>
    readVector(duckdb.struct_vector_get_child(vector, i), entry, count, form),
  );
  // row(1, 2) gives a struct whose entries have no names.
  if (names[0] === "") return (i) => columns.map((column) => column[i]);
  return (i) => Object.fromEntries(names.map((name, c) => [name, columns[c]?.[i]]));
}

function listItems(vector: Vector, valueType: DuckDBType, form: Form): unknown[] {
  return readVector(duckdb.list_vector_get_child(vector), valueType, duckdb.list_vector_get_size(vector), form);
}

function range(view: DataView, at: number): [number, number] {
  const from = Number(view.getBigUint64(at, true));
  return [from, from + Number(view.getBigUint64(at + 8, true))];
}

function keyText(key: unknown): string {
  return typeof key === "object" ? JSON.stringify(key) : String(key);
}

const INLINE_BYTES = 12;

function bytesAt(view: DataView, at: number): Buffer {
  const length = view.getUint32(at, true);
  if (length <= INLINE_BYTES) return Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + at + 4, length);
  const bytes = duckdb.get_data_from_pointer(view.buffer as ArrayBuffer, view.byteOffset + at + 8, length);
  return Buffer.from(bytes.buffer, bytes.byteOffset, length);
}

/**
 * Texts of a vector lie mostly one behind the other in the engine's memory, and fetching bytes from there costs more than
 * decoding them: neighbours are fetched together. Less than a page lies between two of them, so whatever
 * is in between is memory of this process too.
 */
function texts(vector: Vector, count: number, isNull: (i: number) => boolean): unknown[] {
  const bytes = duckdb.vector_get_data(vector, count * 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Array<unknown>(count).fill(null);
  let run: number[] = [];
  let end = 0;
  const fetchRun = () => {
    if (run.length === 0) return;
    const first = (run[0] as number) * 16;
    const start = pointerAt(view, first);
    const memory = duckdb.get_data_from_pointer(view.buffer as ArrayBuffer, view.byteOffset + first + 8, end - start);
    const buffer = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength);
    for (const i of run) {
      const from = pointerAt(view, i * 16) - start;
      values[i] = buffer.toString("utf8", from, from + view.getUint32(i * 16, true));
    }
    run = [];
  };
  for (let i = 0; i < count; i++) {
    if (isNull(i)) continue;
    const at = i * 16;
    const length = view.getUint32(at, true);
    if (length <= INLINE_BYTES) {
      values[i] = head.toString("utf8", at + 4, at + 4 + length);
      continue;
    }
    const pointer = pointerAt(view, at);
    if (pointer < end || pointer - end >= PAGE_BYTES) fetchRun();
    run.push(i);
    end = pointer + length;
  }
  fetchRun();
  return values;
}

const PAGE_BYTES = 4096;

/** Addresses fit into 48 bits. */
function pointerAt(view: DataView, at: number): number {
  return view.getUint32(at + 12, true) * 0x100000000 + view.getUint32(at + 8, true);
}
