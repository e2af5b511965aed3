/**
 * Takes changes to one destination outside the platform. Changes of one alert go one after the other in their order; others do not wait for them. What
 * fails is tried again until it is too old, and then given up as a dead letter; a destination that is down is tried by one message at a time.
 *
 * At least once: a change whose message was taken in the moment the platform died is sent again.
 */
import type { MillraceError } from "../../errors.ts";
import { messageOf } from "../../errors.ts";
import { backoffMs, RateLimit } from "./backoff.ts";
import { type Change, DeliveryFailure, type Sender } from "./sender.ts";

/** What is known of a delivery once something is. */
export interface Known {
  readonly change: Change;
  readonly outcome: "pending" | "failed" | "delivered" | "dead";
  readonly attempt?: number;
  readonly code?: MillraceError["code"];
  readonly message?: string;
  readonly nextAtMs?: number;
}

export interface CourierParts {
  /** As messages name it: `webhook "ops"`. */
  readonly named: string;
  readonly sender: Sender;
  readonly giveUpAfterMs: number;
  readonly rate: { readonly most: number; readonly perMs: number } | undefined;
  readonly clock: () => number;
  readonly random: () => number;
  /** Told what is known of deliveries; a `dead` one is a dead letter when this resolves. Rejects when it could not be written; it is told again. */
  readonly record: (known: readonly Known[]) => Promise<void>;
  readonly report: (error: unknown, what: string) => void;
}

export interface CourierFigures {
  readonly waiting: number;
  readonly oldestSinceMs: number | undefined;
  readonly delivered: number;
  readonly failed: number;
  readonly deadLettered: number;
  readonly lastDeliveredAtMs: number | undefined;
  readonly lastFailure: { readonly atMs: number; readonly message: string } | undefined;
  /** Nothing has gone well since the last failure. */
  readonly failing: boolean;
  /** Until when nothing is tried since the destination is down. */
  readonly pausedUntilMs: number | undefined;
}

interface Waiting {
  readonly change: Change;
  attempts: number;
  readonly sinceMs: number;
  dueAtMs: number;
  underWay: boolean;
  /** A message with others was refused: whether for its sake shows when it goes alone. */
  alone: boolean;
}

/** Changes held in memory; what is beyond stays in the log. */
const MOST_WAITING = 2000;
/** Messages under way at once. */
const MOST_UNDER_WAY = 4;
/** Longest wait of one change between attempts. */
const MOST_WAIT_MS = 300_000;
/** Longest time without an attempt at all: how long after its return a destination may hear nothing. */
const MOST_PAUSE_MS = 60_000;

export class Courier {
  readonly #o: CourierParts;
  readonly #limit: RateLimit | undefined;
  /** By offset, in its order. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended = new AbortController();
  readonly #attempts = new Set<Promise<void>>();
  #room = Promise.withResolvers<void>();
  /** What has become of deliveries and could not be written yet. */
  #unwritten: Known[] = [];
  /** What is being written. */
  #batch: readonly Known[] = [];
  #writing: Promise<void> | undefined;
  #closing = false;
  #downs = 0;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;
  #figures = { delivered: 0, failed: 0, deadLettered: 0 };
  #lastDeliveredAtMs: number | undefined;
  #lastFailure: { readonly atMs: number; readonly message: string } | undefined;
  #failing = false;

  constructor(parts: CourierParts) {
    this.#o = parts;
    this.#limit = parts.rate && new RateLimit(parts.rate);
  }

  /** Resolves once it takes more changes, or has ended. */
  async room(): Promise<void> {
    while (this.#waiting.size + this.#unwritten.length >= MOST_WAITING && !this.#ended.signal.aborted)
      await this.#room.promise;
  }

  /** Takes changes, in the order of their offsets. `known`: what an earlier life of the platform knew of one. */
  offer(
    changes: readonly Change[],
    known: (
      offset: number,
    ) => { readonly attempts: number; readonly sinceMs: number; readonly nextAtMs: number } | undefined,
  ): void {
    const now = this.#o.clock();
    const fresh: Known[] = [];
    for (const change of changes) {
      const before = known(change.offset);
      this.#waiting.set(change.offset, {
        change,
        attempts: before?.attempts ?? 0,
        sinceMs: before?.sinceMs ?? now,
        dueAtMs: before?.nextAtMs ?? now,
        underWay: false,
        alone: false,
      });
      if (before === undefined) fresh.push({ change, outcome: "pending" });
    }
    this.#tell(fresh);
    this.pump();
  }

  /** The first offset that is not settled on record but for the batch that is being written; `next` when all below it are. */
  low(next: number): number {
    const first = this.#waiting.keys().next();
    const known = this.#unwritten.map(({ change }) => change.offset);
    return Math.min(first.done ? next : first.value, ...known);
  }

  /** The first offset that is not settled on record. */
  recordedLow(next: number): number {
    return Math.min(this.low(next), ...this.#batch.map(({ change }) => change.offset));
  }

  /** Begins the attempts that are due. To be called whenever time has passed. */
  pump(): void {
    if (this.#closing) return;
    this.#write();
    const now = this.#o.clock();
    while (now >= this.#pausedUntilMs && this.#attempts.size < (this.#downs > 0 ? 1 : MOST_UNDER_WAY)) {
      const group = this.#due(now);
      if (group.length === 0 || !this.mayTry()) return;
      const attempt = this.#attempt(group).finally(() => {
        this.#attempts.delete(attempt);
        this.pump();
      });
      this.#attempts.add(attempt);
    }
  }

  /** Takes a message's place in the rate when there is one. */
  mayTry(): boolean {
    return this.#limit?.take(this.#o.clock()) ?? true;
  }

  /** Told that the destination has taken a message beside the deliveries. */
  took(): void {
    this.#failing = false;
  }

  figures(): CourierFigures {
    let oldest: number | undefined;
    for (const { sinceMs } of this.#waiting.values()) oldest = Math.min(oldest ?? sinceMs, sinceMs);
    return {
      ...this.#figures,
      waiting: this.#waiting.size,
      oldestSinceMs: oldest,
      lastDeliveredAtMs: this.#lastDeliveredAtMs,
      lastFailure: this.#lastFailure,
      failing: this.#failing,
      pausedUntilMs: this.#pausedUntilMs > this.#o.clock() ? this.#pausedUntilMs : undefined,
    };
  }

  /** Begins nothing more, and gives what is under way some time to end. Never rejects. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const timer = setTimeout(() => this.#ended.abort(new Error("the platform is stopping")), graceMs);
    await Promise.all(this.#attempts);
    clearTimeout(timer);
    this.#ended.abort(new Error("the platform is stopping"));
    this.#room.resolve();
    await this.#written();
    // Once more. What cannot be written even so is not settled on record: whoever delivers next takes it up.
    this.#write();
    await this.#written();
  }

  /**
   * What one message is made of: the oldest that is due, and where a message takes more, those that are due behind it. While the destination is
   * down, the one that has been tried least: should it be the message that brings it down, others show that it is up.
   */
  #due(now: number): Waiting[] {
    const group: Waiting[] = [];
    const { mostChanges } = this.#o.sender;
    const most = this.#downs > 0 && mostChanges === 1 ? Number.POSITIVE_INFINITY : mostChanges;
    const blocked = new Set<string>();
    for (const one of this.#waiting.values()) {
      const { alert_id } = one.change;
      if (blocked.has(alert_id)) continue;
      if (one.underWay || one.dueAtMs > now || (one.alone && group.length > 0)) {
        blocked.add(alert_id);
        continue;
      }
      group.push(one);
      if (mostChanges === 1) blocked.add(alert_id);
      if (one.alone || group.length >= most) break;
    }
    if (group.length <= mostChanges) return group;
    return [group.reduce((least, one) => (one.attempts < least.attempts ? one : least))];
  }

  async #attempt(group: readonly Waiting[]): Promise<void> {
    for (const one of group) one.underWay = true;
    try {
      await this.#o.sender.send(
        group.map(({ change }) => change),
        this.#ended.signal,
      );
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#failed(group, error);
      return;
    } finally {
      for (const one of group) one.underWay = false;
    }
    this.#downs = 0;
    this.#failing = false;
    this.#lastDeliveredAtMs = this.#o.clock();
    this.#figures.delivered += group.length;
    for (const { change } of group) this.#waiting.delete(change.offset);
    this.#tell(group.map(({ change, attempts }) => ({ change, outcome: "delivered", attempt: attempts + 1 })));
  }

  #failed(group: readonly Waiting[], error: unknown): void {
    const { clock, random, report, named } = this.#o;
    const now = clock();
    if (!(error instanceof DeliveryFailure)) report(error, `sending to ${named}`);
    const failure =
      error instanceof DeliveryFailure
        ? error
        : new DeliveryFailure("failed", messageOf("INTERNAL", { what: "sending" }));
    const { verdict, message, retryAfterMs } = failure;
    this.#lastFailure = { atMs: now, message };
    this.#failing = true;
    this.#figures.failed += 1;
    if (verdict === "down") {
      // Attempts that were under way together fail together, and are one sign.
      if (now >= this.#pausedUntilMs) this.#downs += 1;
      const pauseMs = Math.max(backoffMs(this.#downs, MOST_PAUSE_MS, random), retryAfterMs ?? 0);
      this.#pausedUntilMs = Math.max(this.#pausedUntilMs, now + pauseMs);
    } else this.#downs = 0;
    if (verdict === "refused" && group.length > 1) {
      for (const one of group) one.alone = true;
      return;
    }
    const known: Known[] = [];
    for (const one of group) {
      one.attempts += 1;
      if (verdict === "refused" || this.#isTooOld(one, now)) {
        known.push(this.#dead(one, failure, now));
        continue;
      }
      one.dueAtMs = verdict === "down" ? this.#pausedUntilMs : now + backoffMs(one.attempts, MOST_WAIT_MS, random);
      const told = messageOf("DELIVERY_FAILED", { destination: named, reason: message });
      known.push({
        ...{ change: one.change, outcome: "failed", attempt: one.attempts },
        ...{ code: "DELIVERY_FAILED", message: told, nextAtMs: one.dueAtMs },
      });
    }
    // The attempt stands for all that wait for the destination: none of them would have been taken.
    if (verdict === "down")
      for (const one of this.#waiting.values())
        if (!one.underWay && !group.includes(one) && this.#isTooOld(one, now))
          known.push(this.#dead(one, failure, now));
    this.#tell(known);
  }

  #isTooOld({ sinceMs }: Waiting, now: number): boolean {
    return now - sinceMs >= this.#o.giveUpAfterMs;
  }

  #dead({ change, attempts, sinceMs }: Waiting, { verdict, message }: DeliveryFailure, now: number): Known {
    this.#waiting.delete(change.offset);
    this.#figures.deadLettered += 1;
    const code = verdict === "refused" ? "DELIVERY_REFUSED" : "DELIVERY_GAVE_UP";
    const time = `${Math.round((now - sinceMs) / 1000)} s`;
    const told = messageOf(code, { destination: this.#o.named, reason: message, time });
    return { change, outcome: "dead", attempt: attempts, code, message: told };
  }

  #tell(known: readonly Known[]): void {
    this.#unwritten.push(...known);
    this.#write();
  }

  /** Resolves when nothing is being written. */
  async #written(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** Writes what is known, one batch after the other. What the disk refuses is written later; until then it is known here. */
  #write(): void {
    if (this.#writing !== undefined || this.#unwritten.length === 0) return;
    const batch = this.#unwritten.splice(0, MOST_WAITING);
    this.#batch = batch;
    this.#writing = this.#o
      .record(batch)
      .then(
        () => true,
        (error: unknown) => {
          this.#unwritten.unshift(...batch);
          this.#o.report(error, `recording deliveries to ${this.#o.named}`);
          return false;
        },
      )
      .then((written) => {
        this.#writing = undefined;
        this.#batch = [];
        this.#room.resolve();
        this.#room = Promise.withResolvers();
        if (written) this.#write();
      });
  }
}
