/**
 * Reads and rewrites a side index. Lines that are not what was once written are left out, and what they must have covered
 * shows as a hole between the lines around them.
 */
import { type LogFile, type LogFs, withFile } from "./file-system.ts";
import { encodeIndexLine, parseIndexLine } from "./index-line.ts";
import { type Segment, TEMPORARY_SUFFIX } from "./segment.ts";
import { SpanIndex } from "./span-index.ts";

export interface ScannedIndex {
  readonly index: SpanIndex;
  /** Size of the file; undefined when there is none. */
  readonly fileBytes: number | undefined;
  /** End of the last good line in the file. */
  readonly goodBytes: number;
  /** True when whole lines behind the last good one once said something and no longer do. */
  readonly tailLost: boolean;
  /** True when the last line counts though its line break does not stand: nothing may be appended to this file. */
  readonly ragged: boolean;
  /** The last group commit: all spans before it had been made durable before it was written. */
  readonly lastGroup: {
    /** Its first span; as many as there are spans when there is none. */
    readonly span: number;
    /** Where the line of each of its spans begins in the file. */
    readonly lineStarts: readonly number[];
  };
}

/** Reads an index; lines at or above offset `limit` do not count. */
export async function scanIndex(fs: LogFs, segment: Segment, limit: number): Promise<ScannedIndex> {
  const scan = new Scan(segment.first, limit);
  let ragged = false;
  const fileBytes = await withFile(fs, segment.indexPath, async (file) => {
    const { size } = await file.stat();
    const rest = await eachLine(file, size, (line, at) => scan.take(line, at));
    // The last line break itself may be what was damaged, or what was never written.
    const at = size - rest.length;
    ragged = scan.take(rest, at, false) || scan.take(rest.subarray(0, -1), at, false);
    return size;
  });
  return { ...scan.result(), fileBytes, ragged };
}

/** Writes an index afresh, as durably as it was: beside the old one, then in its place. Returns its size. */
export async function rewriteIndex(fs: LogFs, dir: string, segment: Segment, index: SpanIndex): Promise<number> {
  const temporary = segment.indexPath + TEMPORARY_SUFFIX;
  await fs.remove(temporary);
  const file = await fs.open(temporary, "create");
  let written = 0;
  try {
    for (let i = 0; i < index.length; ) {
      const lines: string[] = [];
      for (; i < index.length && lines.length < LINES_PER_WRITE; i++) {
        // All of them are durable, so each counts as a group of its own.
        lines.push(encodeIndexLine({ ...index.facts(i), from: index.from(i), at: index.at(i), group: index.from(i) }));
      }
      const chunk = Buffer.from(lines.join(""));
      await file.write([chunk], written);
      written += chunk.length;
    }
    await file.datasync();
  } finally {
    await file.close();
  }
  await fs.rename(temporary, segment.indexPath);
  await fs.syncDir(dir);
  return written;
}

class Scan {
  readonly #index: SpanIndex;
  readonly #limit: number;
  #goodBytes = 0;
  #tailLost = false;
  #group = -1;
  #groupSpan = 0;
  #lineStarts: number[] = [];

  constructor(first: number, limit: number) {
    this.#index = new SpanIndex(first);
    this.#limit = limit;
  }

  /** Takes the line (without its line break) that begins at `at`; false when it is not a good one. */
  take(bytes: Buffer, at: number, whole = true): boolean {
    const index = this.#index;
    const line = parseIndexLine(bytes, 0, bytes.length);
    if (line === undefined) {
      // A line that the disk never got is zeros; anything else was a line once.
      if (whole && !bytes.includes(NEVER_WRITTEN)) this.#tailLost = true;
      return false;
    }
    const follows = line.from === index.end && line.at === index.endAt;
    const leavesHole = line.from > index.end && line.at >= index.endAt;
    if (line.from + line.count > this.#limit || !(follows || leavesHole)) return false;
    if (leavesHole) {
      const { receivedAtMs } = line;
      const count = line.from - index.end;
      index.add({ count, bytes: line.at - index.endAt, crc: undefined, receivedAtMs, source: "" });
    }
    if (line.group !== this.#group) {
      this.#group = line.group;
      this.#groupSpan = index.length;
      this.#lineStarts = [];
    }
    this.#lineStarts.push(at);
    index.add(line);
    this.#goodBytes = at + bytes.length + 1;
    this.#tailLost = false;
    return true;
  }

  result(): Omit<ScannedIndex, "fileBytes" | "ragged"> {
    const lastGroup = { span: this.#groupSpan, lineStarts: this.#lineStarts };
    return { index: this.#index, goodBytes: this.#goodBytes, tailLost: this.#tailLost, lastGroup };
  }
}

/** Calls `take` with each whole line and its place in the file; returns the unfinished rest. */
async function eachLine(file: LogFile, size: number, take: (line: Buffer, at: number) => void): Promise<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for (let at = 0; at < size; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - at));
    const got = await file.read(chunk, at);
    if (got === 0) break;
    const bufferAt = at - rest.length;
    const buffer = Buffer.concat([rest, chunk.subarray(0, got)]);
    at += got;
    let start = 0;
    for (let end = buffer.indexOf(10); end !== -1; end = buffer.indexOf(10, start)) {
      take(buffer.subarray(start, end), bufferAt + start);
      start = end + 1;
    }
    rest = buffer.subarray(start);
  }
  return rest;
}

const NEVER_WRITTEN = Buffer.alloc(8);
/** About 8,000 lines: some 10 ms of work between two chances for others to run. */
const CHUNK_BYTES = 1024 * 1024;
const LINES_PER_WRITE = 8192;
