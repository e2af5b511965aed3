/**
 * One request to the events door, from its whole body to its answer.
 *
 *     wait for its turn -> judge each event -> refused ones into the dead letters (durable) -> accepted ones into the log (durable) -> answer
 *
 * The dead letters come first: when the log then fails, the sender sends everything again, and a dead letter twice is
 * better than an event twice. This file is on the hot path, so it works with callbacks and makes no object per event.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../errors.ts";
import type { AcceptedRun } from "./accepted-events.ts";
import { Refusal, type Ticket } from "./admission.ts";
import type { Attributes } from "./cloud-events.ts";
import { binaryAttributes, CloudIntake, isBinaryMode } from "./cloud-events.ts";
import type { DeadLetterEntry } from "./dead-letter-sink.ts";
import { answer, answerError, asMillraceError, isSmallRest } from "./error-answer.ts";
import type { RefusedEvent } from "./event-reader.ts";
import { EventReader } from "./event-reader.ts";
import { bodyForm, requireJsonData } from "./media-type.ts";
import { PlainIntake } from "./plain-intake.ts";
import type { DoorDeps, StreamDoor } from "./stream-door.ts";
import type { Job, Place } from "./turns.ts";
import { firstInvalidUtf8 } from "./utf8-fault.ts";

/** Refusals listed in an answer; how many more there were is said beside them. */
export const MAX_LISTED = 1000;

export class Post implements Job {
  readonly place: Place;
  readonly #deps: DoorDeps;
  readonly #door: StreamDoor;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #ticket: Ticket;
  readonly #startedMs: number;
  readonly #source: string;
  readonly #framing: "lines" | "json" | "single";
  readonly #cloudEvents: boolean;
  readonly #attributes: Attributes | undefined;
  readonly #listed: RefusedEvent[] = [];
  #refusedCount = 0;
  /** The body and what reads it; gone once its events are on their way to the log. */
  #reading: Reading | undefined;

  /** @throws what is wrong with the headers */
  constructor(
    deps: DoorDeps,
    door: StreamDoor,
    request: IncomingMessage,
    response: ServerResponse,
    ticket: Ticket,
    startedMs: number,
  ) {
    this.#deps = deps;
    this.#door = door;
    this.place = ticket.lane.place;
    this.#request = request;
    this.#response = response;
    this.#ticket = ticket;
    this.#startedMs = startedMs;
    const { headers } = request;
    this.#source = sourceOf(headers["millrace-source"]);
    if (isBinaryMode(headers)) {
      requireJsonData(headers["content-type"]);
      this.#attributes = binaryAttributes(headers);
      this.#framing = "single";
      this.#cloudEvents = true;
    } else {
      const form = bodyForm(headers["content-type"]);
      this.#framing = form.framing;
      this.#cloudEvents = form.cloudEvents;
    }
  }

  /** The body is there whole. */
  begin(body: Buffer): void {
    if (body.length === 0) {
      this.fail(new MillraceError("BODY_EMPTY"));
      return;
    }
    this.#reading = { body, reader: undefined, intake: undefined };
    this.#ticket.whole();
    this.#deps.admission.turns.take(this);
  }

  /** Judges a part of the events. */
  step(): "done" | "more" | "paused" {
    const reading = this.#reading as Reading;
    let done: boolean;
    let reader: EventReader;
    try {
      reader = reading.reader ?? this.#open(reading);
      done = reader.read();
      if (done && reader.count === 0) throw new MillraceError("BODY_EMPTY");
    } catch (error) {
      this.fail(error);
      return "done";
    }
    const refused = reader.takeRefused();
    if (refused.length === 0) {
      if (!done) return "more";
      this.#store();
      return "done";
    }
    this.#deps.deadLetters.record(refused.map((event) => this.#deadLetter(event, reading.body))).then(
      () => {
        this.#note(refused);
        if (done) this.#store();
        else this.#deps.admission.turns.resume(this);
      },
      (error: unknown) => this.fail(error),
    );
    return "paused";
  }

  #open(reading: Reading): EventReader {
    const { judge, router, wholeEnvelope } = this.#door;
    const { body } = reading;
    if (!isUtf8(body)) throw new MillraceError("BODY_NOT_UTF8", { position: firstInvalidUtf8(body) });
    reading.intake = this.#cloudEvents
      ? new CloudIntake(body, judge, router, wholeEnvelope, this.#attributes)
      : new PlainIntake(body, this.#source, judge, router);
    reading.reader = new EventReader(body, this.#framing, reading.intake, this.#deps.limits.maxEventBytes);
    return reading.reader;
  }

  #deadLetter({ start, end, code, message }: RefusedEvent, body: Buffer): DeadLetterEntry {
    const payload = body.subarray(start, Math.min(end, start + this.#deps.limits.maxEventBytes));
    return { stream: this.#door.stream.name, stage: "door", code, message, payload, source: this.#source };
  }

  #note(refused: readonly RefusedEvent[]): void {
    this.#refusedCount += refused.length;
    for (const event of refused) {
      if (this.#listed.length < MAX_LISTED) this.#listed.push(event);
      this.#door.counts.rejected(event.code);
    }
  }

  #store(): void {
    const runs = this.#reading?.intake?.runs() ?? [];
    this.#reading = undefined;
    const [first] = runs;
    if (first === undefined) {
      this.#finish([], runs);
      return;
    }
    this.#ticket.logging();
    const { log } = this.#deps;
    const { name } = this.#door.stream;
    if (runs.length === 1) {
      log.append(name, first.partition, first).then(
        ({ from, to }) => this.#finish([{ partition: first.partition, from, to }], runs),
        (error: unknown) => this.fail(error),
      );
      return;
    }
    Promise.allSettled(runs.map((run) => log.append(name, run.partition, run))).then((outcomes) => {
      const stored: StoredRun[] = [];
      let failure: { error: unknown } | undefined;
      outcomes.forEach((outcome, index) => {
        const { partition } = runs[index] as AcceptedRun;
        if (outcome.status === "fulfilled") stored.push({ partition, from: outcome.value.from, to: outcome.value.to });
        else failure ??= { error: outcome.reason };
      });
      if (failure === undefined) this.#finish(stored, runs);
      else this.fail(stored.length === 0 ? failure.error : partlyStored(failure.error, stored));
    });
  }

  #finish(stored: readonly StoredRun[], runs: readonly AcceptedRun[]): void {
    const { counts, stream } = this.#door;
    let accepted = 0;
    for (const run of runs) {
      accepted += run.count;
      counts.bytes += run.payload.length;
    }
    counts.accepted += accepted;
    let partitions = "";
    for (const { partition, from, to } of stored) {
      partitions += `${partitions === "" ? "" : ","}{"partition":${partition},"from":${from},"to":${to}}`;
    }
    if (this.#refusedCount === 0) {
      this.#answer(202, `{"accepted":${accepted},"rejected":[],"partitions":[${partitions}]}`);
      return;
    }
    const rejected = JSON.stringify(this.#listed.map(({ index, code, message }) => ({ index, code, message })));
    const more = this.#refusedCount - this.#listed.length;
    const body = `"accepted":${accepted},"rejected":${rejected},${more > 0 ? `"rejectedMore":${more},` : ""}"partitions":[${partitions}]}`;
    if (accepted > 0) {
      this.#answer(202, `{${body}`);
      return;
    }
    const { message: first } = this.#listed[0] as RefusedEvent;
    const error = new MillraceError("EVENTS_ALL_REJECTED", { count: this.#refusedCount, first, stream: stream.name });
    this.#answer(422, `{"error":${JSON.stringify(error)},${body}`);
  }

  #answer(status: number, body: string): void {
    answer(this.#request, this.#response, status, NO_HEADERS, body);
    this.#ticket.release();
    this.#deps.metrics.answered(status, (performance.now() - this.#startedMs) / 1000);
  }

  /** Answers with what is wrong; nothing of the body is kept. */
  fail(error: unknown): void {
    this.#reading = undefined;
    if (error instanceof Refusal) {
      this.#ticket.release();
      refuse(this.#deps, this.#door, this.#request, this.#response, this.#startedMs, error);
      return;
    }
    fail(this.#deps, this.#request, this.#response, this.#ticket, this.#startedMs, error);
  }
}

interface Reading {
  readonly body: Buffer;
  reader: EventReader | undefined;
  intake: PlainIntake | CloudIntake | undefined;
}

interface StoredRun {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

const NO_HEADERS = {};

/** Answers a request that came to nothing. */
export function fail(
  deps: DoorDeps,
  request: IncomingMessage,
  response: ServerResponse,
  ticket: Ticket | undefined,
  startedMs: number,
  error: unknown,
): void {
  const shown = asMillraceError(error, `${request.method} ${request.url}`, deps.report);
  answerError(request, response, shown);
  ticket?.release();
  deps.metrics.answered(shown.status, (performance.now() - startedMs) / 1000);
}

/** Sends a request away for which there is no room. */
export function refuse(
  deps: DoorDeps,
  door: StreamDoor,
  request: IncomingMessage,
  response: ServerResponse,
  startedMs: number,
  { error, body, retryAfterS }: Refusal,
): void {
  const { status, code } = error;
  const send = (heldMs: number): void => {
    const seconds = Math.max(1, Math.ceil(retryAfterS - heldMs / 1000));
    answer(request, response, status, { "Retry-After": String(seconds) }, body);
    deps.metrics.answered(status, (performance.now() - startedMs) / 1000);
  };
  door.counts.refused(code);
  // A large rest would have to be kept or read while the answer waits.
  if (!isSmallRest(request)) {
    send(0);
    return;
  }
  request.resume();
  deps.admission.refusals.pace(send);
}

/** Appending to several partitions is not atomic: what is stored is said, so that a sender without ids can tell. */
function partlyStored(error: unknown, stored: readonly StoredRun[]): unknown {
  if (!(error instanceof MillraceError)) return error;
  return Object.assign(new MillraceError(error.code, {}, { cause: error, details: { stored } }), {
    message: error.message,
    hint: error.hint,
  });
}

/** The value of `Millrace-Source`; `http` where there is none. @throws SOURCE_INVALID */
function sourceOf(header: string | string[] | undefined): string {
  if (header === undefined) return "http";
  if (typeof header === "string" && /^[\x20-\x7e]{1,200}$/.test(header)) return header;
  const got =
    header.length === 0 ? "empty" : header.length > 200 ? `${header.length} characters long` : "not printable ASCII";
  throw new MillraceError("SOURCE_INVALID", { got });
}
