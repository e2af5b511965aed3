/**
 * Makes the event of a record: its value, byte for byte, and in front of its fields those that the definition takes from around it.
 *
 * Serializers with a schema registry put five bytes before a value: 0, then the number of its schema (int32). JSON never begins with 0, so JSON values
 * are taken with them and without.
 */
import { isUtf8 } from "node:buffer";
import type { RecordField, TopicSource } from "../../define/read-kafka-topic.ts";
import { type ErrorCode, MillraceError } from "../../errors.ts";
import { avroToJson } from "./avro-json.ts";
import type { TopicRecord } from "./committed-records.ts";
import type { FoundSchema } from "./schema-registry.ts";

export type RecordOutcome =
  | { readonly kind: "event"; readonly payload: Buffer }
  | { readonly kind: "skipped" }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string; readonly payload: Buffer };

export type RecordRules = Pick<TopicSource, "format" | "fields" | "tombstones">;

const SCHEMA_PREFIX = 5;
const NOTHING = Buffer.alloc(0);
const COMMA = Buffer.from(",");

/** The number of the schema that an Avro value names; undefined when it names none. */
export function schemaId(value: Buffer): number | undefined {
  return value.length >= SCHEMA_PREFIX && value[0] === 0 ? value.readInt32BE(1) : undefined;
}

/** `schema`: that of the value, where the format is Avro. */
export function recordEvent(
  record: TopicRecord,
  partition: number,
  rules: RecordRules,
  schema?: FoundSchema,
): RecordOutcome {
  const { value } = record;
  const around: Buffer[] = [];
  for (const field of rules.fields) {
    const text = fieldText(field, record, partition);
    if (text === undefined) continue;
    if ("problem" in text) return unreadable(text.problem, value);
    around.push(Buffer.from(`${JSON.stringify(field.field)}:${text.json}`));
  }
  if (value === undefined) return tombstone(record, around, rules.tombstones);
  if (rules.format === "avro") {
    const id = schemaId(value);
    if (id === undefined) return unreadable("it names no schema, as values behind a schema registry do", value);
    if (schema === undefined || "problem" in schema)
      return unreadable(schema?.problem ?? "its schema is missing", value);
    try {
      const json = Buffer.from(avroToJson(schema.type, value.subarray(SCHEMA_PREFIX)));
      return { kind: "event", payload: withFields(json, around) };
    } catch (error) {
      return unreadable(`it is not what schema ${id} says: ${(error as Error).message}`, value);
    }
  }
  const text = schemaId(value) === undefined ? value : value.subarray(SCHEMA_PREFIX);
  if (!isUtf8(text)) return unreadable("its value is not UTF-8", value);
  return { kind: "event", payload: withFields(text, around) };
}

function tombstone(record: TopicRecord, around: Buffer[], rule: TopicSource["tombstones"]): RecordOutcome {
  if (rule === "skip") return { kind: "skipped" };
  if (rule === "dead-letter") {
    const key =
      record.key === undefined ? "" : ` for the key ${JSON.stringify(record.key.toString("utf8").slice(0, 200))}`;
    const { code, message } = new MillraceError("SOURCE_TOMBSTONE", { key });
    return { kind: "refused", code, message, payload: record.key ?? NOTHING };
  }
  const flag = Buffer.from(`${JSON.stringify(rule.flag)}:true`);
  return { kind: "event", payload: withFields(Buffer.from("{}"), [...around, flag]) };
}

/** The text of an object with fields in front. What is no object stays as it is, and the door says so. */
function withFields(text: Buffer, fields: readonly Buffer[]): Buffer {
  if (fields.length === 0) return text;
  const open = firstToken(text, 0);
  if (text[open] !== 0x7b) return text;
  const isEmpty = text[firstToken(text, open + 1)] === 0x7d;
  const parts = [text.subarray(0, open + 1)];
  fields.forEach((field, i) => {
    if (i > 0) parts.push(COMMA);
    parts.push(field);
  });
  if (!isEmpty) parts.push(COMMA);
  parts.push(text.subarray(open + 1));
  return Buffer.concat(parts);
}

function firstToken(text: Buffer, from: number): number {
  let at = from;
  while (text[at] === 0x20 || text[at] === 0x0a || text[at] === 0x0d || text[at] === 0x09) at++;
  return at;
}

type FieldText = { readonly json: string } | { readonly problem: string };

/** Undefined where the record has no such part: the contract says whether the field may be missing. */
function fieldText({ part, header, text }: RecordField, record: TopicRecord, partition: number): FieldText | undefined {
  switch (part) {
    case "offset":
      return { json: String(record.offset) };
    case "partition":
      return { json: String(partition) };
    case "timestamp":
      // Senders of very old clients give none: -1.
      return record.timestampMs < 0 ? undefined : { json: `"${new Date(record.timestampMs).toISOString()}"` };
    case "key":
      return record.key === undefined ? undefined : asJson("its key", record.key, text);
    case "header": {
      const found = record.headers.findLast(([name]) => name?.toString("utf8") === header)?.[1];
      return found === undefined ? undefined : asJson(`its header "${header}"`, found, text);
    }
  }
}

/** Text as a JSON string; what else it stands for as it is written, if it is a number, a boolean or null. */
function asJson(subject: string, bytes: Buffer, text: boolean): FieldText {
  if (!isUtf8(bytes)) return { problem: `${subject} is not UTF-8` };
  const written = bytes.toString("utf8");
  if (!text && /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/.test(written))
    return { json: written };
  return { json: JSON.stringify(written) };
}

function unreadable(reason: string, value: Buffer | undefined): RecordOutcome {
  const { code, message } = new MillraceError("SOURCE_RECORD_UNREADABLE", { reason });
  return { kind: "refused", code, message, payload: value ?? NOTHING };
}
