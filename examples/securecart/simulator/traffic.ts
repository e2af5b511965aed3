import { Random } from "../../simulation/random.ts";
import type { Kind, SentEvent } from "../../simulation/sent-event.ts";
import { EventClock } from "./event-clock.ts";
import { Shop, type ShopRecord } from "./shop.ts";

/**
 * The shop's events as they really arrive: at a rate, some twice, some late, some broken, with a stolen card at work
 * now and then and days on which everybody buys. The same options give the same events, byte for byte.
 */
export function traffic(options: TrafficOptions): { opening: SentEvent[]; events: Generator<SentEvent, never> } {
  const { seed, nowMs, historyDays = 7, historySeconds = 20 } = options;
  const clock = new EventClock(nowMs, historyDays, historySeconds);
  const shop = new Shop(seed);
  const faults = new Faults(new Random(seed ^ 0x5eed));
  const opening = shop.open(clock.at(0)).map((record) => ({ ...faults.send(record, "regular"), atSeconds: 0 }));
  return { opening, events: events(options.rate, clock, shop, faults) };
}

function* events(rate: number, clock: EventClock, shop: Shop, faults: Faults): Generator<SentEvent, never> {
  let elapsed = 0;
  let bursts = 0;
  for (;;) {
    const timeMs = clock.at(elapsed);
    const isFraud = elapsed >= FRAUD_FIRST_S + bursts * FRAUD_EVERY_S;
    if (isFraud) bursts++;
    const lateMs = isFraud ? 0 : faults.lateness();
    const records = isFraud ? shop.fraud(timeMs) : shop.next(timeMs - lateMs);
    const kind = isFraud ? "fraud" : lateMs > 0 ? "late" : "regular";
    for (const record of records) {
      for (const event of faults.around(record, kind)) {
        yield { ...event, atSeconds: elapsed };
        elapsed += 1 / (rate * (isSpike(elapsed) ? SPIKE_FACTOR : 1));
      }
    }
  }
}

export interface TrafficOptions {
  readonly seed: number;
  /** When the run starts: milliseconds since the epoch. */
  readonly nowMs: number;
  /** Events per second, outside of spikes. */
  readonly rate: number;
  /** Whole days before today to begin with, and the seconds their replay takes. */
  readonly historyDays?: number;
  readonly historySeconds?: number;
}

const FRAUD_FIRST_S = 6;
const FRAUD_EVERY_S = 60;
const SPIKE_FIRST_S = 10;
const SPIKE_EVERY_S = 120;
const SPIKE_LASTS_S = 5;
const SPIKE_FACTOR = 5;

const DUPLICATE_SHARE = 0.01;
const LATE_SHARE = 0.005;
const MALFORMED_SHARE = 0.005;
const FAILING_CHECK_SHARE = 0.001;
/** A retry follows its event within this many events. */
const RETRY_WITHIN = 2_048;
const LATE_UP_TO_MS = 48 * 3_600_000;

function isSpike(elapsed: number): boolean {
  return elapsed >= SPIKE_FIRST_S && (elapsed - SPIKE_FIRST_S) % SPIKE_EVERY_S < SPIKE_LASTS_S;
}

type Unscheduled = Omit<SentEvent, "atSeconds">;

class Faults {
  readonly #random: Random;
  /** Events to be sent again, by the position at which they are due, modulo its length. */
  readonly #retries: Unscheduled[][] = Array.from({ length: RETRY_WITHIN }, () => []);
  #position = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** How long the next happening waited in an offline till; mostly not at all. */
  lateness(): number {
    return this.#random.chance(LATE_SHARE) ? 3_600_000 + this.#random.below(LATE_UP_TO_MS - 3_600_000) : 0;
  }

  /** The record as an event, remembered for a retry now and then. */
  send(record: ShopRecord, kind: Kind): Unscheduled {
    const event: Unscheduled = { stream: record.stream, kind, line: JSON.stringify(record.fields) };
    if (this.#random.chance(DUPLICATE_SHARE)) {
      const due = (this.#position + 1 + this.#random.below(RETRY_WITHIN - 1)) % RETRY_WITHIN;
      this.#retries[due]?.push({ ...event, kind: "duplicate" });
    }
    return event;
  }

  /** The record as an event, with the retries that are due and the broken events that happen beside it. */
  *around(record: ShopRecord, kind: Kind): Generator<Unscheduled> {
    this.#position = (this.#position + 1) % RETRY_WITHIN;
    yield* this.#retries[this.#position]?.splice(0) ?? [];
    if (this.#random.chance(MALFORMED_SHARE)) yield this.#malformed(record);
    if (record.stream === "order_lines" && this.#random.chance(FAILING_CHECK_SHARE)) {
      const fields = { ...record.fields, line_id: `${record.fields.line_id}-void`, quantity: 0 };
      yield { stream: record.stream, kind: "failing_check", line: JSON.stringify(fields) };
    }
    yield this.send(record, kind);
  }

  #malformed({ stream, fields }: ShopRecord): Unscheduled {
    const random = this.#random;
    const names = Object.keys(fields);
    const text = JSON.stringify(fields);
    switch (random.below(3)) {
      case 0: // the connection broke
        return { stream, kind: "malformed", line: text.slice(0, 1 + random.below(text.length - 1)) };
      case 1: // no field of the shop's contracts is an object
        return { stream, kind: "malformed", line: JSON.stringify({ ...fields, [random.pick(names)]: {} }) };
      default: {
        // The first field is required in every stream.
        const { [names[0] as string]: _missing, ...rest } = fields;
        return { stream, kind: "malformed", line: JSON.stringify(rest) };
      }
    }
  }
}
