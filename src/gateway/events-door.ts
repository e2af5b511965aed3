/**
 * `POST /v1/streams/{stream}/events`: from a request's headers to its answer.
 *
 *     who are you -> which stream -> read and unpack the body -> judge each event
 *       -> refused ones into the dead letters (durable) -> accepted ones into the log (durable) -> answer
 *
 * The dead letters come first: when the log then fails, the sender sends everything again, and a dead letter twice is
 * better than an event twice. This file is on the hot path, so it works with callbacks and makes no object per event.
 */
import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Stream } from "../define/project.ts";
import type { ErrorCode } from "../errors.ts";
import { MillraceError } from "../errors.ts";
import type { EventLog } from "../log/event-log.ts";
import type { AcceptedRun } from "./accepted-events.ts";
import type { Admission } from "./admission.ts";
import type { KeyVerifier } from "./auth.ts";
import { authorize } from "./auth.ts";
import { BodyReader, Ticket } from "./body-reader.ts";
import type { Attributes } from "./cloud-events.ts";
import { binaryAttributes, CloudIntake, isBinaryMode, takesEnvelope } from "./cloud-events.ts";
import type { Encoding } from "./content-encoding.ts";
import { contentEncoding, unpack } from "./content-encoding.ts";
import type { DeadLetterEntry, DeadLetterSink } from "./dead-letter-sink.ts";
import type { DoorMetrics, StreamCounts } from "./door-metrics.ts";
import type { FailureReport } from "./error-answer.ts";
import { answer, answerError, asMillraceError } from "./error-answer.ts";
import { EventJudge } from "./event-judge.ts";
import type { RefusedEvent } from "./event-reader.ts";
import { EventReader } from "./event-reader.ts";
import { bodyForm, requireJsonData } from "./media-type.ts";
import type { PartitionOf, Router } from "./partition-router.ts";
import { partitionRouter } from "./partition-router.ts";
import { PlainIntake } from "./plain-intake.ts";
import { unknownStream } from "./stream-names.ts";

export interface DoorLimits {
  readonly maxBodyBytes: number;
  readonly maxEventBytes: number;
  readonly maxNesting: number;
  readonly idleBodyMs: number;
}

export interface DoorDeps {
  readonly log: EventLog;
  readonly streams: ReadonlyMap<string, Stream>;
  readonly keys: KeyVerifier;
  readonly deadLetters: DeadLetterSink;
  readonly partitionOf: PartitionOf;
  readonly admission: Admission;
  readonly metrics: DoorMetrics;
  readonly limits: DoorLimits;
  readonly report: FailureReport;
  /** True once the server takes nothing new. */
  readonly isClosing: () => boolean;
}

/** Refusals listed in an answer; how many more there were is said beside them. */
export const MAX_LISTED = 1000;

export class EventsDoor {
  readonly #deps: DoorDeps;
  readonly #bodies: BodyReader;
  /** By the exact path of the usual request, so that it needs no parsing. */
  readonly #byPath = new Map<string, StreamDoor>();
  readonly #byName = new Map<string, StreamDoor>();

  /** @throws CONTRACT_NOT_COMPILABLE */
  constructor(deps: DoorDeps) {
    this.#deps = deps;
    this.#bodies = new BodyReader(deps.limits, deps.admission);
    for (const stream of deps.streams.values()) {
      const door = new StreamDoor(stream, deps);
      this.#byName.set(stream.name, door);
      this.#byPath.set(`/v1/streams/${stream.name}/events`, door);
    }
  }

  /** Takes the request when it is for this door. `mustContinue`: the sender waits for "100 Continue" before it sends the body. */
  take(request: IncomingMessage, response: ServerResponse, mustContinue: boolean): boolean {
    if (request.method !== "POST") return false;
    const url = request.url as string;
    const door = this.#byPath.get(url);
    if (door !== undefined) {
      this.#receive(request, response, door, "", mustContinue);
      return true;
    }
    const match = EVENTS_PATH.exec(url);
    if (match === null) return false;
    const name = decoded(match[1] as string);
    this.#receive(request, response, this.#byName.get(name), name, mustContinue);
    return true;
  }

  close(): void {
    this.#bodies.close();
  }

  #receive(
    request: IncomingMessage,
    response: ServerResponse,
    door: StreamDoor | undefined,
    name: string,
    mustContinue: boolean,
  ): void {
    const startedMs = performance.now();
    const deps = this.#deps;
    const ticket = new Ticket(deps.admission);
    let post: Post;
    let encoding: Encoding | undefined;
    try {
      if (deps.isClosing()) throw new MillraceError("SHUTTING_DOWN");
      const { headers } = request;
      authorize(deps.keys, headers.authorization, "ingest");
      if (door === undefined) throw unknownStream(name, deps.streams);
      encoding = contentEncoding(headers["content-encoding"]);
      post = new Post(deps, door, request, response, ticket, startedMs);
    } catch (error) {
      fail(deps, request, response, ticket, startedMs, error);
      return;
    }
    const onRoom = mustContinue ? () => response.writeContinue() : undefined;
    this.#bodies.read(request, ticket, onRoom, (error, body) => {
      if (error !== undefined) return post.fail(error);
      if (encoding === undefined) return post.begin(body);
      unpack(encoding, body, deps.limits.maxBodyBytes, (problem, unpacked) => {
        if (problem !== undefined) return post.fail(problem);
        if (!ticket.take(unpacked.length)) return post.fail(deps.admission.refusal());
        post.begin(unpacked);
      });
    });
  }
}

/** What the door knows of one stream. */
class StreamDoor {
  readonly stream: Stream;
  readonly judge: EventJudge;
  readonly router: Router | undefined;
  readonly wholeEnvelope: boolean;
  readonly counts: StreamCounts;

  constructor(stream: Stream, deps: DoorDeps) {
    this.stream = stream;
    this.judge = new EventJudge(stream, deps.limits);
    this.router = partitionRouter(stream, deps.log.partitions(stream.name), deps.partitionOf);
    this.wholeEnvelope = takesEnvelope(stream);
    this.counts = deps.metrics.stream(stream.name);
  }
}

/** One request, from its whole body to its answer. */
class Post {
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
const EVENTS_PATH = /^\/v1\/streams\/([^/?]+)\/events(?:\?.*)?$/;

function fail(
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
  const code: ErrorCode = error.code;
  return Object.assign(new MillraceError(code, {}, { cause: error, details: { stored } }), {
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

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // no stream has such a name
  }
}

/** Finds the first byte that begins no valid character, by halves: valid so far as some cut near it is valid. */
function firstInvalidUtf8(body: Buffer): number {
  let valid = 0;
  let invalid = body.length;
  // Invariant: the first `valid` bytes are whole, valid characters; the first `invalid` bytes hold the fault.
  while (invalid - valid > 4) {
    const middle = characterStart(body, (valid + invalid) >> 1, valid);
    if (middle === valid) break;
    if (isUtf8(body.subarray(valid, middle))) valid = middle;
    else invalid = middle;
  }
  while (valid < body.length) {
    let length = 1;
    while (length <= 4 && !isUtf8(body.subarray(valid, valid + length))) length++;
    if (length > 4) return valid;
    valid += length;
  }
  return valid;
}

/** The nearest position at or before `at` that is not inside a character. */
function characterStart(body: Buffer, at: number, least: number): number {
  let start = at;
  while (start > least && ((body[start] as number) & 0xc0) === 0x80) start--;
  return start;
}
