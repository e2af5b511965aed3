/**
 * A message as it is stored: what the SDK sent, byte for byte but for the white space between its fields, and
 *
 * - `sentAt`, `context` and `integrations` of the batch, where the message has none of its own. A context of its own is completed with the
 *   batch's fields that it lacks;
 * - the `type` that the path said, where it does not say one;
 * - a `messageId`, where it has none: see `derivedId`;
 * - without `writeKey`, for a key is nobody's data, and without `planViolation`, which only the platform says.
 */
import { hash } from "node:crypto";
import type { JsonScanner } from "../json-scanner.ts";
import type { Member } from "./members.ts";
import { membersOf } from "./members.ts";

/** What a batch says about all its messages, as JSON text. */
export interface BatchFields {
  readonly sentAt: string | undefined;
  readonly context: string | undefined;
  readonly integrations: string | undefined;
}

export interface Completion {
  readonly batch: BatchFields;
  /** Of the path, for a message that comes alone. */
  readonly type: string | undefined;
  /** Random text for the id of a message that has nothing to derive one from. */
  readonly randomId: () => string;
  /** Ids derived so far in this body, so that two like messages are two. */
  readonly derived: Map<string, number>;
  /** What is wrong by the tracking plan. */
  readonly planViolation?: string;
}

/** The message that stands in valid JSON from `start` to `end`; the bytes themselves when that is no object. */
export function completeMessage(
  bytes: Buffer,
  start: number,
  end: number,
  scanner: JsonScanner,
  completion: Completion,
): Buffer {
  const members = membersOf(bytes, start, end, scanner);
  if (members === undefined) return bytes.subarray(start, end);
  const { batch, type, planViolation } = completion;
  const kept = members.filter(({ key }) => key !== "writeKey" && key !== "planViolation");
  const lacks = (name: string) => {
    const at = kept.findIndex(({ key }) => key === name);
    if (at < 0) return true;
    if (!isNull(bytes, kept[at] as Member)) return false;
    kept.splice(at, 1);
    return true;
  };
  const added: string[] = [];
  if (type !== undefined && lacks("type")) added.push(`"type":${JSON.stringify(type)}`);
  if (lacks("messageId")) added.push(`"messageId":${JSON.stringify(derivedId(bytes, kept, completion))}`);
  if (batch.sentAt !== undefined && lacks("sentAt")) added.push(`"sentAt":${batch.sentAt}`);
  if (batch.context !== undefined && lacks("context")) added.push(`"context":${batch.context}`);
  if (batch.integrations !== undefined && lacks("integrations")) added.push(`"integrations":${batch.integrations}`);
  if (planViolation !== undefined) added.push(`"planViolation":${JSON.stringify(planViolation)}`);
  const texts = kept.map(({ key, start: from, valueStart, end: to }) => {
    if (key !== "context" || batch.context === undefined) return bytes.toString("utf8", from, to);
    return `"context":${mergedContext(bytes, valueStart, to, scanner, batch.context)}`;
  });
  return Buffer.from(`{${[...added, ...texts].join(",")}}`, "utf8");
}

/**
 * An id for a message without one. Sending again must not double it, so it is the hash of the message where that says when it happened: who
 * sends again sends the same. Its like in the same body is another event. A message that says nothing of time may rightly
 * come twice, and its id is random.
 */
function derivedId(bytes: Buffer, members: readonly Member[], { randomId, derived }: Completion): string {
  const timed = members.some((m) => (m.key === "timestamp" || m.key === "originalTimestamp") && !isNull(bytes, m));
  if (!timed) return `random-${randomId()}`;
  const said = members
    .filter(({ key }) => key !== "sentAt")
    .map(({ start, end }) => bytes.toString("utf8", start, end));
  const digest = hash("sha256", said.join(","), "hex").slice(0, 32);
  const before = derived.get(digest) ?? 0;
  derived.set(digest, before + 1);
  return before === 0 ? `derived-${digest}` : `derived-${digest}-${before + 1}`;
}

/** The message's own context first; of the batch's what it lacks. */
function mergedContext(bytes: Buffer, start: number, end: number, scanner: JsonScanner, ofBatch: string): string {
  const own = membersOf(bytes, start, end, scanner);
  const batch = Buffer.from(ofBatch, "utf8");
  const others = membersOf(batch, 0, batch.length, scanner);
  if (own === undefined || others === undefined) return bytes.toString("utf8", start, end);
  const names = new Set(own.map(({ key }) => key));
  const texts = own.map((member) => bytes.toString("utf8", member.start, member.end));
  for (const member of others) if (!names.has(member.key)) texts.push(batch.toString("utf8", member.start, member.end));
  return `{${texts.join(",")}}`;
}

function isNull(bytes: Buffer, { valueStart }: Member): boolean {
  return bytes[valueStart] === 0x6e;
}
