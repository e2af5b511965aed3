/** Completes and judges the messages of a body, and lays those that may be stored out as what the log takes: a line each. */
import { MillraceError } from "../../errors.ts";
import type { AcceptedRun } from "../accepted-events.ts";
import type { Refusal } from "../event-judge.ts";
import { refuse } from "../event-judge.ts";
import type { StreamDoor } from "../stream-door.ts";
import type { BatchFields, Completion } from "./complete-message.ts";
import { completeMessage } from "./complete-message.ts";
import { LACKS_CONTEXT, LACKS_INTEGRATIONS, LACKS_SENT_AT } from "./message-plan.ts";
import type { MessageReader } from "./message-reader.ts";
import { PlanJudge } from "./plan-judge.ts";

export interface MessageLimits {
  /** Of a message as it was sent. */
  readonly maxMessageBytes: number;
  /** Of a message as it is stored. */
  readonly maxEventBytes: number;
  /** Of all messages of a body as they are stored: a large context in many small messages must not become a flood. */
  readonly maxStoredBytes: number;
}

export interface RefusedMessage extends Refusal {
  readonly index: number;
  readonly payload: Uint8Array;
}

export interface Messages {
  readonly runs: readonly AcceptedRun[];
  readonly refused: readonly RefusedMessage[];
}

const SOURCE = "segment";
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;

/**
 * @param type of the path, for a body that is one message
 * @throws BODY_TOO_LARGE when the messages with what their batch says of each of them are beyond `maxStoredBytes`
 */
export function judgedMessages(
  reader: MessageReader,
  door: StreamDoor,
  type: string | undefined,
  limits: MessageLimits,
  randomId: () => string,
): Messages {
  const { body, starts, ends, lacking, fields } = reader;
  const { judge, router } = door;
  const planned = judge instanceof PlanJudge;
  // A message that comes alone must say the type of its path, and the exact way sees to that.
  const quickly = reader.plainFields && !planned && type === undefined;
  const completion: Completion = { batch: fields, type, randomId, derived: new Map() };
  const prefixes = new Prefixes(fields);
  const refused: RefusedMessage[] = [];
  const partitions: Lines[] = [];
  let stored = 0;
  const linesOf = (partition: number): Lines => {
    while (partitions.length <= partition) partitions.push(new Lines(body));
    return partitions[partition] as Lines;
  };
  for (let index = 0; index < starts.length; index++) {
    const start = starts[index] as number;
    const end = ends[index] as number;
    const size = end - start;
    if (size > limits.maxMessageBytes) {
      const payload = body.subarray(start, start + limits.maxMessageBytes);
      refused.push({ ...refuse("EVENT_TOO_LARGE", { size, limit: limits.maxMessageBytes }), index, payload });
      continue;
    }
    const lacks = lacking[index] as number;
    if (quickly && lacks >= 0 && (fields.context === undefined || lacks & LACKS_CONTEXT)) {
      const prefix = prefixes.of(lacks);
      if (size + prefix.length <= limits.maxEventBytes) {
        stored += size + prefix.length;
        if (stored > limits.maxStoredBytes) throw tooLarge(limits);
        const messageId = () =>
          body.toString("utf8", (reader.idStarts[index] as number) + 1, (reader.idEnds[index] as number) - 1);
        linesOf(router === undefined ? 0 : router.ofValue({ messageId: messageId() })).add(start, end, prefix);
        continue;
      }
    }
    let message = completeMessage(body, start, end, judge.scanner, completion);
    stored += message.length;
    if (stored > limits.maxStoredBytes) throw tooLarge(limits);
    const refusal = judge.judge(message, 0, message.length) ?? otherType(judge.value, type);
    if (refusal !== undefined) {
      refused.push({ ...refusal, index, payload: message.subarray(0, limits.maxEventBytes) });
      continue;
    }
    const { value, scanner } = judge;
    const { lineBreaks } = scanner;
    const partition = router === undefined ? 0 : router.ofValue(value);
    if (planned && judge.flagged !== undefined) {
      message = completeMessage(message, 0, message.length, scanner, { ...completion, planViolation: judge.flagged });
    }
    linesOf(partition).addWhole(lineBreaks ? withoutLineBreaks(message) : message);
  }
  const runs = partitions.flatMap((lines, partition) =>
    lines.count === 0 ? [] : [{ partition, count: lines.count, payload: lines.payload(), source: SOURCE }],
  );
  return { runs, refused };
}

function otherType(value: unknown, wanted: string | undefined): Refusal | undefined {
  const { type } = value as { readonly type: string };
  if (wanted === undefined || type === wanted) return undefined;
  return refuse("EVENT_INVALID", { violation: `"/type" must be "${wanted}", as the path says, got "${type}"` });
}

function tooLarge({ maxStoredBytes: limit }: MessageLimits): MillraceError {
  return new MillraceError("BODY_TOO_LARGE", { limit, unpacked: " with the batch's context in each of its messages" });
}

/** What is put before the fields of messages that lack the same. */
class Prefixes {
  readonly #fields: BatchFields;
  readonly #made: (Buffer | undefined)[] = [];

  constructor(fields: BatchFields) {
    this.#fields = fields;
  }

  of(lacks: number): Buffer {
    const { sentAt, context, integrations } = this.#fields;
    let text = "";
    const made = this.#made[lacks];
    if (made !== undefined) return made;
    if (lacks & LACKS_SENT_AT && sentAt !== undefined) text += `"sentAt":${sentAt},`;
    if (lacks & LACKS_CONTEXT && context !== undefined) text += `"context":${context},`;
    if (lacks & LACKS_INTEGRATIONS && integrations !== undefined) text += `"integrations":${integrations},`;
    const prefix = Buffer.from(text, "utf8");
    this.#made[lacks] = prefix;
    return prefix;
  }
}

/** The lines of one partition. A message that goes the quick way is `{`, its prefix and what follows its own `{` in the body. */
class Lines {
  count = 0;
  readonly #body: Buffer;
  #size = 0;
  /** Of quick messages in the body. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Prefix of a quick message, or the whole of another (its start is then -1). */
  readonly #buffers: Buffer[] = [];

  constructor(body: Buffer) {
    this.#body = body;
  }

  add(start: number, end: number, prefix: Buffer): void {
    this.count++;
    this.#size += end - start + prefix.length + 1;
    this.#starts.push(start);
    this.#ends.push(end);
    this.#buffers.push(prefix);
  }

  addWhole(message: Buffer): void {
    this.count++;
    this.#size += message.length + 1;
    this.#starts.push(-1);
    this.#ends.push(-1);
    this.#buffers.push(message);
  }

  payload(): Buffer {
    const payload = Buffer.allocUnsafe(this.#size);
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      const start = this.#starts[i] as number;
      const buffer = this.#buffers[i] as Buffer;
      if (start < 0) {
        at += buffer.copy(payload, at);
      } else {
        payload[at++] = this.#body[start] as number;
        if (buffer.length > 0) at += buffer.copy(payload, at);
        at += this.#body.copy(payload, at, start + 1, this.#ends[i] as number);
      }
      payload[at++] = LINE_FEED;
    }
    return payload;
  }
}

/** Raw line breaks become spaces. In valid JSON they stand only between tokens. */
function withoutLineBreaks(message: Buffer): Buffer {
  const line = Buffer.from(message);
  for (let at = 0; at < line.length; at++) if (line[at] === LINE_FEED || line[at] === CARRIAGE_RETURN) line[at] = SPACE;
  return line;
}
