/**
 * Sends refusals no faster than the door can afford. A sender that waits for its answer sends nothing meanwhile, so the pace of the
 * refusals is what bounds the cost of all that comes in beyond capacity: reading a request only to refuse it takes a third
 * of the time that storing a hundred events does. What is done while refusals wait is storing.
 *
 * The first ones of a moment go out at once; then it is a few a second, and one for each so many requests that were stored: the cost of
 * refusing stays a small part of that of storing, on a fast machine and on one that is busy elsewhere. Nobody waits longer than `LONGEST_HOLD_MS`, and what a sender has waited is taken off its
 * Retry-After.
 */
import { Fifo } from "./fifo.ts";

export interface PacePorts {
  /** Milliseconds of a clock that never goes back. */
  readonly clock: () => number;
  /** Calls back after about so many milliseconds, unless the process ends before. */
  readonly after: (ms: number, work: () => void) => void;
}

interface Held {
  readonly sinceMs: number;
  readonly send: (heldMs: number) => void;
}

export class RefusalPace {
  readonly #ports: PacePorts;
  readonly #held = new Fifo<Held>();
  #allowed = BURST;
  #countedMs: number;
  #waiting = false;

  constructor(ports: PacePorts) {
    this.#ports = ports;
    this.#countedMs = ports.clock();
  }

  /** Calls `send` when it is the refusal's time, with how long it was held. */
  pace(send: (heldMs: number) => void): void {
    const nowMs = this.#ports.clock();
    this.#count(nowMs);
    if (this.#held.length === 0 && this.#allowed >= 1) {
      this.#allowed--;
      send(0);
      return;
    }
    this.#held.push({ sinceMs: nowMs, send });
    this.#wait();
  }

  /** A request was worked on, so there may be more refusals. */
  worked(): void {
    this.#allowed = Math.min(BURST, this.#allowed + PER_REQUEST);
  }

  /** Sends all that is held. */
  close(): void {
    const nowMs = this.#ports.clock();
    for (let held = this.#held.shift(); held !== undefined; held = this.#held.shift()) held.send(nowMs - held.sinceMs);
  }

  #wait(): void {
    if (this.#waiting || this.#held.length === 0) return;
    this.#waiting = true;
    this.#ports.after(TICK_MS, () => {
      this.#waiting = false;
      this.#sendDue();
      this.#wait();
    });
  }

  #sendDue(): void {
    const nowMs = this.#ports.clock();
    this.#count(nowMs);
    for (;;) {
      const held = this.#held.first;
      if (held === undefined) return;
      const heldMs = nowMs - held.sinceMs;
      if (this.#allowed >= 1) this.#allowed--;
      else if (heldMs < LONGEST_HOLD_MS) return;
      this.#held.shift();
      held.send(heldMs);
    }
  }

  #count(nowMs: number): void {
    this.#allowed = Math.min(BURST, this.#allowed + ((nowMs - this.#countedMs) / 1000) * PER_SECOND);
    this.#countedMs = nowMs;
  }
}

/** Too few to be a cost anywhere. */
const PER_SECOND = 50;
/** A refusal costs about as much as storing a single event: a fifteenth is what may be lost by it. */
const PER_REQUEST = 1 / 15;
/** What a moment may have at once. */
const BURST = 100;
/** Senders commonly give up after ten seconds or more. */
const LONGEST_HOLD_MS = 5_000;
const TICK_MS = 10;
