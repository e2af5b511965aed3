/**
 * Whose body is worked on next. Bodies wait here whole; work is done in steps, for a few milliseconds per turn of the event
 * loop, so that headers, health checks and queries are read in between however much waits.
 *
 * Streams take turns, and within a stream its lanes do (a lane is one key's requests to one stream): whoever has used its time waits
 * until the others had as much (surplus round robin, after Shreedhar and Varghese, "Efficient Fair Queuing using Deficit
 * Round Robin", 1995, in milliseconds of this thread rather than in bytes, since it is this thread they share). A lane with
 * one request among a thousand of another is served after one step of the other.
 *
 * The log is a queue too, and one without turns. So a stream hands it no more than keeps it busy; the rest waits here, where order
 * is still a choice.
 */
import { Fifo } from "./fifo.ts";

/** One body's work. */
export interface Job {
  readonly place: Place;
  /** Does some milliseconds of it. `paused`: it waits for something and calls `resume` when it goes on. */
  step(): "done" | "more" | "paused";
}

/** Jobs of one lane, in order. */
export class Place {
  readonly stream: StreamPlaces;
  readonly jobs = new Fifo<Job>();
  /** Time it may use before others had theirs; less than 0 is owed. */
  creditMs = 0;
  queued = false;

  constructor(stream: StreamPlaces) {
    this.stream = stream;
  }
}

/** Lanes of one stream that have jobs waiting. */
export class StreamPlaces {
  readonly places = new Fifo<Place>();
  creditMs = 0;
  queued = false;
  /** Bytes given to the log that it has not answered. */
  loggingBytes = 0;
}

export interface TurnsPorts {
  /** Milliseconds of a clock that never goes back. */
  readonly clock: () => number;
  /** Calls back in the next turn of the event loop. */
  readonly defer: (work: () => void) => void;
}

export class Turns {
  readonly #ports: TurnsPorts;
  /** Streams with jobs waiting that the log takes more of. */
  readonly #streams = new Fifo<StreamPlaces>();
  #spentMs = 0;
  #deferred = false;

  constructor(ports: TurnsPorts) {
    this.#ports = ports;
  }

  /** Works on a job: at once when nothing else waits, in its turn otherwise. */
  take(job: Job): void {
    if (this.#streams.length > 0 || this.#spentMs >= TURN_MS || isFull(job.place.stream)) this.#queue(job, false);
    else if (this.#step(job, false) === "more") this.#queue(job, true);
    this.#defer();
  }

  /** A job that was paused goes on, before those of its lane that came later. */
  resume(job: Job): void {
    this.#queue(job, true);
    this.#defer();
  }

  /** The stream's bytes are on their way to the log. */
  logging(stream: StreamPlaces, bytes: number): void {
    stream.loggingBytes += bytes;
  }

  /** The log has answered. */
  logged(stream: StreamPlaces, bytes: number): void {
    stream.loggingBytes -= bytes;
    if (stream.places.length > 0 && !stream.queued && !isFull(stream)) {
      this.#queueStream(stream);
      this.#defer();
    }
  }

  #queue(job: Job, first: boolean): void {
    const { place } = job;
    const { stream } = place;
    if (first) place.jobs.unshift(job);
    else place.jobs.push(job);
    if (!place.queued) {
      place.queued = true;
      stream.places.push(place);
    }
    if (!stream.queued && !isFull(stream)) this.#queueStream(stream);
  }

  #queueStream(stream: StreamPlaces): void {
    stream.queued = true;
    this.#streams.push(stream);
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#ports.defer(() => {
      this.#deferred = false;
      this.#spentMs = 0;
      this.#serve();
      if (this.#streams.length > 0) this.#defer();
      else this.#spentMs = 0;
    });
  }

  #serve(): void {
    while (this.#spentMs < TURN_MS) {
      const stream = this.#streams.first;
      if (stream === undefined) return;
      if (isFull(stream) || stream.places.length === 0) {
        this.#streams.shift();
        stream.queued = false;
      } else if (stream.creditMs <= 0) {
        stream.creditMs += QUANTUM_MS;
        if (this.#streams.length > 1) this.#streams.push(this.#streams.shift() as StreamPlaces);
      } else {
        this.#serveLane(stream);
      }
    }
  }

  #serveLane(stream: StreamPlaces): void {
    const place = stream.places.first as Place;
    const job = place.jobs.first;
    if (job === undefined) {
      stream.places.shift();
      place.queued = false;
    } else if (place.creditMs <= 0) {
      place.creditMs += QUANTUM_MS;
      if (stream.places.length > 1) stream.places.push(stream.places.shift() as Place);
    } else {
      place.jobs.shift();
      if (this.#step(job, true) === "more") place.jobs.unshift(job);
    }
  }

  /** `charged`: others wait, so the time counts against the lane. */
  #step(job: Job, charged: boolean): "done" | "more" | "paused" {
    const { clock } = this.#ports;
    const startedMs = clock();
    const outcome = job.step();
    const tookMs = clock() - startedMs;
    this.#spentMs += tookMs;
    if (!charged) return outcome;
    const { place } = job;
    place.creditMs = Math.max(place.creditMs - tookMs, -MOST_OWED_MS);
    place.stream.creditMs = Math.max(place.stream.creditMs - tookMs, -MOST_OWED_MS);
    return outcome;
  }
}

function isFull(stream: StreamPlaces): boolean {
  return stream.loggingBytes >= LOGGING_BYTES;
}

/** Of each turn of the event loop: long enough to cost little, short enough for who asks after the platform's health. */
const TURN_MS = 8;
/** What a lane gets in a round. Most requests take less, so a round is about a request of each. */
const QUANTUM_MS = 1;
/** A step that took very long, because the machine was busy elsewhere, is not held against its lane for ever. */
const MOST_OWED_MS = 50;
/** Half of it is written while the other half comes together: more than disks need to be busy, and soon written. */
const LOGGING_BYTES = 4 * 1024 * 1024;
