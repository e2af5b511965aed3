/**
 * The events of one body that may be stored, as what the log takes: NDJSON, byte for byte as received but for raw line
 * breaks between tokens, which become spaces.
 *
 * A body of lines that is taken whole goes to the log as it is, uncopied.
 */
export interface AcceptedRun {
  readonly partition: number;
  readonly count: number;
  readonly payload: Uint8Array;
  readonly source: string;
}

/** A range that is a whole line with its line feed: taken as it stands. */
const LINE = 0;
/** A range that is an event alone: a line feed is added. */
const TEXT = 1;
/** The same, with raw line breaks in it. */
const BROKEN_TEXT = 2;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;

export class AcceptedEvents {
  readonly #body: Buffer;
  /** By partition; the first one is the only one for most streams. */
  readonly #ranges: Ranges[] = [];

  readonly source: string;

  constructor(body: Buffer, source: string) {
    this.#body = body;
    this.source = source;
  }

  get body(): Buffer {
    return this.#body;
  }

  /** A whole line of the body, its line feed included. */
  addLine(partition: number, start: number, end: number): void {
    const ranges = this.#of(partition);
    ranges.count++;
    if (ranges.lastKind === LINE && ranges.lastEnd === start) {
      ranges.lastEnd = end;
      return;
    }
    ranges.begin(start, end, LINE);
  }

  /** An event that stands between other bytes. */
  add(partition: number, start: number, end: number, lineBreaks: boolean): void {
    const ranges = this.#of(partition);
    ranges.count++;
    // An event followed by its line feed is a line, and lines in a row are one range.
    if (!lineBreaks && this.#body[end] === LINE_FEED) {
      if (ranges.lastKind === LINE && ranges.lastEnd === start) ranges.lastEnd = end + 1;
      else ranges.begin(start, end + 1, LINE);
      return;
    }
    ranges.begin(start, end, lineBreaks ? BROKEN_TEXT : TEXT);
  }

  runs(): AcceptedRun[] {
    const runs: AcceptedRun[] = [];
    this.#ranges.forEach((ranges, partition) => {
      const { count } = ranges;
      if (count > 0) runs.push({ partition, count, payload: ranges.payload(this.#body), source: this.source });
    });
    return runs;
  }

  #of(partition: number): Ranges {
    let ranges = this.#ranges[partition];
    if (ranges === undefined) {
      while (this.#ranges.length <= partition) this.#ranges.push(new Ranges());
      ranges = this.#ranges[partition] as Ranges;
    }
    return ranges;
  }
}

class Ranges {
  count = 0;
  lastStart = 0;
  lastEnd = 0;
  lastKind = -1;
  /** Start, end and kind of every range before the last. */
  #earlier: number[] | undefined;

  begin(start: number, end: number, kind: number): void {
    if (this.lastKind >= 0) {
      this.#earlier ??= [];
      this.#earlier.push(this.lastStart, this.lastEnd, this.lastKind);
    }
    this.lastStart = start;
    this.lastEnd = end;
    this.lastKind = kind;
  }

  payload(body: Buffer): Uint8Array {
    if (this.#earlier === undefined && this.lastKind === LINE) return body.subarray(this.lastStart, this.lastEnd);
    const all = [...(this.#earlier ?? []), this.lastStart, this.lastEnd, this.lastKind];
    let size = 0;
    for (let i = 0; i < all.length; i += 3)
      size += (all[i + 1] as number) - (all[i] as number) + (all[i + 2] === LINE ? 0 : 1);
    const payload = Buffer.allocUnsafe(size);
    let at = 0;
    for (let i = 0; i < all.length; i += 3) {
      const [start, end, kind] = [all[i] as number, all[i + 1] as number, all[i + 2] as number];
      body.copy(payload, at, start, end);
      if (kind === BROKEN_TEXT) spaceOut(payload, at, at + end - start);
      at += end - start;
      if (kind !== LINE) payload[at++] = LINE_FEED;
    }
    return payload;
  }
}

/** Raw line breaks become spaces. In valid JSON they stand only between tokens. */
function spaceOut(bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; at++) if (bytes[at] === LINE_FEED || bytes[at] === CARRIAGE_RETURN) bytes[at] = SPACE;
}
