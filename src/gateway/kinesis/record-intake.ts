/**
 * Takes the records of a PutRecord or PutRecords as events.
 *
 * The data of a record is one JSON event, several of them as NDJSON, or several records that the Kinesis Producer Library put together.
 * Every event is held to the stream's contract. Which partition it goes to its key says, as at every door, and its id where the stream
 * has no key; only for a stream with neither the partition key of the record decides, by its MD5 as AWS does it.
 */
import { isUtf8 } from "node:buffer";
import type { AcceptedRun } from "../accepted-events.ts";
import { AcceptedEvents } from "../accepted-events.ts";
import type { EventJudge, Refusal } from "../event-judge.ts";
import { refuse } from "../event-judge.ts";
import type { PartitionOf, Router } from "../partition-router.ts";
import { partitionRouter } from "../partition-router.ts";
import type { ObjectPlan } from "../quick-plan.ts";
import { quickScan } from "../quick-scanner.ts";
import type { StreamDoor } from "../stream-door.ts";
import { firstInvalidUtf8 } from "../utf8-fault.ts";
import { isAggregated, userRecords } from "./aggregated-record.ts";
import { invalidArgument, serialization } from "./aws-error.ts";
import { partitionOfKey } from "./shards.ts";

/** A record as it came. */
export interface PutRecord {
  /** Base64 in JSON, bytes in CBOR. */
  readonly data: string | Uint8Array;
  readonly partitionKey: string;
  readonly explicitHashKey: string | undefined;
}

export interface RefusedRecord extends Refusal {
  /** Of the record. */
  readonly index: number;
  readonly payload: Uint8Array;
}

export const MOST_RECORDS = 500;
/** Of a request's data and partition keys together; also the most that AWS allows for a single record. */
export const MOST_BYTES = 10 * 1024 * 1024;
export const SOURCE = "kinesis";

/** Judged in one go before other requests get their turn: a few milliseconds. */
const BYTES_AT_ONCE = 2 * 1024 * 1024;
const LINE_FEED = 0x0a;

/** What a stream's records are routed by; made once per stream. */
export class RecordRouter {
  readonly partitions: number;
  readonly router: Router | undefined;
  /** Keys of the record whose events are being routed. */
  partitionKey = "";
  explicitHashKey: string | undefined;

  constructor({ stream }: StreamDoor, partitions: number, partitionOf: PartitionOf) {
    this.partitions = partitions;
    this.router = partitionRouter(stream, partitions, partitionOf, () =>
      partitionOfKey(this.partitionKey, this.explicitHashKey, this.partitions),
    );
  }
}

export class RecordIntake {
  readonly refused: RefusedRecord[] = [];
  /** By record: where its last event went, -1 when none of it was accepted, and which of that partition's events it is. */
  readonly partitions: Int32Array;
  readonly positions: Int32Array;
  readonly #records: readonly PutRecord[];
  readonly #judge: EventJudge;
  readonly #router: RecordRouter;
  readonly #maxEventBytes: number;
  /** The data of all records, each followed by a line feed. */
  readonly #bytes: Buffer;
  readonly #ends: Int32Array;
  readonly #accepted: AcceptedEvents;
  readonly #quick: { readonly bytes: Buffer; readonly view: DataView };
  readonly #utf8: boolean;
  /** Events accepted so far, by partition. */
  readonly #counts: number[] = [];
  #next = 0;

  /** @throws AwsError SerializationException, InvalidArgumentException */
  constructor(records: readonly PutRecord[], { judge }: StreamDoor, router: RecordRouter, maxEventBytes: number) {
    this.#records = records;
    this.#judge = judge;
    this.#router = router;
    this.#maxEventBytes = maxEventBytes;
    this.partitions = new Int32Array(records.length).fill(-1);
    this.positions = new Int32Array(records.length);
    this.#ends = new Int32Array(records.length);
    this.#bytes = this.#gathered();
    this.#quick = {
      bytes: this.#bytes,
      view: new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length),
    };
    this.#utf8 = isUtf8(this.#bytes);
    this.#accepted = new AcceptedEvents(this.#bytes, SOURCE);
  }

  /** Judges on. False: there is more. */
  take(): boolean {
    const records = this.#records;
    const router = this.#router;
    let start = this.#next === 0 ? 0 : (this.#ends[this.#next - 1] as number) + 1;
    const stop = start + BYTES_AT_ONCE;
    for (; this.#next < records.length && start < stop; this.#next++) {
      const index = this.#next;
      const end = this.#ends[index] as number;
      const record = records[index] as PutRecord;
      router.partitionKey = record.partitionKey;
      router.explicitHashKey = record.explicitHashKey;
      if (!this.#takeQuick(index, start, end)) this.#takeData(index, start, end);
      start = end + 1;
    }
    return this.#next === records.length;
  }

  runs(): AcceptedRun[] {
    return this.#accepted.runs();
  }

  #gathered(): Buffer {
    let most = 0;
    let size = 0;
    for (const { data, partitionKey } of this.#records) {
      const bytes = typeof data === "string" ? decodedSize(data) : data.length;
      most += bytes + 1;
      size += bytes + Buffer.byteLength(partitionKey);
    }
    if (size > MOST_BYTES) throw invalidArgument("Records size exceeds 10 MB limit");
    const bytes = Buffer.allocUnsafe(most);
    let at = 0;
    this.#records.forEach(({ data }, index) => {
      if (typeof data === "string") {
        const expected = decodedSize(data);
        if (expected > 0 && bytes.write(data, at, expected, "base64") !== expected) throw notBase64(index);
        at += expected;
      } else {
        bytes.set(data, at);
        at += data.length;
      }
      this.#ends[index] = at;
      bytes[at++] = LINE_FEED;
    });
    return bytes;
  }

  /** Takes one event that the quick scanner lets through, with the line feed that agents put behind it or without. */
  #takeQuick(index: number, start: number, end: number): boolean {
    const { plan } = this.#judge;
    if (plan === undefined || !this.#utf8 || end - start > this.#maxEventBytes) return false;
    const after = quickScan(plan, this.#quick, start);
    if (after !== end && (after !== end - 1 || this.#bytes[after] !== LINE_FEED)) return false;
    const { router } = this.#router;
    const partition = router === undefined ? 0 : router.ofQuick(plan.object as ObjectPlan, this.#bytes);
    if (partition < 0) return false;
    this.#accepted.addLine(partition, start, after + 1);
    this.#note(index, partition);
    return true;
  }

  #takeData(index: number, start: number, end: number): void {
    const bytes = this.#bytes;
    if (!isAggregated(bytes, start, end)) {
      this.#takeEvents(index, start, end);
      return;
    }
    const found = userRecords(bytes, start, end);
    if (typeof found === "string") {
      this.#refuse(index, start, end, refuse("KINESIS_AGGREGATE_BROKEN", { reason: found }));
      return;
    }
    for (const record of found) {
      this.#router.partitionKey = record.partitionKey;
      this.#router.explicitHashKey = record.explicitHashKey;
      this.#takeEvents(index, record.start, record.end);
    }
  }

  /** One event, or one on each line. */
  #takeEvents(index: number, from: number, to: number): void {
    const bytes = this.#bytes;
    const { scanner } = this.#judge;
    const start = scanner.skipSpace(bytes, from, to);
    let end = to;
    while (end > start && isSpace(bytes[end - 1] as number)) end--;
    if (!this.#utf8 && !isUtf8(bytes.subarray(start, end))) {
      const position = firstInvalidUtf8(bytes.subarray(start, end));
      this.#refuse(index, start, end, refuse("EVENT_NOT_UTF8", { position }));
      return;
    }
    const after = scanner.scan(bytes, start, end);
    const next = after < 0 ? end : scanner.skipSpace(bytes, after, end);
    if (next === end || bytes.subarray(after, next).indexOf(LINE_FEED) < 0) {
      this.#takeEvent(index, start, end, after === end);
      return;
    }
    for (let at = start; at < end; ) {
      const feed = bytes.indexOf(LINE_FEED, at);
      const lineEnd = feed < 0 || feed > end ? end : feed;
      const lineStart = scanner.skipSpace(bytes, at, lineEnd);
      let last = lineEnd;
      while (last > lineStart && isSpace(bytes[last - 1] as number)) last--;
      if (lineStart < last) this.#takeEvent(index, lineStart, last, false);
      at = lineEnd + 1;
    }
  }

  #takeEvent(index: number, start: number, end: number, scanned: boolean): void {
    const judge = this.#judge;
    const refusal = judge.judge(this.#bytes, start, end, scanned);
    if (refusal !== undefined) {
      this.#refuse(index, start, end, refusal);
      return;
    }
    const { router } = this.#router;
    const partition = router === undefined ? 0 : router.ofValue(judge.value);
    this.#accepted.add(partition, start, end, judge.scanner.lineBreaks);
    this.#note(index, partition);
  }

  #note(index: number, partition: number): void {
    while (this.#counts.length <= partition) this.#counts.push(0);
    const position = this.#counts[partition] as number;
    this.#counts[partition] = position + 1;
    this.partitions[index] = partition;
    this.positions[index] = position;
  }

  #refuse(index: number, start: number, end: number, refusal: Refusal): void {
    const payload = this.#bytes.subarray(start, Math.min(end, start + this.#maxEventBytes));
    this.refused.push({ ...refusal, index, payload });
  }
}

/** Bytes that a text of base64 stands for, by its length. @throws AwsError. */
function decodedSize(text: string): number {
  const { length } = text;
  if (length % 4 !== 0) throw serialization("Data is no base64: its length is no multiple of 4.");
  const padding = text.charCodeAt(length - 1) === EQUALS ? (text.charCodeAt(length - 2) === EQUALS ? 2 : 1) : 0;
  return (length / 4) * 3 - padding;
}

const EQUALS = 0x3d;

function notBase64(index: number): Error {
  return serialization(`Data of record ${index} is no base64.`);
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === LINE_FEED || byte === 0x0d;
}
