/** When the first and the last event of a segment arrived, without loading its index. */
import { type LogFs, withFile } from "./file-system.ts";
import { parseIndexLine } from "./index-line.ts";
import type { Segment } from "./segment.ts";

/** Milliseconds since the epoch; undefined when the index does not tell. */
export async function firstReceivedAtMs(fs: LogFs, segment: Segment): Promise<number | undefined> {
  const head = await part(fs, segment, () => 0);
  const end = head.indexOf(10);
  return end === -1 ? undefined : parseIndexLine(head, 0, end)?.receivedAtMs;
}

/** Milliseconds since the epoch; where the index does not tell, the time of the data file; 0 when there is none. */
export async function lastReceivedAtMs(fs: LogFs, segment: Segment): Promise<number> {
  const tail = await part(fs, segment, (size) => Math.max(0, size - LONGEST_LINE));
  if (tail.length > 1) {
    const start = tail.lastIndexOf(10, tail.length - 2) + 1;
    const line = parseIndexLine(tail, start, tail.length - 1);
    if (line) return line.receivedAtMs;
  }
  return (await withFile(fs, segment.dataPath, (file) => file.stat()))?.modifiedMs ?? 0;
}

async function part(fs: LogFs, segment: Segment, place: (size: number) => number): Promise<Buffer> {
  const bytes = await withFile(fs, segment.indexPath, async (file) => {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, LONGEST_LINE));
    return buffer.subarray(0, await file.read(buffer, place(size)));
  });
  return bytes ?? Buffer.alloc(0);
}

/** A source of 200 characters is at most 1,200 bytes of JSON. */
const LONGEST_LINE = 2048;
