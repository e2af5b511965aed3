/** A log in memory, whose appends a test may let fail in both ways: nothing was written, or all of it and nobody was told. */
import { MillraceError } from "../../src/errors.ts";
import { EndWaiters } from "../../src/log/end-waiters.ts";
import type { Appended, Batch, Ends, EventLog, Run } from "../../src/log/event-log.ts";

interface Stored {
  readonly line: string;
  readonly source: string;
  readonly receivedAtMs: number;
}

export class MemoryLog implements EventLog {
  readonly #partitions = new Map<string, { start: number; events: Stored[]; waiters: EndWaiters }[]>();
  nowMs = 1_000;
  /** Told of each append: `lost` and `kept` let it fail. */
  fate: (stream: string, batch: Batch) => "lost" | "kept" | undefined = () => undefined;
  /** Offsets whose bytes are damaged. */
  readonly damaged = new Set<string>();

  async open(stream: string, { partitions = 1 }: { partitions?: number } = {}): Promise<void> {
    const known = this.#partitions.get(stream) ?? [];
    this.#partitions.set(stream, known);
    while (known.length < partitions) known.push({ start: 0, events: [], waiters: new EndWaiters() });
  }

  partitions(stream: string): number {
    return this.#partitions.get(stream)?.length ?? 0;
  }

  async append(stream: string, partition: number, batch: Batch): Promise<Appended> {
    const fate = this.fate(stream, batch);
    if (fate !== "lost")
      this.add(stream, partition, Buffer.from(batch.payload).toString().trimEnd().split("\n"), batch.source);
    if (fate) throw new MillraceError("LOG_UNAVAILABLE", { stream, dir: "memory", reason: `${fate} by the test` });
    const { end } = this.ends(stream, partition);
    return { from: end - batch.count, to: end - 1, receivedAtMs: this.nowMs };
  }

  /** Appends lines, whatever the fate of appends. */
  add(stream: string, partition: number, lines: readonly string[], source: string): void {
    const { events, waiters } = this.#at(stream, partition);
    for (const line of lines) events.push({ line, source, receivedAtMs: this.nowMs });
    waiters.wake(this.ends(stream, partition).end);
  }

  /** Removes events below an offset, as retention does. */
  trim(stream: string, partition: number, start: number): void {
    const at = this.#at(stream, partition);
    at.events.splice(0, start - at.start);
    at.start = start;
  }

  events(stream: string, partition = 0): { readonly value: Record<string, unknown>; readonly source: string }[] {
    return this.#at(stream, partition).events.map(({ line, source }) => ({
      value: JSON.parse(line) as Record<string, unknown>,
      source,
    }));
  }

  ends(stream: string, partition: number): Ends {
    const { start, events } = this.#at(stream, partition);
    return { start, end: start + events.length };
  }

  async read(stream: string, partition: number, from: number, maxBytes: number): Promise<Run | undefined> {
    const { start, events } = this.#at(stream, partition);
    if (from < start) throw new MillraceError("LOG_OFFSET_GONE", { stream, partition, offset: from, start });
    const taken: Stored[] = [];
    let bytes = 0;
    for (const event of events.slice(from - start)) {
      if (taken.length > 0 && bytes + event.line.length > maxBytes) break;
      if (this.damaged.has(`${stream}/${partition}/${from + taken.length}`)) break;
      taken.push(event);
      bytes += event.line.length;
    }
    if (taken.length === 0) {
      if (from === start + events.length) return undefined;
      const details = { stream, partition, from, to: from, file: "memory", source: events[from - start]?.source };
      throw new MillraceError("LOG_CORRUPT", details, { details });
    }
    return {
      ...{ from, to: from + taken.length - 1, bytes: Buffer.from(taken.map(({ line }) => `${line}\n`).join("")) },
      spans: taken.map(({ source, receivedAtMs }, i) => ({ from: from + i, to: from + i, source, receivedAtMs })),
    };
  }

  async wait(stream: string, partition: number, offset: number, signal: AbortSignal): Promise<void> {
    if (this.ends(stream, partition).end <= offset) await this.#at(stream, partition).waiters.wait(offset, signal);
  }

  async refresh(): Promise<void> {}
  async release(): Promise<void> {}
  async close(): Promise<void> {}

  #at(stream: string, partition: number) {
    const found = this.#partitions.get(stream)?.[partition];
    if (!found) throw new MillraceError("LOG_PARTITION_UNKNOWN", { stream, partition, count: 0 });
    return found;
  }
}
