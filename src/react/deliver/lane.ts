/**
 * One destination and how far it is in the stream of changes. Destinations do not wait for each other: each reads for itself, from the first change that
 * is not settled for it. What is known of deliveries is recorded with that position, so a start goes on where the last life stopped, whenever it stopped.
 */
import type { Destination } from "../../define/read-destination.ts";
import type { MillraceError } from "../../errors.ts";
import type { DeliveryEvent, DeliveryRecords, DestinationPosition, Targets } from "../../flow/deliveries.ts";
import type { EventLog } from "../../log/event-log.ts";
import { backoffMs, pause } from "./backoff.ts";
import type { ChangeReader } from "./change-reader.ts";
import { Courier, type CourierFigures, type Known } from "./courier.ts";
import type { Change, Sender } from "./sender.ts";
import { type Admit, StreamCourier } from "./stream-courier.ts";

export interface LaneParts {
  readonly log: EventLog;
  readonly records: Pick<DeliveryRecords, "append">;
  readonly reader: () => ChangeReader;
  readonly admit: Admit;
  /** Whether this process still is the one that delivers. */
  readonly may: () => boolean;
  /** Makes dead letters of changes durable. */
  readonly deadLetters: (letters: readonly Undeliverable[]) => Promise<void>;
  /** Whether the change goes to the destination, by its alert's own word or a route. */
  readonly isFor: (change: Change, destination: string) => boolean;
  /** Whether it is to be told now: false while it is silenced. */
  readonly shouldDeliver: (change: Change, destination: string) => boolean | Promise<boolean>;
  readonly clock: () => number;
  readonly random: () => number;
  readonly report: (error: unknown, what: string) => void;
}

export interface Undeliverable {
  readonly destination: string;
  readonly change: Change;
  readonly code: MillraceError["code"];
  readonly message: string;
}

export interface Lane {
  readonly destination: Destination;
  readonly address: string;
  figures(): CourierFigures;
  /** Goes on from `position`, which is durable, until it is closed. */
  run(position: DestinationPosition): Promise<void>;
  /** To be called a few times a second. */
  tick(): void;
  /** To be told when the destination has taken a message that was sent beside the others. */
  took(): void;
  close(graceMs: number): Promise<void>;
}

/** Between two records that say nothing but how far a destination is. */
const POSITION_EVERY_MS = 1000;
/** Longest wait before a disk that refuses is asked again. */
const MOST_WAIT_MS = 10_000;
/** A stream that has grown by so much is not searched through from so far behind. */
const FAR_BEHIND = 100_000;

export function messageName({ kind, name }: Destination): string {
  return `${kind === "stream" ? "toStream" : kind} "${name}"`;
}

/** To a destination outside the platform. */
export class OutsideLane implements Lane {
  readonly destination: Destination;
  readonly sender: Sender;
  readonly #o: LaneParts;
  readonly #courier: Courier;
  readonly #position: PositionRecord;
  #next = 0;
  #ended: AbortController = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(destination: Destination, sender: Sender, parts: LaneParts) {
    this.destination = destination;
    this.sender = sender;
    this.#o = parts;
    const { giveUpAfterMs, rate } = destination;
    const { clock, random, report } = parts;
    this.#courier = new Courier({
      ...{ named: messageName(destination), sender, giveUpAfterMs, rate, clock, random, report },
      record: (known) => this.#record(known),
    });
    this.#position = new PositionRecord(destination.name, parts, () => ({
      low: this.#courier.recordedLow(this.#next),
    }));
  }

  get address(): string {
    return this.sender.address;
  }

  figures(): CourierFigures {
    return this.#courier.figures();
  }

  /** Takes a message's place in the destination's rate, for one that is sent beside the others. */
  mayTry(): boolean {
    return this.#courier.mayTry();
  }

  took(): void {
    this.#courier.took();
  }

  run(position: DestinationPosition): Promise<void> {
    this.#next = position.low;
    this.#position.recorded(position.low);
    this.#running = this.#run(position);
    return this.#running;
  }

  tick(): void {
    this.#courier.pump();
    this.#position.keep();
  }

  async close(graceMs: number): Promise<void> {
    this.#ended.abort();
    await this.#courier.close(graceMs);
    await this.#running;
    await this.#position.settle();
    this.sender.close?.();
  }

  async #run({ settled, open }: DestinationPosition): Promise<void> {
    const { isFor, shouldDeliver } = this.#o;
    const { name } = this.destination;
    const reader = this.#o.reader();
    for (;;) {
      await this.#courier.room();
      const read = await reader.next(this.#next, this.#ended.signal);
      if (read === undefined) return;
      const changes: Change[] = [];
      const silenced: Change[] = [];
      for (const change of read.changes) {
        if (settled.has(change.offset) || !isFor(change, name)) continue;
        // What was on its way before a restart has been asked about.
        const told = open.has(change.offset) || (await shouldDeliver(change, name));
        (told ? changes : silenced).push(change);
      }
      await this.#silence(silenced);
      this.#courier.offer(changes, (offset) => open.get(offset));
      this.#next = read.next;
    }
  }

  async #silence(changes: readonly Change[]): Promise<void> {
    // Outcomes that are just being written count once they are.
    const low = this.#courier.recordedLow(this.#next);
    const events = changes.map(
      (change) => ({ destination: this.destination.name, outcome: "silenced", low, change }) as const,
    );
    await untilDone(() => this.#o.records.append(events), this.#o, "recording deliveries", this.#ended.signal);
  }

  async #record(known: readonly Known[]): Promise<void> {
    const { name: destination } = this.destination;
    const dead = known.filter(({ outcome }) => outcome === "dead");
    await this.#o.deadLetters(
      dead.map(({ change, code = "DELIVERY_REFUSED", message = "" }) => ({ destination, change, code, message })),
    );
    const low = this.#courier.low(this.#next);
    await this.#o.records.append(known.map((one): DeliveryEvent => ({ destination, low, ...one })));
    this.#position.recorded(low);
  }
}

/** To a stream of the project. */
export class StreamLane implements Lane {
  readonly destination: Destination & { readonly kind: "stream" };
  readonly courier: StreamCourier;
  readonly #o: LaneParts;
  readonly #position: PositionRecord;
  readonly #ended = new AbortController();
  #next = 0;
  /** What the newest record says: everything below the position was in the stream when it reached so far. */
  #ends: readonly number[] = [];
  #running: Promise<void> = Promise.resolve();
  #underWay = 0;
  #figures = { delivered: 0, failed: 0, deadLettered: 0 };
  #lastDeliveredAtMs: number | undefined;
  #lastFailure: CourierFigures["lastFailure"];
  /** What is under way has failed and is tried again. */
  #troubled = false;
  /** The newest change could not be taken. */
  #refused = false;

  constructor(destination: Destination & { readonly kind: "stream" }, parts: LaneParts) {
    this.destination = destination;
    this.#o = parts;
    const { name, stream, event } = destination;
    const { log, admit, may } = parts;
    this.courier = new StreamCourier({ name, stream, event, log, admit, may });
    this.#position = new PositionRecord(name, parts, (recordedLow) => {
      // While a batch is on its way the ends may hold some of it.
      if (this.#underWay > 0) return { low: recordedLow };
      const ends = this.courier.ends();
      const grown = ends.some((end, partition) => end - (this.#ends[partition] ?? 0) > FAR_BEHIND);
      if (this.#next > recordedLow || grown) this.#ends = ends;
      return { low: this.#next, targets: { stream, ends: this.#ends }, due: grown };
    });
  }

  get address(): string {
    return `stream ${this.destination.stream}`;
  }

  figures(): CourierFigures {
    const waiting = this.#underWay;
    const rest = { oldestSinceMs: undefined, pausedUntilMs: undefined };
    const last = { lastDeliveredAtMs: this.#lastDeliveredAtMs, lastFailure: this.#lastFailure };
    return { ...this.#figures, waiting, ...rest, ...last, failing: this.#troubled || this.#refused };
  }

  took(): void {
    this.#refused = false;
  }

  run(position: DestinationPosition): Promise<void> {
    this.#next = position.low;
    this.#position.recorded(position.low);
    this.#running = this.#run(position.targets);
    return this.#running;
  }

  tick(): void {
    this.#position.keep();
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    await this.#position.settle();
  }

  async #run(targets: Targets | undefined): Promise<void> {
    const { stream } = this.destination;
    const reader = this.#o.reader();
    this.#ends = targets?.stream === stream ? targets.ends : this.courier.ends();
    this.#underWay += 1;
    const recovered = await this.#surely(() => this.courier.recover(this.#ends), `looking through stream ${stream}`);
    this.#underWay -= 1;
    if (!recovered) return;
    for (;;) {
      const read = await reader.next(this.#next, this.#ended.signal);
      if (read === undefined) return;
      this.#underWay = read.changes.length;
      if (!(await this.#take(read.changes, read.next))) return;
      this.#underWay = 0;
    }
  }

  /** False when the platform stops meanwhile. */
  async #take(read: readonly Change[], next: number): Promise<boolean> {
    const { isFor, shouldDeliver, records, deadLetters, clock } = this.#o;
    const { name: destination, stream } = this.destination;
    const changes: Change[] = [];
    const events: Omit<DeliveryEvent, "low" | "targets">[] = [];
    for (const change of read) {
      if (!isFor(change, destination)) continue;
      if (await shouldDeliver(change, destination)) changes.push(change);
      else events.push({ destination, outcome: "silenced", change });
    }
    let again = false;
    const taken = await this.#surely(async () => {
      // An append that failed may have reached the disk all the same.
      if (again) await this.courier.recover(this.#ends);
      again = true;
      const refused = new Map((await this.courier.take(changes)).map(({ change, message }) => [change, message]));
      const code = "DELIVERY_REFUSED";
      await deadLetters([...refused].map(([change, message]) => ({ destination, change, code, message })));
      for (const change of changes) {
        const message = refused.get(change);
        const told =
          message === undefined ? { outcome: "delivered" as const } : { outcome: "dead" as const, code, message };
        events.push({ destination, change, attempt: 1, ...told });
      }
      this.#figures.delivered += changes.length - refused.size;
      this.#figures.deadLettered += refused.size;
      for (const message of refused.values()) this.#lastFailure = { atMs: clock(), message };
      if (changes.length > refused.size) this.#lastDeliveredAtMs = clock();
      if (changes.length > 0) this.#refused = refused.size > 0;
    }, `appending alerts to stream ${stream}`);
    if (!taken) return false;
    const targets = { stream, ends: this.courier.ends() };
    const recorded =
      events.length === 0 ||
      (await this.#surely(async () => {
        await records.append(events.map((event) => ({ ...event, low: next, targets })));
        this.#ends = targets.ends;
        this.#position.recorded(next);
      }, "recording deliveries"));
    this.#next = next;
    return recorded;
  }

  #surely(work: () => Promise<void>, what: string): Promise<boolean> {
    return untilDone(
      async () => {
        try {
          await work();
          this.#troubled = false;
        } catch (error) {
          this.#troubled = true;
          this.#figures.failed += 1;
          this.#lastFailure = {
            atMs: this.#o.clock(),
            message: error instanceof Error ? error.message : String(error),
          };
          throw error;
        }
      },
      this.#o,
      what,
      this.#ended.signal,
    );
  }
}

/** Does work again until it succeeds; false when the platform stops before. */
async function untilDone(
  work: () => Promise<void>,
  { report, random }: Pick<LaneParts, "report" | "random">,
  what: string,
  signal: AbortSignal,
): Promise<boolean> {
  for (let failures = 1; ; failures++) {
    try {
      await work();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      report(error, `${what}; it is tried again`);
    }
    const waited = await pause(backoffMs(failures, MOST_WAIT_MS, random), signal);
    if (!waited) return false;
  }
}

/** How far a destination is; `due` where that is to be written though `low` is what was recorded. */
type Position = (recordedLow: number) => { readonly low: number; readonly targets?: Targets; readonly due?: boolean };

/** Records how far a destination is where nothing else does: most changes are for others. */
class PositionRecord {
  readonly #destination: string;
  readonly #o: LaneParts;
  readonly #now: Position;
  #recordedLow = 0;
  #atMs = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> | undefined;

  constructor(destination: string, parts: LaneParts, now: Position) {
    this.#destination = destination;
    this.#o = parts;
    this.#now = now;
  }

  recorded(low: number): void {
    this.#recordedLow = Math.max(this.#recordedLow, low);
  }

  /** Writes it when there is something new, now and then. */
  keep(): void {
    const nowMs = performance.now();
    if (this.#writing !== undefined || nowMs - this.#atMs < POSITION_EVERY_MS) return;
    const { due, ...position } = this.#now(this.#recordedLow);
    if (position.low <= this.#recordedLow && due !== true) return;
    this.#atMs = nowMs;
    this.#writing = this.#o.records
      .append([{ destination: this.#destination, outcome: "position", ...position }])
      .then(
        () => this.recorded(position.low),
        (error: unknown) => this.#o.report(error, "recording deliveries"),
      )
      .finally(() => {
        this.#writing = undefined;
      });
  }

  /** Writes it for the last time. */
  async settle(): Promise<void> {
    await this.#writing;
    this.#atMs = Number.NEGATIVE_INFINITY;
    this.keep();
    await this.#writing;
  }
}
