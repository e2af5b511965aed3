/** What readers get out of record batches: a run of lines with their offsets, times and sources. */
import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { crc32c } from "@node-rs/crc32";
import { compressionsAlgorithmsByBitmask } from "@platformatic/kafka";
import type { Run, Span } from "../event-log.ts";
import { CODECS, FIELDS, LENGTH_PREFIX, SOURCE_HEADER } from "./record-batch.ts";

/** A record batch as the broker keeps it. */
export interface StoredBatch {
  readonly from: number;
  readonly to: number;
  readonly bytes: Buffer;
  /** Time of arrival where the bytes do not have it: a batch as it was sent. */
  readonly receivedAtMs?: number;
}

/** Divides what a broker answers into whole batches; the last one may have been cut off, and is left out. */
export function splitBatches(records: Buffer): StoredBatch[] {
  const batches: StoredBatch[] = [];
  for (let at = 0; at + FIELDS.records <= records.length; ) {
    const end = at + LENGTH_PREFIX + records.readInt32BE(at + FIELDS.batchLength);
    if (end > records.length) break;
    const bytes = records.subarray(at, end);
    const from = Number(bytes.readBigInt64BE(FIELDS.baseOffset));
    batches.push({ from, to: from + bytes.readInt32BE(FIELDS.lastOffsetDelta), bytes });
    at = end;
  }
  return batches;
}

/** A batch that cannot be read: its bytes are damaged, or of a format before 2017. */
export class UnreadableBatch extends Error {
  readonly batch: StoredBatch;
  constructor(batch: StoredBatch, reason: string) {
    super(reason);
    this.batch = batch;
  }
}

/** Where a record comes from that says nothing of it: one that somebody else has written. */
export const FOREIGN_SOURCE = "kafka";

/**
 * The events from `from` on out of consecutive batches, of which the first one holds it: about `maxBytes`, at least one.
 * Offsets that hold no event (marks of transactions, records that compaction has taken) are lines of `null`, so that lines and offsets agree.
 * @throws UnreadableBatch when the batch of `from` cannot be read; a later one ends the run.
 */
export async function readRecords(batches: readonly StoredBatch[], from: number, maxBytes: number): Promise<Run> {
  const run = new RunBuilder(from, maxBytes);
  for (const batch of batches) {
    if (batch.to < run.next) continue;
    if (run.full) break;
    try {
      run.add(batch, await recordsOf(batch));
    } catch (error) {
      if (run.next > from && error instanceof UnreadableBatch) break;
      throw error;
    }
  }
  return run.result();
}

class RunBuilder {
  readonly #from: number;
  readonly #maxBytes: number;
  readonly #parts: Buffer[] = [];
  readonly #spans: { from: number; to: number; receivedAtMs: number; source: string }[] = [];
  #bytes = 0;
  next: number;
  full = false;

  constructor(from: number, maxBytes: number) {
    this.#from = from;
    this.#maxBytes = maxBytes;
    this.next = from;
  }

  add(batch: StoredBatch, records: Buffer): void {
    const attributes = batch.bytes.readInt16BE(FIELDS.attributes);
    const brokerTime = (attributes & BROKER_TIME) !== 0;
    const baseTime = Number(batch.bytes.readBigInt64BE(brokerTime ? FIELDS.maxTimestamp : FIELDS.baseTimestamp));
    // Each record is longer than its line: five bytes at least stand around its value.
    const room = Math.min(records.length, Math.max(0, this.#maxBytes - this.#bytes));
    const out = Buffer.allocUnsafe(room);
    let flushed = 0;
    let used = 0;
    const flush = (): void => {
      if (used > flushed) this.#parts.push(out.subarray(flushed, used));
      this.#bytes += used - flushed;
      flushed = used;
    };
    const put = (line: Buffer, offset: number, receivedAtMs: number, source: string): boolean => {
      const size = line.length + 1;
      if (this.next > this.#from && this.#bytes + used - flushed + size > this.#maxBytes) return false;
      if (used + size > out.length) {
        // The first event of a run may be more than its limit, and offsets without an event have no bytes here.
        flush();
        this.#parts.push(Buffer.concat([line, LINE_BREAK]));
        this.#bytes += size;
      } else {
        used += line.copy(out, used);
        out[used++] = 10;
      }
      this.#span(offset, receivedAtMs, source);
      this.next = offset + 1;
      return true;
    };
    const fill = (until: number): boolean => {
      while (this.next < until)
        if (!put(NOTHING, this.next, batch.receivedAtMs ?? baseTime, FOREIGN_SOURCE)) return false;
      return true;
    };
    const cursor = new RecordCursor(records);
    let source = FOREIGN_SOURCE;
    const count = (attributes & CONTROL) === 0 ? batch.bytes.readInt32BE(FIELDS.recordCount) : 0;
    for (let i = 0; i < count && !this.full; i++) {
      cursor.advance();
      source = cursor.source ?? source;
      const offset = batch.from + cursor.offsetDelta;
      if (offset < this.next) continue;
      const receivedAtMs = batch.receivedAtMs ?? (brokerTime ? baseTime : baseTime + cursor.timeDelta);
      this.full = !fill(offset) || !put(cursor.line(), offset, receivedAtMs, source);
    }
    if (!this.full) this.full = !fill(batch.to + 1);
    flush();
  }

  result(): Run {
    const [only, ...more] = this.#parts;
    const bytes = only && more.length === 0 ? only : Buffer.concat(this.#parts);
    return { from: this.#from, to: this.next - 1, bytes, spans: this.#spans as readonly Span[] };
  }

  #span(offset: number, receivedAtMs: number, source: string): void {
    const last = this.#spans.at(-1);
    if (last && last.receivedAtMs === receivedAtMs && last.source === source) last.to = offset;
    else this.#spans.push({ from: offset, to: offset, receivedAtMs, source });
  }
}

/** Goes from record to record. */
class RecordCursor {
  readonly #records: Buffer;
  #at = 0;
  #end = 0;
  #valueAt = 0;
  #valueLength = 0;
  /** The next line break at or behind the values seen so far: values that have none need not be searched one by one. */
  #lineBreak = -2;
  offsetDelta = 0;
  timeDelta = 0;
  source: string | undefined;

  constructor(records: Buffer) {
    this.#records = records;
  }

  advance(): void {
    this.#at = this.#end;
    const length = this.#varint();
    this.#end = this.#at + length;
    if (this.#end > this.#records.length) throw new RangeError("a record ends behind its batch");
    this.#at++; // attributes
    this.timeDelta = this.#varint();
    this.offsetDelta = this.#varint();
    const key = this.#varint();
    if (key > 0) this.#at += key;
    this.#valueLength = this.#varint();
    this.#valueAt = this.#at;
    if (this.#valueLength > 0) this.#at += this.#valueLength;
    this.source = undefined;
    for (let headers = this.#varint(); headers > 0; headers--) {
      const name = this.#text();
      if (name === SOURCE_HEADER) this.source = this.#text()?.slice(0, 200);
      else this.#skip();
    }
  }

  /** The value as one line. Line breaks stand between tokens in JSON, where a space says the same. */
  line(): Buffer {
    if (this.#valueLength <= 0) return NOTHING;
    const end = this.#valueAt + this.#valueLength;
    const value = this.#records.subarray(this.#valueAt, end);
    if (this.#lineBreak !== -1 && this.#lineBreak < this.#valueAt)
      this.#lineBreak = this.#records.indexOf(10, this.#valueAt);
    if (this.#lineBreak === -1 || this.#lineBreak >= end) return value;
    return Buffer.from(Uint8Array.from(value, (byte) => (byte === 10 || byte === 13 ? 32 : byte)));
  }

  #text(): string | undefined {
    const length = this.#varint();
    if (length < 0) return undefined;
    this.#at += length;
    return this.#records.toString("utf8", this.#at - length, this.#at);
  }

  #skip(): void {
    const length = this.#varint();
    if (length > 0) this.#at += length;
  }

  /** Zigzag, seven bits a byte. Doubles hold every time and length there is. */
  #varint(): number {
    let byte = this.#records[this.#at++] as number;
    let value = byte & 127;
    for (let scale = 128; byte > 127; scale *= 128) {
      byte = this.#records[this.#at++] as number;
      if (byte === undefined) throw new RangeError("a record ends behind its batch");
      value += (byte & 127) * scale;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

const BROKER_TIME = 8;
const CONTROL = 32;
const NOTHING = Buffer.from("null");
const LINE_BREAK = Buffer.from("\n");
const decompressZstd = promisify(zstdDecompress);
/** The default of 16 KiB takes a turn of the thread pool for each. */
const ZSTD_OPTIONS = { chunkSize: 1024 * 1024 };

/** Verifies a batch and gives its records as they were before compression. */
async function recordsOf(batch: StoredBatch): Promise<Buffer> {
  const { bytes } = batch;
  if (bytes[FIELDS.magic] !== 2)
    throw new UnreadableBatch(batch, `its format is version ${bytes[FIELDS.magic]}, not 2`);
  // What was sent from here and is still in memory has no checksum of the broker's to be compared with.
  if (batch.receivedAtMs === undefined && crc32c(bytes.subarray(FIELDS.attributes)) !== bytes.readUInt32BE(FIELDS.crc))
    throw new UnreadableBatch(batch, "it does not match its checksum");
  const codec = bytes.readInt16BE(FIELDS.attributes) & 7;
  const records = bytes.subarray(FIELDS.records);
  if (codec === CODECS.none) return records;
  const algorithm = compressionsAlgorithmsByBitmask[codec];
  if (!algorithm) throw new UnreadableBatch(batch, `its compression is number ${codec}, which nobody knows`);
  try {
    return codec === CODECS.zstd ? await decompressZstd(records, ZSTD_OPTIONS) : algorithm.decompressSync(records);
  } catch (error) {
    throw new UnreadableBatch(batch, `it does not decompress: ${(error as Error).message}`);
  }
}
