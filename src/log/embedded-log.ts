/** The event log on local files: NDJSON segments with a side index, made durable by group commit. */
import { basename, join } from "node:path";
import { MillraceError } from "../errors.ts";
import { flawOf } from "./batch-flaw.ts";
import type { Appended, Batch, Ends, EventLog, LogFileContents, LogHold, Run } from "./event-log.ts";
import { type LogFs, nodeFs, withFile } from "./file-system.ts";
import { Partition } from "./partition.ts";
import type { LogFinding } from "./recovery.ts";

export interface EmbeddedLogOptions {
  /** Holds a folder per stream and partition. The caller holds the lock of the data folder it lies in. */
  readonly dir: string;
  /** A segment that has reached this size is sealed and the next one begins. Bytes, default 128 MiB. */
  readonly segmentBytes?: number;
  /** Released events are kept at least this long. Milliseconds, default 7 days. */
  readonly retentionMs?: number;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  readonly fs?: LogFs;
  /** Hears what recovery cut, rebuilt or found damaged. Default: a process warning. */
  readonly report?: (finding: LogFinding & { stream: string; partition: number }) => void;
}

/** Opens the log of a folder, which is created when missing; streams are opened one by one. */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EventLog> {
  const fs = options.fs ?? nodeFs;
  await fs.makeDir(options.dir);
  return new EmbeddedLog({
    segmentBytes: 128 * 1024 * 1024,
    retentionMs: 7 * 24 * 3600 * 1000,
    clock: Date.now,
    report: (finding) => process.emitWarning(`log: ${JSON.stringify(finding)}`),
    ...options,
    fs,
  });
}

class EmbeddedLog implements EventLog {
  readonly #options: Required<EmbeddedLogOptions>;
  readonly #streams = new Map<string, Promise<void>>();
  readonly #partitions = new Map<string, readonly Partition[]>();
  #closed = false;

  constructor(options: Required<EmbeddedLogOptions>) {
    this.#options = options;
  }

  open(stream: string, { partitions = 1 }: { partitions?: number } = {}): Promise<void> {
    if (this.#closed) return Promise.reject(new MillraceError("SHUTTING_DOWN"));
    let opening = this.#streams.get(stream);
    if (!opening) {
      opening = this.#open(stream, partitions).catch((error: unknown) => {
        this.#streams.delete(stream);
        throw error;
      });
      this.#streams.set(stream, opening);
    }
    return opening;
  }

  async #open(stream: string, wanted: number): Promise<void> {
    if (!/^\w[\w-]{0,199}$/.test(stream)) throw new MillraceError("LOG_STREAM_NAME", { stream });
    const { dir, fs, segmentBytes, retentionMs, clock, report } = this.#options;
    const streamDir = join(dir, stream);
    await fs.makeDir(streamDir);
    const existing = (await fs.list(streamDir)).filter((name) => /^\d+$/.test(name)).map(Number);
    const count = Math.max(wanted, ...existing.map((partition) => partition + 1));
    const openings = Array.from({ length: count }, (_, partition) =>
      Partition.open({
        stream,
        partition,
        dir: join(streamDir, String(partition)),
        segmentBytes,
        retentionMs,
        clock,
        fs,
        report: (finding) => report({ stream, partition, ...finding }),
      }),
    );
    const outcomes = await Promise.allSettled(openings);
    const failure = outcomes.find((outcome) => outcome.status === "rejected");
    const opened = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    if (failure || this.#closed) {
      await Promise.all(opened.map((partition) => partition.close()));
      throw failure?.reason ?? new MillraceError("SHUTTING_DOWN");
    }
    await fs.syncDir(streamDir);
    await fs.syncDir(dir);
    this.#partitions.set(stream, opened);
  }

  partitions(stream: string): number {
    const partitions = this.#partitions.get(stream);
    if (!partitions) throw new MillraceError("LOG_PARTITION_UNKNOWN", { stream, partition: 0, count: 0 });
    return partitions.length;
  }

  async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const flaw = flawOf(batch);
    if (flaw) throw new MillraceError("LOG_BATCH_INVALID", { stream, flaw });
    return this.#working(stream, partition).append(batch);
  }

  ends(stream: string, partition: number): Ends {
    return this.#partition(stream, partition).ends;
  }

  /** Nobody else appends to the folder: its lock keeps a second process out. */
  async refresh(streams: Iterable<string> = this.#partitions.keys()): Promise<void> {
    for (const stream of streams) this.#working(stream, 0);
  }

  async read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> {
    return this.#working(stream, partition).read(from, maxBytes);
  }

  async wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void> {
    return this.#working(stream, partition).wait(offset, signal);
  }

  async release(stream: string, partition: number, offset: number): Promise<void> {
    return this.#working(stream, partition).release(offset);
  }

  hold(): LogHold {
    const held = new Map([...this.#partitions].map(([stream, partitions]) => [stream, [...partitions]]));
    const releases = [...held.values()].flat().map((partition) => partition.hold());
    const { fs } = this.#options;
    return {
      contents: async () => {
        // First of all, and without waiting: what comes after is of no moment.
        const open = [...held].flatMap(([stream, parts]) =>
          parts.map((part, partition) => ({ stream, partition, ...part.durable() })),
        );
        const files: LogFileContents[] = [];
        for (const { stream, partition, files: durable } of open) {
          for (const { path, bytes } of durable) {
            const size = bytes ?? (await sizeOf(fs, path));
            if (size === undefined) continue; // a data file lost before; the log reports it where it is read
            files.push({ name: `${stream}/${partition}/${basename(path)}`, path, bytes: size });
          }
        }
        files.push(...(await this.#formerFiles(held)));
        return { partitions: open.map(({ files: _, ...ends }) => ends), files };
      },
      release: () => {
        for (const release of releases.splice(0)) release();
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#streams.values()); // whoever opened a stream hears of its failure
    await Promise.all([...this.#partitions.values()].flat().map((partition) => partition.close()));
  }

  /** Files of streams that no definition names any more. Nobody writes to them. */
  async #formerFiles(open: ReadonlyMap<string, unknown>): Promise<LogFileContents[]> {
    const { dir, fs } = this.#options;
    const files: LogFileContents[] = [];
    for (const stream of await fs.list(dir)) {
      if (open.has(stream)) continue;
      for (const partition of await fs.list(join(dir, stream))) {
        for (const file of await fs.list(join(dir, stream, partition))) {
          const path = join(dir, stream, partition, file);
          const bytes = await sizeOf(fs, path);
          if (bytes !== undefined) files.push({ name: `${stream}/${partition}/${file}`, path, bytes });
        }
      }
    }
    return files;
  }

  #working(stream: string, partition: number): Partition {
    if (this.#closed) throw new MillraceError("SHUTTING_DOWN");
    return this.#partition(stream, partition);
  }

  #partition(stream: string, partition: number): Partition {
    const partitions = this.#partitions.get(stream);
    const found = partitions?.[partition];
    if (!found) throw new MillraceError("LOG_PARTITION_UNKNOWN", { stream, partition, count: partitions?.length ?? 0 });
    return found;
  }
}

async function sizeOf(fs: LogFs, path: string): Promise<number | undefined> {
  return (await withFile(fs, path, (file) => file.stat()))?.size;
}
