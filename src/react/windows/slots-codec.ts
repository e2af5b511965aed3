/**
 * States of aggregates as a checkpoint holds them, all little-endian:
 *
 *     u32 count of numbers, u32 count of values
 *     the numbers, 8 bytes each (IEEE 754)
 *     the values, each: u8 0 when there is none, or 1 and then by its kind
 *       json       u32 length, UTF-8 text
 *       decimal    u32 length, digits of a whole number
 *       quantiles  f64 count of all; u32 n + 1 and n numbers that are kept as they are, or 0; u32 n and n numbers of bins
 *       distinct   u8 0, u32 n and n hashes; or u8 1, u32 n and n registers of a byte
 */
import type { Slots, ValueKind } from "./accumulators.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { DistinctSketch } from "./distinct-sketch.ts";
import type { QuantileSketch } from "./quantile-sketch.ts";

/** Part of a state codec's version. */
export const SLOTS_VERSION = "1";

/** `kinds` says what the values are; where a state holds several windows, they repeat. */
export function encodeSlots({ numbers, values }: Slots, kinds: readonly ValueKind[]): Uint8Array {
  const to = new ByteWriter();
  to.u32(numbers.length);
  to.u32(values.length);
  to.f64s(numbers);
  for (let i = 0; i < values.length; i++) {
    to.u8(values[i] === undefined ? 0 : 1);
    if (values[i] !== undefined) writeValue(to, values[i], kinds[i % kinds.length]!);
  }
  return to.bytes();
}

export function decodeSlots(bytes: Uint8Array, kinds: readonly ValueKind[]): Slots {
  const from = new ByteReader(bytes);
  const numberCount = from.u32();
  const valueCount = from.u32();
  const numbers = from.f64s(numberCount);
  const values: unknown[] = [];
  for (let i = 0; i < valueCount; i++) {
    values.push(from.u8() === 0 ? undefined : readValue(from, kinds[i % kinds.length]!));
  }
  return { numbers, values };
}

function writeValue(to: ByteWriter, value: unknown, kind: ValueKind): void {
  if (kind === "json") to.text(JSON.stringify(value));
  else if (kind === "decimal") to.text(String(value));
  else if (kind === "quantiles") {
    const { count, exact, bins } = value as QuantileSketch;
    to.f64(count);
    to.u32(exact === undefined ? 0 : exact.length + 1);
    to.f64s(exact ?? []);
    to.u32(bins.length);
    to.f64s(bins);
  } else {
    const sketch = value as DistinctSketch;
    to.u8(sketch instanceof Uint8Array ? 1 : 0);
    to.u32(sketch.length);
    if (sketch instanceof Uint8Array) to.raw(sketch);
    else to.f64s(sketch);
  }
}

function readValue(from: ByteReader, kind: ValueKind): unknown {
  switch (kind) {
    case "json":
      return JSON.parse(from.text()) as unknown;
    case "decimal":
      return BigInt(from.text());
    case "quantiles": {
      const count = from.f64();
      const kept = from.u32();
      const exact = kept === 0 ? undefined : from.f64s(kept - 1);
      return { count, exact, bins: from.f64s(from.u32()) } satisfies QuantileSketch;
    }
    case "distinct":
      return from.u8() === 1 ? from.raw(from.u32()) : from.f64s(from.u32());
  }
}
