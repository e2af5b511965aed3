/**
 * Takes a body apart into events and has each judged, in one pass.
 *
 * A body of lines is NDJSON; a body of JSON is one event, or an array of events. Reading stops now and then, so that a
 * large body neither holds up other requests nor piles up refusals: `read` is called until it says "done".
 */
import { MillraceError } from "../errors.ts";
import type { Refusal } from "./event-judge.ts";
import { shown } from "./event-judge.ts";
import type { JsonScanner } from "./json-scanner.ts";
import type { ValuePlan } from "./quick-plan.ts";
import type { QuickBody } from "./quick-scanner.ts";
import { quickScan } from "./quick-scanner.ts";

export interface RefusedEvent extends Refusal {
  readonly index: number;
  /** Where the event stands in the body. */
  readonly start: number;
  readonly end: number;
}

/** How a body holds its events. `single`: the whole body is one event, an array too. */
export type Framing = "lines" | "json" | "single";

/** Takes the events a reader finds. */
export interface Intake {
  /** What the quick scanner may follow; undefined when each event must be judged the exact way. */
  readonly plan: ValuePlan | undefined;
  readonly scanner: JsonScanner;
  /** Takes an event that the quick scanner let through; in a `line` its line feed is included. False: ask the exact way. */
  takeQuick(start: number, end: number, line: boolean): boolean;
  /** Judges an event and takes it, or says why not. `scanned`: the scanner's last scan was of this event. */
  take(start: number, end: number, scanned: boolean): Refusal | undefined;
}

/** Refusals gathered before they are handed on: enough to write them together, few enough to hold. */
export const REFUSALS_AT_ONCE = 1000;
/** Read in one go before other requests get their turn: a few milliseconds. */
const BYTES_AT_ONCE = 2 * 1024 * 1024;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

export class EventReader {
  /** Number of events met so far. */
  count = 0;
  /** Refused events that nobody has taken yet. */
  refused: RefusedEvent[] = [];

  readonly #body: Buffer;
  readonly #quick: QuickBody;
  readonly #intake: Intake;
  readonly #maxEventBytes: number;
  readonly #framing: Framing;
  #at = 0;
  /** Arrays: true once the bracket is open. */
  #inArray = false;
  /** True once the rest of the array is known to be well-formed. */
  #wellFormed = false;

  constructor(body: Buffer, framing: Framing, intake: Intake, maxEventBytes: number) {
    this.#body = body;
    this.#quick = { bytes: body, view: new DataView(body.buffer, body.byteOffset, body.length) };
    this.#framing = framing;
    this.#intake = intake;
    this.#maxEventBytes = maxEventBytes;
  }

  /**
   * Reads on. False: call again, after taking what is in `refused`.
   * @throws BODY_MALFORMED_JSON when the body as a whole is not JSON; nothing was refused or taken before that is thrown.
   */
  read(): boolean {
    if (this.#framing === "lines") return this.#readLines();
    return this.#readJson();
  }

  /** Takes the refusals gathered so far. */
  takeRefused(): RefusedEvent[] {
    const taken = this.refused;
    this.refused = [];
    return taken;
  }

  #readLines(): boolean {
    const body = this.#body;
    const end = body.length;
    const stop = Math.min(end, this.#at + BYTES_AT_ONCE);
    let at = this.#at;
    while (at < stop) {
      const after = this.#quickEnd(at);
      if (after > 0 && body[after] === LINE_FEED && this.#intake.takeQuick(at, after + 1, true)) {
        this.count++;
        at = after + 1;
        continue;
      }
      const feed = body.indexOf(LINE_FEED, at);
      const lineEnd = feed < 0 ? end : feed;
      this.#line(at, lineEnd);
      at = feed < 0 ? end : feed + 1;
      if (this.refused.length >= REFUSALS_AT_ONCE) break;
    }
    this.#at = at;
    return at >= end;
  }

  #line(lineStart: number, lineEnd: number): void {
    const body = this.#body;
    const { scanner } = this.#intake;
    const start = scanner.skipSpace(body, lineStart, lineEnd);
    if (start === lineEnd) return; // a blank line holds no event
    let end = lineEnd;
    while (isSpace(body[end - 1] as number)) end--;
    this.#decide(start, end, false);
  }

  #readJson(): boolean {
    const body = this.#body;
    const { scanner } = this.#intake;
    if (!this.#inArray) {
      this.#at = scanner.skipSpace(body, this.#at, body.length);
      if (this.#at === body.length) return true; // nothing but space
      if (this.#framing === "single" || body[this.#at] !== OPEN_ARRAY) return this.#readOne();
      this.#inArray = true;
      this.#at = scanner.skipSpace(body, this.#at + 1, body.length);
      if (body[this.#at] === CLOSE_ARRAY) return this.#finish(this.#at + 1);
    }
    const stop = this.#at + BYTES_AT_ONCE;
    for (;;) {
      if (!this.#element()) return this.#finish(this.#at);
      if (this.#at < stop && this.refused.length < REFUSALS_AT_ONCE) continue;
      // From here on refusals are made durable, so nothing that follows may still turn out to be no JSON.
      this.#verifyRest();
      return false;
    }
  }

  /** Reads one element and what follows it. False when it was the last. */
  #element(): boolean {
    const body = this.#body;
    const { scanner } = this.#intake;
    const start = this.#at;
    let after = this.#quickEnd(start);
    if (after >= 0 && this.#intake.takeQuick(start, after, false)) {
      this.count++;
    } else {
      after = scanner.scan(body, start, body.length);
      if (after < 0) throw malformedBody(body, scanner.at, scanner.expected);
      this.#decide(start, after, true);
    }
    after = scanner.skipSpace(body, after, body.length);
    const next = body[after];
    if (next !== COMMA && next !== CLOSE_ARRAY) throw malformedBody(body, after, "a comma or ]");
    this.#at = next === COMMA ? scanner.skipSpace(body, after + 1, body.length) : after + 1;
    return next === COMMA;
  }

  #readOne(): boolean {
    const body = this.#body;
    const { scanner } = this.#intake;
    const start = this.#at;
    const quick = this.#quickEnd(start);
    if (quick >= 0 && scanner.skipSpace(body, quick, body.length) === body.length) {
      if (this.#intake.takeQuick(start, quick, false)) {
        this.count++;
        return this.#finish(quick);
      }
    }
    const after = scanner.scan(body, start, body.length);
    if (after < 0) throw malformedBody(body, scanner.at, scanner.expected);
    this.#finish(after);
    this.#decide(start, after, true);
    return true;
  }

  /** Where an event ends that the quick scanner lets through; -1 for any other. */
  #quickEnd(start: number): number {
    const { plan } = this.#intake;
    if (plan === undefined) return -1;
    const end = quickScan(plan, this.#quick, start);
    return end - start > this.#maxEventBytes ? -1 : end;
  }

  #finish(after: number): true {
    const rest = this.#intake.scanner.skipSpace(this.#body, after, this.#body.length);
    if (rest < this.#body.length) throw malformedBody(this.#body, rest, "the end of the body");
    this.#at = rest;
    return true;
  }

  #verifyRest(): void {
    if (this.#wellFormed) return;
    const body = this.#body;
    const { scanner } = this.#intake;
    for (let at = this.#at; ; ) {
      const after = scanner.scan(body, at, body.length);
      if (after < 0) throw malformedBody(body, scanner.at, scanner.expected);
      at = scanner.skipSpace(body, after, body.length);
      if (body[at] === CLOSE_ARRAY) {
        const rest = scanner.skipSpace(body, at + 1, body.length);
        if (rest < body.length) throw malformedBody(body, rest, "the end of the body");
        break;
      }
      if (body[at] !== COMMA) throw malformedBody(body, at, "a comma or ]");
      at = scanner.skipSpace(body, at + 1, body.length);
    }
    this.#wellFormed = true;
  }

  #decide(start: number, end: number, scanned: boolean): void {
    const index = this.count++;
    const refusal = this.#intake.take(start, end, scanned);
    if (refusal !== undefined) this.refused.push({ index, code: refusal.code, message: refusal.message, start, end });
  }
}

export function malformedBody(body: Buffer, position: number, expected: string): MillraceError {
  return new MillraceError(
    "BODY_MALFORMED_JSON",
    { position, expected, got: shown(body, position, body.length) },
    { details: { position } },
  );
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === LINE_FEED || byte === CARRIAGE_RETURN;
}
