/** One partition of the embedded log: its segments in order, the end that moves, and who waits for it to move. */
import { join } from "node:path";
import { MillraceError } from "../errors.ts";
import { EndWaiters } from "./end-waiters.ts";
import type { Appended, Batch, Ends, Run } from "./event-log.ts";
import { isMissing, type LogFs } from "./file-system.ts";
import { GroupCommit, type Waiting } from "./group-commit.ts";
import { planSpans } from "./plan-spans.ts";
import { type Damage, readRun } from "./read-run.ts";
import { type LogFinding, loadLast, loadSealed } from "./recovery.ts";
import { listSegments, Segment } from "./segment.ts";
import { firstReceivedAtMs, lastReceivedAtMs } from "./segment-times.ts";
import { SegmentWriter } from "./segment-writer.ts";
import type { SpanIndex } from "./span-index.ts";

export interface PartitionOptions {
  readonly stream: string;
  readonly partition: number;
  readonly dir: string;
  readonly segmentBytes: number;
  readonly retentionMs: number;
  readonly clock: () => number;
  readonly fs: LogFs;
  readonly report: (finding: LogFinding) => void;
}

export class Partition {
  readonly #options: PartitionOptions;
  readonly #writer: SegmentWriter;
  readonly #commits = new GroupCommit((group) => this.#commit(group));
  readonly #waiters = new EndWaiters();
  /** In order; the last one is written to. */
  readonly #segments: Segment[] = [];
  /** Indexes in memory, the least recently used first. */
  readonly #indexes = new Map<Segment, Promise<SpanIndex>>();
  /** Taken out of the log, their files not yet removed. */
  readonly #expired: Segment[] = [];
  #sweeping: Promise<void> = Promise.resolve();
  /** Who wants no file removed. */
  #holds = 0;
  #end = 0;
  #receivedAtMs: number;
  #released = 0;
  #closed = false;

  static async open(options: PartitionOptions): Promise<Partition> {
    const { fs, dir } = options;
    await fs.makeDir(dir);
    const { firsts, leftovers } = listSegments(await fs.list(dir));
    for (const name of leftovers) await fs.remove(join(dir, name));
    const segments = firsts.map((first) => new Segment(fs, dir, first));
    const last = segments.at(-1);
    const beforeLast = segments.at(-2);
    const notBeforeMs = beforeLast ? await lastReceivedAtMs(fs, beforeLast) : 0;
    const loaded = last && (await loadLast(fs, dir, last, notBeforeMs));
    for (const finding of loaded?.findings ?? []) options.report(finding);
    const partition = new Partition(options, segments, notBeforeMs, loaded?.index);
    if (last && loaded?.appendable) await partition.#writer.resume(last, loaded);
    else await partition.#writer.begin();
    return partition;
  }

  private constructor(
    options: PartitionOptions,
    segments: Segment[],
    receivedAtMs: number,
    index: SpanIndex | undefined,
  ) {
    this.#options = options;
    this.#segments = segments;
    this.#receivedAtMs = receivedAtMs;
    const last = segments.at(-1);
    if (last && index) {
      this.#indexes.set(last, Promise.resolve(index));
      this.#end = index.end;
      if (index.length > 0) this.#receivedAtMs = index.receivedAtMs(index.length - 1);
    }
    this.#writer = new SegmentWriter(
      { ...options, onSegment: (begun, spans) => this.#addSegment(begun, spans) },
      this.#end,
    );
  }

  get ends(): Ends {
    return { start: this.#segments[0]?.first ?? 0, end: this.#end };
  }

  append(batch: Batch): Promise<Appended> {
    if (this.#closed) return Promise.reject(new MillraceError("SHUTTING_DOWN"));
    return this.#commits.append(batch);
  }

  async read(from: number, maxBytes: number): Promise<Run | undefined> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    const { stream, partition } = this.#options;
    const { start, end } = this.ends;
    if (from === end) return undefined;
    if (from > end) throw new MillraceError("LOG_OFFSET_AHEAD", { stream, partition, offset: from, end });
    if (from < start) throw new MillraceError("LOG_OFFSET_GONE", { stream, partition, offset: from, start });
    const segment = this.#segmentOf(from);
    let result: Run | Damage;
    try {
      const index = await this.#indexOf(segment);
      result = await readRun(segment, index, from, maxBytes).catch((error: unknown) => {
        if (isMissing(error)) return damageOfWhole(index);
        throw error;
      });
    } catch (cause) {
      throw new MillraceError("LOG_UNREADABLE", { stream, file: segment.dataPath, reason: message(cause) }, { cause });
    }
    if ("spans" in result) return result;
    // Retention may have been faster than this read.
    if (from < this.ends.start) return this.read(from, maxBytes);
    const details = { stream, partition, file: segment.dataPath, ...result };
    throw new MillraceError("LOG_CORRUPT", details, { details });
  }

  async wait(offset: number, signal: AbortSignal): Promise<void> {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    if (this.#end <= offset) await this.#waiters.wait(offset, signal);
  }

  release(offset: number): Promise<void> {
    this.#released = Math.max(this.#released, offset);
    return this.#sweep();
  }

  /** Keeps the files of every segment until the function it returns is called. */
  hold(): () => void {
    this.#holds++;
    return () => {
      this.#holds--;
      // What fails stays in the list of the expired, and the next `release` tries again and tells.
      this.#sweep().catch(() => undefined);
    };
  }

  /** What is durable now. `bytes` is missing for sealed files, which are complete. */
  durable(): Ends & { files: { path: string; bytes?: number }[] } {
    const active = this.#writer.durable();
    const files = this.#segments.flatMap((segment) => [
      { path: segment.dataPath, ...(active?.segment === segment && { bytes: active.dataBytes }) },
      { path: segment.indexPath, ...(active?.segment === segment && { bytes: active.indexBytes }) },
    ]);
    return { start: this.ends.start, end: Math.max(this.#end, active?.end ?? 0), files };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#commits.drained();
    this.#waiters.rejectAll(new MillraceError("SHUTTING_DOWN"));
    await this.#sweeping;
    await this.#writer.close();
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const batches = group.map(({ batch }) => batch);
    // A clock that was set back must not make a later event look older.
    const receivedAtMs = Math.max(this.#receivedAtMs, this.#options.clock());
    try {
      await this.#writer.write(
        batches.map(({ payload }) => payload),
        () => planSpans(batches, receivedAtMs),
      );
    } catch (cause) {
      const { stream, dir } = this.#options;
      const failure = new MillraceError(
        "LOG_UNAVAILABLE",
        { stream, reason: message(cause), remedy: `free space on or repair the disk of ${dir}` },
        { cause },
      );
      for (const { reject } of group) reject(failure);
      return;
    }
    this.#receivedAtMs = receivedAtMs;
    for (const { batch, resolve } of group) {
      const from = this.#end;
      this.#end += batch.count;
      resolve({ from, to: this.#end - 1, receivedAtMs });
    }
    this.#waiters.wake(this.#end);
  }

  #addSegment(segment: Segment, index: SpanIndex): void {
    // After a failed fsync a segment from which nothing was acknowledged begins anew.
    if (this.#segments.at(-1)?.first === segment.first) this.#indexes.delete(this.#segments.pop() as Segment);
    this.#segments.push(segment);
    this.#indexes.set(segment, Promise.resolve(index));
    this.#dropIndexes();
    // What fails here stays in the list of the expired, and the next `release` tries again and tells.
    this.#sweep().catch(() => undefined);
  }

  #segmentOf(offset: number): Segment {
    const after = this.#segments.findIndex(({ first }) => first > offset);
    return this.#segments.at(after === -1 ? -1 : after - 1) as Segment;
  }

  #indexOf(segment: Segment): Promise<SpanIndex> {
    const known = this.#indexes.get(segment);
    const index = known ?? this.#loadSealed(segment);
    this.#indexes.delete(segment);
    this.#indexes.set(segment, index);
    if (!known) this.#dropIndexes();
    return index;
  }

  async #loadSealed(segment: Segment): Promise<SpanIndex> {
    const { fs, dir, report } = this.#options;
    const place = this.#segments.indexOf(segment);
    const before = this.#segments[place - 1];
    const next = this.#segments[place + 1] as Segment;
    try {
      const bounds = {
        notBeforeMs: before ? await lastReceivedAtMs(fs, before) : 0,
        notAfterMs: (await firstReceivedAtMs(fs, next)) ?? Number.MAX_SAFE_INTEGER,
      };
      const { index, findings } = await loadSealed(fs, dir, segment, next.first, bounds);
      // Files that retention has removed meanwhile are no damage.
      if (this.#segments.includes(segment)) for (const finding of findings) report(finding);
      return index;
    } catch (error) {
      this.#indexes.delete(segment);
      throw error;
    }
  }

  #dropIndexes(): void {
    for (const segment of this.#indexes.keys()) {
      if (this.#indexes.size <= INDEXES_IN_MEMORY) break;
      if (segment !== this.#segments.at(-1)) this.#indexes.delete(segment);
    }
  }

  #sweep(): Promise<void> {
    this.#sweeping = this.#sweeping.catch(() => undefined).then(() => this.#removeExpired());
    return this.#sweeping;
  }

  async #removeExpired(): Promise<void> {
    const { fs, clock, retentionMs } = this.#options;
    for (;;) {
      const [oldest, next] = this.#segments;
      if (!oldest || !next || next.first > this.#released) break;
      if ((await lastReceivedAtMs(fs, oldest)) >= clock() - retentionMs) break;
      this.#segments.shift();
      this.#indexes.delete(oldest);
      this.#expired.push(oldest);
    }
    while (this.#expired[0] && this.#holds === 0) {
      await this.#expired[0].remove();
      this.#expired.shift();
    }
  }
}

function damageOfWhole(index: SpanIndex): Damage {
  const { receivedAtMs, source } = index.facts(0);
  return { from: index.first, to: index.end - 1, at: 0, bytes: index.endAt, receivedAtMs, source };
}

function message(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(message).join("; ");
  return error instanceof Error ? error.message : String(error);
}

/** The one written to, and one each for a reader close behind and for a replay from far back. */
const INDEXES_IN_MEMORY = 3;
