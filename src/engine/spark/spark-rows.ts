/** Rows of a result, which come as Arrow IPC, as the values that the port gives (`ResultStream.batches`). */
import { type Data, DataType, tableFromIPC } from "apache-arrow";
import { dateText, decimalText, instantText } from "../value-text.ts";

/** The rows of one batch, as arrays in column order. */
export function rowsOfBatch(bytes: Uint8Array): unknown[][] {
  const table = tableFromIPC(bytes);
  const rows: unknown[][] = [];
  for (const batch of table.batches) {
    const readers = batch.data.children.map((data) => reader(data as Data));
    for (let i = 0; i < batch.numRows; i++) rows.push(readers.map((read) => read(i)));
  }
  return rows;
}

type Read = (i: number) => unknown;

function reader(data: Data): Read {
  const value = present(data);
  // The whole bitmap may be missing where nothing is null.
  return data.nullCount === 0 ? value : (i) => (data.getValid(i) ? value(i) : null);
}

function present(data: Data): Read {
  const { type } = data;
  if (DataType.isNull(type)) return () => null;
  if (DataType.isBool(type)) {
    const bits = data.values as Uint8Array;
    return (i) => (((bits[(data.offset + i) >> 3] as number) >> ((data.offset + i) & 7)) & 1) === 1;
  }
  if (DataType.isInt(type)) {
    const values = data.values as ArrayLike<number | bigint>;
    return (i) => integer(values[i] as number | bigint);
  }
  if (DataType.isFloat(type)) {
    const values = data.values as ArrayLike<number>;
    const short = type.precision === 1;
    return (i) => finite(short ? shortest(values[i] as number) : (values[i] as number));
  }
  if (DataType.isDecimal(type)) {
    const words = data.values as Uint32Array;
    return (i) => decimalText(String(int128(words, i * 4)), type.scale);
  }
  if (DataType.isTimestamp(type)) {
    const values = data.values as BigInt64Array;
    return (i) => instantText(values[i] as bigint, 6);
  }
  if (DataType.isDate(type)) {
    const days = data.values as Int32Array;
    return (i) => dateText(days[i] as number);
  }
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) {
    const slice = bytesOf(data);
    return (i) => slice(i).toString("utf8");
  }
  if (DataType.isBinary(type) || DataType.isLargeBinary(type)) {
    const slice = bytesOf(data);
    return (i) => slice(i).toString("base64");
  }
  if (DataType.isStruct(type)) {
    const fields = type.children.map(({ name }, at) => [name, reader(data.children[at] as Data)] as const);
    return (i) => Object.fromEntries(fields.map(([name, read]) => [name, read(i)]));
  }
  if (DataType.isList(type)) {
    const read = reader(data.children[0] as Data);
    return (i) => items(data, i).map(read);
  }
  if (DataType.isMap(type)) {
    const [keys, values] = (data.children[0] as Data).children.map((child) => reader(child as Data));
    return (i) => Object.fromEntries(items(data, i).map((at) => [String(keys?.(at)), values?.(at)]));
  }
  throw new TypeError(`Spark gave a column of Arrow's type ${type}, which the platform has no values for`);
}

function items(data: Data, i: number): number[] {
  const from = data.valueOffsets[i] as number;
  return Array.from({ length: (data.valueOffsets[i + 1] as number) - from }, (_, n) => from + n);
}

function bytesOf(data: Data): (i: number) => Buffer {
  const bytes = data.values as Uint8Array;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offsets = data.valueOffsets as unknown as ArrayLike<number | bigint>;
  return (i) => buffer.subarray(Number(offsets[i]), Number(offsets[i + 1]));
}

function integer(value: number | bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function int128(words: Uint32Array, at: number): bigint {
  const [a, b, c, d] = [0, 1, 2, 3].map((n) => BigInt(words[at + n] as number)) as [bigint, bigint, bigint, bigint];
  return BigInt.asIntN(128, (d << 96n) | (c << 64n) | (b << 32n) | a);
}

function finite(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** The shortest number that is the same 32-bit float. */
function shortest(value: number): number {
  if (Number.isInteger(value)) return value;
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
