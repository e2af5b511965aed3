/** Which segments have been kept long enough. */
import { type LogFs, withFile } from "./file-system.ts";
import { parseIndexLine } from "./index-line.ts";
import type { Segment } from "./segment.ts";

/** True when the last event of a sealed segment arrived before `beforeMs`. */
export async function isOlder(fs: LogFs, segment: Segment, beforeMs: number): Promise<boolean> {
  return (await lastReceivedAtMs(fs, segment)) < beforeMs;
}

/** From the last line of the index; where that is damaged, from the time of the data file. */
async function lastReceivedAtMs(fs: LogFs, segment: Segment): Promise<number> {
  const tail = await withFile(fs, segment.indexPath, async (file) => {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, LONGEST_LINE));
    await file.read(buffer, size - buffer.length);
    return buffer;
  });
  if (tail && tail.length > 1) {
    const start = tail.lastIndexOf(10, tail.length - 2) + 1;
    const line = parseIndexLine(tail, start, tail.length - 1);
    if (line) return line.receivedAtMs;
  }
  return (await withFile(fs, segment.dataPath, (file) => file.stat()))?.modifiedMs ?? 0;
}

/** A source of 200 characters is at most 1,200 bytes of JSON. */
const LONGEST_LINE = 2048;
