/**
 * One request to the Segment door, from its whole body to its answer.
 *
 *     wait for its turn -> find the messages, and the key where it stands among them -> complete and judge each
 *       -> refused ones into the dead letters (durable) -> accepted ones into the log (durable) -> answer
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MillraceError } from "../../errors.ts";
import { REQUEST_BYTES, Refusal, Ticket } from "../admission.ts";
import { answer } from "../error-answer.ts";
import { MAX_LISTED } from "../event-post.ts";
import type { StreamDoor } from "../stream-door.ts";
import type { Job, Place } from "../turns.ts";
import type { RefusedMessage } from "./message-lines.ts";
import { judgedMessages } from "./message-lines.ts";
import { MessageReader } from "./message-reader.ts";
import { failSegment, refuseSegment } from "./segment-answer.ts";
import type { SegmentDeps } from "./segment-door.ts";

export class SegmentPost implements Job {
  place: Place;
  readonly #deps: SegmentDeps;
  readonly #type: string | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #startedMs: number;
  #door: StreamDoor | undefined;
  #ticket: Ticket;
  #body: Buffer | undefined;
  #reader: MessageReader | undefined;

  /** `door`: undefined until the key is found in the body. `type`: of the path; undefined for a batch. */
  constructor(
    deps: SegmentDeps,
    door: StreamDoor | undefined,
    type: string | undefined,
    request: IncomingMessage,
    response: ServerResponse,
    ticket: Ticket,
    startedMs: number,
  ) {
    this.#deps = deps;
    this.#door = door;
    this.#type = type;
    this.#request = request;
    this.#response = response;
    this.#ticket = ticket;
    this.#startedMs = startedMs;
    this.place = ticket.lane.place;
  }

  /** The body is there whole. */
  begin(body: Buffer): void {
    this.#body = body;
    this.#ticket.whole();
    this.#deps.admission.turns.take(this);
  }

  step(): "done" | "more" | "paused" {
    try {
      const reader = this.#reader ?? this.#read();
      if (this.#door === undefined) this.#findDoor(reader);
      else this.#judge(reader, this.#door);
    } catch (error) {
      this.fail(error);
    }
    return "done";
  }

  #read(): MessageReader {
    const { plan, scanner, limits } = this.#deps;
    const reader = new MessageReader(this.#body as Buffer, plan, scanner, limits.maxNesting);
    reader.read(this.#type !== undefined);
    this.#reader = reader;
    return reader;
  }

  /** From here on the request is one of its key's. */
  #findDoor(reader: MessageReader): void {
    const { writeKeys, admission } = this.#deps;
    const { id, door } = writeKeys.open(reader.writeKey);
    const ticket = new Ticket(door.lanes.lane(id));
    const bytes = Math.max(this.#ticket.bytes, REQUEST_BYTES + reader.body.length);
    this.#ticket.release();
    this.#door = door;
    const refusal = ticket.enter(bytes);
    if (refusal !== undefined) {
      this.fail(refusal);
      return;
    }
    this.#ticket = ticket;
    this.place = ticket.lane.place;
    ticket.whole();
    // Taken once this turn is over, for a job has one place at a time.
    queueMicrotask(() => admission.turns.take(this));
  }

  #judge(reader: MessageReader, door: StreamDoor): void {
    const { messageLimits, randomId, deadLetters } = this.#deps;
    const { runs, refused } = judgedMessages(reader, door, this.#type, messageLimits, randomId);
    const stored = runs.reduce((size, { payload }) => size + payload.length, 0);
    this.#reader = undefined;
    this.#body = undefined;
    const refusal = stored > reader.body.length ? this.#ticket.grow(stored - reader.body.length) : undefined;
    if (refusal !== undefined) {
      this.fail(refusal);
      return;
    }
    const store = () => {
      for (const { code } of refused) door.counts.rejected(code);
      if (runs.length === 0) return this.#finish(door, 0, refused);
      this.#ticket.logging();
      // Partitions are not written together. Where some fail the SDK sends all again, and the messageIds tell which are there.
      Promise.all(runs.map((run) => this.#deps.log.append(door.stream.name, run.partition, run))).then(
        () => {
          const accepted = runs.reduce((sum, { count }) => sum + count, 0);
          door.counts.accepted += accepted;
          door.counts.bytes += stored;
          this.#finish(door, accepted, refused);
        },
        (error: unknown) => this.fail(error),
      );
    };
    if (refused.length === 0) {
      store();
      return;
    }
    const letters = refused.map(({ code, message, payload }) => {
      return { stream: door.stream.name, stage: "door" as const, code, message, payload, source: "segment" };
    });
    deadLetters.record(letters).then(store, (error: unknown) => this.fail(error));
  }

  #finish({ stream }: StreamDoor, accepted: number, refused: readonly RefusedMessage[]): void {
    const [first] = refused;
    if (first === undefined) {
      this.#answer(200, '{"success":true}');
      return;
    }
    const rejected = refused.slice(0, MAX_LISTED).map(({ index, code, message }) => ({ index, code, message }));
    const more = refused.length > MAX_LISTED ? { rejectedMore: refused.length - MAX_LISTED } : {};
    const body = { success: accepted > 0, accepted, rejected, ...more };
    if (this.#type === undefined) {
      this.#answer(200, JSON.stringify(body));
      return;
    }
    // A message that came alone has an answer to itself, and SDKs do not send it again after a 400.
    const { message } = first;
    const error = new MillraceError("EVENTS_ALL_REJECTED", { count: 1, first: message, stream: stream.name });
    this.#answer(400, JSON.stringify({ error, ...body }));
  }

  #answer(status: number, body: string): void {
    answer(this.#request, this.#response, status, {}, body);
    this.#ticket.release();
    this.#deps.metrics.answered(status, (performance.now() - this.#startedMs) / 1000);
  }

  /** Answers with what is wrong; nothing of the body is kept. */
  fail(error: unknown): void {
    this.#reader = undefined;
    this.#body = undefined;
    if (error instanceof Refusal) {
      this.#ticket.release();
      refuseSegment(this.#deps, this.#door, this.#request, this.#response, this.#startedMs, error);
      return;
    }
    failSegment(this.#deps, this.#request, this.#response, this.#ticket, this.#startedMs, error);
  }
}
