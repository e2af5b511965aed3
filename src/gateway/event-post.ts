/**
 * One request to the events door, from its whole body to its answer.
 *
 *     judge each event -> refused ones into the dead letters (durable) -> accepted ones into the log (durable) -> answer
 *
 * The dead letters come first: when the log then fails, the sender sends everything again, and a dead letter twice is
 * better than an event twice. This file is on the hot path, so it works with callbacks and makes no object per event.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../errors.ts";
import type { AcceptedRun } from "./accepted-events.ts";
import type { Ticket } from "./body-reader.ts";
import type { Attributes } from "./cloud-events.ts";
import { binaryAttributes, CloudIntake, isBinaryMode } from "./cloud-events.ts";
import type { DeadLetterEntry } from "./dead-letter-sink.ts";
import { answer, answerError, asMillraceError } from "./error-answer.ts";
import type { RefusedEvent } from "./event-reader.ts";
import { EventReader } from "./event-reader.ts";
import { bodyForm, requireJsonData } from "./media-type.ts";
import { PlainIntake } from "./plain-intake.ts";
import type { DoorDeps, StreamDoor } from "./stream-door.ts";
import { firstInvalidUtf8 } from "./utf8-fault.ts";

/** Refusals listed in an answer; how many more there were is said beside them. */
export const MAX_LISTED = 1000;

export class Post {
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
  #body!: Buffer;
  #reader!: EventReader;
  #intake!: PlainIntake | CloudIntake;

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

  begin(body: Buffer): void {
    const { judge, router, wholeEnvelope } = this.#door;
    this.#body = body;
    if (!isUtf8(body)) {
      this.fail(new MillraceError("BODY_NOT_UTF8", { position: firstInvalidUtf8(body) }));
      return;
    }
    this.#intake = this.#cloudEvents
      ? new CloudIntake(body, judge, router, wholeEnvelope, this.#attributes)
      : new PlainIntake(body, this.#source, judge, router);
    this.#reader = new EventReader(body, this.#framing, this.#intake, this.#deps.limits.maxEventBytes);
    this.#read();
  }

  #read(): void {
    const reader = this.#reader;
    let done: boolean;
    try {
      if (this.#body.length === 0) throw new MillraceError("BODY_EMPTY");
      done = reader.read();
      if (done && reader.count === 0) throw new MillraceError("BODY_EMPTY");
    } catch (error) {
      this.fail(error);
      return;
    }
    const refused = reader.takeRefused();
    const onwards = (): void => {
      if (done) this.#store();
      else setImmediate(() => this.#read());
    };
    if (refused.length === 0) {
      onwards();
      return;
    }
    this.#deps.deadLetters.record(refused.map((event) => this.#deadLetter(event))).then(
      () => {
        this.#note(refused);
        onwards();
      },
      (error: unknown) => this.fail(error),
    );
  }

  #deadLetter({ start, end, code, message }: RefusedEvent): DeadLetterEntry {
    const payload = this.#body.subarray(start, Math.min(end, start + this.#deps.limits.maxEventBytes));
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
    const runs = this.#intake.runs();
    const [first] = runs;
    if (first === undefined) {
      this.#finish([], runs);
      return;
    }
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

  fail(error: unknown): void {
    fail(this.#deps, this.#request, this.#response, this.#ticket, this.#startedMs, error);
  }
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
  ticket: Ticket,
  startedMs: number,
  error: unknown,
): void {
  const shown = asMillraceError(error, `${request.method} ${request.url}`, deps.report);
  answerError(request, response, shown);
  ticket.release();
  deps.metrics.answered(shown.status, (performance.now() - startedMs) / 1000);
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
