/** Finds spans again from the data alone: the lines themselves say how many events there are. */
import { crc32 } from "node:zlib";
import type { LogFile } from "./file-system.ts";

export interface RecoveredSpan {
  readonly count: number;
  readonly bytes: number;
  readonly crc: number;
}

/**
 * The whole lines between two positions of a data file, at most `limit` of them, as spans of about 256 KiB. It ends at a
 * line that holds a zero byte, which no event does: those bytes never reached the disk.
 */
export async function recoverSpans(file: LogFile, at: number, until: number, limit: number): Promise<RecoveredSpan[]> {
  const spans: RecoveredSpan[] = [];
  let left = limit;
  let want = SPAN_BYTES;
  for (let position = at; position < until && left > 0; ) {
    const buffer = Buffer.allocUnsafe(Math.min(want, until - position));
    const bytes = buffer.subarray(0, await file.read(buffer, position));
    const zeroAt = bytes.indexOf(0);
    const lines = wholeLines(zeroAt === -1 ? bytes : bytes.subarray(0, zeroAt), left);
    if (lines.bytes > 0) {
      spans.push({ ...lines, crc: crc32(bytes.subarray(0, lines.bytes)) });
      position += lines.bytes;
      left -= lines.count;
      want = SPAN_BYTES;
    } else if (zeroAt === -1 && bytes.length === want) {
      want *= 2; // one line longer than all of it
      continue;
    }
    if (zeroAt !== -1 || lines.bytes === 0) break;
  }
  return spans;
}

/** Count and length of the whole lines at the start of `bytes`, at most `limit`. */
export function wholeLines(bytes: Uint8Array, limit: number): { count: number; bytes: number } {
  let count = 0;
  let end = 0;
  while (count < limit) {
    const lineBreak = bytes.indexOf(10, end);
    if (lineBreak === -1) break;
    end = lineBreak + 1;
    count++;
  }
  return { count, bytes: end };
}

const SPAN_BYTES = 256 * 1024;
