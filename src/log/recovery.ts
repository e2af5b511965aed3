/**
 * Brings the index of a segment into memory and makes it true again after a crash or damage.
 *
 * The rule: what was acknowledged is never cut. A group commit is written only once the one before it is durable, so only
 * the last group of the last segment can be unfinished, and it is unfinished when bytes are missing: the file is too
 * short, or a whole disk sector within the span is zeros, which NDJSON never holds. Anything else that does not match is
 * damage: lost index lines are rebuilt from the data; data that fails its checksum stays, and is reported when it is read.
 */
import { crc32 } from "node:zlib";
import { type LogFile, type LogFs, openIfPresent } from "./file-system.ts";
import { rewriteIndex, type ScannedIndex, scanIndex } from "./index-file.ts";
import { type RecoveredSpan, recoverSpans } from "./recover-spans.ts";
import type { Segment } from "./segment.ts";
import { SpanIndex } from "./span-index.ts";

/** Something that recovery did, or could not do. */
export interface LogFinding {
  /**
   * `cut`: an unfinished tail was removed; `rebuilt`: index lines were rebuilt from the data; `damaged`: events are lost;
   * `unsaved`: the rebuilt index could not be written.
   */
  readonly kind: "cut" | "rebuilt" | "damaged" | "unsaved";
  readonly file: string;
  /** The first offset concerned, and how many events; 0 where bytes were cut that had no index line yet. */
  readonly from: number;
  readonly count: number;
  /** Bytes concerned in the data file. */
  readonly bytes: number;
  readonly cause?: string;
}

export interface LoadedSegment {
  readonly index: SpanIndex;
  readonly findings: readonly LogFinding[];
}

export interface LoadedLast extends LoadedSegment {
  /** Size of the index file after recovery. */
  readonly indexBytes: number;
  /** False when durable bytes are missing at the end, or the index is not on disk: appending must begin a new segment. */
  readonly appendable: boolean;
}

/** Source of events whose index line was lost, and with it who sent them; their time is the file's. */
export const RECOVERED_SOURCE = "recovered";

/** What the segments around one say about the times of its events. */
export interface TimeBounds {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Loads a sealed segment, which ends at offset `end`, where the next one begins. */
export async function loadSealed(
  fs: LogFs,
  dir: string,
  segment: Segment,
  end: number,
  bounds: TimeBounds,
): Promise<LoadedSegment> {
  const { index } = await scanIndex(fs, segment, end);
  return withData(fs, segment, async (data) => {
    const facts = await data?.stat();
    if (index.end < end) {
      const bytes = Math.max(0, (facts?.size ?? 0) - index.endAt);
      index.add({ count: end - index.end, bytes, crc: undefined, receivedAtMs: bounds.notAfterMs, source: "" });
    }
    const filled = await fillHoles(segment, index, data, bounds.notBeforeMs);
    if (!filled.findings.some(({ kind }) => kind === "rebuilt")) return filled;
    const saved = await save(fs, dir, segment, filled.index);
    return typeof saved === "number" ? filled : { ...filled, findings: [...filled.findings, saved] };
  });
}

/** Loads the last segment of a partition and cuts what was not finished. */
export async function loadLast(fs: LogFs, dir: string, segment: Segment, notBeforeMs: number): Promise<LoadedLast> {
  const scanned = await scanIndex(fs, segment, Number.POSITIVE_INFINITY);
  return withData(fs, segment, async (data) => {
    const facts = await data?.stat();
    const findings: LogFinding[] = [];
    let indexBytes = scanned.goodBytes;
    if (data && facts) {
      const unfinished = await firstUnfinished(data, scanned, facts.size);
      if (unfinished !== undefined) {
        findings.push(cutSpans(segment, scanned.index, unfinished, facts.size));
        indexBytes = scanned.lastGroup.lineStarts[unfinished - scanned.lastGroup.span] as number;
      } else if (facts.size > scanned.index.endAt && (scanned.tailLost || scanned.fileBytes === undefined)) {
        const spans = await recoverSpans(data, scanned.index.endAt, facts.size, Number.POSITIVE_INFINITY);
        if (spans.length > 0)
          findings.push(addRecovered(segment, scanned.index, spans, Math.max(notBeforeMs, facts.modifiedMs)));
      }
      if (findings.length === 0 && facts.size > scanned.index.endAt) {
        const { end, endAt } = scanned.index;
        findings.push({ kind: "cut", file: segment.dataPath, from: end, count: 0, bytes: facts.size - endAt });
      }
    }
    const filled = await fillHoles(segment, scanned.index, data, notBeforeMs);
    findings.push(...filled.findings);
    let appendable = facts !== undefined && facts.size >= filled.index.endAt;
    if (scanned.ragged || findings.some(({ kind }) => kind === "rebuilt")) {
      const saved = await save(fs, dir, segment, filled.index);
      if (typeof saved === "number") {
        indexBytes = saved;
      } else {
        findings.push(saved);
        appendable = false;
      }
    }
    return { index: filled.index, findings, indexBytes, appendable };
  });
}

async function withData<T>(fs: LogFs, segment: Segment, work: (data: LogFile | undefined) => Promise<T>): Promise<T> {
  const data = await openIfPresent(fs, segment.dataPath, "read");
  try {
    return await work(data);
  } finally {
    await data?.close();
  }
}

/** Saves what was rebuilt. A disk that takes nothing must not keep anyone from reading: then it is rebuilt again next time. */
async function save(fs: LogFs, dir: string, segment: Segment, index: SpanIndex): Promise<number | LogFinding> {
  try {
    return await rewriteIndex(fs, dir, segment, index);
  } catch (error) {
    return { kind: "unsaved", file: segment.indexPath, from: index.first, count: 0, bytes: 0, cause: String(error) };
  }
}

/** The first span of the last group whose bytes did not all reach the disk. */
async function firstUnfinished(data: LogFile, scanned: ScannedIndex, size: number): Promise<number | undefined> {
  const { index, lastGroup } = scanned;
  for (let i = lastGroup.span; i < index.length; i++) {
    if (index.until(i) > size) return i;
    const bytes = Buffer.allocUnsafe(index.bytes(i));
    await data.read(bytes, index.at(i));
    if (crc32(bytes) !== index.crc(i) && holdsZeroSector(bytes, index.at(i))) return i;
  }
  return undefined;
}

/** True when the part of some disk sector that lies within the bytes is all zeros. */
function holdsZeroSector(bytes: Buffer, at: number): boolean {
  for (let start = 0; start < bytes.length; ) {
    const end = Math.min(bytes.length, start + SECTOR_BYTES - ((at + start) % SECTOR_BYTES));
    if (bytes.subarray(start, end).every((byte) => byte === 0)) return true;
    start = end;
  }
  return false;
}

function cutSpans(segment: Segment, index: SpanIndex, span: number, size: number): LogFinding {
  const from = index.from(span);
  const count = index.end - from;
  const bytes = Math.max(0, size - index.at(span));
  index.truncate(span);
  return { kind: "cut", file: segment.dataPath, from, count, bytes };
}

function addRecovered(
  segment: Segment,
  index: SpanIndex,
  spans: readonly RecoveredSpan[],
  receivedAtMs: number,
): LogFinding {
  const from = index.end;
  const at = index.endAt;
  const timeMs = index.length > 0 ? Math.max(receivedAtMs, index.receivedAtMs(index.length - 1)) : receivedAtMs;
  for (const span of spans) index.add({ ...span, receivedAtMs: timeMs, source: RECOVERED_SOURCE });
  return { kind: "rebuilt", file: segment.dataPath, from, count: index.end - from, bytes: index.endAt - at };
}

/** Replaces each hole whose events the data still tells; a hole at the end may be followed by bytes that do not count. */
async function fillHoles(
  segment: Segment,
  index: SpanIndex,
  data: LogFile | undefined,
  notBeforeMs: number,
): Promise<LoadedSegment> {
  if (index.holes.size === 0) return { index, findings: [] };
  const findings: LogFinding[] = [];
  const filled = new SpanIndex(index.first);
  let receivedAtMs = notBeforeMs;
  const modifiedMs = (await data?.stat())?.modifiedMs ?? 0;
  for (let i = 0; i < index.length; i++) {
    if (!index.holes.has(i)) {
      receivedAtMs = index.receivedAtMs(i);
      filled.add(index.facts(i));
      continue;
    }
    // Times never run backwards within a partition: not before the span ahead, not after the one behind.
    receivedAtMs = Math.max(receivedAtMs, Math.min(index.receivedAtMs(i), modifiedMs));
    const spans = data ? await recoverSpans(data, index.at(i), index.until(i), index.count(i)) : [];
    const count = spans.reduce((sum, span) => sum + span.count, 0);
    const bytes = spans.reduce((sum, span) => sum + span.bytes, 0);
    if (count === index.count(i) && (bytes === index.bytes(i) || i === index.length - 1)) {
      findings.push(addRecovered(segment, filled, spans, receivedAtMs));
    } else {
      findings.push({
        kind: "damaged",
        file: segment.dataPath,
        from: index.from(i),
        count: index.count(i),
        bytes: index.bytes(i),
      });
      filled.add({ ...index.facts(i), receivedAtMs });
    }
  }
  return { index: filled, findings };
}

/** What every disk writes whole. */
const SECTOR_BYTES = 512;
