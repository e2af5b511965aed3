/**
 * Dead letters: what could not be taken further, with the reason. They are events of an internal stream, so they are
 * durable before anyone is told, pass through the same flush as all other events, and are a table like any other:
 * `system.dead_letters`. The id is derived from the event and the place where it stopped, so doing a flush again after a
 * crash records nothing twice.
 */
import { createHash } from "node:crypto";
import type { AppendTable, Column, Stream } from "../define/project.ts";
import type { EventLog } from "../log/event-log.ts";
import { type InternalStream, internalStream, internalTable } from "./internal-stream.ts";

export const DEAD_LETTER_STREAM = "_dead_letters";
export const DEAD_LETTER_TABLE = "system.dead_letters";

export interface DeadLetter {
  /** Its id where it is not that of an event. */
  readonly id?: string;
  /** Empty for a refresh, which reads tables. */
  readonly stream: string;
  /**
   * Where it stopped: `door` (refused by the contract), `log` (its bytes were damaged on the disk), `parse`, `transform`, `check`,
   * `refresh` (a table that combines rows), `publish` (a row of a table, on its way to PostgreSQL), `deliver` (a change of an alert, on its way to a destination), `react` (an operator could not take it). The merge of a table that keeps the
   * newest row per key computes nothing of the user's.
   */
  readonly stage: "door" | "log" | "parse" | "transform" | "check" | "refresh" | "publish" | "deliver" | "react";
  readonly code: string;
  readonly message: string;
  /** The event as received, byte for byte. */
  readonly payload: Uint8Array | string;
  readonly source: string;
  /** Table or operator that could not take it; undefined at the door. */
  readonly table?: string;
  /** Where the event is in the log; undefined at the door, which logs only what it accepts. */
  readonly partition?: number;
  readonly offset?: number;
}

const string = { kind: "string" } as const;
/** What is recorded when a letter is written; its state now comes from what was done about it. */
export const DEAD_LETTER_COLUMNS: readonly Column[] = [
  { name: "dead_letter_id", type: string, nullable: false },
  { name: "stream", type: string, nullable: false },
  { name: "stage", type: string, nullable: false },
  { name: "table_name", type: string, nullable: true },
  { name: "code", type: string, nullable: false },
  { name: "message", type: string, nullable: false },
  { name: "payload", type: string, nullable: true },
  { name: "payload_base64", type: string, nullable: true },
  { name: "source", type: string, nullable: true },
  { name: "event_partition", type: { kind: "integer" }, nullable: true },
  { name: "event_offset", type: { kind: "long" }, nullable: true },
  { name: "first_seen", type: { kind: "timestamp" }, nullable: false },
];

const LETTERS: InternalStream = {
  name: DEAD_LETTER_STREAM,
  columns: DEAD_LETTER_COLUMNS,
  id: ["dead_letter_id"],
  time: "first_seen",
};

/** The stream dead letters are written to. Its name begins with `_`, which no user's stream can. */
export function deadLetterStream(horizonMs: number): Stream {
  return internalStream(LETTERS, horizonMs);
}

/** The table that stores them; what queries see under its name says their state as well. */
export function deadLetterTable(): AppendTable {
  return internalTable(DEAD_LETTER_TABLE, LETTERS, "each dead letter is stored as it comes");
}

/** Writes dead letters to the log; resolved means durable. */
export function deadLetterSink(log: EventLog, clock: () => number): (letters: readonly DeadLetter[]) => Promise<void> {
  return async (letters) => {
    if (letters.length === 0) return;
    const firstSeen = new Date(clock()).toISOString();
    const lines = letters.map((letter, index) => `${JSON.stringify(toEvent(letter, firstSeen, index))}\n`);
    const payload = Buffer.from(lines.join(""), "utf8");
    await log.append(DEAD_LETTER_STREAM, 0, { payload, count: letters.length, source: "platform" });
  };
}

function toEvent(letter: DeadLetter, firstSeen: string, index: number): Record<string, unknown> {
  const text = storableText(letter.payload);
  return {
    dead_letter_id: deadLetterId(letter, firstSeen, index),
    stream: letter.stream,
    stage: letter.stage,
    table_name: letter.table,
    code: letter.code,
    message: letter.message.toWellFormed().replaceAll("\0", "\u2400"),
    payload: text,
    payload_base64: text === undefined ? Buffer.from(letter.payload as Uint8Array).toString("base64") : undefined,
    source: letter.source,
    event_partition: letter.partition,
    event_offset: letter.offset,
    first_seen: firstSeen,
  };
}

/** The payload as text where text can hold it byte for byte; otherwise undefined, and it is kept as base64. */
function storableText(payload: Uint8Array | string): string | undefined {
  if (typeof payload === "string") return payload;
  const text = Buffer.from(payload).toString("utf8");
  return text.includes("\0") || !Buffer.from(text, "utf8").equals(payload) ? undefined : text;
}

/** Events in the log have one dead letter per table, whatever happens; at the door every refusal is an event of its own. */
function deadLetterId(letter: DeadLetter, firstSeen: string, index: number): string {
  const { id, stream, partition, offset, table } = letter;
  if (id !== undefined) return id;
  if (partition !== undefined && offset !== undefined) return eventLetterId(stream, partition, offset, table);
  const hash = createHash("sha256").update(letter.payload).digest("hex").slice(0, 16);
  return `${letter.stream}/door/${firstSeen}/${hash}/${index}/${(doorSequence++).toString(36)}`;
}

/** The id of the letter that an event has on the way to a table; without one: on the way out of bronze. */
export function eventLetterId(stream: string, partition: number, offset: number, table = ""): string {
  return `${stream}/${partition}/${offset}/${table}`;
}

/** True for streams of the platform's own records, which have no place in the ledger of the user's. */
export function isInternal(stream: string): boolean {
  return stream.startsWith("_");
}

/** Tells apart equal refusals of one millisecond. */
let doorSequence = 0;
