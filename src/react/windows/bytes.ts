/** Numbers and texts one after the other, little-endian: what the codecs of states are written with. */
export class ByteWriter {
  #at = 0;

  u8(value: number): void {
    reserve(this.#at + 1);
    view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u32(value: number): void {
    reserve(this.#at + 4);
    view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  f64(value: number): void {
    reserve(this.#at + 8);
    view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  f64s(values: readonly number[]): void {
    reserve(this.#at + 8 * values.length);
    for (let i = 0; i < values.length; i++, this.#at += 8) view.setFloat64(this.#at, values[i]!, true);
  }

  /** Length in bytes, then UTF-8. */
  text(value: string): void {
    // A UTF-16 unit takes at most three bytes.
    reserve(this.#at + 4 + 3 * value.length);
    const { written } = encoder.encodeInto(value, buffer.subarray(this.#at + 4));
    this.u32(written);
    this.#at += written;
  }

  raw(bytes: Uint8Array): void {
    reserve(this.#at + bytes.length);
    buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** What was written, as a copy. */
  bytes(): Uint8Array {
    const bytes = Buffer.allocUnsafe(this.#at);
    bytes.set(buffer.subarray(0, this.#at));
    return bytes;
  }
}

/** One reader reads at a time. */
export class ByteReader {
  #at = 0;

  constructor(bytes: Uint8Array) {
    // A view of the given bytes would cost more than to copy them under one that is there.
    if (bytes.length > given.length) {
      given = new Uint8Array(2 * bytes.length);
      givenView = new DataView(given.buffer);
    }
    given.set(bytes);
  }

  u8(): number {
    return givenView.getUint8(this.#at++);
  }

  u32(): number {
    this.#at += 4;
    return givenView.getUint32(this.#at - 4, true);
  }

  f64(): number {
    this.#at += 8;
    return givenView.getFloat64(this.#at - 8, true);
  }

  f64s(count: number): number[] {
    const values: number[] = [];
    for (let i = 0; i < count; i++, this.#at += 8) values.push(givenView.getFloat64(this.#at, true));
    return values;
  }

  text(): string {
    return decoder.decode(this.raw(this.u32()));
  }

  raw(length: number): Uint8Array {
    this.#at += length;
    return given.slice(this.#at - length, this.#at);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One writer writes at a time, so they share their room; a state is small, and its bytes are copied when it is whole. */
let buffer = new Uint8Array(4096);
let view = new DataView(buffer.buffer);

let given = new Uint8Array(4096);
let givenView = new DataView(given.buffer);

function reserve(length: number): void {
  if (length <= buffer.length) return;
  const larger = new Uint8Array(Math.max(length, 2 * buffer.length));
  larger.set(buffer);
  buffer = larger;
  view = new DataView(buffer.buffer);
}
