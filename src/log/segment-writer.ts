/**
 * Writes the last segment of a partition, and begins the next one when it is full.
 *
 * The recipe of a durable write: write data and index, fdatasync both, and only then count it. When a write fails, both
 * files are cut back to the last durable end. When an fsync fails, the kernel may have marked the unwritten pages clean,
 * so what the files hold is unknown: they are left behind and a new segment begins at the same offset.
 */
import { type LogFile, type LogFs, openIfPresent } from "./file-system.ts";
import { encodeIndexLine } from "./index-line.ts";
import type { LoadedLast } from "./recovery.ts";
import { Segment } from "./segment.ts";
import { type SpanFacts, SpanIndex } from "./span-index.ts";

export interface WriterOptions {
  readonly fs: LogFs;
  readonly dir: string;
  readonly segmentBytes: number;
  /** Hears of each new segment before anything is written to it; its index grows as spans become durable. */
  onSegment(segment: Segment, index: SpanIndex): void;
}

interface Active {
  readonly segment: Segment;
  readonly index: SpanIndex;
  readonly data: LogFile;
  readonly indexFile: LogFile;
  indexBytes: number;
}

export class SegmentWriter {
  readonly #options: WriterOptions;
  #active: Active | undefined;
  /** First offset of the segment to begin when there is no active one. */
  #end: number;
  /** True when the files may hold more than what is durable. */
  #unclean = false;

  /** `end`: the offset after the last durable event. */
  constructor(options: WriterOptions, end: number) {
    this.#options = options;
    this.#end = end;
  }

  /** Goes on behind what recovery found. */
  async resume(segment: Segment, loaded: LoadedLast): Promise<void> {
    const { fs, dir } = this.#options;
    const data = await fs.open(segment.dataPath, "write");
    const indexFile =
      (await openIfPresent(fs, segment.indexPath, "write")) ?? (await fs.open(segment.indexPath, "create"));
    this.#active = { segment, index: loaded.index, data, indexFile, indexBytes: loaded.indexBytes };
    segment.activate(data);
    await this.#cutBack(this.#active);
    await data.datasync();
    await indexFile.datasync();
    await fs.syncDir(dir);
  }

  /** Begins the first segment, so that a folder that cannot be written shows at once. */
  async begin(): Promise<void> {
    this.#active = await this.#nextSegment();
  }

  /**
   * Makes `chunks`, lines one after the other, durable with the spans that `plan` divides them into. After a rejection
   * nothing of them counts.
   */
  async write(chunks: readonly Uint8Array[], plan: () => readonly SpanFacts[]): Promise<void> {
    const active = await this.#ready();
    const { index, data, indexFile } = active;
    let syncFailed = false;
    const put = async (file: LogFile, what: readonly Uint8Array[], at: number): Promise<void> => {
      await file.write(what, at);
      await file.datasync().catch((error: unknown) => {
        syncFailed = true;
        throw error;
      });
    };
    const dataPut = put(data, chunks, index.endAt);
    // Checksums are computed while the data is on its way: a tenth of the time of a large group.
    const spans = plan();
    const lines = Buffer.from(encodeLines(spans, index.end, index.endAt));
    // Both must have ended, well or not, before the files can be touched again.
    const outcomes = await Promise.allSettled([dataPut, put(indexFile, [lines], active.indexBytes)]);
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    if (!failure) {
      active.indexBytes += lines.length;
      for (const span of spans) index.add(span);
      this.#end = index.end;
      return;
    }
    this.#unclean = true;
    if (syncFailed) await this.#abandon(active, failure.reason);
    // When this fails as well, the next write tries it again before anything else.
    else
      await this.#cutBack(active).catch((error: unknown) =>
        Promise.reject(new AggregateError([failure.reason, error])),
      );
    throw failure.reason;
  }

  /** What of the segment being written is durable; undefined when none is, after an fsync that failed. */
  durable(): { segment: Segment; dataBytes: number; indexBytes: number; end: number } | undefined {
    const active = this.#active;
    if (!active) return undefined;
    const { segment, index, indexBytes } = active;
    return { segment, dataBytes: index.endAt, indexBytes, end: index.end };
  }

  async close(): Promise<void> {
    const active = this.#active;
    this.#active = undefined;
    if (!active) return;
    await active.indexFile.close();
    await active.segment.seal();
  }

  async #ready(): Promise<Active> {
    if (this.#active && this.#unclean) await this.#cutBack(this.#active);
    if (this.#active && this.#active.index.endAt >= this.#options.segmentBytes) {
      const full = this.#active;
      this.#active = await this.#nextSegment();
      await full.indexFile.close();
      await full.segment.seal();
    }
    this.#active ??= await this.#nextSegment();
    return this.#active;
  }

  async #cutBack(active: Active): Promise<void> {
    await active.data.truncate(active.index.endAt);
    await active.indexFile.truncate(active.indexBytes);
    this.#unclean = false;
  }

  /** Leaves the active segment with its durable part. What lies behind it is cut if that works, and ignored by recovery if not. */
  async #abandon(active: Active, reason: unknown): Promise<void> {
    this.#active = undefined;
    const outcomes = await Promise.allSettled([this.#cutBack(active)]);
    this.#unclean = false;
    outcomes.push(...(await Promise.allSettled([active.indexFile.close(), active.segment.seal()])));
    const failures = outcomes.filter((outcome) => outcome.status === "rejected");
    if (failures.length > 0) throw new AggregateError([reason, ...failures.map((failure) => failure.reason)]);
  }

  async #nextSegment(): Promise<Active> {
    const { fs, dir } = this.#options;
    const segment = new Segment(fs, dir, this.#end);
    // A file of this name holds nothing that is durable: it was begun and never acknowledged from.
    await segment.remove();
    const data = await fs.open(segment.dataPath, "create");
    let indexFile: LogFile | undefined;
    try {
      indexFile = await fs.open(segment.indexPath, "create");
      await fs.syncDir(dir);
    } catch (error) {
      await indexFile?.close();
      await data.close();
      throw error;
    }
    const index = new SpanIndex(segment.first);
    segment.activate(data);
    this.#options.onSegment(segment, index);
    return { segment, index, data, indexFile, indexBytes: 0 };
  }
}

function encodeLines(spans: readonly SpanFacts[], from: number, at: number): string {
  let lines = "";
  let spanFrom = from;
  let spanAt = at;
  for (const span of spans) {
    lines += encodeIndexLine({ ...span, from: spanFrom, at: spanAt, group: from });
    spanFrom += span.count;
    spanAt += span.bytes;
  }
  return lines;
}
