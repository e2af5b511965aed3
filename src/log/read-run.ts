/** Reads a run of one segment: whole spans with one disk read, each verified against its checksum. */
import { crc32 } from "node:zlib";
import type { Run, Span } from "./event-log.ts";
import { wholeLines } from "./recover-spans.ts";
import type { Segment } from "./segment.ts";
import type { SpanIndex } from "./span-index.ts";

/** Events whose bytes are gone or do not match their checksum; offsets inclusive, bytes in the segment's data file. */
export interface Damage {
  readonly from: number;
  readonly to: number;
  readonly at: number;
  readonly bytes: number;
  /** Arrival and source of the first of them. */
  readonly receivedAtMs: number;
  readonly source: string;
}

/**
 * The events from `from` on: as many whole spans as fit into `maxBytes`, or what fits of the first one, at least one event.
 * It ends before a damaged span; when the first one is damaged, that damage is returned instead.
 */
export async function readRun(
  segment: Segment,
  index: SpanIndex,
  from: number,
  maxBytes: number,
): Promise<Run | Damage> {
  const first = index.find(from);
  let last = lastWithin(index, first, maxBytes);
  const bytes = await segment.read(index.at(first), index.until(last) - index.at(first));
  for (let i = first; i <= last; i++) {
    if (isIntact(index, i, bytes, index.at(first))) continue;
    if (i === first) return damageOf(index, i);
    last = i - 1;
  }
  const start = wholeLines(bytes, from - index.from(first)).bytes;
  const end = index.until(last) - index.at(first);
  if (last > first || end - start <= maxBytes) {
    return { from, to: index.to(last), bytes: bytes.subarray(start, end), spans: spansOf(index, first, last, from) };
  }
  const lines = linesWithin(bytes.subarray(start, end), maxBytes);
  const to = from + lines.count - 1;
  const { receivedAtMs, source } = index.facts(first);
  return { from, to, bytes: bytes.subarray(start, start + lines.bytes), spans: [{ from, to, receivedAtMs, source }] };
}

function damageOf(index: SpanIndex, i: number): Damage {
  const { receivedAtMs, source } = index.facts(i);
  return { from: index.from(i), to: index.to(i), at: index.at(i), bytes: index.bytes(i), receivedAtMs, source };
}

/** The last span so that all from `first` to it fit into `maxBytes`; `first` when not even that one does. */
function lastWithin(index: SpanIndex, first: number, maxBytes: number): number {
  const limit = index.at(first) + maxBytes;
  let low = first;
  let high = index.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (index.until(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

function isIntact(index: SpanIndex, i: number, bytes: Buffer, bytesAt: number): boolean {
  const crc = index.crc(i);
  const end = index.until(i) - bytesAt;
  return crc !== undefined && end <= bytes.length && crc32(bytes.subarray(index.at(i) - bytesAt, end)) === crc;
}

/** As many whole lines as fit into `maxBytes`, at least one. */
function linesWithin(bytes: Buffer, maxBytes: number): { count: number; bytes: number } {
  const fits = bytes.lastIndexOf(10, Math.max(0, maxBytes - 1));
  return fits === -1 ? wholeLines(bytes, 1) : wholeLines(bytes.subarray(0, fits + 1), Number.POSITIVE_INFINITY);
}

/** The spans of a run; neighbours of the same source and time are one to the reader. */
function spansOf(index: SpanIndex, first: number, last: number, from: number): Span[] {
  const spans: Span[] = [];
  let open: { from: number; to: number; receivedAtMs: number; source: string } | undefined;
  for (let i = first; i <= last; i++) {
    const receivedAtMs = index.receivedAtMs(i);
    const source = index.source(i);
    if (open && open.receivedAtMs === receivedAtMs && open.source === source) {
      open.to = index.to(i);
    } else {
      open = { from: Math.max(from, index.from(i)), to: index.to(i), receivedAtMs, source };
      spans.push(open);
    }
  }
  return spans;
}
