import { Random } from "../../simulation/random.ts";
import type { Device, Happening } from "./happening.ts";
import { awayFromMidnight, HISTORY_PACE, LIVE_PACE, Person } from "./person.ts";
import { CRAWLERS, ZONES } from "./product.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Of the people that visit live, so many are new; the others come back. */
const NEW_SHARE = 0.15;
const CRAWLER_SHARE = 0.03;
/** What a visit comes to, about; by it the rate of events becomes one of visits. */
const EVENTS_PER_VISIT = 5;
/** Phones that were offline at the end of the history are back within these seconds of live time. */
const BACK_ONLINE_SECONDS = { from: 1, to: 3 };

export interface WorldOptions {
  readonly seed: number;
  /** When live time begins: milliseconds since the epoch. */
  readonly nowMs: number;
  readonly historyDays: number;
  /** People who come by within the history. */
  readonly people: number;
}

/** What reaches the platform together, in seconds since live time began. */
export interface Due {
  readonly happenings: readonly Happening[];
  readonly dueSeconds: number;
}

/**
 * Everybody who comes to the time tracker's site and apps. First the history, in the order in which it reaches the platform; then what happens
 * live. The same options give the same happenings.
 */
export class World {
  readonly #options: WorldOptions;
  readonly #random: Random;
  readonly #startMs: number;
  readonly #people: Person[] = [];
  readonly #offsets = new Map<string, number>();
  #crawls = 0;
  #next = 0;
  #heldBack: Happening[] = [];

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#startMs = midnight(options.nowMs) - options.historyDays * DAY_MS;
  }

  /** What was sent before live time. */
  history(): Happening[] {
    const { nowMs, historyDays, people } = this.#options;
    const all: Happening[] = [];
    if (historyDays > 0) {
      for (let i = 0; i < people; i++) all.push(...this.#life(this.#born()));
      const crawls = Math.round(people * CRAWLER_SHARE);
      for (let i = 0; i < crawls; i++)
        all.push(...this.#crawl(this.#random.between(this.#startMs, nowMs - HOUR_MS), HISTORY_PACE));
    }
    all.sort((a, b) => a.arrivesMs - b.arrivesMs);
    const firstHeld = all.findIndex(({ arrivesMs }) => arrivesMs > nowMs);
    this.#heldBack = firstHeld < 0 ? [] : all.splice(firstHeld);
    return all;
  }

  /**
   * What happens live, endlessly, in the order in which it is due; `rate` events a second on average. An app sends what was done in a visit
   * when that ends, and a phone that was offline sends all it has at once.
   */
  *live(rate: number): Generator<Due, never> {
    const random = this.#random;
    const { nowMs } = this.#options;
    const { from, to } = BACK_ONLINE_SECONDS;
    let waiting: Due[] = [...Map.groupBy(this.#heldBack, ({ person }) => person).values()].map((happenings) => ({
      happenings,
      dueSeconds: random.between(from, to),
    }));
    for (let seconds = 0; ; seconds += EVENTS_PER_VISIT / rate) {
      const startMs = nowMs + seconds * 1000;
      const happenings = random.chance(CRAWLER_SHARE)
        ? this.#crawl(startMs, LIVE_PACE)
        : this.#visitor(startMs).visit(startMs, Number.POSITIVE_INFINITY, LIVE_PACE);
      waiting.push({ happenings, dueSeconds: ((happenings.at(-1)?.atMs ?? startMs) - nowMs) / 1000 });
      // A visit to come is due later than it begins.
      const ready = waiting.filter(({ dueSeconds }) => dueSeconds <= seconds);
      waiting = waiting.filter(({ dueSeconds }) => dueSeconds > seconds);
      yield* ready.sort((a, b) => a.dueSeconds - b.dueSeconds);
    }
  }

  /** Whoever comes next: people in turn, but for those who were here just now, and somebody new now and then. */
  #visitor(atMs: number): Person {
    if (!this.#random.chance(NEW_SHARE)) {
      for (let tried = 0; tried < Math.min(50, this.#people.length); tried++) {
        const person = this.#people[this.#next++ % this.#people.length] as Person;
        if (person.freeFromMs < atMs) return person;
      }
    }
    return this.#born();
  }

  #born(): Person {
    const number = this.#people.length;
    // Each has chances of their own, so that nothing of one person's life depends on another's.
    const random = this.#random;
    const own = new Random(random.below(2 ** 26) * 2 ** 26 + random.below(2 ** 26));
    const person = new Person(number, random.pick(ZONES), own, this.#startMs);
    this.#people.push(person);
    return person;
  }

  /** All that a person does until now. */
  #life(person: Person): Happening[] {
    const { nowMs, historyDays } = this.#options;
    const random = this.#random;
    const all: Happening[] = [];
    // Growth: later days bring more new people.
    let day = this.#startMs + Math.floor(Math.sqrt(random.next()) * (historyDays + 1)) * DAY_MS;
    const visit = (atMs: number) => {
      const startMs = Math.max(atMs, person.freeFromMs);
      if (startMs > nowMs - 60_000) return;
      all.push(...person.visit(awayFromMidnight(Math.round(startMs)), nowMs, HISTORY_PACE));
    };
    for (let looks = 1; day < nowMs; day += DAY_MS) {
      const weekday = new Date(day).getUTCDay();
      const isWeekend = weekday === 0 || weekday === 6;
      const morningMs = day - this.#offsetMs(person.zone, day) + (9 + 0.9 * random.normal()) * HOUR_MS;
      if (!person.isSignedUp) {
        visit(morningMs + random.between(0, 9) * HOUR_MS);
        // Those who do not sign up at once come back a time or two.
        if (!person.isSignedUp && ++looks > 3) break;
        day += person.isSignedUp ? 0 : random.below(4) * DAY_MS;
        continue;
      }
      if (!random.chance(person.diligence * (isWeekend ? 0.12 : 1))) continue;
      visit(morningMs);
      if (random.chance(0.4)) visit(morningMs + random.between(2.5, 4.5) * HOUR_MS);
      if (random.chance(0.75)) visit(morningMs + random.between(7, 9) * HOUR_MS);
      if (random.chance(person.leaving)) break;
    }
    return all;
  }

  /** A search engine reads the site. */
  #crawl(startMs: number, pace: { fromSeconds: number; toSeconds: number }): Happening[] {
    const random = this.#random;
    const number = ++this.#crawls;
    const device: Device = {
      anonymousId: `crawl-${number}`,
      platform: "web",
      updatesAfterDays: 0,
      clockOffsetMs: 0,
      userAgent: random.pick(CRAWLERS),
      userId: undefined,
    };
    let atMs = startMs;
    return Array.from({ length: 3 + random.below(8) }, (_, page) => {
      atMs = awayFromMidnight(Math.round(atMs + random.between(pace.fromSeconds, pace.toSeconds) * 200));
      return {
        sender: "app" as const,
        atMs,
        arrivesMs: atMs,
        person: -number,
        visit: 0,
        type: "page" as const,
        messageId: `crawl-${number}-${page}`,
        name: random.pick(["Welcome", "Features", "Pricing"]),
        device,
        userId: undefined,
        previousId: undefined,
        appVersion: "4.0.0",
        properties: { path: "/" },
      };
    });
  }

  #offsetMs(zone: string, dayMs: number): number {
    const key = `${zone} ${dayMs}`;
    let offset = this.#offsets.get(key);
    if (offset === undefined) {
      const local = new Date(dayMs).toLocaleString("sv-SE", { timeZone: zone });
      offset = Date.parse(`${local.replace(" ", "T")}Z`) - dayMs;
      this.#offsets.set(key, offset);
    }
    return offset;
  }
}

function midnight(ms: number): number {
  return Math.floor(ms / DAY_MS) * DAY_MS;
}
