import { createHash } from "node:crypto";

/**
 * An id is known to the index by its MD5 as a 128-bit number, the digest's bytes read as little-endian: `low` are its first eight
 * bytes, `high` the last eight. Nobody can make an id that meets a given other one; who sends both could make a pair that
 * meet, and would only lose an event of his own.
 */
export function hashId(id: string): { low: bigint; high: bigint } {
  const digest = createHash("md5").update(id).digest();
  return { low: digest.readBigUInt64LE(0), high: digest.readBigUInt64LE(8) };
}

/**
 * The same in the engine's dialect, for a SELECT list: UBIGINT columns `hash_low` and `hash_high` of a text expression. One
 * `md5_number` split by arithmetic takes a quarter of the time of `md5_number_lower` and `md5_number_upper`.
 */
export function hashColumns(id: string): string {
  const hash = `md5_number(${id})`;
  return `(${hash} & 18446744073709551615)::ubigint as hash_low, (${hash} >> 64)::ubigint as hash_high`;
}
