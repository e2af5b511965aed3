import { MillraceError } from "../../src/errors.ts";
import type { Appended, Batch, Ends, EventLog, Run } from "../../src/log/event-log.ts";

/** The port over arrays: what the door's tests hold its answers against. */
export class MemoryLog implements EventLog {
  /** Set to make appends fail: the answer decides by stream and partition. */
  failure: ((stream: string, partition: number) => Error | undefined) | undefined;
  /** Resolves before a batch becomes durable; set to hold appends up. */
  gate: Promise<void> | undefined;
  readonly #partitions = new Map<string, MemoryPartition[]>();

  async open(stream: string, options: { partitions?: number } = {}): Promise<void> {
    if (this.#partitions.has(stream)) return;
    this.#partitions.set(
      stream,
      Array.from({ length: options.partitions ?? 1 }, () => new MemoryPartition()),
    );
  }

  partitions(stream: string): number {
    return this.#of(stream).length;
  }

  async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const target = this.#of(stream)[partition] as MemoryPartition;
    await this.gate;
    const failure = this.failure?.(stream, partition);
    if (failure !== undefined) throw failure;
    const lines = Buffer.from(batch.payload).toString("utf8").split("\n");
    if (lines.pop() !== "" || lines.length !== batch.count || batch.count === 0) {
      throw new Error(`a batch of ${batch.count} events holds ${lines.length} lines`);
    }
    const from = target.events.length;
    const receivedAtMs = Date.now();
    for (const line of lines) target.events.push({ line, source: batch.source, receivedAtMs });
    for (const wake of target.waiting.splice(0)) wake();
    return { from, to: target.events.length - 1, receivedAtMs };
  }

  ends(stream: string, partition: number): Ends {
    const { start, events } = this.#of(stream)[partition] as MemoryPartition;
    return { start, end: events.length };
  }

  async refresh(): Promise<void> {}

  async read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> {
    const { start, events } = this.#of(stream)[partition] as MemoryPartition;
    if (from < start) throw new MillraceError("LOG_OFFSET_GONE", { stream, partition, offset: from, start });
    if (from > events.length) {
      throw new MillraceError("LOG_OFFSET_AHEAD", { stream, partition, offset: from, end: events.length });
    }
    if (from === events.length) return undefined;
    let to = from;
    let size = 0;
    while (to < events.length && (to === from || size < maxBytes))
      size += (events[to++] as MemoryEvent).line.length + 1;
    const taken = events.slice(from, to);
    const bytes = Buffer.from(taken.map(({ line }) => `${line}\n`).join(""), "utf8");
    const spans = taken.map(({ source, receivedAtMs }, index) => ({
      from: from + index,
      to: from + index,
      receivedAtMs,
      source,
    }));
    return { from, to: to - 1, bytes, spans };
  }

  async wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void> {
    const target = this.#of(stream)[partition] as MemoryPartition;
    while (target.events.length <= offset && !signal.aborted) {
      await new Promise<void>((resolve) => {
        target.waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  async release(stream: string, partition: number, offset: number): Promise<void> {
    const target = this.#of(stream)[partition] as MemoryPartition;
    target.start = Math.max(target.start, offset);
  }

  async close(): Promise<void> {}

  /** The events of a stream as they were stored. */
  lines(stream: string, partition = 0): string[] {
    return this.#of(stream)[partition]?.events.map(({ line }) => line) ?? [];
  }

  sources(stream: string, partition = 0): string[] {
    return this.#of(stream)[partition]?.events.map(({ source }) => source) ?? [];
  }

  /** Sets when the events of a partition arrived. */
  retime(stream: string, partition: number, times: readonly number[]): void {
    const { events } = this.#of(stream)[partition] as MemoryPartition;
    times.forEach((receivedAtMs, index) => {
      (events[index] as MemoryEvent).receivedAtMs = receivedAtMs;
    });
  }

  #of(stream: string): MemoryPartition[] {
    const partitions = this.#partitions.get(stream);
    if (partitions === undefined) throw new Error(`the stream ${stream} is not open`);
    return partitions;
  }
}

interface MemoryEvent {
  readonly line: string;
  readonly source: string;
  receivedAtMs: number;
}

class MemoryPartition {
  start = 0;
  readonly events: MemoryEvent[] = [];
  readonly waiting: (() => void)[] = [];
}
