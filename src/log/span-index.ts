/**
 * The index of one segment in memory: where each commit span begins, in 28 bytes a span. A segment of 128 MiB that got
 * every event in a commit of its own has half a million spans; as objects they would take ten times as much.
 */
import type { IndexLine } from "./index-line.ts";

/** A span but for its place, which is where the one before it ends. */
export type SpanFacts = Pick<IndexLine, "count" | "bytes" | "crc" | "receivedAtMs" | "source">;

export class SpanIndex {
  /** Offset of the segment's first event. */
  readonly first: number;
  #length = 0;
  #end: number;
  #endAt = 0;
  #froms = new Uint32Array(64);
  #ats = new Float64Array(64);
  #crcs = new Uint32Array(64);
  #receivedAts = new Float64Array(64);
  #sourceIds = new Uint32Array(64);
  readonly #sources: string[] = [];
  readonly #idOfSource = new Map<string, number>();
  readonly #holes = new Set<number>();

  constructor(first: number) {
    this.first = first;
    this.#end = first;
  }

  get length(): number {
    return this.#length;
  }

  /** The offset after the last event. */
  get end(): number {
    return this.#end;
  }

  /** The position in the data file after the last event. */
  get endAt(): number {
    return this.#endAt;
  }

  /** Spans whose index line is lost. */
  get holes(): ReadonlySet<number> {
    return this.#holes;
  }

  /** Adds the span that follows the last one; without a checksum it is a hole. */
  add(span: SpanFacts): void {
    if (this.#length === this.#froms.length) this.#grow();
    const i = this.#length++;
    this.#froms[i] = this.#end - this.first;
    this.#ats[i] = this.#endAt;
    this.#crcs[i] = span.crc ?? 0;
    if (span.crc === undefined) this.#holes.add(i);
    this.#receivedAts[i] = span.receivedAtMs;
    this.#sourceIds[i] = this.#sourceId(span.source);
    this.#end += span.count;
    this.#endAt += span.bytes;
  }

  /** Drops span `i` and all behind it. */
  truncate(i: number): void {
    if (i >= this.#length) return;
    this.#end = this.from(i);
    this.#endAt = this.at(i);
    this.#length = i;
    for (const hole of this.#holes) if (hole >= i) this.#holes.delete(hole);
  }

  count(i: number): number {
    return this.to(i) - this.from(i) + 1;
  }

  bytes(i: number): number {
    return this.until(i) - this.at(i);
  }

  facts(i: number): SpanFacts {
    return {
      count: this.count(i),
      bytes: this.bytes(i),
      crc: this.crc(i),
      receivedAtMs: this.receivedAtMs(i),
      source: this.source(i),
    };
  }

  /** The span that holds `offset`, which must lie within the segment. */
  find(offset: number): number {
    const relative = offset - this.first;
    let low = 0;
    let high = this.#length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#froms[middle] as number) <= relative) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  from(i: number): number {
    return this.first + (this.#froms[i] as number);
  }

  /** Last offset of the span, inclusive. */
  to(i: number): number {
    return (i + 1 < this.#length ? this.from(i + 1) : this.#end) - 1;
  }

  at(i: number): number {
    return this.#ats[i] as number;
  }

  /** The position after the span's last byte. */
  until(i: number): number {
    return i + 1 < this.#length ? this.at(i + 1) : this.#endAt;
  }

  /** Undefined for a hole. */
  crc(i: number): number | undefined {
    return this.#holes.has(i) ? undefined : (this.#crcs[i] as number);
  }

  receivedAtMs(i: number): number {
    return this.#receivedAts[i] as number;
  }

  source(i: number): string {
    return this.#sources[this.#sourceIds[i] as number] as string;
  }

  #sourceId(source: string): number {
    let id = this.#idOfSource.get(source);
    if (id === undefined) {
      id = this.#sources.push(source) - 1;
      this.#idOfSource.set(source, id);
    }
    return id;
  }

  #grow(): void {
    const size = this.#froms.length * 2;
    const copy = <T extends Uint32Array | Float64Array>(into: T, of: T): T => {
      into.set(of);
      return into;
    };
    this.#froms = copy(new Uint32Array(size), this.#froms);
    this.#ats = copy(new Float64Array(size), this.#ats);
    this.#crcs = copy(new Uint32Array(size), this.#crcs);
    this.#receivedAts = copy(new Float64Array(size), this.#receivedAts);
    this.#sourceIds = copy(new Uint32Array(size), this.#sourceIds);
  }
}
