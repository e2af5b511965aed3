/**
 * Takes the body of a Segment request apart, in one pass.
 *
 *     POST /v1/batch (b, import)    {"batch": [message, …], "sentAt": "…", "context": {…}, "integrations": {…}, "writeKey": "…"}
 *     POST /v1/track (t) …          message
 *
 * The fields of a batch stand in any order, and what they say about its messages may come after them: so messages are only found here, and
 * completed and judged afterwards.
 */
import { isUtf8 } from "node:buffer";
import { MillraceError } from "../../errors.ts";
import { malformedBody } from "../event-reader.ts";
import type { JsonScanner } from "../json-scanner.ts";
import { anyPlan } from "../quick-plan.ts";
import type { QuickBody } from "../quick-scanner.ts";
import { quickScan } from "../quick-scanner.ts";
import { firstInvalidUtf8 } from "../utf8-fault.ts";
import type { BatchFields } from "./complete-message.ts";
import { keyAt, membersOf } from "./members.ts";
import type { MessagePlan } from "./message-plan.ts";

const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const QUOTE = 0x22;

export class MessageReader {
  readonly body: Buffer;
  /** Where each message begins and ends. */
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  /** What it lacks (message-plan.ts); -1: it must go the exact way. */
  readonly lacking: number[] = [];
  /** Where the value of its messageId stands, quotes included; only of messages that need not go the exact way. */
  readonly idStarts: number[] = [];
  readonly idEnds: number[] = [];
  writeKey: string | undefined;
  fields: BatchFields = NO_FIELDS;
  /** False when the fields hold something that only the exact way can judge. */
  plainFields = true;
  readonly #quick: QuickBody;
  readonly #plan: MessagePlan | undefined;
  readonly #scanner: JsonScanner;
  readonly #maxNesting: number;

  constructor(body: Buffer, plan: MessagePlan | undefined, scanner: JsonScanner, maxNesting: number) {
    this.body = body;
    this.#quick = { bytes: body, view: new DataView(body.buffer, body.byteOffset, body.length) };
    this.#plan = plan;
    this.#scanner = scanner;
    this.#maxNesting = maxNesting;
  }

  /** Reads the whole body. @throws BODY_EMPTY, BODY_NOT_UTF8, BODY_MALFORMED_JSON, SEGMENT_BODY_INVALID */
  read(single: boolean): void {
    const { body } = this;
    const scanner = this.#scanner;
    if (!isUtf8(body)) throw new MillraceError("BODY_NOT_UTF8", { position: firstInvalidUtf8(body) });
    const start = scanner.skipSpace(body, 0, body.length);
    if (start === body.length) throw new MillraceError("BODY_EMPTY");
    const form = single ? "message" : "batch of messages";
    if (body[start] !== OPEN_OBJECT) {
      const after = scanner.scan(body, start, body.length);
      if (after < 0) throw malformedBody(body, scanner.at, scanner.expected);
      throw new MillraceError("SEGMENT_BODY_INVALID", { form, reason: "it is no JSON object" });
    }
    const after = single ? this.#message(start) : this.#batch(start);
    const rest = scanner.skipSpace(body, after, body.length);
    if (rest < body.length) throw malformedBody(body, rest, "the end of the body");
    if (single) this.#writeKeyOf(start, after);
  }

  /** Notes the message at `at` and says where it ends. */
  #message(at: number): number {
    const plan = this.#plan;
    let end = plan === undefined ? -1 : quickScan(plan.value, this.#quick, at);
    let lacking = -1;
    if (plan !== undefined && end > 0) {
      lacking = plan.lacks(this.body);
      this.idStarts.push(plan.messageId.valueStart);
      this.idEnds.push(plan.messageId.valueEnd);
    } else {
      const scanner = this.#scanner;
      end = scanner.scan(this.body, at, this.body.length);
      if (end < 0) throw malformedBody(this.body, scanner.at, scanner.expected);
      this.idStarts.push(-1);
      this.idEnds.push(-1);
    }
    this.starts.push(at);
    this.ends.push(end);
    this.lacking.push(lacking);
    return end;
  }

  #batch(start: number): number {
    const { body } = this;
    const scanner = this.#scanner;
    const size = body.length;
    let batches = 0;
    let [sentAt, context, integrations]: (string | undefined)[] = [];
    let at = scanner.skipSpace(body, start + 1, size);
    while (body[at] !== CLOSE_OBJECT) {
      const { keyEnd, valueStart } = keyAt(body, at, size, scanner);
      if (valueStart < 0) throw malformedBody(body, keyEnd, "a key in double quotes and a colon");
      const key = JSON.parse(body.toString("utf8", at, keyEnd)) as string;
      let end: number;
      if (key === "batch") {
        batches++;
        end = this.#messages(valueStart);
      } else {
        end = scanner.scan(body, valueStart, size);
        if (end < 0) throw malformedBody(body, scanner.at, scanner.expected);
        const text = () => this.#field(valueStart, end);
        if (key === "sentAt" && body[valueStart] === QUOTE) sentAt = text();
        else if (key === "context" && body[valueStart] === OPEN_OBJECT) context = text();
        else if (key === "integrations" && body[valueStart] === OPEN_OBJECT) integrations = text();
        else if (key === "writeKey") this.#noteKey(valueStart, end);
      }
      at = scanner.skipSpace(body, end, size);
      if (body[at] === COMMA) {
        at = scanner.skipSpace(body, at + 1, size);
        if (body[at] === CLOSE_OBJECT) throw malformedBody(body, at, "a key in double quotes");
      } else if (body[at] !== CLOSE_OBJECT) throw malformedBody(body, at, "a comma or }");
    }
    if (batches !== 1) {
      const reason = batches === 0 ? 'it has no field "batch"' : 'the field "batch" stands twice';
      throw new MillraceError("SEGMENT_BODY_INVALID", { form: "batch of messages", reason });
    }
    this.fields = { sentAt, context, integrations };
    return at + 1;
  }

  #messages(start: number): number {
    const { body } = this;
    const scanner = this.#scanner;
    if (body[start] !== OPEN_ARRAY) {
      const reason = 'the field "batch" is no array';
      throw new MillraceError("SEGMENT_BODY_INVALID", { form: "batch of messages", reason });
    }
    let at = scanner.skipSpace(body, start + 1, body.length);
    if (body[at] === CLOSE_ARRAY) return at + 1;
    for (;;) {
      at = scanner.skipSpace(body, this.#message(at), body.length);
      const next = body[at];
      if (next === CLOSE_ARRAY) return at + 1;
      if (next !== COMMA) throw malformedBody(body, at, "a comma or ]");
      at = scanner.skipSpace(body, at + 1, body.length);
    }
  }

  /** A field of the batch as it is put into messages. */
  #field(start: number, end: number): string {
    if (quickScan(anyPlan(this.#maxNesting - 1), this.#quick, start) !== end) this.plainFields = false;
    return this.body.toString("utf8", start, end);
  }

  #noteKey(start: number, end: number): void {
    const value: unknown = JSON.parse(this.body.toString("utf8", start, end));
    if (typeof value === "string") this.writeKey = value;
  }

  #writeKeyOf(start: number, end: number): void {
    if (!this.body.includes('"writeKey"')) return;
    const member = membersOf(this.body, start, end, this.#scanner)?.find(({ key }) => key === "writeKey");
    if (member !== undefined) this.#noteKey(member.valueStart, member.end);
  }
}

const NO_FIELDS: BatchFields = { sentAt: undefined, context: undefined, integrations: undefined };
