/**
 * Records that the Kinesis Producer Library put together, taken apart (KPL, "Aggregated Record Format"):
 *
 *     F3 89 9A C2 | AggregatedRecord (Protocol Buffers) | MD5 of the middle part, 16 bytes
 *
 *     AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2; repeated Record records = 3; }
 *     Record           { uint64 partition_key_index = 1; uint64 explicit_hash_key_index = 2; bytes data = 3; repeated Tag tags = 4; }
 */
import { hash } from "node:crypto";

/** Where one of the records stands in the bytes, and its keys. */
export interface UserRecord {
  readonly start: number;
  readonly end: number;
  readonly partitionKey: string;
  readonly explicitHashKey: string | undefined;
}

const MAGIC = 0xf3899ac2;
const MAGIC_BYTES = 4;
const DIGEST_BYTES = 16;
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

export function isAggregated(bytes: Buffer, start: number, end: number): boolean {
  return end - start > MAGIC_BYTES + DIGEST_BYTES && bytes.readUInt32BE(start) === MAGIC;
}

/** The records within, or what is wrong. */
export function userRecords(bytes: Buffer, start: number, end: number): readonly UserRecord[] | string {
  const from = start + MAGIC_BYTES;
  const to = end - DIGEST_BYTES;
  if (!hash("md5", bytes.subarray(from, to), "buffer").equals(bytes.subarray(to, end))) {
    return "its MD5 does not match";
  }
  const partitionKeys: string[] = [];
  const hashKeys: string[] = [];
  const records: { start: number; end: number; key: number; hashKey: number | undefined }[] = [];
  const text = (at: number, until: number) => bytes.toString("utf8", at, until);
  const whole = eachField(bytes, from, to, (field, valueStart, valueEnd) => {
    if (field === 1) partitionKeys.push(text(valueStart, valueEnd));
    else if (field === 2) hashKeys.push(text(valueStart, valueEnd));
    else if (field === 3) {
      const record = { start: -1, end: -1, key: -1, hashKey: undefined as number | undefined };
      const ok = eachField(bytes, valueStart, valueEnd, (inner, at, until, number) => {
        if (inner === 1) record.key = number;
        else if (inner === 2) record.hashKey = number;
        else if (inner === 3) [record.start, record.end] = [at, until];
        return true;
      });
      if (!ok) return false;
      records.push(record);
    }
    return true;
  });
  if (!whole) return "its Protocol Buffers message is cut off";
  const found: UserRecord[] = [];
  for (const { start: at, end: until, key, hashKey } of records) {
    const partitionKey = partitionKeys[key];
    if (at < 0 || partitionKey === undefined) return "a record in it has no data or no partition key";
    const explicitHashKey = hashKey === undefined ? undefined : hashKeys[hashKey];
    found.push({ start: at, end: until, partitionKey, explicitHashKey });
  }
  return found;
}

/** Hears of each field: number, where its bytes stand, and the value of a varint. False when the message is cut off or refused. */
function eachField(
  bytes: Buffer,
  from: number,
  to: number,
  hear: (field: number, start: number, end: number, value: number) => boolean,
): boolean {
  let at = from;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64 && at < to; shift += 7) {
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return -1;
  };
  while (at < to) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    const kind = tag % 8;
    let value = 0;
    let start = at;
    if (kind === VARINT) {
      value = varint();
      if (value < 0) return false;
    } else if (kind === BYTES) {
      const length = varint();
      if (length < 0) return false;
      start = at;
      at += length;
    } else if (kind === FIXED64) at += 8;
    else if (kind === FIXED32) at += 4;
    else return false;
    if (tag < 0 || at > to || !hear(field, start, at, value)) return false;
  }
  return true;
}
