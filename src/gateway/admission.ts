/**
 * What the events door lets in when more comes than can be done, and what it says to the rest.
 *
 * **What is bounded.** Memory: the bytes of all requests between their headers and their answer (announced, received, unpacked, waiting
 * for the log) stay within `inflightBytes`. Time: of one lane (one key's requests to one stream) no more waits than is
 * worked off in a second. Not bounded is what the log holds and the tables do not have yet: it lies on disk, and the disk is
 * its bound; ingest is not slowed for it. When the disk is full the log says so (503 LOG_UNAVAILABLE).
 *
 * **Who gets in.** Of the memory a lane may hold as much as is free, and a stream three times as much as is free (dynamic
 * thresholds, after Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998): alone
 * a lane has half of it, many have equal parts, and there is always room left for a newcomer, also when the others are slow and give
 * nothing back. A lane with nothing under way gets in whenever its request fits at all, and a request that is alone always. Of the time
 * each lane gets its turn (turns.ts), so its wait is its own: only the one that sends too much is late, and only it is refused.
 *
 * **Late** is a lane whose oldest whole body has waited for `CONFIRM_MS` and which has more waiting than its measured rate
 * works off in `LONGEST_WAIT_MS`. Both, for a burst after a quiet time has no rate yet and a slow moment of the disk no backlog.
 * A second, because nobody who is refused comes back sooner (Retry-After counts in seconds), and until then there must be work.
 *
 * **What the refused hear.** 429 SHARE_EXCEEDED: others are served too, and this lane has more than its part of what is under way.
 * 503 OVERLOADED: the platform as a whole is at its limit. Either with a `Retry-After` from the lane's measured rate and from
 * what was refused before (drain-rate.ts). Nothing of a refused request is kept.
 *
 * **What a refusal costs.** It is decided from the headers, before the body is read, and its text is made ten times a second at
 * most. A small body is read and thrown away, so that the connection lives on; for a large one it is closed. When there are many,
 * refusals wait for a moment (refusal-pace.ts): else twice the capacity would leave half of it for refusing.
 */
import { MillraceError } from "../errors.ts";
import { DrainRate } from "./drain-rate.ts";
import { Fifo } from "./fifo.ts";
import type { PacePorts } from "./refusal-pace.ts";
import { RefusalPace } from "./refusal-pace.ts";
import type { TurnsPorts } from "./turns.ts";
import { Place, StreamPlaces, Turns } from "./turns.ts";

/** What a request without a body costs: its headers, its objects and its answer. */
export const REQUEST_BYTES = 2048;

export interface AdmissionPorts extends TurnsPorts, PacePorts {
  /** From 0 to below 1. */
  readonly random: () => number;
}

export const REAL_PORTS: AdmissionPorts = {
  clock: () => performance.now(),
  defer: (work) => setImmediate(work),
  after: (ms, work) => setTimeout(work, ms).unref(),
  random: Math.random,
};

export class Admission {
  readonly limitBytes: number;
  readonly ports: AdmissionPorts;
  readonly turns: Turns;
  readonly refusals: RefusalPace;
  /** Bytes of all requests under way. */
  inflightBytes = 0;
  /** Lanes with requests under way. */
  activeLanes = 0;

  constructor(limitBytes: number, ports: AdmissionPorts = REAL_PORTS) {
    this.limitBytes = limitBytes;
    this.ports = ports;
    this.turns = new Turns(ports);
    this.refusals = new RefusalPace(ports);
  }

  stream(name: string): StreamLanes {
    return new StreamLanes(this, name);
  }
}

/** The lanes of one stream. */
export class StreamLanes {
  readonly admission: Admission;
  readonly name: string;
  readonly places = new StreamPlaces();
  inflightBytes = 0;
  /** By the key's id. */
  readonly #lanes = new Map<string, Lane>();

  constructor(admission: Admission, name: string) {
    this.admission = admission;
    this.name = name;
  }

  lane(key: string): Lane {
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      if (this.#lanes.size >= LANES_KEPT) this.#forgetIdle();
      lane = new Lane(this, key);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #forgetIdle(): void {
    for (const [key, { inflightBytes }] of this.#lanes) if (inflightBytes === 0) this.#lanes.delete(key);
  }
}

/** One key's requests to one stream. */
export class Lane {
  readonly stream: StreamLanes;
  readonly key: string;
  readonly place: Place;
  inflightBytes = 0;
  /** Bytes of whole bodies that have no answer yet. */
  #waitingBytes = 0;
  /** Whole bodies in the order they became so; answered ones go when they are at the head. */
  readonly #waiting = new Fifo<Ticket>();
  readonly #rate = new DrainRate();
  #refusal: Refusal | undefined;

  constructor(stream: StreamLanes, key: string) {
    this.stream = stream;
    this.key = key;
    this.place = new Place(stream.places);
  }

  /** Counts the bytes of a new request in, or says why not. */
  enter(bytes: number): Refusal | undefined {
    if (this.#isLate() || !this.hasRoom(bytes)) return this.refuse(bytes);
    this.hold(bytes);
    return undefined;
  }

  /** False when `bytes` more would be more than the lane may hold. `own`: held already by the request that asks. */
  hasRoom(bytes: number, own = 0): boolean {
    const { stream } = this;
    const { limitBytes, inflightBytes } = stream.admission;
    if (inflightBytes === own) return true; // one that is alone is always let in
    const free = limitBytes - inflightBytes - bytes;
    if (free < 0) return false;
    if (this.inflightBytes === own) return true;
    return this.inflightBytes + bytes <= free * LANE_SHARE && stream.inflightBytes + bytes <= free * STREAM_SHARE;
  }

  hold(bytes: number): void {
    const { stream } = this;
    if (this.inflightBytes === 0) stream.admission.activeLanes++;
    this.inflightBytes += bytes;
    stream.inflightBytes += bytes;
    stream.admission.inflightBytes += bytes;
  }

  letGo(bytes: number): void {
    const { stream } = this;
    this.inflightBytes -= bytes;
    stream.inflightBytes -= bytes;
    stream.admission.inflightBytes -= bytes;
    if (this.inflightBytes === 0 && bytes > 0) stream.admission.activeLanes--;
  }

  waits(ticket: Ticket): void {
    if (this.#waitingBytes === 0) this.#rate.begin(ticket.wholeMs);
    this.#waitingBytes += ticket.bytes;
    this.#waiting.push(ticket);
  }

  /** A request that waits has become larger. */
  waitsWith(bytes: number): void {
    this.#waitingBytes += bytes;
  }

  answered(bytes: number): void {
    this.stream.admission.refusals.worked();
    this.#waitingBytes -= bytes;
    this.#rate.drained(bytes, this.stream.admission.ports.clock());
    while (this.#waiting.first?.isReleased === true) this.#waiting.shift();
    if (this.#waitingBytes === 0) this.#rate.end();
  }

  /** The answer to a request of which `bytes` were not let in. */
  refuse(bytes: number): Refusal {
    const { clock, random } = this.stream.admission.ports;
    const nowMs = clock();
    if (this.#refusal === undefined || nowMs - this.#refusal.madeMs > REFUSAL_KEPT_MS) {
      this.#refusal = new Refusal(this.#reason(), nowMs);
    }
    this.#refusal.retryAfterS = this.#rate.book(bytes, this.#waitingBytes, nowMs, random());
    return this.#refusal;
  }

  #isLate(): boolean {
    const oldest = this.#waiting.first;
    if (oldest === undefined || this.#waitingBytes < LEAST_BACKLOG_BYTES) return false;
    const nowMs = this.stream.admission.ports.clock();
    if (nowMs - oldest.wholeMs < CONFIRM_MS) return false;
    return this.#waitingBytes * 1000 > this.#rate.perSecond(nowMs) * LONGEST_WAIT_MS;
  }

  #reason(): MillraceError {
    const { stream, key, inflightBytes } = this;
    const { admission } = stream;
    const lanes = admission.activeLanes + (inflightBytes === 0 ? 1 : 0);
    if (lanes > 1 && inflightBytes * lanes > admission.inflightBytes) {
      return new MillraceError("SHARE_EXCEEDED", { key, stream: stream.name, inflight: inflightBytes, lanes });
    }
    const reason = this.#isLate()
      ? `${this.#waitingBytes} bytes wait, more than is done in ${LONGEST_WAIT_MS} ms`
      : `${admission.inflightBytes} bytes are under way and ${admission.limitBytes} are allowed (inflightBytes)`;
    return new MillraceError("OVERLOADED", { reason });
  }
}

/** A refusal as it is sent, for all that are refused in the same moment. */
export class Refusal {
  readonly error: MillraceError;
  readonly body: string;
  readonly madeMs: number;
  retryAfterS = 1;

  constructor(error: MillraceError, madeMs: number) {
    this.error = error;
    this.body = JSON.stringify({ error });
    this.madeMs = madeMs;
  }
}

/** What one request holds of the door; given back once. */
export class Ticket {
  readonly lane: Lane;
  bytes = 0;
  /** When the body was whole. */
  wholeMs = 0;
  isReleased = false;
  #isWhole = false;
  #loggingBytes = 0;

  constructor(lane: Lane) {
    this.lane = lane;
  }

  /** Asks for room for a new request that announces `bytes`. */
  enter(bytes: number): Refusal | undefined {
    const refusal = this.lane.enter(bytes);
    if (refusal === undefined) this.bytes = bytes;
    return refusal;
  }

  /** Asks for room for `bytes` more of a request that is in. */
  grow(bytes: number): Refusal | undefined {
    if (this.isReleased) return undefined; // answered meanwhile: nothing of it is kept
    if (!this.lane.hasRoom(bytes, this.bytes)) return this.lane.refuse(bytes);
    this.lane.hold(bytes);
    this.bytes += bytes;
    if (this.#isWhole) this.lane.waitsWith(bytes);
    return undefined;
  }

  /** The body is there whole, in its final size. From now on it waits. */
  whole(): void {
    this.#isWhole = true;
    this.wholeMs = this.lane.stream.admission.ports.clock();
    this.lane.waits(this);
  }

  /** Its events are on their way to the log. */
  logging(): void {
    this.#loggingBytes = this.bytes;
    this.lane.stream.admission.turns.logging(this.lane.place.stream, this.bytes);
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    const { lane, bytes } = this;
    lane.letGo(bytes);
    if (this.#isWhole) lane.answered(bytes);
    if (this.#loggingBytes > 0) lane.stream.admission.turns.logged(lane.place.stream, bytes);
  }
}

/** Of the free memory a lane may hold as much. */
const LANE_SHARE = 1;
/** More than a lane, or one key could fill its stream's part and shut the others out. */
const STREAM_SHARE = 3;
/** Work for a lane until the first of those it was refused come back. */
const LONGEST_WAIT_MS = 1000;
/** An older body than this says that the lane is behind, not that the disk is slow at the moment. */
const CONFIRM_MS = 250;
/** Less than this is not refused for being late: it takes a few milliseconds once whatever is in the way has gone. */
const LEAST_BACKLOG_BYTES = 1024 * 1024;
/** The numbers in the text of a refusal may be this old. */
const REFUSAL_KEPT_MS = 100;
/** Of a stream; idle ones beyond are forgotten with the rate measured of them. */
const LANES_KEPT = 1000;
