/**
 * What a checkpoint consists of, wherever it lies: records, one behind the other.
 *
 *     magic "MRck" | bytes of the body u32 | CRC-32 of kind, take and body u32 | kind u8 | take u32 | body
 *     kind 1, entries:   a block of entries (state-entries.ts) of the pass over the state that `take` numbers
 *     kind 2, commit:    JSON: position, targets and what else stands in `Commit`
 *     kind 3, head:      JSON: the place of a commit among the objects of a lane (object-checkpoints.ts)
 *
 * Numbers are little-endian. A record begins with a magic number so that those behind damaged bytes are found.
 */
import { crc32 } from "node:zlib";

export const ENTRIES = 1;
export const COMMIT = 2;
export const HEAD = 3;

export const MAGIC = Buffer.from("MRck", "latin1");
export const HEADER_BYTES = 17;

export interface CheckpointRecord {
  readonly kind: number;
  readonly take: number;
  readonly body: Buffer;
}

/** What stands before a body. */
export function recordHeader(kind: number, take: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.set(MAGIC, 0);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt8(kind, 12);
  header.writeUInt32LE(take, 13);
  header.writeUInt32LE(crc32(body, crc32(header.subarray(12))), 8);
  return header;
}

/** Bytes of the record that begins with this header; undefined when it is none. */
export function recordBytes(header: Buffer): number | undefined {
  if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  return HEADER_BYTES + header.readUInt32LE(4);
}

/** The record of these bytes; undefined when they are not as they were written. */
export function readRecord(whole: Buffer): CheckpointRecord | undefined {
  if (crc32(whole.subarray(12)) !== whole.readUInt32LE(8)) return undefined;
  return { kind: whole.readUInt8(12), take: whole.readUInt32LE(13), body: whole.subarray(HEADER_BYTES) };
}

/** Every record of an object; `end` is where the last whole one does. */
export function readRecords(bytes: Buffer): { readonly records: readonly CheckpointRecord[]; readonly end: number } {
  const records: CheckpointRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = recordBytes(bytes.subarray(at, at + HEADER_BYTES));
    if (length === undefined || at + length > bytes.length) break;
    const record = readRecord(bytes.subarray(at, at + length));
    if (record === undefined) break;
    records.push(record);
    at += length;
  }
  return { records, end: at };
}

export function jsonOf<T>({ body }: CheckpointRecord): T {
  return JSON.parse(body.toString("utf8")) as T;
}
